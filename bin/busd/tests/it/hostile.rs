//! The daemon where the system is hostile: out of descriptors, no space for its files, killed again
//! and again. `faults` fails single calls; here the system itself says no.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use busway::Bus;
use nix::libc;
use serde_json::json;

use crate::support::{
    BusName, Child, Daemon, Leashed, Scratch, Task, command, eventually, exchange, in_company,
    is_root,
};

/// The daemon's pause after an attempt to accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Kills in a row.
const KILLS: usize = 8;
/// Buses that clients create and remove meanwhile.
const NAMES: usize = 4;

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn daemon_without_descriptors_neither_spins_nor_dies() {
    let daemon = Daemon::start();
    let before = limit_descriptors(daemon.pid(), 3);
    let name = BusName::new();
    drop(Bus::options().capacity_frames(4).create(&name).unwrap());
    let socket = daemon.socket();
    let asked = std::thread::spawn(move || exchange(&socket, "GET", "/v1/health", ""));
    let start = Instant::now();
    let failed = || daemon.logged("cannot accept a connection");
    eventually("an attempt that fails", || (failed() > 2).then_some(()));
    // Counted first: the time that passes between allows for more, not for fewer.
    let count = failed() as u128;
    let most = start.elapsed().as_millis() / ACCEPT_PAUSE.as_millis() + 2;
    assert!(count <= most, "{count} attempts where there are {most} at most");
    assert!(!asked.is_finished(), "there was no descriptor for a connection");

    limit_descriptors(daemon.pid(), before);
    let answer = asked.join().unwrap().unwrap();
    assert_eq!(answer.status, 200, "who waited is answered");
    daemon.wait_for_log(&[("message", json!("watching")), ("bus", json!(&*name))]);
    assert_eq!(daemon.list(&[&name]).len(), 1);
}

/// Sets the soft limit of a process; returns what it was.
fn limit_descriptors(pid: u32, most: libc::rlim_t) -> libc::rlim_t {
    let pid = pid.cast_signed();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let (number, none) = (libc::RLIMIT_NOFILE, std::ptr::null_mut());
    // SAFETY: writes the limit given; none is set.
    let got = unsafe { libc::prlimit(pid, number, std::ptr::null(), &raw mut limit) };
    assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
    let before = std::mem::replace(&mut limit.rlim_cur, most);
    // SAFETY: reads the limit given; none is written.
    let set = unsafe { libc::prlimit(pid, number, &raw const limit, none) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    before
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn runtime_directory_without_space_is_an_error_and_harms_no_bus() {
    let _pass = in_company();
    let name = BusName::new();
    drop(Bus::options().lanes(2).consumers(2).create(&name).unwrap());
    let racer = Child::start(Task::Race, &name);
    // Of the directory's inodes one is its own; without a second there is no lock, without a
    // third no socket.
    for (inodes, what) in [(1, "cannot lock"), (2, "cannot bind the socket")] {
        let (code, text) = start_with_inodes(inodes);
        assert_eq!(code, Some(1), "{text}");
        let error = text.lines().find(|line| line.starts_with("error: "));
        let error = error.unwrap_or_else(|| panic!("no reason is given: {text}"));
        assert!(error.contains(what) && error.contains("No space left"), "{error}");
    }
    assert!(Bus::open(&name).is_ok());
    assert!(racer.stop().parse::<u64>().unwrap() > 0);
}

/// Starts a daemon whose runtime directory is a file system of so many inodes; how it ends.
fn start_with_inodes(inodes: u32) -> (Option<i32>, String) {
    let scratch = Scratch::new();
    let run = scratch.join("run");
    std::fs::create_dir(&run).unwrap();
    let script =
        format!("mount -t tmpfs -o mode=700,nr_inodes={inodes} tmpfs \"$0\" && exec \"$@\"");
    let daemon = command(&run);
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["sh", "-c", &script]).arg(&run).arg(daemon.get_program()).args(daemon.get_args());
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("NOTIFY_SOCKET");
    let mut process = Leashed::spawn(command.stderr(Stdio::piped()));
    let status = eventually("the daemon's end", || process.try_wait().unwrap());
    let mut text = String::new();
    process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (status.code(), text)
}

/// Promise 5 (ARCHITECTURE.md).
#[test]
fn daemon_killed_again_and_again_stalls_nobody_and_leaves_whole_buses() {
    let mut daemon = Daemon::start();
    let (raced, piped) = (BusName::new(), BusName::new());
    daemon.create(&raced, ", \"capacity_frames\": 256");
    daemon.create(&piped, ", \"capacity_frames\": 64");
    let racer = Child::start(Task::Race, &raced);
    let consumer = Child::start(Task::Consume, &piped);
    let producer = Child::start(Task::Publish, &piped);
    let names: Arc<[BusName; NAMES]> = Arc::new(std::array::from_fn(|_| BusName::new()));
    let clients = Clients::start(&daemon, &names);
    for _ in 0..KILLS {
        // Somewhere in the middle of the clients' requests.
        std::thread::sleep(Duration::from_millis(20));
        daemon.kill();
        assert_flow(&raced);
        assert_flow(&piped);
        daemon = daemon.start_again();
    }
    let answered = clients.stop();
    assert!(answered > 0, "the clients were never answered");

    let list = daemon.get("/v1/buses").json();
    for name in names.iter().chain([&raced, &piped]) {
        let listed = |part: &str| {
            list[part].as_array().unwrap().iter().filter(|bus| bus["name"] == **name).count()
        };
        let there = usize::from(name.segment().exists());
        assert_eq!((listed("buses"), listed("unreadable")), (there, 0), "{list}");
        assert_eq!(Bus::open(name).is_ok(), there == 1);
    }
    assert!(racer.stop().parse::<u64>().unwrap() > 0);
    let sent = producer.stop();
    assert_eq!(consumer.stop(), sent);
}

/// Frames are published although no daemon runs.
fn assert_flow(name: &BusName) {
    let bus = Bus::open(name).unwrap();
    let before = bus.stat().published;
    eventually("frames while no daemon runs", || {
        (bus.stat().published > before + 100).then_some(())
    });
}

/// Two threads that create and remove buses; one that is not answered asks again.
struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<usize>>,
}

impl Clients {
    fn start(daemon: &Daemon, names: &Arc<[BusName; NAMES]>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..2).map(|first| {
            let (socket, names, told) = (daemon.socket(), Arc::clone(names), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut answered = 0;
                for turn in first.. {
                    // ORDERING: relaxed; nothing but the flag is told.
                    if told.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = &names[turn % NAMES];
                    let wish = format!("{{\"name\": \"{}\", \"capacity_frames\": 4}}", &**name);
                    let path = format!("/v1/buses/{}", &**name);
                    let created = exchange(&socket, "POST", "/v1/buses", &wish);
                    let removed = exchange(&socket, "DELETE", &path, "");
                    answered += usize::from(created.is_ok()) + usize::from(removed.is_ok());
                }
                answered
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    /// How many answers there were.
    fn stop(self) -> usize {
        // ORDERING: relaxed; nothing but the flag is told.
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    }
}
