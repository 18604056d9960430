//! Every crash point of groups, one by one, dying and stopping there.

use std::time::{Duration, Instant};

use busway::{Affinity, Bus, Producer, PublishError};
use busway_crashable::CrashPoint;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::journal::{Leashed, PATIENCE, Scratch, finish, letters};
use crate::worker::refuses;

const FRAMES: u64 = 100;

const WORK: &[CrashPoint] = &[
    CrashPoint::GroupSeatLocked,
    CrashPoint::GroupMemberSeated,
    CrashPoint::GroupClaimed,
    CrashPoint::GroupAckNotMade,
    CrashPoint::GroupAckMade,
    CrashPoint::GroupClaimEnded,
    CrashPoint::GroupGateNotMoved,
    CrashPoint::GroupGateMoved,
    CrashPoint::GroupLetterSent,
];

/// Those of a group with affinity alone; the second is a leaver's.
const SHARING: &[CrashPoint] = &[CrashPoint::GroupShareTaken, CrashPoint::GroupShareGivenUp];

const MAKING: &[CrashPoint] = &[
    CrashPoint::GroupNamed,
    CrashPoint::GroupNotSeated,
    CrashPoint::GroupSeated,
    CrashPoint::GroupDisbanded,
];

#[test]
fn every_point_of_groups_is_one_of_these() {
    let ours = CrashPoint::ALL.iter().filter(|point| point.name().starts_with("group-"));
    assert_eq!(ours.count(), WORK.len() + SHARING.len() + MAKING.len());
}

/// Each point of work, without affinity and with it, and what a worker does to come there.
fn works() -> impl Iterator<Item = (CrashPoint, Affinity, &'static str)> {
    // The low byte of a frame's number.
    let keyed = Affinity::Payload { offset: 0, len: 1 };
    let plain = WORK.iter().map(|point| (*point, Affinity::Off, "work"));
    plain.chain(WORK.iter().chain(SHARING).map(move |point| {
        let leaves = *point == CrashPoint::GroupShareGivenUp;
        (*point, keyed, if leaves { "part" } else { "work" })
    }))
}

#[test]
fn member_that_dies_at_any_point_costs_no_frame() {
    for (point, affinity, task) in works() {
        let scratch = Scratch::new(&format!("die-{}-{affinity:.1}", &point.name()[6..]));
        let (bus, mut producer) = set_up(&scratch, Duration::from_secs(600), affinity);
        let group = bus.open_group("g").unwrap();
        let mut worker = scratch.spawn(&format!("{task} {} die", point.name()));
        publish(&mut producer, 0, FRAMES, || is_at_its_end(&worker));
        wait_until(|| is_at_its_end(&worker));
        assert!(!worker.0.wait().unwrap().success(), "{}: it died", point.name());
        // Nobody waits for the timeout, which is far off: its death can be proven.
        let mut member = group.member().attach().unwrap();
        publish_all(&mut producer, &group, &mut member, &scratch);
        check(&scratch, &group, point);
    }
}

#[test]
fn member_that_stops_at_any_point_costs_no_frame_and_learns_that_it_is_late() {
    for (point, affinity, task) in works() {
        let scratch = Scratch::new(&format!("stop-{}-{affinity:.1}", &point.name()[6..]));
        let (bus, mut producer) = set_up(&scratch, Duration::from_millis(50), affinity);
        let group = bus.open_group("g").unwrap();
        let mut worker = scratch.spawn(&format!("{task} {} stop", point.name()));
        publish(&mut producer, 0, FRAMES, || is_at_its_end(&worker));
        wait_until(|| is_at_its_end(&worker));
        let mut member = group.member().attach().unwrap();
        publish_all(&mut producer, &group, &mut member, &scratch);
        check(&scratch, &group, point);
        // A worker that leaves leaves the rest to somebody else.
        let heir = (task == "part").then_some(member);
        // It goes on where it stood, and does no harm.
        kill_process(Pid::from_child(&worker.0), Signal::CONT).unwrap();
        publish(&mut producer, FRAMES * 2, 16, || false);
        if let Some(mut heir) = heir {
            finish(&group, &mut heir, &scratch, refuses);
        }
        wait_until(|| group.stat().unwrap().backlog == 0);
        bus.remove_group("g").unwrap();
        assert!(worker.0.wait().unwrap().success(), "{}: it went on", point.name());
        bus.reclaim().unwrap();
        assert!(bus.participants().iter().all(|who| !who.group && who.name != "worker"));
    }
}

#[test]
fn maker_that_dies_at_any_point_leaves_a_group_or_none() {
    for point in MAKING {
        let scratch = Scratch::new(&format!("make-die-{}", &point.name()[6..]));
        let (bus, mut producer) = set_up(&scratch, Duration::from_secs(600), Affinity::Off);
        bus.remove_group("g").unwrap();
        let mut maker = scratch.spawn(&format!("make {} die", point.name()));
        assert!(!maker.0.wait().unwrap().success(), "{}", point.name());
        let group = bus.group("h").if_not_exists(true).create().unwrap();
        publish(&mut producer, 0, 8, || false);
        let mut member = group.member().attach().unwrap();
        finish(&group, &mut member, &scratch, |_| false);
        drop(member);
        bus.remove_group("h").unwrap();
        assert_eq!(bus.groups().unwrap(), Vec::<String>::new());
        bus.reclaim().unwrap();
        publish(&mut producer, 0, FRAMES, || false);
        assert_eq!(bus.participants().len(), 1, "{}: the producer", point.name());
    }
}

