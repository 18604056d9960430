//! Several buses, groups and tables waited for at once: none is missed, none is starved, and each says once
//! what became of it.

use std::thread;
use std::time::{Duration, Instant};

use busway::{
    Bus, Consumer, Delivery, Group, PollError, Table, TableError, Timer, Wait, WaitSet, Waitable,
};

mod scratch;
use scratch::{Name, table};

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
    let mut second = player(right, left, false);
    // Its ends are kept until both are done: with the last ball under way, closed buses would be named too.
    let second = thread::spawn(move || {
        second();
        second
    });
    first();
    second.join().map(drop).unwrap();
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

/// A group on a bus of its own; its dead letters go with the bus.
fn group(delivery: Delivery) -> (Name, Bus, Group) {
    let (name, bus) = bus();
    let group = bus.group("g").delivery(delivery).max_attempts(0).create().unwrap();
    (name, bus, group)
}

#[test]
fn member_and_table_are_found_beside_a_consumer_wherever_they_stand() {
    let ((_a, bus), (_b, work, group), (_c, table)) =
        (bus(), group(Delivery::AtLeastOnce), table());
    let mut consumer = bus.consumer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    let mut watch = table.reader().attach().unwrap().watch();
    let mut one = table.reader().attach().unwrap().watch_key(7).unwrap();
    let (mut frames, mut tasks) =
        (bus.producer().attach().unwrap(), work.producer().attach().unwrap());
    let mut writer = table.writer().attach().unwrap();
    let mut set = WaitSet::new();
    for round in 1..=3_u64 {
        assert_eq!(set.poll(&mut [&mut consumer, &mut member, &mut watch, &mut one]), None);
        tasks.publish_bytes(1, b"task").unwrap();
        for _ in 0..2 {
            // Named until it is polled, and claimed once.
            let found = next(&mut set, &mut [&mut consumer, &mut member, &mut watch, &mut one]);
            assert_eq!(found, 1);
        }
        let receipt = member.poll().unwrap().expect("a frame of who is named").receipt();
        member.ack(receipt).unwrap();
        writer.set_bytes(8, b"other").unwrap();
        assert_eq!(next(&mut set, &mut [&mut consumer, &mut member, &mut watch, &mut one]), 2);
        let entry = watch.poll().unwrap().expect("a change of what is named");
        assert_eq!((entry.key(), entry.version()), (8.into(), round));
        frames.publish_bytes(1, b"frame").unwrap();
        assert_eq!(next(&mut set, &mut [&mut consumer, &mut member, &mut watch, &mut one]), 0);
        assert_eq!(consumer.poll().unwrap().unwrap().payload(), b"frame");
        writer.set_bytes(7, b"own").unwrap();
        assert_eq!(next(&mut set, &mut [&mut consumer, &mut member, &mut one]), 2);
        assert_eq!(one.poll().unwrap().unwrap().bytes(), b"own");
        assert_eq!(watch.poll().unwrap().unwrap().key(), 7.into());
    }
    assert_eq!((member.claimed(), member.acknowledged()), (3, 3));
}

#[test]
fn flood_of_any_kind_does_not_starve_the_others() {
    let ((_a, bus), (_b, work, group), (_c, table)) =
        (bus(), group(Delivery::AtLeastOnce), table());
    let mut consumer = bus.consumer().attach().unwrap();
    let mut member = group.member().batch(4).attach().unwrap();
    let mut watch = table.reader().attach().unwrap().watch();
    let (mut frames, mut tasks) =
        (bus.producer().attach().unwrap(), work.producer().attach().unwrap());
    let mut writer = table.writer().attach().unwrap();
    let mut set = WaitSet::new();
    let mut named = [0; 3];
    for round in 0..300_u64 {
        // All three have more than is taken of them.
        while frames.try_publish_bytes(0, b"x").is_ok() {}
        while tasks.try_publish_bytes(0, b"x").is_ok() {}
        for key in 0..64 {
            writer.set_bytes(key, &round.to_le_bytes()).unwrap();
        }
        let found = next(&mut set, &mut [&mut consumer, &mut member, &mut watch]);
        named[found] += 1;
        match found {
            0 => assert!(consumer.poll().unwrap().is_some()),
            1 => {
                let receipt = member.poll().unwrap().unwrap().receipt();
                member.ack(receipt).unwrap();
            }
            _ => assert!(watch.poll().unwrap().is_some()),
        }
    }
    assert_eq!(named, [100; 3], "each has its turn");
}

