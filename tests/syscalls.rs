//! No system call in publish and poll under `busy`: a million of each, with the kernel as judge.
//!
//! A child process attaches, then gives up every system call but `write` and `exit_group` by a
//! seccomp filter that kills the process at any other, publishes and polls, and reports. That the
//! filter sees what it should is shown by children that do make a call.
//!
//! Reading the clock is no system call where the kernel's vDSO can read the counter itself. On a
//! machine where it cannot (an old virtual machine's clock source), the tests say so and let
//! `clock_gettime` pass, and nothing else.

mod scratch;

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use busway::{Bus, Consumer, OnFull, Producer, Start, Timestamps, Topology, Wait};
use nix::libc;
use scratch::Name;

/// Publishes and polls of each end, on a bus as it is by default.
const MILLION: u64 = 1_000_000;
/// The same where only the code before and after differs: the other stamps, the observer.
const SOME: u64 = 100_000;
/// What a child is to do, and on which bus.
const ROLE: &str = "BUSWAY_TEST_SYSCALLS_ROLE";
const BUS: &str = "BUSWAY_TEST_SYSCALLS_BUS";
const FRAMES: &str = "BUSWAY_TEST_SYSCALLS_FRAMES";
/// Set when the clock cannot be read without a system call.
const CLOCK: &str = "BUSWAY_TEST_SYSCALLS_CLOCK";
/// Frames in a batch, where batches are published.
const BATCH: u32 = 10;

/// From here on this thread dies, and its process with it, at any system call but these.
fn forbid_system_calls(but: &[libc::c_long]) {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf: 0,
        k,
    };
    // struct seccomp_data begins with the number of the call.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for number in but {
        // Equal: on to the next instruction, which allows. Otherwise: over it.
        program.push(libc::sock_filter {
            jf: 1,
            ..statement(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                u32::try_from(*number).unwrap(),
            )
        });
        program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: no memory is involved; without this an unprivileged process may not set a filter.
    let fixed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(fixed, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: `filter` and the program that it points to live until the call returns; the kernel
    // copies both.
    let set =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    // Freeing the program may be a system call already.
    std::mem::forget(program);
}

fn forbid_all() {
    let mut but = vec![libc::SYS_write, libc::SYS_exit_group];
    if std::env::var_os(CLOCK).is_some() {
        but.push(libc::SYS_clock_gettime);
    }
    forbid_system_calls(&but);
}

/// Says a word to the parent, with one `write`.
fn say(word: &str) {
    // SAFETY: the bytes live until the call returns.
    let written = unsafe { libc::write(1, word.as_ptr().cast(), word.len()) };
    assert_eq!(usize::try_from(written), Ok(word.len()));
}

/// Ends without running anything more.
fn finish(word: &str) -> ! {
    say(word);
    // SAFETY: ends the process; nothing after it relies on anything.
    unsafe { libc::_exit(0) }
}

fn producer(bus: &Bus) -> Producer {
    bus.producer().wait(Wait::Busy).attach().unwrap()
}

fn consumer(bus: &Bus) -> Consumer {
    bus.consumer().wait(Wait::Busy).attach().unwrap()
}

/// The number that a frame carries.
fn number(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
}

/// Both ends in one process, by single frames and by batches.
fn both_ends(bus: &Bus, frames: u64) -> ! {
    let (mut producer, mut consumer) = (producer(bus), consumer(bus));
    // Lossy batches are staged in a buffer that grows once, at the first.
    drop(producer.claim_batch(BATCH).unwrap());
    let mut seen = 0;
    forbid_all();
    for count in 0..frames / 2 {
        producer.publish_bytes(1, &count.to_le_bytes()).unwrap();
        let frame = consumer.poll().unwrap().unwrap();
        seen += u64::from(number(frame.payload()) == count);
        let nothing = consumer.poll().unwrap().is_none();
        seen -= u64::from(!nothing);
    }
    for _ in 0..frames / 2 / u64::from(BATCH) {
        producer.claim_batch(BATCH).unwrap().commit().unwrap();
        while consumer.poll_batch(4, |run| seen += run.len() as u64).unwrap() > 0 {}
    }
    finish(if seen == frames { "done\n" } else { "wrong\n" });
}

