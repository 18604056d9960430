//! Process numbers that name somebody else, other pid namespaces, and children without exec.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use busway::{Bus, PollError, PublishError, Role};
use nix::libc;

use crate::PATIENCE;
use crate::child::{Actor, Roles, namespaces, play, say, wait_for_end};
use crate::scratch::Name;

pub const ROLES: Roles = &[
    ("sit", sit),
    ("recover", recover),
    ("forked_killed", forked_killed),
    ("forked_uses", forked_uses),
    ("forked_faults", forked_faults),
    ("outlived", outlived),
];

/// Where the segment's header says that the control region begins, and where in it the first
/// producer's seat has its pid: docs/format.md, sections 3 and 8.
const CONTROL_OFFSET_AT: u64 = 232;
const FIRST_PID_AT: u64 = 384 + 8;

/// Writes another number into the seat of lane 0's producer.
fn rewrite_pid(name: &Name, pid: u32) {
    let file: File = OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
    let mut control = [0; 8];
    file.read_exact_at(&mut control, CONTROL_OFFSET_AT).unwrap();
    let at = u64::from_le_bytes(control) + FIRST_PID_AT;
    file.write_all_at(&pid.to_le_bytes(), at).unwrap();
}

/// The pid in the seat of lane 0's producer, and whether it is shown as alive.
fn shown(bus: &Bus) -> Option<(u32, bool)> {
    let stat = bus.stat();
    stat.lanes[0].producer.as_ref().map(|producer| (producer.pid, producer.alive))
}

fn small(name: &Name) -> Bus {
    Bus::options().lanes(1).consumers(1).capacity_frames(8).create(name).unwrap()
}

