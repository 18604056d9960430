//! What a working process holds: a member of a group.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use super::Group;
use super::engine::Engine;
use crate::error::{AckError, Error, PollError};
use crate::layout::claim::ClaimWord;
use crate::options::Wait;
use crate::received::{FrameRef, OwnedFrame};

/// Frames that a member claims together unless asked otherwise: their words are one cache line.
const BATCH: u32 = 8;
/// The most.
const BATCH_MAX: u32 = 256;

/// How a member attaches: from [`Group::member`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `attach`"]
pub struct MemberOptions<'a> {
    group: &'a Group,
    pub(super) name: Option<String>,
    pub(super) wait: Wait,
    pub(super) batch: u32,
}

impl Group {
    /// Attaches a member.
    pub fn member(&self) -> MemberOptions<'_> {
        MemberOptions { group: self, name: None, wait: Wait::Adaptive, batch: BATCH }
    }
}

impl MemberOptions<'_> {
    /// The name that tools show; by default the process's. At most 32 bytes are kept.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How `receive` waits; adaptive by default.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Frames that it claims together at most: 1 to 256, 8 by default.
    ///
    /// Larger is faster. But frames that were claimed and not handed out yet wait for this member, with
    /// their processing timeout running: take 1 where handling a frame takes long.
    pub fn batch(mut self, frames: u32) -> Self {
        self.batch = frames;
        self
    }

    /// Takes a member's seat.
    ///
    /// # Errors
    /// [`Error::SeatsTaken`] naming who holds the seats; [`Error::Group`] when the group has been
    /// removed, or is just being reset; [`Error::BadGeometry`] for a batch out of range;
    /// [`Error::Permission`], [`Error::Untrusted`].
    pub fn attach(self) -> Result<GroupMember, Error> {
        if !(1..=BATCH_MAX).contains(&self.batch) {
            return Err(Error::BadGeometry {
                what: "batch",
                value: self.batch.into(),
                allowed: format!("1 to {BATCH_MAX}"),
            });
        }
        let engine = Engine::attach(self.group, &self)?;
        Ok(GroupMember { engine, _one_thread: PhantomData })
    }
}

/// Stands for one frame that was handed out, to acknowledge or to refuse it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(super) lane: u32,
    pub(super) position: u64,
    pub(super) claim: ClaimWord,
}

impl Receipt {
    /// The frame's lane.
    #[must_use]
    pub fn lane(&self) -> u32 {
        self.lane
    }

    /// Its position in the lane.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Which attempt this is: 1 for the first. Stays at 255.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.claim.attempts().max(1)
    }
}

/// A frame that this member has claimed: a copy, with what it is acknowledged by.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'a> {
    pub(super) frame: FrameRef<'a>,
    pub(super) receipt: Receipt,
}

impl<'a> Delivered<'a> {
    /// The frame. It can be read until the next call of `poll` or `receive`.
    #[must_use]
    pub fn frame(&self) -> FrameRef<'a> {
        self.frame
    }

    /// What it is acknowledged by; does not borrow the member.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// Which attempt this is: 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.receipt.attempt()
    }

    /// A copy that outlives the borrow.
    #[must_use]
    pub fn to_owned(&self) -> OwnedDelivered {
        OwnedDelivered { frame: self.frame.to_owned(), receipt: self.receipt }
    }
}

/// A frame that a member has claimed, owned: from [`Delivered::to_owned`].
#[derive(Clone, Debug)]
pub struct OwnedDelivered {
    frame: OwnedFrame,
    receipt: Receipt,
}

impl OwnedDelivered {
    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &OwnedFrame {
        &self.frame
    }

    /// The frame, to keep.
    #[must_use]
    pub fn into_frame(self) -> OwnedFrame {
        self.frame
    }

    /// What it is acknowledged by.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// Which attempt this is: 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.receipt.attempt()
    }
}

