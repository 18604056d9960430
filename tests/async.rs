//! Ends as futures and streams under tokio: nothing is lost by dropping one, nobody spins, and there is one
//! thread that sleeps for all.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use busway::{Async, Bus, Delivery, OnFull, PollError, PublishError, Table, TableError, Timer};
use futures_util::StreamExt as _;
use tokio::runtime::Builder;
use tokio::time::timeout;

mod scratch;
use scratch::{Name, table};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

fn bus(on_full: OnFull, capacity: u64) -> (Name, Bus) {
    let name = Name::new();
    let options = Bus::options().on_full(on_full).payload_bytes(8).capacity_frames(capacity);
    let bus = options.create(&name).unwrap();
    (name, bus)
}

/// On one thread, so that nothing moves while a task does.
fn run<T>(task: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, task).await.expect("an end within a minute") })
}

#[test]
fn stream_yields_every_frame_in_order_and_ends_with_its_producers() {
    let (_name, bus) = bus(OnFull::Block, 64);
    let mut stream = Async::new(bus.consumer().attach().unwrap());
    let mut producer = Async::new(bus.producer().attach().unwrap());
    run(async {
        // Ten times the ring: each waits for the other.
        let publishing = tokio::spawn(async move {
            for count in 0..640_u64 {
                producer.publish_bytes(1, &count.to_le_bytes()).await.unwrap();
            }
        });
        let mut next = 0_u64;
        while let Some(frame) = stream.next().await {
            assert_eq!(frame.unwrap().payload(), next.to_le_bytes());
            next += 1;
        }
        assert_eq!(next, 640);
        publishing.await.unwrap();
        // Ended, and not for good.
        let mut producer = bus.producer().attach().unwrap();
        producer.publish_bytes(1, b"again").unwrap();
        assert_eq!(stream.recv().await.unwrap().payload(), b"again");
        drop(producer);
        assert_eq!(stream.recv().await.err(), Some(PollError::Closed));
    });
}

/// A frame that comes while a future waits is there for the next, whenever the first is dropped.
#[test]
fn dropped_future_loses_no_frame() {
    let (_name, bus) = bus(OnFull::Block, 64);
    let mut consumer = Async::new(bus.consumer().attach().unwrap());
    let mut producer = bus.producer().attach().unwrap();
    run(async {
        for count in 0..500_u64 {
            {
                let mut waiting = pin!(consumer.recv());
                let polled = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
                assert!(polled.is_pending());
                producer.publish_bytes(1, &count.to_le_bytes()).unwrap();
                if count % 2 == 0 {
                    // Let the wake come first.
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            }
            assert_eq!(consumer.recv().await.unwrap().payload(), count.to_le_bytes());
        }
    });
}

#[test]
fn dropped_publish_publishes_nothing() {
    let (_name, bus) = bus(OnFull::Reject, 4);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = Async::new(bus.producer().attach().unwrap());
    run(async {
        for count in 0..4_u8 {
            producer.publish_bytes(0, &[count]).await.unwrap();
        }
        let refused = timeout(Duration::from_millis(20), producer.publish_bytes(0, b"late")).await;
        assert!(refused.is_err(), "there is no room");
        assert_eq!(consumer.lag(), 4);
        while consumer.poll().unwrap().is_some() {}
        producer.publish_bytes(0, b"next").await.unwrap();
        assert_eq!(consumer.poll().unwrap().unwrap().payload(), b"next");
        assert!(consumer.poll().unwrap().is_none());

        assert_eq!(producer.room_for(5).await, Err(PublishError::BatchSize { frames: 5, max: 4 }));
        consumer.release();
        producer.room_for(4).await.unwrap();
        assert_eq!(producer.get_mut().try_claim_batch(4).unwrap().len(), 4);
    });
}

/// The threads of this process by name.
fn waiters() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "busway-waiter").count()
}

