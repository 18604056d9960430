//! The dispatcher over a source in memory, on a clock that is moved by hand; and its pool.

use std::collections::{BTreeMap, VecDeque};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::clock::ManualClock;
use crate::error::BuildError;
use crate::policy::{Breaker, Policy, Rate, Retry, WhileOpen};
use crate::scale::Workers;
use crate::source::{Event, Settled};

/// Events in memory, and what became of each by its position.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    events: Arc<Mutex<VecDeque<(u16, u64)>>>,
    settled: Arc<Mutex<BTreeMap<u64, Settled>>>,
}

impl Memory {
    pub(super) fn put(&self, kind: u16, position: u64) {
        self.events.lock().unwrap().push_back((kind, position));
    }

    pub(super) fn with(kind: u16, count: u64) -> Self {
        let memory = Self::default();
        (0..count).for_each(|position| memory.put(kind, position));
        memory
    }

    /// What became of each event, by its position.
    #[cfg(feature = "async")]
    pub(super) fn settled(&self) -> BTreeMap<u64, Settled> {
        self.settled.lock().unwrap().clone()
    }
}

impl Source for Memory {
    type Receipt = u64;
    const SETTLES: bool = true;

    fn name(&self) -> &'static str {
        "memory"
    }

    fn payload_bytes_max(&self) -> usize {
        8
    }

    fn receive<F>(
        &mut self,
        max: usize,
        _: Duration,
        mut take: F,
    ) -> Result<Received, busway::Error>
    where
        F: FnMut(Event<'_>, u64),
    {
        let mut events = self.events.lock().unwrap();
        let count = max.min(events.len());
        for (kind, position) in events.drain(..count) {
            let payload = &position.to_le_bytes();
            let event =
                Event { payload, kind, flags: 0, lane: 0, position, time_ns: 0, delivery: 1 };
            take(event, position);
        }
        Ok(if count == 0 { Received::Nothing } else { Received::Events(count) })
    }

    fn settle(&mut self, receipt: u64, settled: Settled) -> Result<(), busway::Error> {
        let before = self.settled.lock().unwrap().insert(receipt, settled);
        assert_eq!(before, None, "event {receipt} is settled once");
        Ok(())
    }

    fn unread(&self) -> u64 {
        self.events.lock().unwrap().len() as u64
    }

    fn lost(&self) -> u64 {
        0
    }
}

/// The one equation that always holds.
fn assert_adds_up(total: &KindMetrics) {
    let ended = total.processed + total.failed + total.dead_lettered + total.unhandled;
    assert_eq!(total.received, ended + total.not_done + total.in_flight, "{total}");
}

fn steady(attempts: u32, first: Duration) -> Retry {
    Retry { attempts, first, factor: 2.0, jitter: false, ..Retry::default() }
}

/// Waits for something another thread does.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn failed_event_is_tried_again_after_its_delays_and_others_pass() {
    let (memory, clock) = (Memory::with(1, 2), ManualClock::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let mut dispatcher = Dispatcher::builder(memory.clone())
        .on(1, move |context, event| {
            log.lock().unwrap().push((
                event.position,
                context.attempt(),
                context.is_last_attempt(),
            ));
            if event.position == 0 { Err("not yet".into()) } else { Ok(()) }
        })
        .policy(1, Policy { retry: steady(3, Duration::from_millis(10)), ..Policy::default() })
        .clock(clock.clone())
        .build()
        .unwrap();
    dispatcher.poll(Duration::ZERO).unwrap();
    clock.advance(Duration::from_millis(9));
    dispatcher.poll(Duration::ZERO).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(0, 1, false), (1, 1, false)]);
    assert_eq!(memory.settled.lock().unwrap().len(), 1, "the one that waits is not settled");
    clock.advance(Duration::from_millis(1));
    dispatcher.poll(Duration::ZERO).unwrap();
    clock.advance(Duration::from_millis(20));
    dispatcher.poll(Duration::ZERO).unwrap();
    assert_eq!(seen.lock().unwrap()[2..], [(0, 2, false), (0, 3, true)]);
    let report = dispatcher.close(Duration::ZERO);
    let total = &report.totals;
    assert_eq!((total.processed, total.failed, total.retried, total.failures), (1, 1, 2, 3));
    assert_eq!(memory.settled.lock().unwrap()[&0], Settled::Failed);
    assert_adds_up(total);
}

#[test]
fn permanent_failure_is_not_tried_again() {
    let mut dispatcher = Dispatcher::builder(Memory::with(1, 1))
        .on(1, |_, _| Err(Failure::permanent("never")))
        .default_policy(Policy { retry: Retry::attempts(9), ..Policy::default() })
        .build()
        .unwrap();
    dispatcher.poll(Duration::ZERO).unwrap();
    let report = dispatcher.close(Duration::ZERO);
    assert_eq!((report.totals.failures, report.totals.failed), (1, 1));
}

