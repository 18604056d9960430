//! Batches, answers, limits and the end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::policy::Rate;
use crate::scale::Workers;

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// A batcher whose handler does nothing before it is let: its batches, and who lets it.
type Held = (Batcher<u64, u64, String>, Arc<Mutex<Vec<Vec<u64>>>>, crossbeam_channel::Sender<()>);

fn held(options: BatcherOptions) -> Held {
    let (release, gate) = crossbeam_channel::unbounded();
    let batches = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&batches);
    let batcher = options.build(move |items: Vec<u64>| {
        log.lock().unwrap().push(items.clone());
        let _ = gate.recv();
        items.into_iter().map(Ok).collect()
    });
    (batcher.unwrap(), batches, release)
}

#[test]
fn every_caller_gets_its_own_result() {
    let batcher = Batcher::options().items(32).linger(Duration::from_micros(100)).build(|ids| {
        ids.into_iter()
            .map(|id: u64| if id.is_multiple_of(7) { Err(id) } else { Ok(id * 2) })
            .collect()
    });
    let batcher = batcher.unwrap();
    thread::scope(|scope| {
        for caller in 0..8_u64 {
            let batcher = batcher.clone();
            scope.spawn(move || {
                for id in (0..500).map(|count| count * 8 + caller) {
                    let want = if id % 7 == 0 { Err(CallError::Item(id)) } else { Ok(id * 2) };
                    assert_eq!(batcher.call(id), want);
                }
                let many = batcher.call_many(0..100);
                assert_eq!(many[3], Ok(6));
                assert_eq!(many[70], Err(CallError::Item(70)));
            });
        }
    });
    let report = batcher.close(Duration::from_secs(20));
    assert_eq!((report.stats.submitted, report.stats.answered), (4_800, 4_800));
    assert_eq!((report.not_begun, report.running), (0, 0));
    assert!(report.stats.batches <= 4_800);
}

#[test]
fn batch_is_never_larger_than_asked_for() {
    let (batcher, batches, release) = held(Batcher::options().items(4).queue(64));
    let tickets: Vec<_> = (0..30).map(|id| batcher.submit(id).unwrap()).collect();
    (0..30).for_each(|_| release.send(()).unwrap());
    let results: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait().unwrap()).collect();
    assert_eq!(results, (0..30).collect::<Vec<_>>());
    assert!(batches.lock().unwrap().iter().all(|batch| (1..=4).contains(&batch.len())));
    let items: BTreeSet<_> = batches.lock().unwrap().concat().into_iter().collect();
    assert_eq!(items.len(), 30, "each in one batch");
}

#[test]
fn item_that_waited_for_a_worker_does_not_linger_again() {
    // The linger is longer than the test may take.
    let linger = Duration::from_millis(1500);
    let (batcher, batches, release) = held(Batcher::options().items(2).linger(linger));
    let first = [batcher.submit(0).unwrap(), batcher.submit(1).unwrap()];
    until("the worker is busy", || batches.lock().unwrap().len() == 1);
    let waiting = batcher.submit(2).unwrap();
    thread::sleep(linger);
    (0..9).for_each(|_| release.send(()).unwrap());
    let began = Instant::now();
    assert_eq!(waiting.wait(), Ok(2));
    assert!(began.elapsed() < linger, "its linger was over when the worker was free");
    assert!(first.into_iter().all(|ticket| ticket.wait().is_ok()));
}

#[test]
fn full_queue_refuses_who_does_not_wait_and_gives_the_item_back() {
    let (batcher, batches, release) = held(Batcher::options().items(1).queue(2));
    let mut tickets = vec![batcher.submit(0).unwrap()];
    until("the worker is busy", || batches.lock().unwrap().len() == 1);
    tickets.extend([1, 2].map(|id| batcher.submit(id).unwrap()));
    let refused = batcher.try_submit(3).unwrap_err();
    assert_eq!(refused.to_string(), "the batcher's queue is full");
    assert_eq!(refused.into_item(), 3);
    let waiter = batcher.clone();
    let waiting = thread::spawn(move || waiter.call(4));
    (0..9).for_each(|_| release.send(()).unwrap());
    assert_eq!(waiting.join().unwrap(), Ok(4), "who waits gets in");
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
}