/// As for buses: who misses wakes uses the patience up.
#[test]
fn sleeper_is_woken_by_bus_group_and_table() {
    const ROUNDS: u64 = 3_000;
    let ((_a, bus), (_b, work, group), (_c, table)) = (bus(), group(Delivery::AtMostOnce), table());
    let ((_d, back), deadline) = (self::bus(), Instant::now() + PATIENCE);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    // Another one of the group sleeps on the same bell, and takes what it gets.
    let mut idle = group.member().attach().unwrap();
    let mut watch = table.reader().attach().unwrap().watch();
    let mut one = table.reader().attach().unwrap().watch_key(1).unwrap();
    let mut told = back.consumer().attach().unwrap();
    let mut tell = back.producer().attach().unwrap();
    let (mut frames, mut tasks) =
        (bus.producer().attach().unwrap(), work.producer().attach().unwrap());
    let mut writer = table.writer().attach().unwrap();
    let player = thread::spawn(move || {
        let mut set = WaitSet::with_wait(Wait::Parking);
        for _ in 0..ROUNDS {
            let mut ends: [&mut dyn Waitable; 5] =
                [&mut consumer, &mut member, &mut idle, &mut watch, &mut one];
            match set.wait(&mut ends, Some(PATIENCE)).expect("the ball") {
                0 => assert!(consumer.poll().unwrap().is_some()),
                1 => assert!(member.poll().unwrap().is_some()),
                2 => assert!(idle.poll().unwrap().is_some()),
                3 => assert!(watch.poll().unwrap().is_some()),
                _ => assert!(one.poll().unwrap().is_some()),
            }
            assert!(Instant::now() < deadline, "wakes are missed");
            tell.publish_bytes(0, b"").unwrap();
        }
    });
    for round in 0..ROUNDS {
        // So that the other is asleep.
        thread::sleep(Duration::from_micros(400));
        match round % 3 {
            0 => {
                frames.publish_bytes(0, b"").unwrap();
            }
            1 => {
                tasks.publish_bytes(0, b"").unwrap();
            }
            // Of a key that only the watch of all looks at.
            _ => {
                writer.set_bytes(2, b"").unwrap();
            }
        }
        told.recv_timeout(PATIENCE).unwrap().expect("the ball");
    }
    player.join().unwrap();
}

/// One end a set, so that who is not woken sleeps for as long as it may, also where the kernel cannot sleep on
/// several words.
#[test]
fn watches_are_woken_by_all_keys_and_by_their_own() {
    const ROUNDS: u64 = 1_200;
    let ((_a, table), (_b, back)) = (table(), bus());
    let deadline = Instant::now() + PATIENCE;
    let mut told = back.consumer().attach().unwrap();
    let mut writer = table.writer().attach().unwrap();
    writer.set_bytes(1, b"old").unwrap();
    let all = table.reader().attach().unwrap().watch();
    let one = table.reader().attach().unwrap().watch_key(1).unwrap();
    // Not written yet: it waits for any key, until it is.
    let later = table.reader().attach().unwrap().watch_key(2).unwrap();
    thread::scope(|scope| {
        for (mut watch, changes) in [(all, 2 * ROUNDS), (one, ROUNDS), (later, ROUNDS)] {
            let mut tell = back.producer().attach().unwrap();
            watch.skip().unwrap();
            scope.spawn(move || {
                let mut set = WaitSet::with_wait(Wait::Parking);
                for _ in 0..changes {
                    assert_eq!(next(&mut set, &mut [&mut watch]), 0);
                    assert!(watch.poll().unwrap().is_some(), "a change of what is named");
                    tell.publish_bytes(0, b"").unwrap();
                }
            });
        }
        for key in (0..ROUNDS).flat_map(|_| [1, 2]) {
            // So that all are asleep.
            thread::sleep(Duration::from_micros(400));
            writer.set_bytes(key, b"").unwrap();
            // The watch of all keys tells, and the key's own.
            for _ in 0..2 {
                told.recv_timeout(PATIENCE).unwrap().expect("a word of each");
            }
            assert!(Instant::now() < deadline, "wakes are missed");
        }
    });
}