#[test]
fn events_without_handler_are_counted_by_kind() {
    let memory = Memory::with(3, 2);
    memory.put(9, 2);
    let mut dispatcher = Dispatcher::builder(memory.clone()).on(1, |_, _| Ok(())).build().unwrap();
    dispatcher.poll(Duration::ZERO).unwrap();
    let metrics = dispatcher.monitor().metrics();
    assert_eq!(metrics.kind(3).unwrap().unhandled, 2);
    assert_eq!(metrics.kind(9).unwrap().unhandled, 1);
    assert_adds_up(&metrics.total());
    assert!(dispatcher.close(Duration::ZERO).is_complete());
    assert_eq!(memory.settled.lock().unwrap().len(), 3);
}

#[test]
fn panic_is_a_failure_and_the_worker_lives() {
    let memory = Memory::with(1, 20);
    let mut dispatcher = Dispatcher::builder(memory)
        .on(1, |_, event| {
            assert!(event.position % 2 == 0, "odd");
            Ok(())
        })
        .workers(Workers::fixed(2))
        .build()
        .unwrap();
    dispatcher.poll(Duration::ZERO).unwrap();
    let workers = dispatcher.workers();
    let report = dispatcher.close(Duration::from_secs(20));
    assert_eq!((report.totals.processed, report.totals.panicked, workers), (10, 10, 2));
    assert_adds_up(&report.totals);
}

/// Keeps the texts of failures.
struct Log(Arc<Mutex<Vec<String>>>);
impl Middleware for Log {
    fn on_error(&self, _: &Context<'_>, _: &Event<'_>, failure: &Failure) {
        self.0.lock().unwrap().push(failure.to_string());
    }
}

#[test]
fn late_error_is_a_time_out_and_late_success_is_done() {
    let (memory, clock) = (Memory::with(1, 2), ManualClock::new());
    let hand = clock.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let mut dispatcher = Dispatcher::builder(memory)
        .on(1, move |context, event| {
            assert!(!context.is_cancelled());
            hand.advance(Duration::from_millis(11));
            assert!(context.is_cancelled(), "its time is over");
            if event.position == 0 { Err("gave up".into()) } else { Ok(()) }
        })
        .middleware(Log(log))
        .policy(1, Policy { timeout: Some(Duration::from_millis(10)), ..Policy::default() })
        .clock(clock)
        .build()
        .unwrap();
    dispatcher.poll(Duration::ZERO).unwrap();
    let totals = dispatcher.close(Duration::ZERO).totals;
    assert_eq!((totals.processed, totals.late, totals.failed), (1, 1, 1));
    assert_eq!(*seen.lock().unwrap(), ["took 11ms, of 10ms that it may take"]);
}

#[test]
fn events_wait_in_order_while_the_breaker_is_open() {
    let (memory, clock) = (Memory::with(1, 6), ManualClock::new());
    let healthy = Arc::new(AtomicU32::new(0));
    let (switch, seen) = (Arc::clone(&healthy), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&seen);
    let breaker = Breaker { failures: 2, open_for: Duration::from_secs(1), ..Breaker::default() };
    let mut dispatcher = Dispatcher::builder(memory.clone())
        .on(1, move |_, event| {
            log.lock().unwrap().push(event.position);
            if switch.load(Ordering::Relaxed) == 1 { Ok(()) } else { Err("down".into()) }
        })
        .policy(1, Policy { breaker: Some(breaker), ..Policy::default() })
        .clock(clock.clone())
        .build()
        .unwrap();
    dispatcher.poll(Duration::ZERO).unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1], "two failed, and it is open");
    clock.advance(Duration::from_millis(999));
    dispatcher.poll(Duration::ZERO).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2);
    assert_eq!(dispatcher.monitor().metrics().total().in_flight, 4);
    clock.advance(Duration::from_millis(1));
    dispatcher.poll(Duration::ZERO).unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2], "the probe failed, and it is open again");
    healthy.store(1, Ordering::Relaxed);
    clock.advance(Duration::from_secs(1));
    dispatcher.poll(Duration::ZERO).unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    let totals = dispatcher.close(Duration::ZERO).totals;
    assert_eq!((totals.processed, totals.failed, totals.in_flight), (3, 3, 0));
}

