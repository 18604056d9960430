//! What a child does between its two marks, and what it says about it.

use std::fmt;
use std::time::{Duration, Instant};

use busway::{Bus, Error, PublishError, Start, Wait};
use busway_faults::mark;
use nix::libc;

use crate::{PATIENCE, peer};

/// The environment of a child.
pub const ROLE: &str = "BUSWAY_TEST_FAULTS_ROLE";
pub const BUS: &str = "BUSWAY_TEST_FAULTS_BUS";
/// What every line that a child says starts with; the test harness in it writes lines of its own.
pub const SAID: &str = "@@";
/// The roles that are no operation: a peer, and a process that dies in its seats.
pub const PEER: &str = "peer";
pub const DIE: &str = "die";

/// Frames that an operation publishes or reads.
const FRAMES: u64 = 4;
/// How long the waits of the operations are.
const WAIT: Duration = Duration::from_millis(25);

/// What is done under faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    CreateUnlessThere,
    AcceptExisting,
    Open,
    List,
    Observe,
    Produce,
    Consume,
    WaitForFrame,
    WaitForRoom,
    Wake,
    Reclaim,
    AttachOverDead,
    Remove,
}

use Operation::{
    AcceptExisting, AttachOverDead, Consume, Create, CreateUnlessThere, List, Observe, Open,
    Produce, Reclaim, Remove, WaitForFrame, WaitForRoom, Wake,
};

const ALL: [Operation; 14] = [
    Create,
    CreateUnlessThere,
    AcceptExisting,
    Open,
    List,
    Observe,
    Produce,
    Consume,
    WaitForFrame,
    WaitForRoom,
    Wake,
    Reclaim,
    AttachOverDead,
    Remove,
];

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The options that `Create` and its like ask for.
pub fn options() -> busway::BusOptions {
    Bus::options().lanes(2).consumers(2).capacity_frames(4).payload_bytes(8)
}

/// Plays the role in the environment, if there is one.
pub fn run_if_asked() {
    let (Ok(role), Ok(name)) = (std::env::var(ROLE), std::env::var(BUS)) else {
        return;
    };
    match role.as_str() {
        PEER => peer::run(&name),
        DIE => die(&name),
        role => {
            let operation = ALL.into_iter().find(|operation| operation.to_string() == role);
            run(operation.unwrap_or_else(|| panic!("no role {role:?}")), &name);
        }
    }
}

/// Does it between two marks, and says what came of it and what was not given back.
fn run(operation: Operation, name: &str) {
    let mut prepared = Prepared::of(operation, name);
    let before = held();
    mark();
    let result = prepared.perform(operation, name);
    mark();
    let after = held();
    match result {
        Ok(()) => println!("{SAID}ok"),
        Err(error) => println!("{SAID}{}: {error}", error.code()),
    }
    if after != before {
        println!("{SAID}leak: {after:?} where there was {before:?}");
    }
    prepared.check(operation);
}

/// Open descriptors, and mappings of shared memory.
fn held() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (descriptors, maps.lines().filter(|line| line.contains("/dev/shm/")).count())
}

/// What exists before the first mark.
struct Prepared {
    bus: Option<Bus>,
    producer: Option<busway::Producer>,
    consumer: Option<busway::Consumer>,
    sleeper: Option<std::thread::JoinHandle<(busway::Consumer, bool)>>,
}