#[test]
fn maker_that_stops_at_any_point_holds_up_nobody_who_does_not_want_its_group() {
    for point in MAKING {
        let scratch = Scratch::new(&format!("make-stop-{}", &point.name()[6..]));
        let (bus, mut producer) = set_up(&scratch, Duration::from_secs(600), Affinity::Off);
        let group = bus.open_group("g").unwrap();
        let mut maker = scratch.spawn(&format!("make {} stop", point.name()));
        wait_until(|| is_at_its_end(&maker));
        let mut member = group.member().attach().unwrap();
        // As many as there is room for beside a group that nobody works for, or one more lap.
        publish(&mut producer, 0, 16, || false);
        finish(&group, &mut member, &scratch, |_| false);
        let other = bus.group("h").if_not_exists(true).create();
        assert!(other.is_ok() || other.is_err_and(|error| error.code() == "group_busy"));
        kill_process(Pid::from_child(&maker.0), Signal::CONT).unwrap();
        let _ended = maker.0.wait().unwrap();
        let _removed = bus.remove_group("h");
        publish_all(&mut producer, &group, &mut member, &scratch);
    }
}

#[test]
fn member_that_stops_with_a_claim_is_handed_nothing_of_a_group_that_was_removed_meanwhile() {
    for point in [CrashPoint::GroupClaimed, CrashPoint::GroupAckNotMade] {
        let scratch = Scratch::new(&format!("removed-{}", &point.name()[6..]));
        let (bus, mut producer) = set_up(&scratch, Duration::from_secs(600), Affinity::Off);
        let mut worker = scratch.spawn(&format!("work {} stop", point.name()));
        publish(&mut producer, 0, FRAMES, || is_at_its_end(&worker));
        wait_until(|| is_at_its_end(&worker));
        bus.remove_group("g").unwrap();
        // Nobody holds the producer back: it comes round to the slot of what was claimed.
        publish(&mut producer, FRAMES, FRAMES, || false);
        kill_process(Pid::from_child(&worker.0), Signal::CONT).unwrap();
        assert!(worker.0.wait().unwrap().success(), "{}: it learns of it", point.name());
        let seen = scratch.read();
        let later: Vec<_> = seen.keys().filter(|number| **number >= FRAMES).collect();
        assert!(later.is_empty(), "{}: {later:?} were never the group's", point.name());
        assert_eq!(bus.stat().corruptions, 0, "{}: nobody wrote anything wrong", point.name());
    }
}

pub fn set_up(scratch: &Scratch, timeout: Duration, affinity: Affinity) -> (Bus, Producer) {
    let options = Bus::options().lanes(2).capacity_frames(16).payload_bytes(8);
    let bus = options.create(&scratch.name).unwrap();
    let group = bus.group("g").affinity(affinity).max_attempts(2).processing_timeout(timeout);
    group.create().unwrap();
    let producer = bus.producer().name("maker").attach().unwrap();
    (bus, producer)
}

/// Publishes, as far as the group lets it, until that is done or `over`.
fn publish(producer: &mut Producer, from: u64, count: u64, over: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut next = from;
    while next < from + count && !over() {
        match producer.publish_bytes_timeout(1, &next.to_le_bytes(), Duration::from_millis(5)) {
            Ok(_) => next += 1,
            Err(PublishError::TimedOut) => assert!(Instant::now() < deadline, "{next}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Publishes as many again, and does all that is left to do.
fn publish_all(
    producer: &mut Producer,
    group: &busway::Group,
    member: &mut busway::GroupMember,
    scratch: &Scratch,
) {
    for round in 0..FRAMES / 10 {
        finish(group, member, scratch, refuses);
        publish(producer, FRAMES + round * 10, 10, || false);
    }
    finish(group, member, scratch, refuses);
}

/// Each frame that was published is in the journal, or is a dead letter.
fn check(scratch: &Scratch, group: &busway::Group, point: CrashPoint) {
    let stat = group.stat().unwrap();
    let (seen, dead) = (scratch.read(), letters(group));
    let published = stat.lanes[0].head;
    // The first numbers, as many as there was room for; then the second hundred.
    let first = published - FRAMES;
    let all = (0..first).chain(FRAMES..FRAMES * 2);
    for number in all {
        let name = point.name();
        assert!(seen.contains_key(&number) || dead.contains(&number), "{name}: {number} is lost");
        if refuses(number) {
            assert!(dead.contains(&number), "{name}: {number} was refused each time");
        }
    }
}

/// Whether the child has ended or stands still.
pub fn is_at_its_end(child: &Leashed) -> bool {
    let options = WaitIdOptions::EXITED
        | WaitIdOptions::STOPPED
        | WaitIdOptions::NOHANG
        | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(&child.0)), options).unwrap().is_some()
}

pub fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}
