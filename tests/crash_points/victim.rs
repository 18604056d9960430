//! The process that dies or stops: it runs the library that has crash points.

use std::time::Duration;

use busway_crashable::{
    Bus, CrashAction, CrashPoint, Error, PollError, PublishError, Start, Topology, Wait, arm,
};

/// The environment variable that says: bus, `lossless` or `lossy`, and what to do.
pub const ROLE: &str = "BUSWAY_TEST_CRASH_ROLE";
/// What the victim's frames begin with; a count follows.
pub const MARK: u8 = b'v';
/// Frames of one round: more than the bus holds.
pub const ROUND: u64 = 40;
/// Rounds of a victim.
const ROUNDS: u64 = 2;
/// Exit code of a victim that came to the end.
pub const DONE: i32 = 0;

/// Runs the role in the environment and ends the process; returns where there is none.
pub fn run_if_asked() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let mut words = role.split(' ');
    let bus = words.next().expect("a bus");
    let task = words.next().expect("a task");
    let point: Option<CrashPoint> = words.next().map(|name| name.parse().expect("a point"));
    let action = if words.next() == Some("stop") { CrashAction::Stop } else { CrashAction::Die };
    let result = if task == "corpse" {
        die(bus)
    } else if task == "dead-consumer" {
        let bus = Bus::open(bus).expect("the bus");
        let _consumer = bus.consumer().attach().expect("a seat");
        std::process::exit(DONE);
    } else {
        arm(point.expect("a point"), 1, action);
        act(bus)
    };
    match result {
        Ok(()) => std::process::exit(DONE),
        Err(error) => panic!("{error}"),
    }
}

/// Leaves two dead seats behind, and where there are tickets, one of them taken.
fn die(name: &str) -> Result<(), Error> {
    let bus = Bus::open(name)?;
    let _consumer = bus.consumer().attach()?;
    let mut producer = bus.producer().attach()?;
    if bus.info().topology == Topology::Ordered {
        arm(CrashPoint::TicketTaken, 1, CrashAction::Die);
        producer.try_publish_bytes(0, b"never")?;
    }
    // Without a word: nothing is dropped.
    std::process::exit(DONE);
}

/// Everything that a participant can do, twice.
fn act(name: &str) -> Result<(), Error> {
    let bus = Bus::open(name)?;
    for _ in 0..ROUNDS {
        bus.reclaim()?;
        let consumer = bus.consumer().start(Start::Oldest).wait(Wait::Parking);
        let mut consumer = consumer.attach()?;
        let mut producer = bus.producer().timeout(Some(Duration::from_millis(1))).attach()?;
        let mut number = 0_u64;
        while number < ROUND {
            number += publish(&mut producer, number)?;
            while read(&mut consumer)? {}
        }
        // Nothing is there any more: it sleeps.
        let waited = consumer.recv_timeout(Duration::from_millis(2));
        waited.map(|frame| frame.is_some()).or_else(leave)?;
    }
    let own = format!("{name}-own");
    Bus::options().lanes(1).capacity_frames(2).create(&own)?;
    Bus::remove(&own)
}

/// Publishes a frame or a batch, and returns how many; refusals are no errors, the bystander's
/// consumer may be slow.
fn publish(producer: &mut busway_crashable::Producer, number: u64) -> Result<u64, Error> {
    let published = if number % 4 == 3 {
        producer.claim_batch(2).and_then(|mut batch| {
            for index in 0..2 {
                let mut slot = batch.frame(index).expect("two frames are claimed");
                slot.payload_mut()[..9].copy_from_slice(&frame(number + u64::from(index)));
                slot.set_len(9)?;
            }
            batch.commit().map(|_| 2)
        })
    } else {
        producer.publish_bytes(1, &frame(number)).map(|_| 1)
    };
    match published {
        Ok(count) => Ok(count),
        Err(PublishError::Full | PublishError::TimedOut) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

pub fn frame(number: u64) -> [u8; 9] {
    let mut bytes = [MARK; 9];
    bytes[1..].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn read(consumer: &mut busway_crashable::Consumer) -> Result<bool, Error> {
    consumer.poll().map(|frame| frame.is_some()).or_else(leave)
}

/// An eviction is the bystander's right: the victim stood still.
fn leave(error: PollError) -> Result<bool, Error> {
    match error {
        PollError::Evicted { .. } => std::process::exit(DONE),
        PollError::Closed => Ok(false),
        error => Err(error.into()),
    }
}
