//! One point on one kind of bus: the bystander's side.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use busway::{Bus, Consumer, OnFull, PollError, Producer, PublishError, Topology};
use busway_crashable::{CrashAction, CrashPoint};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, waitid};

use crate::victim::{MARK, ROLE, ROUND};

/// How long anything may take before the test gives up. Nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(60);
const CAPACITY: u64 = 16;
/// Frames that the bystander has to get through while the victim is dead or stopped.
const FRAMES: u64 = 100;
/// The frame of whoever takes a lane at the end.
const SUCCESSOR: &[u8] = b"next tenant";
/// When a consumer that was stopped loses its place.
const EVICT_AFTER: Duration = Duration::from_millis(100);

/// What to try.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    pub topology: Topology,
    pub on_full: OnFull,
    pub point: CrashPoint,
    pub action: CrashAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The victim died or stopped at the point.
    Reached,
    /// It came to the end: the point is not on this kind of bus.
    NotThere,
}

/// A bus that is removed, whatever happens.
struct Scratch(String);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = Bus::remove(&self.0);
        let _own = Bus::remove(&format!("{}-own", self.0));
    }
}

/// A child that is ended, whatever happens.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

impl Experiment {
    /// Runs it.
    ///
    /// # Panics
    /// When anything is not as promised.
    pub fn run(self) -> Outcome {
        let name = format!("t-{}-{:?}", std::process::id(), std::thread::current().id());
        let scratch = Scratch(name.replace(['(', ')'], ""));
        let bus = self.options().create(&scratch.0).unwrap();
        // One lane: the bystander and the victim take turns on a `single` bus.
        let alone = self.topology == Topology::Single;
        let mut slow = None;
        if self.point == CrashPoint::EvictionMarked {
            slow = Some(bus.consumer().name("slow").attach().unwrap());
        }
        let mut reader = bus.consumer().name("bystander").attach().unwrap();
        let mut producer = (!alone).then(|| bus.producer().name("bystander").attach().unwrap());
        // After the bystander, who would clean up behind it.
        self.spawn(&scratch.0, "corpse").0.wait().unwrap();
        let mut victim = self.spawn(&scratch.0, "act");
        let mut seen = Seen::default();
        let reached = self.wait_for(&mut victim, &mut reader, &mut seen);
        drop(slow);

        if self.action == CrashAction::Die || !reached {
            let producer = producer.get_or_insert_with(|| self.attach(&bus));
            self.work(producer, &mut reader, &mut seen);
        } else if let Some(producer) = &mut producer {
            self.work(producer, &mut reader, &mut seen);
        }
        if reached && self.action == CrashAction::Stop {
            kill_process(pid(&victim.0), Signal::CONT).unwrap();
            let mut rest = || self.read_all(&mut reader, &mut seen);
            let status = wait_while(&mut victim.0, &mut rest);
            assert_eq!(status, Some(0), "{self:?}: the victim after it went on");
        }
        drop(producer);
        self.succeed(&bus, &mut reader, &mut seen);
        self.leaves_nothing(&bus, reader, &scratch.0);
        if reached { Outcome::Reached } else { Outcome::NotThere }
    }

    /// A recoverer that is stopped in the middle of giving a dead consumer's seat back, on a bus that
    /// evicts nobody: whoever is held up by the dead one goes on all the same.
    ///
    /// # Panics
    /// When it does not.
    pub fn run_beside_a_stopped_recoverer(self) {
        let scratch = Scratch(format!("t-{}-{}", std::process::id(), self.point.name()));
        let lanes = Bus::options().on_full(self.on_full).topology(self.topology).lanes(2);
        let bus = lanes.capacity_frames(CAPACITY).create(&scratch.0).unwrap();
        let mut reader = bus.consumer().name("bystander").attach().unwrap();
        let mut producer = bus.producer().name("bystander").attach().unwrap();
        assert!(self.spawn(&scratch.0, "dead-consumer").0.wait().unwrap().success());
        let mut seen = Seen::default();
        let mut recoverer = self.spawn(&scratch.0, "act");
        let stopped = self.wait_for(&mut recoverer, &mut reader, &mut seen);
        assert!(stopped, "{self:?}: the recoverer did not come to the point");
        self.work(&mut producer, &mut reader, &mut seen);
    }

    fn options(self) -> busway::BusOptions {
        let options = Bus::options()
            .topology(self.topology)
            .on_full(self.on_full)
            .lanes(if self.topology == Topology::Single { 1 } else { 3 })
            .capacity_frames(CAPACITY)
            .payload_bytes(16);
        let evicts = self.action == CrashAction::Stop || self.point == CrashPoint::EvictionMarked;
        let after = (evicts && self.on_full.is_lossless()).then_some(EVICT_AFTER);
        options.evict_after(after)
    }