/// The producer of a pair: publishes when there is room, for as long as the consumer wants.
fn publishes(bus: &Bus, frames: u64) -> ! {
    let mut producer = producer(bus);
    // Told by the parent once the consumer has attached.
    forbid_all();
    let mut count = 0_u64;
    while count < frames {
        // A full lane is not the fast path: blocked, a producer asks the kernel now and then
        // whether who holds it up is alive.
        count += u64::from(producer.try_publish_bytes(1, &count.to_le_bytes()).is_ok());
        std::hint::spin_loop();
    }
    finish("done\n");
}

/// The consumer of a pair: every frame is read or counted as lost.
fn consumes(bus: &Bus, frames: u64) -> ! {
    let mut consumer = consumer(bus);
    say("ready\n");
    forbid_all();
    let (mut seen, mut next) = (0_u64, 0);
    while seen + consumer.lost() < frames {
        if let Some(frame) = consumer.poll().unwrap() {
            seen += u64::from(number(frame.payload()) >= next);
            next = number(frame.payload()) + 1;
        } else {
            std::hint::spin_loop();
        }
    }
    finish(if seen > 0 { "done\n" } else { "wrong\n" });
}

/// The observer costs no system call either.
fn observes(bus: &Bus, frames: u64) -> ! {
    let mut producer = producer(bus);
    let mut observer = bus.observer().start(Start::Latest).attach().unwrap();
    let mut seen = 0;
    forbid_all();
    for count in 0..frames {
        producer.publish_bytes(1, &count.to_le_bytes()).unwrap();
        seen += u64::from(observer.poll().unwrap().is_some());
        // A poll that finds nothing is one as well.
        seen += u64::from(observer.poll().unwrap().is_some());
    }
    finish(if seen == frames { "done\n" } else { "wrong\n" });
}

#[test]
fn child() {
    let (Ok(role), Ok(name)) = (std::env::var(ROLE), std::env::var(BUS)) else {
        return;
    };
    let frames = std::env::var(FRAMES).unwrap().parse().unwrap();
    let bus = || Bus::open(&name).unwrap();
    match role.as_str() {
        "both" => both_ends(&bus(), frames),
        "publish" => publishes(&bus(), frames),
        "consume" => consumes(&bus(), frames),
        "observe" => observes(&bus(), frames),
        "clock" => {
            let bus = bus();
            forbid_all();
            let _now = bus.now_ns();
            finish("done\n");
        }
        "call" => {
            forbid_all();
            // SAFETY: takes nothing and changes nothing.
            let _parent = unsafe { libc::getppid() };
            finish("done\n");
        }
        "attach" => {
            let bus = bus();
            forbid_all();
            let _producer = producer(&bus);
            finish("done\n");
        }
        other => panic!("no role {other:?}"),
    }
}

/// A child with a role, its standard output to be read.
fn spawn(role: &str, bus: &str, frames: u64, clock: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture"])
        .env(ROLE, role)
        .env(BUS, bus)
        .env(FRAMES, frames.to_string())
        .stdout(Stdio::piped());
    if clock {
        command.env(CLOCK, "1");
    }
    command.spawn().unwrap()
}

/// Waits for a child; how it ended, and whether it said "done".
fn end(mut child: Child) -> (ExitStatus, bool) {
    let output = BufReader::new(child.stdout.take().unwrap());
    let done = output.lines().map_while(Result::ok).any(|line| line.ends_with("done"));
    (child.wait().unwrap(), done)
}