/// One attached member of a group: gets frames that no other member has.
///
/// Each frame that it is handed is to be acknowledged ([`ack`](Self::ack)) or refused
/// ([`nack`](Self::nack)), in any order, any number being outstanding. One that is neither goes to
/// another member when the group's processing timeout is over, when this member is dropped, or within
/// some milliseconds of its provable death.
///
/// Frames of one lane are claimed in order; those of several members, and those that are tried again,
/// are handled in whatever order that gives. Nothing is promised between lanes, also on an `ordered` bus.
/// With affinity ([`GroupOptions::affinity`](crate::GroupOptions::affinity)) frames of one key are one
/// member's at a time, and [`poll`](Self::poll) may find nothing although there are frames: others'.
///
/// It can be sent to another thread, not shared by two. Dropping it detaches: what it has not
/// acknowledged goes back at once.
///
/// Cost: a claim and an acknowledgement are one CAS each, the frame is copied, and a claim of several
/// reads the clock once. While others have claims, a system call for each of them every 2 ms (are they
/// alive?).
#[derive(Debug)]
pub struct GroupMember {
    pub(super) engine: Engine,
    /// Not `Sync`: one thread at a time.
    _one_thread: PhantomData<Cell<()>>,
}

impl GroupMember {
    /// The next frame, if there is one for this member. Never waits.
    ///
    /// On an at-most-once group a frame is settled when this returns it.
    ///
    /// # Errors
    /// [`PollError::Removed`] when the group or the bus was removed; [`PollError::Corrupt`] for words
    /// that no honest participant writes; [`PollError::Forked`], [`PollError::Truncated`].
    #[inline]
    pub fn poll(&mut self) -> Result<Option<Delivered<'_>>, PollError> {
        let ready = self.engine.advance()?;
        Ok(ready.map(|ready| self.engine.hand_out(ready)))
    }

    /// The next frame, or `None` when there was none for this member for `timeout`.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<Delivered<'_>>, PollError> {
        let ready = self.engine.wait(timeout)?;
        Ok(ready.map(|ready| self.engine.hand_out(ready)))
    }

    /// Says that a frame has been dealt with: nobody else gets it.
    ///
    /// # Errors
    /// [`AckError::TakenBack`] when it came too late: another member gets the frame, or has got it.
    /// What it did with it has then been done twice, or will be.
    #[inline]
    pub fn ack(&mut self, receipt: Receipt) -> Result<(), AckError> {
        self.engine.ack(receipt)
    }

    /// Says that a frame could not be dealt with: a member gets it again, not before `delay` (24 h at
    /// most) is over, or it becomes a dead letter if this was its last attempt.
    ///
    /// # Errors
    /// As [`ack`](Self::ack); [`AckError::Settled`] on an at-most-once group.
    pub fn nack(&mut self, receipt: Receipt, delay: Duration) -> Result<(), AckError> {
        self.engine.nack(receipt, delay)
    }

    /// The member's seat in its group, as tools show it.
    #[must_use]
    pub fn seat(&self) -> u32 {
        self.engine.seat()
    }

    /// Frames claimed since the attach, those that are not handed out yet included.
    #[must_use]
    pub fn claimed(&self) -> u64 {
        self.engine.claimed()
    }

    /// Frames acknowledged since the attach; on an at-most-once group, handed out.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.engine.acknowledged()
    }

    /// Detaches. The same as dropping.
    pub fn detach(self) {}
}

#[cfg(test)]
impl GroupMember {
    /// The shared hint of a lane, to be led astray by.
    pub(super) fn engine_lane_hint(&self, lane: usize) -> &crate::sync::AtomicU64 {
        &self.engine.lanes[lane].group.hint.next
    }

    /// The share of a frame's key.
    pub(super) fn engine_share_at(&self, lane: usize, position: u64) -> u8 {
        let portion = self.engine.portion.as_ref().unwrap();
        self.engine.share_at(portion.affinity, lane, position)
    }

    /// Makes a share's word what nobody honest makes it.
    pub(super) fn engine_scribble_owner(&self, share: u8, word: u64) {
        use crate::layout::share::OwnerWord;
        let shares = &self.engine.portion.as_ref().unwrap().shares;
        shares.take(share, shares.owner(share), OwnerWord::from_word(word));
    }
}