/// Hands a frame round a ring of tasks, each with a consumer and a producer of its own; a wake that is missed
/// costs 50 ms, so that missing them would use the patience up.
#[test]
fn many_tasks_wait_by_one_thread_and_each_is_woken() {
    const TASKS: usize = 20;
    const ROUNDS: u64 = 500;
    let (_names, buses): (Vec<_>, Vec<_>) = (0..TASKS).map(|_| bus(OnFull::Block, 8)).unzip();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let mut ends: Vec<_> = (0..TASKS)
        .map(|index| {
            let from = Async::new(buses[index].consumer().attach().unwrap());
            let to = Async::new(buses[(index + 1) % TASKS].producer().attach().unwrap());
            (from, to)
        })
        .collect();
    let (mut first_in, mut first_out) = ends.remove(0);
    let ring = async {
        for (mut from, mut to) in ends {
            tokio::spawn(async move {
                while let Ok(frame) = from.recv().await {
                    if to.publish_bytes(0, frame.payload()).await.is_err() {
                        break;
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            first_out.publish_bytes(0, &round.to_le_bytes()).await.unwrap();
            let frame = timeout(PATIENCE, first_in.recv()).await.expect("the ball").unwrap();
            assert_eq!(frame.payload(), round.to_le_bytes());
            assert!(waiters() <= 1);
        }
    };
    runtime.block_on(async { timeout(PATIENCE, ring).await.expect("wakes are missed") });
}

#[test]
fn closed_is_told_to_a_task_that_waits_already() {
    let (_name, bus) = bus(OnFull::Block, 8);
    let mut consumer = Async::new(bus.consumer().attach().unwrap());
    let producer = bus.producer().attach().unwrap();
    run(async {
        {
            let mut waiting = pin!(consumer.recv());
            let polled = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
            assert!(polled.is_pending());
            drop(producer);
            assert_eq!(waiting.await.err(), Some(PollError::Closed));
        }
        Bus::remove(bus.name()).unwrap();
        assert_eq!(consumer.recv().await.err(), Some(PollError::Removed));
    });
}

/// Polls a future once, and drops it.
async fn poll_and_drop<T>(future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await.is_pending()
}

#[test]
fn members_share_frames_as_streams_and_acknowledge_them() {
    const FRAMES: u64 = 2_000;
    let (_name, bus) = bus(OnFull::Block, 64);
    let group = bus.group("g").max_attempts(0).create().unwrap();
    let mut producer = Async::new(bus.producer().attach().unwrap());
    run(async {
        let members = [(); 3].map(|()| {
            let mut member = Async::new(group.member().attach().unwrap());
            tokio::spawn(async move {
                let mut positions = Vec::new();
                while let Some(delivered) = member.next().await {
                    let delivered = delivered.unwrap();
                    assert_eq!(
                        delivered.frame().payload(),
                        delivered.receipt().position().to_le_bytes()
                    );
                    member.get_mut().ack(delivered.receipt()).unwrap();
                    positions.push(delivered.receipt().position());
                }
                positions
            })
        });
        for count in 0..FRAMES {
            producer.publish_bytes(1, &count.to_le_bytes()).await.unwrap();
        }
        // All is done before the group goes; its streams end with it.
        while group.stat().unwrap().backlog > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bus.remove_group("g").unwrap();
        let mut positions = Vec::new();
        for member in members {
            positions.extend(member.await.unwrap());
        }
        positions.sort_unstable();
        assert!(positions.into_iter().eq(0..FRAMES), "each frame is one member's, once");
    });
}

/// Whenever a future is dropped: before a frame is there, when the wake is under way, after a look has
/// claimed it.
#[test]
fn dropped_future_of_a_member_loses_no_frame() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let (_name, bus) = bus(OnFull::Block, 64);
        let group = bus.group("g").delivery(delivery).max_attempts(0).create().unwrap();
        let mut member = Async::new(group.member().attach().unwrap());
        let mut producer = bus.producer().attach().unwrap();
        run(async {
            for count in 0..300_u64 {
                assert!(poll_and_drop(member.recv()).await);
                {
                    let mut waiting = pin!(member.recv());
                    let polled =
                        poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
                    assert!(polled.is_pending());
                    producer.publish_bytes(1, &count.to_le_bytes()).unwrap();
                    if count % 2 == 0 {
                        tokio::time::sleep(Duration::from_micros(200)).await;
                    }
                }
                // Found ready, and not taken.
                member.ready().await;
                let delivered = member.recv().await.unwrap();
                assert_eq!(delivered.frame().payload(), count.to_le_bytes());
                assert_eq!(delivered.attempt(), 1);
                member.get_mut().ack(delivered.receipt()).unwrap();
                if count % 50 == 49 {
                    // What was claimed and not handed out goes back with the member.
                    producer.publish_bytes(1, &count.to_le_bytes()).unwrap();
                    member.ready().await;
                    member = Async::new(group.member().attach().unwrap());
                    let again = member.recv().await.unwrap();
                    assert_eq!(again.frame().payload(), count.to_le_bytes());
                    member.get_mut().ack(again.receipt()).unwrap();
                }
            }
        });
        assert_eq!(group.stat().unwrap().backlog, 0);
    }
}

#[test]
fn watches_stream_changes_and_lose_none_to_dropped_futures() {
    let (name, table) = table();
    let mut all = Async::new(table.reader().attach().unwrap().watch());
    let mut one = Async::new(table.reader().attach().unwrap().watch_key(5).unwrap());
    let mut writer = table.writer().attach().unwrap();
    run(async {
        for count in 1..=300_u64 {
            assert!(poll_and_drop(all.recv()).await);
            {
                let mut waiting = pin!(one.recv());
                let polled = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
                assert!(polled.is_pending());
                writer.set_bytes(5, &count.to_le_bytes()).unwrap();
            }
            all.ready().await;
            let change = all.recv().await.unwrap();
            assert_eq!((change.key(), change.version()), (&5.into(), count));
            assert_eq!(change.bytes(), count.to_le_bytes());
            assert_eq!(one.recv().await.unwrap().version(), count);
        }
        let ends = tokio::spawn(async move {
            let rest: Vec<_> = all.map(|change| change.unwrap().version()).collect().await;
            rest
        });
        tokio::task::yield_now().await;
        writer.set_bytes(5, b"last").unwrap();
        Table::remove(&name.0).unwrap();
        assert_eq!(ends.await.unwrap(), [301]);
        assert_eq!(one.recv().await.unwrap().bytes(), b"last");
        assert_eq!(one.recv().await.err(), Some(TableError::Removed));
    });
}

/// Hands a ball round: bus, group, table, and back. Missed wakes would use the patience up. Another task, of
/// the same group, sleeps on the same bell and takes what it gets.
#[test]
fn tasks_of_bus_group_and_table_are_woken_by_one_thread() {
    const ROUNDS: u64 = 2_000;
    let (_a, frames) = bus(OnFull::Block, 8);
    let (_b, work) = bus(OnFull::Block, 8);
    let (_c, table) = table();
    let group = work.group("g").max_attempts(0).create().unwrap();
    let mut consumer = Async::new(frames.consumer().attach().unwrap());
    let mut start = Async::new(frames.producer().attach().unwrap());
    let mut tasks = Async::new(work.producer().attach().unwrap());
    let mut watch = Async::new(table.reader().attach().unwrap().watch());
    let ring = async {
        tokio::spawn(async move {
            while consumer.recv().await.is_ok() {
                if tasks.publish_bytes(0, b"").await.is_err() {
                    break;
                }
            }
        });
        for _ in 0..2 {
            let mut member = Async::new(group.member().attach().unwrap());
            let mut writer = table.writer().attach().unwrap();
            tokio::spawn(async move {
                while let Ok(delivered) = member.recv().await {
                    member.get_mut().ack(delivered.receipt()).unwrap();
                    writer.set_bytes(1, b"").unwrap();
                }
            });
        }
        for round in 1..=ROUNDS {
            start.publish_bytes(0, b"").await.unwrap();
            let change = timeout(PATIENCE, watch.recv()).await.expect("the ball").unwrap();
            assert_eq!(change.version(), round);
            assert!(waiters() <= 1);
        }
        work.remove_group("g").unwrap();
    };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, ring).await.expect("wakes are missed") });
}

#[test]
fn timer_wakes_its_task_at_its_time() {
    let mut timer = Async::new(Timer::new());
    run(async {
        for time in [1, 20, 70, 130].map(Duration::from_millis) {
            let began = std::time::Instant::now();
            timer.get_mut().set(Some(began + time));
            timer.ready().await;
            assert!(began.elapsed() >= time);
        }
    });
}
