//! The producer process of a throughput run.

use super::Shape;
use crate::bench::pace::{monotonic_ns, sleep_until, wait_until};
use crate::bench::pattern::{self, Origin};
use crate::bench::worker::Station;
use crate::exit::Failure;
use busway::{Bus, OnFull, Producer, PublishError, Wait};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a producer waits for room before it gives up: a consumer is stuck then.
const PATIENCE: Duration = Duration::from_secs(30);

/// Refusals in a row after which a rejected producer offers its core to others, unless it is
/// `busy`.
const REFUSALS_PER_YIELD: u32 = 64;

/// What a producer process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProducerTask {
    pub bus: String,
    /// Its number among the producers.
    pub index: u32,
    pub shape: Shape,
}

/// One phase: begin at `start_ns` of `CLOCK_MONOTONIC` and publish so many messages.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ProducerOrder {
    pub start_ns: u64,
    pub messages: u64,
}

/// What one producer did in a phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProducerReport {
    pub lane: u32,
    pub published: u64,
    /// Attempts that found the lane full (`reject` only).
    pub rejected: u64,
    pub blocked_ns: u64,
    pub begin_ns: u64,
    pub end_ns: u64,
}

/// The producer process.
pub fn produce(station: &mut Station, task: &ProducerTask) -> Result<(), Failure> {
    let bus = Bus::open(&task.bus)?;
    let producer = bus
        .producer()
        .name(format!("producer {}", task.index))
        .wait(task.shape.wait)
        .timeout(Some(PATIENCE))
        .attach()?;
    let mut line = Line::new(producer, &task.shape);
    station.report(&())?;
    while let Some(order) = station.next_order::<ProducerOrder>()? {
        station.report(&line.phase(order, task)?)?;
    }
    line.producer.detach();
    Ok(())
}

/// A producer and what it will publish next.
struct Line<'a> {
    producer: Producer,
    shape: &'a Shape,
    payload_bytes: usize,
    lane: u32,
    /// The position of the next message: lanes of a new bus start at 0.
    sequence: u64,
    refusals: u32,
}

impl<'a> Line<'a> {
    fn new(producer: Producer, shape: &'a Shape) -> Self {
        let (lane, sequence) = (producer.lane(), producer.position());
        let payload_bytes = usize::try_from(shape.payload_bytes).unwrap_or(usize::MAX);
        Self { producer, shape, payload_bytes, lane, sequence, refusals: 0 }
    }

    fn phase(
        &mut self,
        order: ProducerOrder,
        task: &ProducerTask,
    ) -> Result<ProducerReport, Failure> {
        let (rejected, blocked_ns) = (self.producer.rejected(), self.producer.blocked_ns());
        let first = self.sequence;
        sleep_until(order.start_ns);
        let begin_ns = monotonic_ns();
        match self.shape.rate_hz {
            None => self.flat_out(order.messages)?,
            Some(hz) => self.paced(order, hz, task.index)?,
        }
        Ok(ProducerReport {
            lane: self.lane,
            published: self.sequence - first,
            rejected: self.producer.rejected() - rejected,
            blocked_ns: self.producer.blocked_ns() - blocked_ns,
            begin_ns,
            end_ns: monotonic_ns(),
        })
    }

    fn flat_out(&mut self, messages: u64) -> Result<(), Failure> {
        let end = self.sequence + messages;
        let batch = self.shape.batch_messages;
        while self.sequence < end {
            let left = u32::try_from(end - self.sequence).unwrap_or(u32::MAX);
            self.publish(batch.min(left), 0)?;
        }
        Ok(())
    }

    /// Sends on the beat. A beat that was missed is made up for at once, and its message carries
    /// the time at which it ought to have been sent.
    fn paced(&mut self, order: ProducerOrder, hz: f64, index: u32) -> Result<(), Failure> {
        let (first, end) = (self.sequence, self.sequence + order.messages);
        let period_ps = super::whole(1e12 / hz);
        let batch = self.shape.batch_messages;
        // Producers beat in turn instead of all at once.
        let offset = u128::from(period_ps) * u128::from(batch) * u128::from(index)
            / u128::from(self.shape.producers);
        while self.sequence < end {
            let beat = offset + u128::from(self.sequence - first) * u128::from(period_ps);
            let intended_ns = order.start_ns + u64::try_from(beat / 1000).unwrap_or(u64::MAX / 2);
            wait_until(intended_ns, self.shape.wait == Wait::Busy);
            let left = u32::try_from(end - self.sequence).unwrap_or(u32::MAX);
            self.publish(batch.min(left), intended_ns)?;
        }
        Ok(())
    }

    /// Publishes `count` messages together; under `reject` tries until there is room.
    #[inline]
    fn publish(&mut self, count: u32, intended_ns: u64) -> Result<(), Failure> {
        loop {
            let sent =
                if count == 1 { self.one(intended_ns) } else { self.batch(count, intended_ns) };
            match sent {
                Ok(position) if position == self.sequence => {
                    self.sequence += u64::from(count);
                    self.refusals = 0;
                    return Ok(());
                }
                Ok(position) => {
                    return Err(Failure::failed(format!(
                        "message {} of lane {} got position {position}",
                        self.sequence, self.lane
                    )));
                }
                Err(PublishError::Full) if self.shape.on_full == OnFull::Reject => self.refused(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[inline]
    fn one(&mut self, intended_ns: u64) -> Result<u64, PublishError> {
        let mut claim = match self.shape.on_full {
            OnFull::Reject => self.producer.try_claim()?,
            OnFull::Block | OnFull::DropOldest => self.producer.claim()?,
        };
        let origin = Origin { lane: self.lane, sequence: self.sequence };
        if let Some(payload) = claim.payload_mut().get_mut(..self.payload_bytes) {
            pattern::fill(payload, origin, intended_ns);
        }
        claim.set_len(self.payload_bytes)?;
        claim.commit()
    }

    #[inline]
    fn batch(&mut self, count: u32, intended_ns: u64) -> Result<u64, PublishError> {
        let mut batch = match self.shape.on_full {
            OnFull::Reject => self.producer.try_claim_batch(count)?,
            OnFull::Block | OnFull::DropOldest => self.producer.claim_batch(count)?,
        };
        for index in 0..count {
            let sequence = self.sequence + u64::from(index);
            let Some(mut slot) = batch.frame(index) else {
                break;
            };
            if let Some(payload) = slot.payload_mut().get_mut(..self.payload_bytes) {
                pattern::fill(payload, Origin { lane: self.lane, sequence }, intended_ns);
            }
            slot.set_len(self.payload_bytes)?;
        }
        batch.commit()
    }

    fn refused(&mut self) {
        self.refusals += 1;
        if self.shape.wait != Wait::Busy && self.refusals.is_multiple_of(REFUSALS_PER_YIELD) {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}