/// The members of a group share a bell, and say with one bit that they sleep. One that is woken by something
/// else must not take that back for the others.
#[test]
fn member_that_wakes_for_another_bus_leaves_the_others_their_wake() {
    const ROUNDS: u64 = 3_000;
    let ((_a, bus), (_b, work, group), (_c, back)) =
        (self::bus(), group(Delivery::AtMostOnce), self::bus());
    let deadline = Instant::now() + PATIENCE;
    let mut told = back.consumer().attach().unwrap();
    let mut tell = [back.producer().attach().unwrap(), back.producer().attach().unwrap()];
    let (mut frames, mut tasks) =
        (bus.producer().attach().unwrap(), work.producer().attach().unwrap());
    let (mut consumer, mut busy) =
        (bus.consumer().attach().unwrap(), group.member().attach().unwrap());
    let mut asleep = group.member().attach().unwrap();
    let (next_round, rounds) = std::sync::mpsc::channel::<()>();
    thread::scope(|scope| {
        let [tell_first, tell_second] = &mut tell;
        scope.spawn(move || {
            let mut set = WaitSet::with_wait(Wait::Parking);
            while rounds.recv().is_ok() {
                assert_eq!(next(&mut set, &mut [&mut consumer, &mut busy]), 0);
                assert!(consumer.poll().unwrap().is_some());
                tell_first.publish_bytes(1, b"").unwrap();
            }
        });
        scope.spawn(move || {
            let mut set = WaitSet::with_wait(Wait::Parking);
            for _ in 0..ROUNDS {
                assert_eq!(next(&mut set, &mut [&mut asleep]), 0);
                assert!(asleep.poll().unwrap().is_some());
                tell_second.publish_bytes(2, b"").unwrap();
            }
        });
        for _ in 0..ROUNDS {
            next_round.send(()).unwrap();
            // So that both are asleep.
            thread::sleep(Duration::from_micros(400));
            frames.publish_bytes(0, b"").unwrap();
            assert_eq!(told.recv_timeout(PATIENCE).unwrap().expect("the ball").kind(), 1);
            tasks.publish_bytes(0, b"").unwrap();
            assert_eq!(told.recv_timeout(PATIENCE).unwrap().expect("the ball").kind(), 2);
            assert!(Instant::now() < deadline, "wakes are missed");
        }
        drop(next_round);
    });
}

#[test]
fn look_settles_nothing_and_a_dropped_member_gives_back_what_it_claimed() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let (_name, bus, group) = group(delivery);
        let mut producer = bus.producer().attach().unwrap();
        for _ in 0..3 {
            producer.publish_bytes(0, b"task").unwrap();
        }
        let mut first = group.member().attach().unwrap();
        let mut set = WaitSet::new();
        for _ in 0..5 {
            assert_eq!(set.poll(&mut [&mut first]), Some(0));
        }
        drop(first);
        let mut second = group.member().attach().unwrap();
        for position in 0..3 {
            assert_eq!(next(&mut set, &mut [&mut second]), 0);
            let receipt = second.poll().unwrap().expect("one of three").receipt();
            assert_eq!((receipt.position(), receipt.attempt()), (position, 1));
            second.ack(receipt).unwrap();
        }
        assert_eq!(set.poll(&mut [&mut second]), None);
    }
}

/// What a sleeping member waits for may be rung for by nobody: a claim's time.
#[test]
fn frame_whose_time_is_over_wakes_a_set() {
    let (_name, bus) = bus();
    let group = bus.group("g").processing_timeout(Duration::from_millis(30));
    let group = group.max_attempts(0).create().unwrap();
    bus.producer().attach().unwrap().publish_bytes(0, b"task").unwrap();
    let (mut holder, mut other) =
        (group.member().attach().unwrap(), group.member().attach().unwrap());
    let receipt = holder.poll().unwrap().unwrap().receipt();
    let mut set = WaitSet::with_wait(Wait::Parking);
    assert_eq!(next(&mut set, &mut [&mut other]), 0);
    assert_eq!(other.poll().unwrap().unwrap().attempt(), 2);
    assert!(holder.ack(receipt).is_err());
}

