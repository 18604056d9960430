//! A creator: makes and removes a bus of its own, all the time, and looks whether it is whole.

use super::board::Stage;
use super::plan::Sabotage;
use super::violation::Violation;
use super::worker::{Worker, failed};
use crate::bench::monotonic_ns;
use crate::exit::Failure;
use busway_crashable::{Bus, FrameLayout, Topology};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Makes and removes until it is told to leave.
pub fn run(worker: &mut Worker) -> Result<(), Failure> {
    worker.life().enter(Stage::Working);
    if worker.sabotages(Sabotage::Litter) {
        make(worker, &format!("{}-litter", worker.plan.bus))?;
    }
    while !worker.is_over(monotonic_ns()) {
        let name = worker.plan.bus.clone();
        match make(worker, &name)? {
            Some(bus) => use_once(worker, &bus)?,
            // The one before died between making it and removing it: it must be whole.
            None => drop(Bus::open(&name).map_err(failed("opening what was left"))?),
        }
        Bus::remove(&name).map_err(failed("removing"))?;
        if let Ok(bus) = Bus::open(&name) {
            let what = format!("{:?} is there after it was removed", bus.info());
            worker.report(Violation::LeakedSegment, &what)?;
        }
        // ORDERING: relaxed; a count.
        worker.life().deeds.fetch_add(1, Ordering::Relaxed);
        worker.note_hits();
        std::thread::sleep(Duration::from_micros(worker.random.any_size(5_000)));
    }
    Ok(())
}

/// Makes a bus of some shape. `None`: there is one of this name.
fn make(worker: &mut Worker, name: &str) -> Result<Option<Bus>, Failure> {
    let random = &mut worker.random;
    let topologies = [Topology::Single, Topology::Lanes, Topology::Ordered];
    let topology = random.one_of(&topologies).unwrap_or(Topology::Lanes);
    let frames = if random.percent(50) { FrameLayout::Bare } else { FrameLayout::Event };
    let lanes = if topology == Topology::Single { 1 } else { 4 };
    let options = Bus::options()
        .topology(topology)
        .frames(frames)
        .lanes(lanes)
        .consumers(4)
        .payload_bytes(16)
        .capacity_frames(1 << random.within(1, 8));
    match options.create(name) {
        Ok(bus) => Ok(Some(bus)),
        Err(error) if error.code() == "already_exists" => Ok(None),
        Err(error) => Err(failed("making a bus")(error)),
    }
}

/// Opens the bus by its name, and sends a frame through it.
fn use_once(worker: &mut Worker, made: &Bus) -> Result<(), Failure> {
    let bus = Bus::open(made.name()).map_err(failed("opening a new bus"))?;
    if bus.info() != made.info() {
        let what = format!("{:?} is opened where {:?} was made", bus.info(), made.info());
        worker.report(Violation::HalfMadeBus, &what)?;
    }
    let mut consumer = bus.consumer().attach().map_err(failed("attaching to a new bus"))?;
    let mut producer = bus.producer().attach().map_err(failed("attaching to a new bus"))?;
    let sent = [7_u8; 16];
    producer.publish_bytes(1, &sent).map_err(|error| failed("publishing")(error.into()))?;
    let received = consumer.poll().map_err(|error| failed("polling")(error.into()))?;
    if received.is_none_or(|frame| frame.payload() != sent) {
        worker.report(Violation::Lost, "the first frame of a new bus")?;
    }
    Ok(())
}
