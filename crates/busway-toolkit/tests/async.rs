//! The toolkit's futures under tokio, over buses and groups: every event is accounted for, whatever is
//! dropped.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use busway::{Async, Bus};
use busway_toolkit::{
    AsyncGraph, Batcher, BusSource, CallError, Cancel, Dispatcher, GroupSource, Outcome, Policy,
    Retry, SubmitError,
};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bus's name; the bus goes with it, and the dead letters of its group.
struct Name(String);

impl Name {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(format!("ta-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _removed = Bus::remove(&self.0);
    }
}

fn bus() -> (Name, Bus) {
    let name = Name::new();
    let bus = Bus::options().capacity_frames(64).payload_bytes(8).create(&name.0).unwrap();
    (name, bus)
}

fn run<T>(task: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, task).await.expect("an end within a minute") })
}

#[test]
fn every_event_of_a_bus_is_handled_once_while_its_producer_waits_for_room() {
    const EVENTS: u64 = 2_000;
    let (_name, bus) = bus();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let own = Arc::clone(&seen);
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus).unwrap())
        .on_async(7, move |_, event| {
            let seen = Arc::clone(&own);
            async move {
                let number = u64::from_le_bytes(event.as_event().payload.try_into()?);
                if number % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                seen.lock().unwrap().push(number);
                Ok(())
            }
        })
        .buffer(100)
        .build_async(16)
        .unwrap();
    let mut producer = Async::new(bus.producer().attach().unwrap());
    let report = run(async move {
        let publishing = tokio::spawn(async move {
            for number in 0..EVENTS {
                producer.publish_bytes(7, &number.to_le_bytes()).await.unwrap();
            }
        });
        dispatcher.run_until_closed().await.unwrap();
        publishing.await.unwrap();
        dispatcher.close(PATIENCE).await
    });
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.totals.processed, EVENTS);
    let mut seen = seen.lock().unwrap();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..EVENTS));
}

/// `run` is dropped again and again, with handlers on their way: they go on with the next call.
#[test]
fn dropped_run_loses_no_event() {
    const EVENTS: u64 = 40;
    let (_name, bus) = bus();
    let done = Arc::new(AtomicUsize::new(0));
    let own = Arc::clone(&done);
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus).unwrap())
        .on_async(7, move |_, _| {
            let done = Arc::clone(&own);
            async move {
                tokio::time::sleep(Duration::from_millis(3)).await;
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        })
        .build_async(4)
        .unwrap();
    let mut producer = bus.producer().attach().unwrap();
    run(async {
        for number in 0..EVENTS {
            producer.publish_bytes(7, &number.to_le_bytes()).unwrap();
            let never = Cancel::new();
            let dropped = timeout(Duration::from_millis(1), dispatcher.run(&never)).await;
            assert!(dropped.is_err(), "nobody cancels it");
        }
        let report = dispatcher.close(PATIENCE).await;
        assert_eq!((report.totals.processed, report.unread), (EVENTS, 0));
    });
    assert_eq!(done.load(Ordering::Relaxed), 40);
}

#[test]
fn members_of_a_group_share_events_and_acknowledge_them_when_they_are_done() {
    const EVENTS: u64 = 300;
    let (_name, bus) = bus();
    let group = bus.group("g").max_attempts(0).create().unwrap();
    let cancel = Cancel::new();
    let monitors = Arc::new(Mutex::new(Vec::new()));
    run(async {
        let workers = [(); 3].map(|()| {
            let member = Async::new(group.member().batch(4).attach().unwrap());
            let mut dispatcher = Dispatcher::builder(GroupSource::from_async(&bus, &group, member))
                .on_async(7, |_, event| async move {
                    tokio::task::yield_now().await;
                    // The first delivery of some goes back to the group.
                    let event = event.as_event();
                    if event.position % 50 == 0 && event.delivery == 1 {
                        return Err("not the first time".into());
                    }
                    Ok(())
                })
                .build_async(8)
                .unwrap();
            monitors.lock().unwrap().push(dispatcher.monitor());
            let cancel = cancel.clone();
            tokio::spawn(async move {
                dispatcher.run(&cancel).await.unwrap();
                dispatcher.close(PATIENCE).await
            })
        });
        let mut producer = Async::new(bus.producer().attach().unwrap());
        for number in 0..EVENTS {
            producer.publish_bytes(7, &number.to_le_bytes()).await.unwrap();
        }
        while group.stat().unwrap().backlog > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cancel.cancel();
        let (mut processed, mut failed) = (0, 0);
        for worker in workers {
            let totals = worker.await.unwrap().totals;
            processed += totals.processed;
            failed += totals.failed;
        }
        assert_eq!((processed, failed), (EVENTS, EVENTS / 50));
    });
    assert_eq!(monitors.lock().unwrap().len(), 3);
}