/// Reclaims until lane 0 is free.
fn recovered(bus: &Bus) -> Vec<busway::Reclaimed> {
    let start = Instant::now();
    let mut all = Vec::new();
    while bus.stat().lanes[0].producer.is_some() {
        all.extend(bus.reclaim().unwrap());
        assert!(start.elapsed() < PATIENCE, "the dead are not recovered");
    }
    all
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn number_that_names_somebody_alive_does_not_keep_a_dead_ones_seat() {
    let name = Name::new();
    let bus = small(&name);
    let mut peer = Actor::start("sit", &name);
    peer.hear().expect("a peer that sits");
    let alive = std::process::id();
    rewrite_pid(&name, alive);
    assert_eq!(shown(&bus), Some((alive, true)));
    peer.kill();
    // A daemon on this host may be faster; then there is nothing left to see.
    for seat in recovered(&bus) {
        assert_eq!((seat.role, seat.seat, seat.pid), (Role::Producer, 0, alive));
    }
    drop(bus.producer().attach().unwrap());
}

#[test]
fn number_of_a_dead_process_does_not_cost_a_living_one_its_seat() {
    let name = Name::new();
    let bus = small(&name);
    let mut peer = Actor::start("sit", &name);
    peer.hear().expect("a peer that sits");
    // No process of this number can be: it is above any limit of the kernel.
    let nobody = (1 << 22) + 1;
    rewrite_pid(&name, nobody);
    for _ in 0..100 {
        assert_eq!(bus.reclaim().unwrap(), []);
        assert_eq!(shown(&bus), Some((nobody, true)));
        assert_eq!(bus.producer().attach().unwrap_err().code(), "seats_taken");
    }
    peer.finish();
    assert_eq!(shown(&bus), None);
}

#[test]
fn peer_of_another_pid_namespace_is_shown_as_it_sees_itself_and_recovered() {
    let name = Name::new();
    let bus = small(&name);
    let mut peer = Actor::start_through(&namespaces(&["--pid"]), "sit", &name);
    let its_pid: u32 = peer.hear().expect("its number").parse().unwrap();
    assert_eq!(its_pid, 1, "the first of its namespace");
    assert_eq!(shown(&bus), Some((1, true)));
    assert_eq!(bus.reclaim().unwrap(), []);
    peer.kill();
    for seat in recovered(&bus) {
        assert_eq!((seat.role, seat.pid), (Role::Producer, 1));
    }
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn dead_of_this_pid_namespace_are_recovered_from_another() {
    let name = Name::new();
    let bus = small(&name);
    let mut dead = Actor::start("sit", &name);
    let its_pid = dead.hear().expect("its number");
    dead.kill();
    let mut peer = Actor::start_through(&namespaces(&["--pid"]), "recover", &name);
    let said = peer.hear().expect("whom it recovered");
    // Nobody, if a daemon on this host was faster.
    assert!(said == its_pid || said == "nobody", "{said}");
    assert_eq!(shown(&bus), None);
    peer.finish();
}

/// Attaches as a producer, says its number, and stays.
fn sit(name: &str) {
    let bus = Bus::open(name).unwrap();
    let producer = bus.producer().attach().unwrap();
    say(std::process::id());
    wait_for_end();
    drop(producer);
}

fn recover(name: &str) {
    let bus = Bus::open(name).unwrap();
    let start = Instant::now();
    let mut said = "nobody".to_owned();
    while bus.stat().lanes[0].producer.is_some() {
        for seat in bus.reclaim().unwrap() {
            said = seat.pid.to_string();
        }
        assert!(start.elapsed() < PATIENCE, "the dead are not recovered");
    }
    say(said);
}

#[test]
fn forked_child_that_is_killed_takes_nothing_with_it() {
    let name = Name::new();
    drop(small(&name));
    play("forked_killed", &name);
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn forked_child_cannot_publish_or_read_in_its_parents_name() {
    let name = Name::new();
    drop(small(&name));
    play("forked_uses", &name);
}

#[test]
fn seat_whose_holder_forked_is_recovered_when_the_child_has_ended_too() {
    let name = Name::new();
    let bus = small(&name);
    let mut parent = Actor::start("outlived", &name);
    let child: i32 = parent.hear().expect("the child's number").parse().unwrap();
    parent.kill();
    // The child has the parent's descriptors: until it ends nothing proves that nobody can store.
    assert_eq!(bus.reclaim().unwrap(), []);
    assert!(shown(&bus).is_some_and(|(_, alive)| alive));
    // SAFETY: takes numbers only. The child waits to be killed, so that the number is its own.
    assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
    recovered(&bus);
}

/// Runs in a forked child. Returns how the child ended, as waitpid(2) tells.
fn in_a_fork(work: impl FnOnce() -> bool) -> i32 {
    // SAFETY: what the child does in these tests glibc makes work after a fork of one thread.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        let done = work();
        // SAFETY: ends this process and runs nothing else of it.
        unsafe { libc::_exit(i32::from(!done)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above and writes the status given.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

fn forked_killed(name: &str) {
    let bus = Bus::open(name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    // SAFETY: ends the child by a signal.
    let status = in_a_fork(|| unsafe { libc::raise(libc::SIGKILL) } != 0);
    assert_eq!(libc::WTERMSIG(status), libc::SIGKILL);
    assert_eq!(bus.reclaim().unwrap(), []);
    assert_eq!(bus.participants().len(), 2);
    producer.publish_bytes(0, &[7]).unwrap();
    assert_eq!(consumer.poll().unwrap().unwrap().payload(), [7]);
}

fn forked_uses(name: &str) {
    let bus = Bus::open(name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    producer.publish_bytes(0, &[1]).unwrap();
    let before = bus.stat().published;
    // Each is asked for its name; a child that dies of a signal has none.
    let refused: [(&str, i32); 8] = [
        ("publish", in_a_fork(|| producer.publish_bytes(0, &[2]) == Err(PublishError::Forked))),
        ("claim", in_a_fork(|| producer.claim().err() == Some(PublishError::Forked))),
        ("drain", in_a_fork(|| producer.drain(Duration::ZERO).left == 0)),
        ("poll", in_a_fork(|| consumer.poll().err() == Some(PollError::Forked))),
        ("batch", in_a_fork(|| consumer.poll_batch(9, |_| ()).err() == Some(PollError::Forked))),
        (
            "recv",
            in_a_fork(|| {
                consumer.recv_timeout(Duration::from_secs(9)).err() == Some(PollError::Forked)
            }),
        ),
        (
            "release",
            in_a_fork(|| {
                consumer.release();
                consumer.lag() == 0
            }),
        ),
        // The handle itself holds no seat, and is the child's as well.
        (
            "bus",
            in_a_fork(|| {
                let refused = bus.producer().attach().map_err(|error| error.code());
                bus.stat().published == before && refused.is_err_and(|code| code == "seats_taken")
            }),
        ),
    ];
    assert!(refused.iter().all(|(_, end)| *end == 0), "{refused:?}");
    assert_eq!(bus.stat().published, before);
    assert_eq!(bus.participants().len(), 2);
    assert_eq!(consumer.poll().unwrap().unwrap().payload(), [1]);
    producer.publish_bytes(0, &[3]).unwrap();
    assert_eq!(consumer.poll().unwrap().unwrap().payload(), [3]);
}

#[test]
fn forked_child_dies_of_its_own_missing_pages_as_any_process() {
    let name = Name::new();
    drop(small(&name));
    play("forked_faults", &name);
}

/// Maps a file that is no bus where the parent's mappings were, cuts it short and touches it.
fn forked_faults(name: &str) {
    let bus = Bus::open(name).unwrap();
    let _producer = bus.producer().attach().unwrap();
    let _consumer = bus.consumer().attach().unwrap();
    let path = std::env::temp_dir().join(format!("busway-test-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    for pages in 0..24 {
        let status = in_a_fork(|| {
            file.set_len(4096).unwrap();
            // The holes are filled one after the other; the last page is the one that is touched.
            let mut page = std::ptr::null_mut();
            for _ in 0..=pages {
                let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
                let (fd, none) = (std::os::fd::AsRawFd::as_raw_fd(&file), std::ptr::null_mut());
                // SAFETY: no address is asked for.
                page = unsafe { libc::mmap(none, 4096, read, shared, fd, 0) };
            }
            file.set_len(0).unwrap();
            // SAFETY: mapped above; that the file is shorter now is what this is about.
            let _byte = unsafe { page.cast::<u8>().read_volatile() };
            true
        });
        assert_eq!(libc::WTERMSIG(status), libc::SIGBUS, "page {pages}");
    }
}

/// Attaches, forks, says the child's number, and stays, as the child does.
fn outlived(name: &str) {
    let bus = Bus::open(name).unwrap();
    let producer = bus.producer().attach().unwrap();
    // SAFETY: the child makes one system call until it is killed.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }
    say(child);
    wait_for_end();
    drop(producer);
}