fn assert_clean(child: Child, what: &str) {
    let (status, done) = end(child);
    let killed = status.signal() == Some(libc::SIGSYS);
    assert!(!killed, "{what}: a system call on the fast path");
    assert!(status.success() && done, "{what}: {status}, done: {done}");
}

/// One test at a time: children that spin are slow when they share their cores with others.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether reading the clock takes a system call here.
fn clock_is_a_call() -> bool {
    let name = Name::new();
    let _bus = Bus::options().capacity_frames(2).create(&name).unwrap();
    let (status, done) = end(spawn("clock", &name, 0, false));
    let call = status.signal() == Some(libc::SIGSYS);
    assert_ne!(call, done, "{status}");
    if call {
        eprintln!("this machine's clock is not in the vDSO: clock_gettime is let through");
    }
    call
}

/// Every topology, lossless with lanes of so many frames and lossy, with a name for messages.
fn buses(timestamps: Timestamps, lossless: u64) -> impl Iterator<Item = (String, Name)> {
    let topologies = [Topology::Single, Topology::Lanes, Topology::Ordered];
    let all = topologies
        .map(|topology| [OnFull::Block, OnFull::DropOldest].map(|on_full| (topology, on_full)));
    all.into_iter().flatten().map(move |(topology, on_full)| {
        let name = Name::new();
        let capacity = if on_full == OnFull::Block { lossless } else { 1 << 10 };
        let mut options = Bus::options()
            .topology(topology)
            .on_full(on_full)
            .timestamps(timestamps)
            .capacity_frames(capacity);
        if topology != Topology::Single {
            options = options.lanes(4);
        }
        drop(options.create(&name).unwrap());
        (format!("{topology} {on_full} {timestamps}"), name)
    })
}

#[test]
fn filter_kills_at_a_system_call() {
    let name = Name::new();
    let _bus = Bus::options().capacity_frames(2).create(&name).unwrap();
    for role in ["call", "attach"] {
        let (status, done) = end(spawn(role, &name, 0, false));
        assert_eq!((status.signal(), done), (Some(libc::SIGSYS), false), "{role}");
    }
}

#[test]
fn one_process_publishes_and_polls_without_a_system_call() {
    let _alone = alone();
    let clock = clock_is_a_call();
    for (timestamps, frames) in
        [(Timestamps::Batch, MILLION), (Timestamps::Off, SOME), (Timestamps::Frame, SOME)]
    {
        for (what, name) in buses(timestamps, 1 << 14) {
            assert_clean(spawn("both", &name, frames, clock), &what);
        }
    }
}

#[test]
fn ten_million_frames_take_no_system_call() {
    let _alone = alone();
    let (what, name) = buses(Timestamps::Off, 1 << 14)
        .find(|(what, _)| what.contains("lanes") && what.contains("block"))
        .expect("a lossless bus of lanes");
    assert_clean(spawn("both", &name, 10 * MILLION, false), &what);
}

#[test]
fn two_processes_publish_and_poll_without_a_system_call() {
    let _alone = alone();
    let clock = clock_is_a_call();
    // A ring that is never full: who finds it full for milliseconds asks the kernel why.
    for (what, name) in buses(Timestamps::Batch, 1 << 20) {
        let mut consumer = spawn("consume", &name, MILLION, clock);
        let mut output = BufReader::new(consumer.stdout.take().unwrap());
        let mut line = String::new();
        while !line.ends_with("ready\n") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "{what}: the consumer is gone");
        }
        consumer.stdout = Some(output.into_inner());
        let producer = spawn("publish", &name, MILLION, clock);
        assert_clean(producer, &format!("producer, {what}"));
        assert_clean(consumer, &format!("consumer, {what}"));
    }
}

#[test]
fn observer_polls_without_a_system_call() {
    let _alone = alone();
    let clock = clock_is_a_call();
    for (what, name) in buses(Timestamps::Off, 1 << 14) {
        assert_clean(spawn("observe", &name, SOME, clock), &what);
    }
}