/// The retry's delay is waited for by no thread of the dispatcher's and no timer of the executor's.
#[test]
fn retry_is_made_at_its_time_without_other_events() {
    let (_name, bus) = bus();
    let retry = Retry { first: Duration::from_millis(20), jitter: false, ..Retry::attempts(3) };
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus).unwrap())
        .on_async(7, |context, _| async move {
            if context.as_context().is_last_attempt() { Ok(()) } else { Err("again".into()) }
        })
        .policy(7, Policy { retry, ..Policy::default() })
        .build_async(2)
        .unwrap();
    bus.producer().attach().unwrap().publish_bytes(7, b"").unwrap();
    // Without any timer of tokio's.
    let runtime = Builder::new_current_thread().build().unwrap();
    let began = std::time::Instant::now();
    let report = runtime.block_on(async {
        dispatcher.run_until_closed().await.unwrap();
        dispatcher.close(PATIENCE).await
    });
    assert_eq!((report.totals.processed, report.totals.retried), (1, 2));
    assert!(began.elapsed() >= Duration::from_millis(60), "20 ms and 40 ms");
}

/// What a handler was given.
type Given = Arc<Mutex<Vec<u32>>>;

/// A batcher whose handler waits until it is let go, and tells what it was given.
fn held_batcher(queue: usize) -> (Batcher<u32, u32, String>, mpsc::Sender<()>, Given) {
    let (go, wait) = mpsc::channel();
    let (wait, given) = (Mutex::new(wait), Arc::new(Mutex::new(Vec::new())));
    let own = Arc::clone(&given);
    let batcher = Batcher::options()
        .items(1)
        .queue(queue)
        .build(move |items: Vec<u32>| {
            own.lock().unwrap().extend(&items);
            let _gone = wait.lock().unwrap().recv();
            items.into_iter().map(|item| Ok(item + 1)).collect()
        })
        .unwrap();
    (batcher, go, given)
}

#[test]
fn calls_wait_for_room_and_for_their_answers_without_a_thread() {
    let (batcher, go, given) = held_batcher(2);
    run(async {
        let callers: Vec<_> = (0..50)
            .map(|item| {
                let batcher = batcher.clone();
                tokio::spawn(async move { batcher.call_async(item).await })
            })
            .collect();
        for _ in 0..50 {
            go.send(()).unwrap();
        }
        for (item, caller) in (0..).zip(callers) {
            assert_eq!(caller.await.unwrap(), Ok(item + 1));
        }
    });
    // Waiters are woken in their order; one that comes in the moment in which there is room is before them.
    let mut given = given.lock().unwrap().clone();
    given.sort_unstable();
    assert!(given.into_iter().eq(0..50), "each once");
    let stats = batcher.close(PATIENCE).stats;
    assert_eq!((stats.submitted, stats.answered), (50, 50));
}

