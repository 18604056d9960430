//! A producer process.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use busway::{Bus, FrameLayout, Producer, PublishError};

use super::say;
use crate::support::PATIENCE;
use crate::support::frame::{self, ABORTED, Mark};
use crate::support::random::Random;
use crate::support::role::{Note, Produce, Published};
use crate::support::shared::Confirmed;

/// Payload bytes of an aborted frame: what is never to be seen.
const POISON: u8 = 0xa5;

pub fn run(role: &Produce) {
    let bus = Bus::open(&role.bus).expect("the bus");
    let bare = bus.info().frames == FrameLayout::Bare;
    let mut producer = bus
        .producer()
        .name(format!("p{}", role.id))
        .wait(role.wait)
        .timeout(Some(PATIENCE))
        .keep_end(role.keep_end)
        .attach()
        .expect("a lane");
    let lane = producer.lane();
    say(&Note::Ready { seat: lane });
    let orders = orders();
    wait_for(&orders, 1);
    let confirmed = role.confirm.as_deref().map(Confirmed::open);
    let mut random = Random::from_seed(u64::from(role.id));
    let mut sequence = 0;
    while sequence < role.count && orders.load(Ordering::Relaxed) < 2 {
        if role.abort_every > 0 && random.next().is_multiple_of(role.abort_every) {
            abort(&mut producer, &mut random, role);
        }
        let left = role.count - sequence;
        let count = random.within(1, u64::from(role.batch_max).min(left));
        publish(&mut producer, role, bare, sequence, count as u16);
        sequence += count;
        if let Some(confirmed) = &confirmed {
            confirmed.set(sequence);
        }
        if role.pace_us > 0 {
            std::thread::sleep(Duration::from_micros(role.pace_us));
        }
    }
    say(&Note::Published(Published {
        id: role.id,
        lane,
        count: producer.published(),
        rejected: producer.rejected(),
        blocked_count: producer.blocked_count(),
    }));
    if role.linger {
        wait_for(&orders, 2);
    }
}

/// Publishes a batch, again and again while the lane refuses it.
fn publish(producer: &mut Producer, role: &Produce, bare: bool, sequence: u64, count: u16) {
    loop {
        match attempt(producer, role, bare, sequence, count) {
            Ok(_) => return,
            Err(PublishError::Full) => std::thread::yield_now(),
            Err(error) => panic!("producer {} at {sequence}: {error}", role.id),
        }
    }
}

fn attempt(
    producer: &mut Producer,
    role: &Produce,
    bare: bool,
    sequence: u64,
    count: u16,
) -> Result<u64, PublishError> {
    let mark =
        |index| Mark { producer: role.id, sequence: sequence + u64::from(index), index, count };
    if count == 1 {
        let mut claim = producer.claim()?;
        let len = frame::fill(claim.payload_mut(), mark(0), bare);
        claim.set_len(len)?;
        claim.set_kind(frame::kind(mark(0)));
        return claim.commit();
    }
    let mut batch = producer.claim_batch(count.into())?;
    for index in 0..count {
        let mut slot = batch.frame(index.into()).expect("a claimed frame");
        let len = frame::fill(slot.payload_mut(), mark(index), bare);
        slot.set_len(len)?;
        slot.set_kind(frame::kind(mark(index)));
    }
    batch.commit()
}

/// Fills a batch and drops it.
fn abort(producer: &mut Producer, random: &mut Random, role: &Produce) {
    let count = random.within(1, role.batch_max.into()) as u32;
    let Ok(mut batch) = producer.claim_batch(count) else {
        return;
    };
    for index in 0..count {
        let mut slot = batch.frame(index).expect("a claimed frame");
        let payload = slot.payload_mut();
        payload.fill(POISON);
        payload[8..12].copy_from_slice(&ABORTED.to_le_bytes());
    }
}

/// Counts the orders that come in on standard input.
fn orders() -> Arc<AtomicU32> {
    let orders = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&orders);
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    orders
}

fn wait_for(orders: &AtomicU32, number: u32) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while orders.load(Ordering::Relaxed) < number {
        assert!(std::time::Instant::now() < deadline, "nobody gives orders any more");
        std::thread::sleep(Duration::from_micros(200));
    }
}