#[test]
fn removed_group_and_table_are_named_each_time() {
    let ((_a, bus), (_b, work, group), (name, table)) =
        (bus(), group(Delivery::AtLeastOnce), table());
    let mut consumer = bus.consumer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    let mut watch = table.reader().attach().unwrap().watch();
    let mut one = table.reader().attach().unwrap().watch_key(3).unwrap();
    table.writer().attach().unwrap().set_bytes(3, b"last").unwrap();
    work.remove_group("g").unwrap();
    Table::remove(&name.0).unwrap();
    let mut set = WaitSet::new();
    for _ in 0..2 {
        assert_eq!(next(&mut set, &mut [&mut consumer, &mut member]), 1);
        assert_eq!(member.poll().err(), Some(PollError::Removed));
    }
    // What was set before comes first.
    assert_eq!(next(&mut set, &mut [&mut consumer, &mut watch]), 1);
    assert_eq!(watch.poll().unwrap().unwrap().bytes(), b"last");
    assert_eq!(one.wait(Some(PATIENCE)).unwrap().unwrap().bytes(), b"last");
    for _ in 0..2 {
        assert_eq!(next(&mut set, &mut [&mut consumer, &mut watch]), 1);
        assert_eq!(watch.poll().err(), Some(TableError::Removed));
        assert_eq!(next(&mut set, &mut [&mut consumer, &mut one]), 1);
        assert_eq!(one.wait(Some(PATIENCE)).err(), Some(TableError::Removed));
    }
}

#[test]
fn watch_hands_out_each_change_once_and_begins_where_it_is_told() {
    let (_name, table) = table();
    let mut writer = table.writer().attach().unwrap();
    writer.set_bytes(1, b"old").unwrap();
    let mut all = table.reader().attach().unwrap().watch();
    let mut late = table.reader().attach().unwrap().watch();
    let mut one = table.reader().attach().unwrap().watch_key(2).unwrap();
    late.skip().unwrap();
    assert!(late.poll().unwrap().is_none());
    assert!(one.wait(Some(Duration::from_millis(1))).unwrap().is_none(), "never written");
    assert_eq!(all.poll().unwrap().unwrap().to_owned().bytes(), b"old");
    for value in [b"a", b"b"] {
        writer.set_bytes(2, value).unwrap();
    }
    writer.remove(1).unwrap();
    let mut changes: Vec<_> = std::iter::from_fn(|| {
        let entry = late.poll().unwrap()?.to_owned();
        Some((entry.key().clone(), entry.version(), entry.is_removed()))
    })
    .collect();
    changes.sort();
    assert_eq!(changes, [(1.into(), 2, true), (2.into(), 2, false)]);
    assert_eq!(one.poll().unwrap().unwrap().version(), 2);
    one.skip().unwrap();
    assert!(one.poll().unwrap().is_none());
    assert!(table.reader().attach().unwrap().watch_key("text").is_err());
}

#[test]
fn key_that_changes_all_the_time_does_not_keep_others_back() {
    let (_name, table) = table();
    let mut writer = table.writer().attach().unwrap();
    let mut watch = table.reader().attach().unwrap().watch();
    let mut seen = [0; 2];
    for _ in 0..20 {
        writer.set_bytes(1, b"").unwrap();
        writer.set_bytes(2, b"").unwrap();
        let key = watch.poll().unwrap().expect("both have changed").key();
        seen[usize::from(key == 1.into())] += 1;
    }
    assert_eq!(seen, [10; 2]);
}

#[test]
fn timer_is_ready_at_its_time_and_until_it_is_set_anew() {
    let (_name, bus) = bus();
    let mut consumer = bus.consumer().attach().unwrap();
    let mut timer = Timer::after(Duration::from_millis(120));
    let (mut set, began) = (WaitSet::with_wait(Wait::Parking), Instant::now());
    for _ in 0..2 {
        assert_eq!(next(&mut set, &mut [&mut consumer, &mut timer]), 1);
        assert!(timer.is_over() && began.elapsed() >= Duration::from_millis(120));
    }
    timer.set(None);
    assert_eq!(set.poll(&mut [&mut consumer, &mut timer]), None);
}