#[test]
fn dropped_call_takes_its_item_with_it_and_gives_its_room_to_the_next() {
    let (batcher, go, given) = held_batcher(1);
    run(async {
        let spawn = |item: u32| {
            let batcher = batcher.clone();
            tokio::spawn(async move { batcher.call_async(item).await })
        };
        let running = spawn(0);
        while given.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // In the queue, waiting for room, and once more.
        let (queued, waiting, last) = (spawn(1), spawn(2), spawn(3));
        tokio::task::yield_now().await;
        for dropped in [queued, waiting] {
            dropped.abort();
            assert!(dropped.await.unwrap_err().is_cancelled());
        }
        for _ in 0..2 {
            go.send(()).unwrap();
        }
        assert_eq!(running.await.unwrap(), Ok(1));
        assert_eq!(last.await.unwrap(), Ok(4));
    });
    assert_eq!(*given.lock().unwrap(), [0, 3], "what was dropped is not begun");
    let stats = batcher.close(PATIENCE).stats;
    assert_eq!((stats.submitted, stats.answered, stats.dropped), (3, 2, 1));
}

#[test]
fn closing_answers_those_that_wait_for_room() {
    let (batcher, go, _given) = held_batcher(1);
    run(async {
        let ticket = batcher.submit_async(0).await.unwrap();
        let tasks: Vec<_> = (1..10)
            .map(|item| {
                let batcher = batcher.clone();
                tokio::spawn(async move {
                    match batcher.submit_async(item).await {
                        Ok(ticket) => ticket.await,
                        Err(SubmitError::Closed(back)) => {
                            assert_eq!(back, item);
                            Err(CallError::Closed)
                        }
                        Err(other) => panic!("{other}"),
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let closing = std::thread::spawn({
            let batcher = batcher.clone();
            move || batcher.close(Duration::from_millis(5))
        });
        for task in tasks {
            assert_eq!(task.await.unwrap(), Err(CallError::Closed));
        }
        drop(go);
        assert_eq!(ticket.await, Ok(1));
        closing.join().unwrap();
    });
    let stats = batcher.stats();
    assert_eq!((stats.answered, stats.submitted), (1, 1 + stats.refused));
}

#[test]
fn units_run_at_the_same_time_after_what_they_need() {
    let inside = Arc::new(AtomicUsize::new(0));
    let mut graph: AsyncGraph<'_, u32, u32, String> = AsyncGraph::new();
    graph.unit(100, 0..10, |inputs| async move { Ok((0..10).map(|key| inputs.get(&key)).sum()) });
    for key in 0..10 {
        let inside = Arc::clone(&inside);
        graph.unit(key, [], move |_| async move {
            inside.fetch_add(1, Ordering::Relaxed);
            // Each waits for all: in turn, it would be for ever.
            while inside.load(Ordering::Relaxed) < 10 {
                tokio::task::yield_now().await;
            }
            Ok(key)
        });
    }
    let outcomes = run(graph.run(10, &Cancel::new())).unwrap();
    assert_eq!(outcomes.value(&100), Some(&45));
}

#[test]
fn failures_panics_and_cancellation_of_units_that_are_futures_are_told() {
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let mut graph: AsyncGraph<'_, &str, u32, String> = AsyncGraph::new();
    graph.unit("bad", [], |_| async { Err("broken".to_owned()) });
    graph.unit("worse", [], |_| async { panic!("very broken") });
    graph.unit("child", ["bad"], |_| async { Ok(1) });
    graph.unit("last", [], move |inputs| async move {
        stop.cancel();
        tokio::task::yield_now().await;
        assert!(inputs.is_cancelled());
        Ok(7)
    });
    graph.unit("late", ["last"], |_| async { Ok(8) });
    let outcomes = run(graph.run(1, &cancel)).unwrap();
    assert_eq!(outcomes.get(&"bad"), Some(&Outcome::Failed("broken".to_owned())));
    assert_eq!(outcomes.get(&"worse"), Some(&Outcome::Panicked("very broken".to_owned())));
    assert_eq!(outcomes.get(&"child"), Some(&Outcome::Skipped { because: "bad" }));
    assert_eq!(
        (outcomes.value(&"last"), outcomes.get(&"late")),
        (Some(&7), Some(&Outcome::Cancelled))
    );

    let mut circle: AsyncGraph<'_, u32, (), ()> = AsyncGraph::new();
    circle.unit(1, [2], |_| async { Ok(()) }).unit(2, [1], |_| async { Ok(()) });
    assert!(run(circle.run(1, &Cancel::new())).is_err());
}
