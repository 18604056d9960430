//! The scheduler by a clock that stands still until it is moved.

use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::manual::ManualClock;

/// Nothing waits for it unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
const NOON: u64 = 1_800_000_000_000_000_000;

fn seconds(count: u64) -> u64 {
    count * 1_000_000_000
}

/// A scheduler by a clock that stands at noon, and what it hands out.
fn noon() -> (Arc<ManualClock>, Scheduler<u32>, Receiver<(u32, Occasion)>) {
    let clock = Arc::new(ManualClock::new(NOON, seconds(100)));
    let (sender, events) = channel();
    let scheduler = Scheduler::start_by(clock.clone(), move |event: &mut u32, occasion| {
        sender.send((*event, *occasion)).unwrap();
        Verdict::Done
    });
    (clock, scheduler.unwrap(), events)
}

fn next(events: &Receiver<(u32, Occasion)>) -> (u32, Occasion) {
    events.recv_timeout(PATIENCE).expect("an event")
}

/// Nothing is due. An event that is due at once comes after whatever was due before.
fn assert_quiet(scheduler: &Scheduler<u32>, events: &Receiver<(u32, Occasion)>) {
    scheduler.schedule_after(Duration::ZERO, 999);
    assert_eq!(next(events).0, 999);
}

/// Waits until what was handed out is back in its queue, so that the clock may be moved.
fn until_back<E: Send + 'static>(scheduler: &Scheduler<E>) {
    let start = std::time::Instant::now();
    while scheduler.pending() == 0 {
        assert!(start.elapsed() < PATIENCE, "it does not come back");
        thread::yield_now();
    }
}

fn wall(ns: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(ns)
}

#[test]
fn events_come_at_their_time_and_not_before() {
    let (clock, scheduler, events) = noon();
    scheduler.schedule(wall(NOON + seconds(2)), 2);
    scheduler.schedule_after(SECOND, 1);
    assert_quiet(&scheduler, &events);
    clock.advance(Duration::from_nanos(999_999_999));
    assert_quiet(&scheduler, &events);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(next(&events).0, 1);
    clock.advance(SECOND * 3);
    let (event, occasion) = next(&events);
    assert_eq!((event, occasion.late, occasion.due), (2, SECOND * 2, Due::Wall(NOON + seconds(2))));
    assert_eq!(scheduler.pending(), 0);
}

#[test]
fn time_in_the_past_is_due_at_once() {
    let (_clock, scheduler, events) = noon();
    scheduler.schedule(wall(NOON - seconds(3_600)), 1);
    let (event, occasion) = next(&events);
    assert_eq!((event, occasion.late), (1, Duration::from_secs(3_600)));
    scheduler.schedule(SystemTime::UNIX_EPOCH - SECOND, 2);
    assert_eq!(next(&events).0, 2);
}

#[test]
fn setting_the_clock_moves_times_of_day_and_nothing_else() {
    let (clock, scheduler, events) = noon();
    scheduler.schedule(wall(NOON + seconds(3_600)), 1);
    scheduler.schedule_after(SECOND * 60, 2);
    clock.set_wall(NOON + seconds(3_600));
    assert_eq!(next(&events).0, 1);
    clock.set_wall(NOON - seconds(3_600));
    scheduler.schedule(wall(NOON), 3);
    clock.advance(SECOND * 60);
    assert_eq!(next(&events).0, 2);
    assert_quiet(&scheduler, &events);
    clock.set_wall(NOON);
    assert_eq!(next(&events).0, 3);
}

#[test]
fn periodic_event_keeps_its_grid_and_makes_up_for_one_missed_time() {
    let (clock, scheduler, events) = noon();
    let ticket = scheduler.schedule_every(scheduler.after(SECOND), SECOND, 1);
    for occurrence in 0..3 {
        clock.advance(SECOND);
        let (_, occasion) = next(&events);
        assert_eq!((occasion.occurrence, occasion.skipped), (occurrence, 0));
        until_back(&scheduler);
    }
    // Ten and a half seconds: times 3 to 12 are over, and 12 is made up for.
    clock.advance(Duration::from_millis(10_500));
    let seen = next(&events).1;
    assert_eq!((seen.occurrence, seen.skipped), (12, 9));
    assert_eq!(seen.due, Due::Elapsed(seconds(101 + 12)));
    until_back(&scheduler);
    clock.advance(Duration::from_millis(500));
    assert_eq!(next(&events).1.occurrence, 13);
    until_back(&scheduler);
    assert!(ticket.is_pending() && ticket.cancel() && !ticket.cancel());
    clock.advance(SECOND * 5);
    assert_quiet(&scheduler, &events);
}