impl Prepared {
    fn of(operation: Operation, name: &str) -> Self {
        let mut prepared = Self { bus: None, producer: None, consumer: None, sleeper: None };
        if matches!(operation, Create | CreateUnlessThere | AcceptExisting | Open | List | Remove) {
            return prepared;
        }
        let bus = Bus::open(name).unwrap();
        let consumer = || bus.consumer().wait(Wait::Parking).attach().unwrap();
        let producer = || bus.producer().wait(Wait::Parking).timeout(Some(WAIT)).attach().unwrap();
        match operation {
            WaitForFrame => prepared.consumer = Some(consumer()),
            WaitForRoom => {
                prepared.consumer = Some(consumer());
                let mut producer = producer();
                while producer.try_publish_bytes(0, &[0]).is_ok() {}
                prepared.producer = Some(producer);
            }
            Wake => {
                let mut consumer = consumer();
                prepared.producer = Some(producer());
                prepared.sleeper = Some(std::thread::spawn(move || {
                    let is_woken = consumer.recv_timeout(PATIENCE).is_ok_and(|got| got.is_some());
                    // It stays attached until what is held has been counted.
                    (consumer, is_woken)
                }));
                // Long enough for it to fall asleep; should it be awake, nobody has to be woken.
                std::thread::sleep(WAIT);
            }
            _ => {}
        }
        prepared.bus = Some(bus);
        prepared
    }

    fn perform(&mut self, operation: Operation, name: &str) -> Result<(), Error> {
        let bus = self.bus.as_ref();
        match operation {
            Create => options().create(name).map(drop),
            CreateUnlessThere | AcceptExisting => {
                options().if_not_exists(true).create(name).map(drop)
            }
            Open => Bus::open(name).map(drop),
            List => Bus::list().map(|names| assert!(names.iter().any(|listed| listed == name))),
            Observe => observe(bus.unwrap()),
            Produce | AttachOverDead => produce(bus.unwrap()),
            Consume => consume(bus.unwrap()),
            WaitForFrame => wait_for_frame(self.consumer.as_mut().unwrap()),
            WaitForRoom => wait_for_room(self.producer.as_mut().unwrap()),
            Wake => self
                .producer
                .as_mut()
                .unwrap()
                .publish_bytes(0, &[1])
                .map(drop)
                .map_err(Error::from),
            Reclaim => bus.unwrap().reclaim().map(drop),
            Remove => Bus::remove(name),
        }
    }

    /// What must be true after the operation besides its result.
    fn check(self, operation: Operation) {
        if operation == Wake {
            assert!(self.sleeper.unwrap().join().unwrap().1, "the sleeper is not woken");
        }
    }
}

fn produce(bus: &Bus) -> Result<(), Error> {
    let mut producer = bus.producer().timeout(Some(PATIENCE)).attach()?;
    for number in 0..FRAMES {
        producer.publish_bytes(0, &number.to_le_bytes())?;
    }
    producer.detach();
    Ok(())
}

fn consume(bus: &Bus) -> Result<(), Error> {
    let mut consumer = bus.consumer().attach()?;
    let mut next = None;
    for _ in 0..FRAMES {
        let frame = consumer.recv_timeout(PATIENCE)?.expect("a peer that publishes");
        assert!(next.is_none_or(|next| frame.position() == next), "a gap");
        next = Some(frame.position() + 1);
    }
    consumer.detach();
    Ok(())
}

fn observe(bus: &Bus) -> Result<(), Error> {
    let mut observer = bus.observer().start(Start::Latest).attach()?;
    for _ in 0..FRAMES {
        observer.recv_timeout(PATIENCE)?.expect("a peer that publishes");
    }
    Ok(())
}

fn wait_for_frame(consumer: &mut busway::Consumer) -> Result<(), Error> {
    let start = Instant::now();
    assert!(consumer.recv_timeout(WAIT)?.is_none(), "nobody publishes");
    assert!(start.elapsed() >= WAIT, "the time was not over");
    Ok(())
}

fn wait_for_room(producer: &mut busway::Producer) -> Result<(), Error> {
    let start = Instant::now();
    match producer.publish_bytes(0, &[0]) {
        Err(PublishError::TimedOut) => {}
        Ok(position) => panic!("there was room for {position}"),
        Err(error) => return Err(error.into()),
    }
    assert!(start.elapsed() >= WAIT, "the time was not over");
    Ok(())
}

/// Attaches both ends and dies in their seats.
fn die(name: &str) {
    let bus = Bus::open(name).unwrap();
    let _ends = (bus.producer().attach().unwrap(), bus.consumer().attach().unwrap());
    // SAFETY: ends this process.
    unsafe { libc::raise(libc::SIGKILL) };
}
