//! Handlers that are futures over a source in memory, on a clock that is moved by hand.

use std::collections::BTreeMap;
use std::future::pending;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use super::*;
use crate::clock::ManualClock;
use crate::dispatch::tests::Memory;
use crate::dispatch::{Dispatcher, Middleware, NotDone, Whereabouts};
use crate::policy::{Breaker, Policy, Rate, Retry};
use crate::source::{Event, Settled};

impl AsyncSource for Memory {
    fn poll_ready(&mut self, _: &mut TaskWaker<'_>) -> Poll<()> {
        // Whoever polls the task in these tests does so when there is something.
        if self.unread() > 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Polls for as long as the task says that it goes on at once, and no longer.
fn go(dispatcher: &mut AsyncDispatcher<Memory>) {
    let cancel = Cancel::new();
    let mut run = pin!(dispatcher.run(&cancel));
    let mut context = TaskWaker::from_waker(Waker::noop());
    for _ in 0..100 {
        assert!(run.as_mut().poll(&mut context).is_pending());
    }
}

fn close(dispatcher: AsyncDispatcher<Memory>) -> Report {
    let mut close = pin!(dispatcher.close(Duration::ZERO));
    let mut context = TaskWaker::from_waker(Waker::noop());
    match close.as_mut().poll(&mut context) {
        Poll::Ready(report) => report,
        Poll::Pending => panic!("closing without time waits"),
    }
}

/// A gate that handlers wait at, and who came there.
#[derive(Clone, Default)]
struct Hold {
    open: Arc<Mutex<bool>>,
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Hold {
    async fn pass(&self) {
        let inside = self.inside.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(inside, Ordering::Relaxed);
        poll_fn(|context| {
            // Polled again and again, as an executor may.
            context.waker().wake_by_ref();
            if *self.open.lock().unwrap() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn handlers_run_at_the_same_time_as_many_as_there_are_tasks() {
    for (policy, most) in [
        (Policy::default(), 4),
        (Policy { concurrency: NonZeroU32::new(2), ..Policy::default() }, 2),
    ] {
        let (memory, hold) = (Memory::with(7, 10), Hold::default());
        let own = hold.clone();
        let mut dispatcher = Dispatcher::builder(memory.clone())
            .on_async(7, move |_, _| {
                let hold = own.clone();
                async move {
                    hold.pass().await;
                    Ok(())
                }
            })
            .default_policy(policy)
            .build_async(4)
            .unwrap();
        go(&mut dispatcher);
        assert_eq!(hold.inside.load(Ordering::Relaxed), most);
        *hold.open.lock().unwrap() = true;
        go(&mut dispatcher);
        assert_eq!(hold.most.load(Ordering::Relaxed), most);
        let report = close(dispatcher);
        assert_eq!(report.totals.processed, 10);
        assert!(report.is_complete());
        assert!(memory.settled().values().all(|settled| *settled == Settled::Done));
    }
}

#[test]
fn handler_is_dropped_when_its_time_is_over_and_tried_again_after_its_delay() {
    let clock = ManualClock::new();
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&attempts);
    let retry = Retry { jitter: false, ..Retry::attempts(3) };
    let timeout = Some(Duration::from_millis(5));
    let mut dispatcher = Dispatcher::builder(Memory::with(7, 1))
        .on_async(7, move |context, event| {
            seen.lock().unwrap().push((context.attempt(), event.as_event().position));
            pending()
        })
        .policy(7, Policy { timeout, retry, ..Policy::default() })
        .clock(clock.clone())
        .build_async(1)
        .unwrap();
    for attempt in 1..=3_u32 {
        go(&mut dispatcher);
        assert_eq!(dispatcher.running(), 1);
        clock.advance(Duration::from_millis(5));
        go(&mut dispatcher);
        assert_eq!(dispatcher.running(), 0, "its time is over");
        assert_eq!(attempts.lock().unwrap().last(), Some(&(attempt, 0)));
        // Longer than any delay of the first three.
        clock.advance(Duration::from_secs(1));
    }
    let report = close(dispatcher);
    let totals = report.totals;
    assert_eq!((totals.received, totals.failed, totals.retried, totals.failures), (1, 1, 2, 3));
    assert!(report.not_done.is_empty());
}

#[test]
fn panics_breaker_and_rate_mean_what_they_mean_in_threads() {
    let clock = ManualClock::new();
    let breaker = Breaker { failures: 2, open_for: Duration::from_secs(1), ..Breaker::default() };
    let rate = Rate { per_second: 10.0, burst: 3 };
    let began = Arc::new(AtomicUsize::new(0));
    let (panics, counts) = (Arc::clone(&began), Arc::clone(&began));
    let mut dispatcher = Dispatcher::builder(Memory::with(1, 5))
        .on_async(1, move |_, _| {
            panics.fetch_add(1, Ordering::Relaxed);
            async { panic!("on its way") }
        })
        .policy(1, Policy { breaker: Some(breaker), ..Policy::default() })
        .on_async(2, move |_, _| {
            counts.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        })
        .policy(2, Policy { rate: Some(rate), ..Policy::default() })
        .clock(clock.clone())
        .build_async(8)
        .unwrap();
    go(&mut dispatcher);
    let opened = began.swap(0, Ordering::Relaxed);
    assert!((2..=5).contains(&opened), "it opens at the second failure: {opened}");
    let source = dispatcher.source.as_ref().unwrap().clone();
    (10..20).for_each(|position| source.put(2, position));
    go(&mut dispatcher);
    assert_eq!(began.load(Ordering::Relaxed), 3, "the burst");
    clock.advance(Duration::from_millis(200));
    go(&mut dispatcher);
    assert_eq!(began.load(Ordering::Relaxed), 5, "two tokens more");
    let report = close(dispatcher);
    let totals = report.totals;
    assert_eq!((totals.received, totals.panicked), (15, opened as u64));
    assert_eq!(totals.not_done, 15 - 5 - opened as u64);
    assert_eq!(report.not_done.len() as u64, totals.not_done);
}

#[test]
fn close_drops_what_runs_and_lists_it() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (memory, dropped) = (Memory::with(7, 5), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&dropped);
    let mut dispatcher = Dispatcher::builder(memory.clone())
        .on_async(7, move |_, _| {
            let guard = Dropped(Arc::clone(&count));
            async move {
                pending::<()>().await;
                drop(guard);
                Ok(())
            }
        })
        .build_async(2)
        .unwrap();
    go(&mut dispatcher);
    let report = close(dispatcher);
    let was = |whereabouts| {
        let positions = report.not_done.iter().filter(|one| one.was == whereabouts);
        let mut positions: Vec<_> = positions.map(|one: &NotDone| one.position).collect();
        positions.sort_unstable();
        positions
    };
    assert_eq!(was(Whereabouts::Running), [0, 1]);
    assert_eq!(was(Whereabouts::Waiting), [2, 3, 4]);
    assert_eq!((report.totals.received, report.totals.not_done), (5, 5));
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    assert_eq!(memory.settled().len(), 3, "what waited goes back at once");
}

#[test]
fn middleware_and_functions_take_part() {
    #[derive(Default)]
    struct Counts(Mutex<BTreeMap<&'static str, u32>>);
    impl Middleware for Arc<Counts> {
        fn before(&self, _: &crate::Context<'_>, event: &Event<'_>) -> Result<(), Failure> {
            *self.0.lock().unwrap().entry("before").or_default() += 1;
            if event.position == 1 { Err("not this one".into()) } else { Ok(()) }
        }

        fn after(&self, _: &crate::Context<'_>, _: &Event<'_>) {
            *self.0.lock().unwrap().entry("after").or_default() += 1;
        }
    }
    let memory = Memory::with(1, 3);
    (3..6).for_each(|position| memory.put(2, position));
    let counts = Arc::new(Counts::default());
    let mut dispatcher = Dispatcher::builder(memory)
        .on_async(1, |_, _| async { Ok(()) })
        .on(2, |_, _| Ok(()))
        .middleware(Arc::clone(&counts))
        .build_async(4)
        .unwrap();
    go(&mut dispatcher);
    let report = close(dispatcher);
    assert_eq!((report.totals.processed, report.totals.failed), (5, 1));
    let counts = counts.0.lock().unwrap();
    assert_eq!((counts["before"], counts["after"]), (6, 5));
}

#[test]
fn futures_need_tasks() {
    let builder = || Dispatcher::builder(Memory::default()).on_async(7, |_, _| async { Ok(()) });
    assert!(matches!(builder().build(), Err(BuildError::Future { kind: 7 })));
    assert!(builder().build_async(0).is_err());
    assert!(builder().build_async(TASKS_MAX).is_ok());
}
