//! Several buses waited for at once: none is missed, none is starved, and each says once what became of it.

use std::thread;
use std::time::{Duration, Instant};

use busway::{Bus, Consumer, PollError, Wait, WaitSet, Waitable};

mod scratch;
use scratch::Name;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

fn bus() -> (Name, Bus) {
    let name = Name::new();
    let options = Bus::options().capacity_frames(64).payload_bytes(16).consumers(64);
    let bus = options.create(&name).unwrap();
    (name, bus)
}

fn next(set: &mut WaitSet, ends: &mut [&mut dyn Waitable]) -> usize {
    set.wait(ends, Some(PATIENCE)).expect("something within a minute")
}

#[test]
fn end_with_a_frame_is_found_wherever_it_stands() {
    let (_names, buses): (Vec<_>, Vec<_>) = (0..3).map(|_| bus()).unzip();
    let mut ends: Vec<Consumer> =
        buses.iter().map(|bus| bus.consumer().attach().unwrap()).collect();
    let mut producers: Vec<_> = buses.iter().map(|bus| bus.producer().attach().unwrap()).collect();
    let mut set = WaitSet::new();
    for turn in [2, 0, 1, 1, 0, 2] {
        producers[turn].publish_bytes(7, b"here").unwrap();
        let mut all: Vec<&mut dyn Waitable> = Vec::new();
        all.extend(ends.iter_mut().map(|end| end as &mut dyn Waitable));
        assert_eq!(next(&mut set, &mut all), turn);
        // Named until it is polled.
        assert_eq!(next(&mut set, &mut all), turn);
        assert_eq!(ends[turn].poll().unwrap().unwrap().payload(), b"here");
    }
    let mut all: Vec<&mut dyn Waitable> = Vec::new();
    all.extend(ends.iter_mut().map(|end| end as &mut dyn Waitable));
    assert_eq!(set.poll(&mut all), None);
    assert_eq!(set.wait(&mut all, Some(Duration::from_millis(5))), None);
    assert_eq!(set.wait(&mut [], None), None, "nobody to wait for");
}

#[test]
fn flood_on_one_bus_does_not_starve_another() {
    let ((_a, flooded), (_b, quiet)) = (bus(), bus());
    let (mut many, mut one) =
        (flooded.consumer().attach().unwrap(), quiet.consumer().attach().unwrap());
    let (mut flood, mut drop) =
        (flooded.producer().attach().unwrap(), quiet.producer().attach().unwrap());
    let mut set = WaitSet::new();
    for _ in 0..64 {
        flood.publish_bytes(0, b"x").unwrap();
    }
    assert_eq!(next(&mut set, &mut [&mut many, &mut one]), 0);
    drop.publish_bytes(0, b"y").unwrap();
    // The flooded one still has 64 frames; the other has its turn all the same, and then the flooded.
    assert_eq!(next(&mut set, &mut [&mut many, &mut one]), 1);
    assert_eq!(next(&mut set, &mut [&mut many, &mut one]), 0);
}

/// Two threads hand a frame to and fro, each over a bus picked by the round. A wake that is missed costs
/// 50 ms, so missing them would use the patience up.
#[test]
fn sleepers_are_woken_from_any_of_their_buses() {
    const ROUNDS: u64 = 20_000;
    let (_names, buses): (Vec<_>, Vec<_>) = (0..6).map(|_| bus()).unzip();
    let deadline = Instant::now() + PATIENCE;
    let player = |from: &[Bus], to: &[Bus], serves: bool| {
        let mut ends: Vec<Consumer> =
            from.iter().map(|bus| bus.consumer().attach().unwrap()).collect();
        let mut outs: Vec<_> = to.iter().map(|bus| bus.producer().attach().unwrap()).collect();
        move || {
            let mut set = WaitSet::with_wait(Wait::Parking);
            for round in 0..ROUNDS {
                let turn = usize::try_from(round * 7 % 3).unwrap();
                if serves {
                    outs[turn].publish_bytes(0, &round.to_le_bytes()).unwrap();
                }
                let mut all: Vec<&mut dyn Waitable> = Vec::new();
                all.extend(ends.iter_mut().map(|end| end as &mut dyn Waitable));
                let found = set.wait(&mut all, Some(PATIENCE)).expect("the ball");
                let frame = ends[found].poll().unwrap().expect("a frame of who is named");
                assert_eq!((found, frame.payload()), (turn, &round.to_le_bytes()[..]));
                assert!(Instant::now() < deadline, "wakes are missed");
                if !serves {
                    outs[turn].publish_bytes(0, &round.to_le_bytes()).unwrap();
                }
            }
        }
    };
    let (left, right) = buses.split_at(3);
    let mut first = player(left, right, true);
    let second = player(right, left, false);
    let second = thread::spawn(second);
    first();
    second.join().unwrap();
}

#[test]
fn closed_bus_is_named_once_until_somebody_attaches() {
    let (_name, bus) = bus();
    let mut end = bus.consumer().attach().unwrap();
    let mut set = WaitSet::new();
    for _ in 0..2 {
        let mut producer = bus.producer().attach().unwrap();
        assert_eq!(set.poll(&mut [&mut end]), None);
        producer.publish_bytes(0, b"last").unwrap();
        drop(producer);
        assert_eq!(next(&mut set, &mut [&mut end]), 0);
        assert_eq!(end.poll().unwrap().unwrap().payload(), b"last");
        assert_eq!(next(&mut set, &mut [&mut end]), 0);
        assert_eq!(end.poll().err(), Some(PollError::Closed));
        assert_eq!(set.poll(&mut [&mut end]), None, "it was told");
    }
}

#[test]
fn removed_bus_is_named_each_time() {
    let ((name, bus), (_other, quiet)) = (bus(), bus());
    let (mut end, mut other) =
        (bus.consumer().attach().unwrap(), quiet.consumer().attach().unwrap());
    let mut set = WaitSet::new();
    Bus::remove(&name).unwrap();
    for _ in 0..3 {
        assert_eq!(next(&mut set, &mut [&mut other, &mut end]), 1);
        assert_eq!(end.poll().err(), Some(PollError::Removed));
    }
}

#[test]
fn more_ends_than_the_kernel_waits_for_are_waited_for() {
    let (_names, buses): (Vec<_>, Vec<_>) = (0..3).map(|_| bus()).unzip();
    let attach = |bus: &Bus| bus.consumer().attach().unwrap();
    let mut ends: Vec<Consumer> =
        buses.iter().flat_map(|bus| (0..44).map(move |_| attach(bus))).collect();
    let mut producers: Vec<_> = buses.iter().map(|bus| bus.producer().attach().unwrap()).collect();
    let publisher = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        producers[2].publish_bytes(0, b"late").unwrap();
        producers
    });
    let mut set = WaitSet::with_wait(Wait::Parking);
    let mut all: Vec<&mut dyn Waitable> = Vec::new();
    all.extend(ends.iter_mut().map(|end| end as &mut dyn Waitable));
    assert!(next(&mut set, &mut all) >= 88);
    publisher.join().unwrap();
}