#[test]
fn panic_and_missing_results_are_answers_and_the_worker_lives() {
    let batcher = Batcher::options().items(8).build(|ids: Vec<u64>| {
        assert!(!ids.contains(&13), "unlucky");
        ids.into_iter().filter(|id| *id != 99).map(Ok::<_, String>).collect()
    });
    let batcher = batcher.unwrap();
    assert_eq!(batcher.call(13), Err(CallError::Panicked));
    assert_eq!(batcher.call(99), Err(CallError::NoResult));
    assert_eq!(batcher.call(1), Ok(1));
    let stats = batcher.stats();
    assert_eq!((stats.answered, stats.failed, stats.panics, stats.workers), (3, 2, 1, 1));
}

#[test]
fn close_answers_everyone_and_reports_what_was_not_done() {
    let (batcher, batches, release) = held(Batcher::options().items(1).queue(8));
    let mut tickets = vec![batcher.submit(0).unwrap()];
    until("the worker is busy", || batches.lock().unwrap().len() == 1);
    tickets.extend((1..5).map(|id| batcher.submit(id).unwrap()));
    let report = batcher.close(Duration::from_millis(1));
    assert_eq!((report.not_begun, report.running, report.stats.refused), (4, 1, 4));
    assert!(matches!(batcher.submit(9), Err(SubmitError::Closed(9))));
    assert_eq!(batcher.call(9), Err(CallError::Closed));
    release.send(()).unwrap();
    let answers: Vec<_> = tickets.into_iter().map(Ticket::wait).collect();
    assert_eq!(answers[0], Ok(0), "the one that ran is answered");
    assert!(answers[1..].iter().all(|answer| *answer == Err(CallError::Closed)));
    until("the worker ends", || batcher.stats().workers == 0);
}

#[test]
fn submitting_while_it_closes_is_an_answer_and_never_a_wait_without_end() {
    for _ in 0..50 {
        let batcher = Batcher::options()
            .items(4)
            .queue(4)
            .build(|ids: Vec<u64>| ids.into_iter().map(Ok::<_, String>).collect());
        let batcher = batcher.unwrap();
        thread::scope(|scope| {
            for caller in 0..3 {
                let batcher = batcher.clone();
                scope.spawn(move || while batcher.call(caller) != Err(CallError::Closed) {});
            }
            batcher.close(Duration::from_millis(1));
        });
        let stats = batcher.stats();
        assert_eq!(stats.submitted, stats.answered + stats.refused, "{stats:?}");
    }
}

#[test]
fn item_that_slips_in_behind_the_close_is_refused_by_who_put_it_there() {
    let batcher = Batcher::options()
        .build(|ids: Vec<u64>| ids.into_iter().map(Ok::<_, String>).collect())
        .unwrap();
    batcher.close(Duration::ZERO);
    until("the worker ends", || batcher.stats().workers == 0);
    // As by a caller that found it open, and was stopped until now.
    let (item, ticket) = batcher.stage.item(1, false);
    assert!(batcher.queue.try_send(item).is_ok());
    batcher.submitted();
    let answer = ticket.wait_timeout(Duration::from_secs(20));
    assert_eq!(answer.ok(), Some(Err(CallError::Closed)));
}

#[test]
fn workers_grow_while_saturated_and_leave_when_idle() {
    let workers = Workers {
        grow_after: Duration::ZERO,
        idle_after: Duration::from_millis(1),
        ..Workers::between(1, 3)
    };
    let (batcher, batches, release) = held(Batcher::options().items(1).workers(workers));
    let mut tickets = Vec::new();
    until("three run", || {
        tickets.push(batcher.submit(1).unwrap());
        batches.lock().unwrap().len() == 3
    });
    drop(release);
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
    until("two leave", || batcher.stats().workers == 1);
}

#[test]
fn rate_holds_batches_back_and_closing_does_not_wait_for_it() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let rate = Rate { per_second: 0.001, burst: 1 };
    let batcher = Batcher::options().items(1).rate(rate).build(move |ids: Vec<u64>| {
        counter.fetch_add(1, Ordering::Relaxed);
        ids.into_iter().map(Ok::<_, String>).collect()
    });
    let batcher = batcher.unwrap();
    assert_eq!(batcher.call(1), Ok(1));
    let held_back = batcher.submit(2).unwrap();
    batcher.close(Duration::from_millis(1));
    assert_eq!(held_back.wait(), Err(CallError::Closed));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn last_handle_dropped_finishes_what_was_submitted() {
    let batcher = Batcher::options()
        .items(4)
        .build(|ids: Vec<u64>| ids.into_iter().map(Ok::<_, String>).collect());
    let batcher = batcher.unwrap();
    let tickets: Vec<_> = (0..100).map(|id| batcher.submit(id).unwrap()).collect();
    drop(batcher);
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
}