    fn spawn(self, bus: &str, task: &str) -> Victim {
        let action = if self.action == CrashAction::Stop { "stop" } else { "die" };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["victim_runs", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{bus} {task} {} {action}", self.point.name()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Victim(child)
    }

    /// Reads until the victim is dead, stopped or done. `true`: at its point.
    fn wait_for(self, victim: &mut Victim, reader: &mut Consumer, seen: &mut Seen) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = look(&victim.0) {
                if status.exited() {
                    assert_eq!(status.exit_status(), Some(0), "{self:?}: the victim failed");
                }
                return !status.exited();
            }
            if !self.leaves_the_hole() {
                self.read_all(reader, seen);
            }
            assert!(Instant::now() < deadline, "{self:?}: the victim hangs");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Whether the hole that the corpse left in the order is for the victim to find.
    fn leaves_the_hole(self) -> bool {
        self.topology == Topology::Ordered
            && matches!(self.point, CrashPoint::HoleFound | CrashPoint::HolePunched)
    }

    /// A producer where the victim's was: its lane comes back without anybody's help.
    fn attach(self, bus: &Bus) -> Producer {
        bus.producer().name("successor").attach().unwrap_or_else(|error| {
            panic!("{self:?}: the dead one's lane does not come back: {error}");
        })
    }

    /// The bystander publishes and reads as if nothing had happened.
    fn work(self, producer: &mut Producer, reader: &mut Consumer, seen: &mut Seen) {
        let deadline = Instant::now() + PATIENCE;
        let mut published = 0;
        let start = seen.own;
        while seen.own < start + FRAMES {
            // Not so far ahead that a lossy bus drops them at a hole in the order.
            if published < FRAMES && start + published < seen.own + CAPACITY / 2 {
                match producer.try_publish_bytes(0, &(start + published).to_le_bytes()) {
                    Ok(_) => published += 1,
                    // A dead or evicted consumer in the way is found out about.
                    Err(PublishError::Full) => {}
                    Err(error) => panic!("{self:?}: {error}"),
                }
            }
            self.read_all(reader, seen);
            assert!(Instant::now() < deadline, "{self:?}: {seen:?}, {published} published");
        }
        assert_eq!(seen.own, start + FRAMES, "{self:?}: the bystander's own frames");
    }

    /// Every lane, the dead one's too, has a new tenant whose frames all arrive.
    fn succeed(self, bus: &Bus, reader: &mut Consumer, seen: &mut Seen) {
        let lanes = u64::from(bus.info().lanes);
        let mut tenants: Vec<_> = (0..lanes).map(|_| self.attach(bus)).collect();
        let deadline = Instant::now() + PATIENCE;
        for tenant in &mut tenants {
            while tenant.try_publish_bytes(0, SUCCESSOR) == Err(PublishError::Full) {
                self.read_all(reader, seen);
                assert!(Instant::now() < deadline, "{self:?}: a lane is full for ever");
            }
        }
        while seen.successors < lanes {
            self.read_all(reader, seen);
            assert!(Instant::now() < deadline, "{self:?}: {} of {lanes} seen", seen.successors);
        }
    }

    /// Reads what there is and checks each frame.
    fn read_all(self, reader: &mut Consumer, seen: &mut Seen) {
        loop {
            match reader.poll() {
                Ok(Some(frame)) => seen.note(frame.payload(), self),
                Ok(None) | Err(PollError::Closed) => break,
                Err(error) => panic!("{self:?}: {error}"),
            }
        }
        reader.release();
    }

    /// The dead one's seats can all be given back, and then nobody is there.
    fn leaves_nothing(self, bus: &Bus, reader: Consumer, name: &str) {
        drop(reader);
        bus.reclaim().unwrap();
        assert_eq!(bus.participants(), [], "{self:?}");
        let stat = bus.stat();
        assert_eq!(stat.corruptions, 0, "{self:?}");
        // What the victim made of its own is whole or not there.
        match Bus::open(&format!("{name}-own")) {
            Ok(own) => assert!(own.producer().attach().is_ok(), "{self:?}"),
            Err(error) => assert_eq!(error.code(), "not_found", "{self:?}: {error}"),
        }
    }
}

/// What the bystander has read.
#[derive(Debug, Default)]
struct Seen {
    /// Frames of its own, in order.
    own: u64,
    /// Frames of the tenants that came last.
    successors: u64,
    /// The victim's next number.
    victim: Option<u64>,
}

impl Seen {
    fn note(&mut self, payload: &[u8], experiment: Experiment) {
        if payload.len() == 8 {
            let number = u64::from_le_bytes(payload.try_into().unwrap());
            assert_eq!(number, self.own, "{experiment:?}: the bystander's frames");
            self.own += 1;
            return;
        }
        if payload == SUCCESSOR {
            self.successors += 1;
            return;
        }
        assert!(payload.len() == 9 && payload[0] == MARK, "{experiment:?}: {payload:?} is torn");
        let number = u64::from_le_bytes(payload[1..].try_into().unwrap());
        // Rounds start anew, and a lossy bus may drop some.
        let is_next = self.victim.is_none_or(|next| number == next)
            || number == 0
            || (!experiment.on_full.is_lossless() && number <= ROUND);
        assert!(is_next, "{experiment:?}: frame {number}, {:?} was expected", self.victim);
        self.victim = Some(number + 1);
    }
}

/// How the child ended or stopped, if it did. It stays to be waited for by its handle.
fn look(child: &Child) -> Option<WaitIdStatus> {
    let options = WaitIdOptions::EXITED
        | WaitIdOptions::STOPPED
        | WaitIdOptions::NOHANG
        | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid(child)), options).unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Calls `rest` until the child has ended; its exit code.
fn wait_while(child: &mut Child, rest: &mut dyn FnMut()) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        rest();
        assert!(Instant::now() < deadline, "the victim does not end");
        std::thread::sleep(Duration::from_micros(200));
    }
}