#[test]
fn cancelled_event_never_comes_and_one_that_came_is_not_cancelled() {
    let (clock, scheduler, events) = noon();
    let (first, second) =
        (scheduler.schedule_after(SECOND, 1), scheduler.schedule_after(SECOND, 2));
    assert!(first.cancel());
    clock.advance(SECOND);
    assert_eq!(next(&events).0, 2);
    assert!(!second.cancel() && !first.cancel() && !scheduler.cancel(77));
}

#[test]
fn who_cancels_what_is_being_handed_out_waits_for_the_outcome() {
    let (entered, inside) = channel();
    let (leave, left) = channel::<Verdict>();
    let scheduler = Arc::new(
        Scheduler::start(move |(): &mut (), _| {
            entered.send(()).unwrap();
            left.recv().unwrap()
        })
        .unwrap(),
    );
    for (verdict, is_cancelled) in
        [(Verdict::Again(PATIENCE), true), (Verdict::Done, false), (Verdict::End, false)]
    {
        let ticket = scheduler.schedule_after(Duration::ZERO, ());
        inside.recv_timeout(PATIENCE).unwrap();
        let cancelling = thread::spawn(move || ticket.cancel());
        leave.send(verdict).unwrap();
        assert_eq!(cancelling.join().unwrap(), is_cancelled, "{verdict:?}");
    }
    assert_eq!(scheduler.pending(), 0);
}

#[test]
fn event_that_is_to_be_tried_again_comes_again_after_its_pause() {
    let clock = Arc::new(ManualClock::new(NOON, 0));
    let (sender, attempts) = channel();
    let scheduler = Scheduler::start_by(clock.clone(), move |(): &mut (), occasion| {
        sender.send(*occasion).unwrap();
        if occasion.attempt < 2 { Verdict::Again(SECOND) } else { Verdict::Done }
    });
    let scheduler = scheduler.unwrap();
    scheduler.schedule(wall(NOON), ());
    for attempt in 0..3 {
        let occasion = attempts.recv_timeout(PATIENCE).unwrap();
        assert_eq!((occasion.attempt, occasion.occurrence), (attempt, 0));
        assert_eq!(occasion.due, Due::Wall(NOON), "what it was due at stays");
        if attempt < 2 {
            until_back(&scheduler);
        }
        clock.advance(SECOND);
    }
    drop(scheduler);
    assert!(attempts.recv().is_err(), "the thread has ended");
}

#[test]
fn number_of_the_callers_choice_and_times_that_have_been() {
    let (clock, scheduler, events) = noon();
    let first = Due::Wall(NOON - seconds(25));
    let every_ns = Some(seconds(10));
    scheduler.schedule_as(40, Plan { first, every_ns, occurrence: 2 }, 1);
    let (_, occasion) = next(&events);
    assert_eq!((occasion.id, occasion.occurrence), (40, 2));
    until_back(&scheduler);
    assert_eq!(scheduler.schedule_after(SECOND * 900, 2).id(), 41);
    clock.advance(SECOND * 5);
    assert_eq!(next(&events).1.occurrence, 3);
    let once = Plan { first, every_ns: None, occurrence: 0 };
    assert_eq!((once.next(), once.caught_up(clock.now())), (None, (once, 0)));
}

#[test]
fn thread_that_breaks_off_leaves_nobody_waiting() {
    let (leave, left) = channel::<()>();
    let scheduler = Scheduler::start(move |(): &mut (), _| {
        left.recv().unwrap();
        panic!("as this test wants it");
    });
    let ticket = scheduler.unwrap().schedule_after(Duration::ZERO, ());
    drop(leave);
    assert!(!ticket.cancel());
}