#[test]
fn rate_lets_through_what_its_tokens_allow() {
    let (memory, clock) = (Memory::with(1, 5), ManualClock::new());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let mut dispatcher = Dispatcher::builder(memory)
        .on(1, move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .policy(1, Policy { rate: Some(Rate { per_second: 10.0, burst: 2 }), ..Policy::default() })
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut handled = Vec::new();
    for _ in 0..4 {
        dispatcher.poll(Duration::ZERO).unwrap();
        handled.push(count.load(Ordering::Relaxed));
        clock.advance(Duration::from_millis(100));
    }
    assert_eq!(handled, [2, 3, 4, 5]);
    assert!(dispatcher.close(Duration::ZERO).is_complete());
}

#[test]
fn full_buffer_takes_nothing_and_says_what_it_left() {
    let (memory, clock) = (Memory::with(1, 10), ManualClock::new());
    let retry = steady(2, Duration::from_secs(1));
    let mut dispatcher = Dispatcher::builder(memory)
        .on(1, |_, _| Err("no".into()))
        .policy(1, Policy { retry, ..Policy::default() })
        .buffer(3)
        .clock(clock)
        .build()
        .unwrap();
    for _ in 0..3 {
        dispatcher.poll(Duration::ZERO).unwrap();
    }
    let report = dispatcher.close(Duration::ZERO);
    assert_eq!((report.totals.received, report.totals.not_done, report.unread), (3, 3, 7));
    let positions: Vec<_> =
        report.not_done.iter().map(|one| (one.position, one.attempts)).collect();
    assert_eq!(positions.len(), 3);
    assert!(positions.iter().all(|&(_, attempts)| attempts == 1));
    assert_adds_up(&report.totals);
}

/// Keeps what it is called for.
struct Layer(&'static str, Arc<Mutex<Vec<String>>>);
impl Layer {
    fn log(&self, what: &str, event: &Event<'_>) {
        self.1.lock().unwrap().push(format!("{} {what} {}", self.0, event.position));
    }
}
impl Middleware for Layer {
    fn before(&self, _: &Context<'_>, event: &Event<'_>) -> Result<(), Failure> {
        self.log("before", event);
        if self.0 == "inner" && event.position == 2 { Err("refused".into()) } else { Ok(()) }
    }
    fn after(&self, _: &Context<'_>, event: &Event<'_>) {
        self.log("after", event);
    }
    fn on_error(&self, _: &Context<'_>, event: &Event<'_>, _: &Failure) {
        self.log("error", event);
    }
}

#[test]
fn middleware_is_wrapped_around_each_attempt() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut dispatcher = Dispatcher::builder(Memory::with(1, 3))
        .on(1, |_, event| if event.position == 1 { Err("no".into()) } else { Ok(()) })
        .middleware(Layer("outer", Arc::clone(&log)))
        .middleware(Layer("inner", Arc::clone(&log)))
        .build()
        .unwrap();
    dispatcher.poll(Duration::ZERO).unwrap();
    let want = [
        "outer before 0",
        "inner before 0",
        "inner after 0",
        "outer after 0",
        "outer before 1",
        "inner before 1",
        "inner error 1",
        "outer error 1",
        "outer before 2",
        "inner before 2",
        "outer error 2",
    ];
    assert_eq!(*log.lock().unwrap(), want);
}

#[test]
fn no_more_of_a_kind_run_at_a_time_than_its_concurrency() {
    let running = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let mut dispatcher = Dispatcher::builder(Memory::with(1, 300))
        .on(1, move |_, event| {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            log.lock().unwrap().push(event.position);
            thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
        .policy(1, Policy { concurrency: std::num::NonZeroU32::new(1), ..Policy::default() })
        .workers(Workers::fixed(4))
        .build()
        .unwrap();
    while dispatcher.poll(Duration::ZERO).unwrap().events > 0 {}
    let report = dispatcher.close(Duration::from_secs(20));
    assert_eq!((report.totals.processed, most.load(Ordering::SeqCst)), (300, 1));
    assert!(report.is_complete());
    assert_eq!(seen.lock().unwrap().len(), 300);
}

#[test]
fn close_reports_what_runs_and_what_waits_and_does_not_hang() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let cancelled = Arc::new(AtomicU32::new(0));
    let told = Arc::clone(&cancelled);
    let begun = Arc::new(AtomicU32::new(0));
    let begins = Arc::clone(&begun);
    let mut dispatcher = Dispatcher::builder(Memory::with(1, 5))
        .on(1, move |context, _| {
            begins.fetch_add(1, Ordering::SeqCst);
            let _ = gate.lock().unwrap().recv();
            told.fetch_add(u32::from(context.is_cancelled()), Ordering::SeqCst);
            Ok(())
        })
        .workers(Workers::fixed(1))
        .build()
        .unwrap();
    let monitor = dispatcher.monitor();
    dispatcher.poll(Duration::ZERO).unwrap();
    until("one runs", || begun.load(Ordering::SeqCst) == 1);
    let report = dispatcher.close(Duration::from_millis(1));
    let running = report.not_done.iter().filter(|one| one.was == Whereabouts::Running).count();
    assert_eq!((running, report.not_done.len()), (1, 5));
    let mut positions: Vec<_> = report.not_done.iter().map(|one| one.position).collect();
    positions.sort_unstable();
    assert_eq!(positions, [0, 1, 2, 3, 4], "each once");
    // What the handler does after that counts for nothing.
    release.send(()).unwrap();
    until("the handler returns", || cancelled.load(Ordering::SeqCst) == 1);
    assert_eq!(monitor.metrics().total().processed, 0);
    assert_adds_up(&report.totals);
}

#[test]
fn pool_grows_when_it_is_saturated_and_shrinks_when_it_is_idle() {
    let workers = Workers {
        grow_after: Duration::ZERO,
        idle_after: Duration::from_millis(1),
        ..Workers::between(1, 3)
    };
    let (release, gate) = crossbeam_channel::unbounded::<()>();
    let memory = Memory::default();
    let mut dispatcher = Dispatcher::builder(memory.clone())
        .on(1, move |_, _| Ok(gate.recv()?))
        .workers(workers)
        .build()
        .unwrap();
    for position in 0..20 {
        memory.put(1, position);
        dispatcher.poll(Duration::ZERO).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(dispatcher.workers(), 3);
    (0..20).for_each(|_| release.send(()).unwrap());
    until("two leave", || dispatcher.workers() == 1);
    assert_eq!(dispatcher.drain(Duration::from_secs(20)).unwrap(), 0);
    assert!(dispatcher.close(Duration::ZERO).is_complete());
}

#[test]
fn worker_on_a_hung_handler_holds_up_no_other_event() {
    let (release, gate) = crossbeam_channel::unbounded::<()>();
    let mut dispatcher = Dispatcher::builder(Memory::with(1, 100))
        .on(1, move |_, event| if event.position == 0 { Ok(gate.recv()?) } else { Ok(()) })
        .workers(Workers::fixed(2))
        .build()
        .unwrap();
    let monitor = dispatcher.monitor();
    dispatcher.poll(Duration::ZERO).unwrap();
    until("all others", || monitor.metrics().total().processed == 99);
    drop(release);
    let report = dispatcher.close(Duration::from_secs(20));
    assert_eq!((report.totals.processed, report.totals.failed), (99, 1));
}

#[test]
fn every_outcome_is_counted_once_and_settled_once() {
    let memory = Memory::default();
    for position in 0..5_000 {
        memory.put(u16::try_from(position % 4).unwrap(), position);
    }
    let retry = Retry { jitter: true, ..steady(3, Duration::from_micros(50)) };
    let concurrency = std::num::NonZeroU32::new(2);
    let mut dispatcher = Dispatcher::builder(memory.clone())
        .on(0, |_, _| Ok(()))
        .on(1, |context, _| if context.attempt() < 3 { Err("again".into()) } else { Ok(()) })
        .on(
            2,
            |_, event| if event.position % 8 == 2 { resume_unwind(Box::new("no")) } else { Ok(()) },
        )
        .policy(1, Policy { retry, ..Policy::default() })
        .policy(2, Policy { concurrency, retry, ..Policy::default() })
        .workers(Workers::between(1, 4))
        .buffer(64)
        .build()
        .unwrap();
    while memory.unread() > 0 {
        dispatcher.poll(Duration::from_millis(1)).unwrap();
    }
    let report = dispatcher.close(Duration::from_secs(60));
    let totals = &report.totals;
    assert_eq!((totals.received, totals.processed, totals.failed), (5_000, 3_125, 625));
    assert_eq!((totals.unhandled, totals.not_done, totals.in_flight), (1_250, 0, 0));
    assert_eq!(memory.settled.lock().unwrap().len(), 5_000);
    assert!(report.is_complete());
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    let refused = |builder: DispatcherBuilder<Memory>| builder.build().unwrap_err();
    let builder = || Dispatcher::builder(Memory::default()).on(1, |_, _| Ok(()));
    let twice = refused(builder().on(1, |_, _| Ok(())));
    assert!(matches!(twice, BuildError::KindTwice { kind: 1 }));
    let nobody = refused(builder().policy(2, Policy::default()));
    assert!(matches!(nobody, BuildError::NoHandler { kind: 2 }));
    let nowhere = refused(builder().unhandled(Unhandled::DeadLetter));
    assert!(nowhere.to_string().contains("there is none"));
    let breaker = Breaker { while_open: WhileOpen::DeadLetter, ..Breaker::default() };
    let policy = Policy { breaker: Some(breaker), ..Policy::default() };
    assert!(matches!(refused(builder().policy(1, policy)), BuildError::NoDeadLetters { .. }));
    assert!(refused(builder().buffer(0)).to_string().starts_with("buffer 0 is out of range"));
    assert!(refused(builder().workers(Workers::between(2, 1))).to_string().contains("workers.min"));
}
