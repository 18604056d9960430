//! How a producer writes: one frame copied in, one frame in place, a batch in place, and claims that
//! are given up.

use super::frame::{self, HEAD_BYTES, Mark, NEVER};
use busway_crashable::{Bus, FrameLayout, Producer, PublishError};

/// Writes the frames of one life.
pub struct Pen {
    pub life: u64,
    bare: bool,
    payload_max: usize,
    bytes: Vec<u8>,
}

impl Pen {
    /// For frames of this bus.
    pub fn new(bus: &Bus, life: u64) -> Self {
        let payload_max = usize::try_from(bus.info().payload_bytes).unwrap_or(HEAD_BYTES);
        let bare = bus.info().frames == FrameLayout::Bare;
        Self { life, bare, payload_max, bytes: vec![0; payload_max] }
    }

    /// The mark of a frame of a batch that begins at `first`.
    pub fn mark(&self, first: u64, index: u32, count: u32) -> Mark {
        Mark { life: self.life, sequence: first.wrapping_add(index.into()), index, count }
    }

    fn len(&self, mark: Mark) -> usize {
        if self.bare {
            self.payload_max
        } else {
            frame::len_bytes(mark.life, mark.sequence, self.payload_max)
        }
    }

    /// Publishes one frame, which is written elsewhere and copied; `spoil` may change its bytes.
    pub fn copied(
        &mut self,
        producer: &mut Producer,
        mark: Mark,
        spoil: impl FnOnce(&mut [u8]),
    ) -> Result<u64, PublishError> {
        let len = self.len(mark);
        let bytes = self.bytes.get_mut(..len).unwrap_or_default();
        frame::fill(bytes, mark);
        spoil(bytes);
        producer.publish_bytes(1, bytes)
    }

    /// Publishes frames together, each written where it stays.
    pub fn batch(&self, producer: &mut Producer, marks: &[Mark]) -> Result<u64, PublishError> {
        let count = u32::try_from(marks.len()).unwrap_or(u32::MAX);
        let mut batch = producer.claim_batch(count)?;
        for (index, mark) in (0..).zip(marks) {
            let Some(mut frame) = batch.frame(index) else {
                break;
            };
            let len = self.len(*mark);
            frame.set_len(len)?;
            frame::fill(frame.payload_mut().get_mut(..len).unwrap_or_default(), *mark);
        }
        batch.commit()
    }

    /// Claims a frame, writes it, and gives it up: nobody may ever see it.
    pub fn abort(&self, producer: &mut Producer) -> Result<(), PublishError> {
        let mark = self.never();
        // Full: then there is nothing to give up.
        let Ok(mut claim) = producer.try_claim() else {
            return Ok(());
        };
        let len = self.len(mark);
        claim.set_len(len)?;
        frame::fill(claim.payload_mut().get_mut(..len).unwrap_or_default(), mark);
        drop(claim);
        Ok(())
    }

    /// What is written into claims that are given up.
    pub fn never(&self) -> Mark {
        Mark { life: self.life, sequence: NEVER, index: 0, count: 1 }
    }
}
