//! Members' seats in the group's segment: proof of life, and giving back what the dead had claimed.
//!
//! As the seats of a bus (`seat`): the lock on its byte makes a seat somebody's, the words say whose. A
//! newcomer in a dead one's seat takes back all its claims before it sits, so that a claim by member m
//! is always by whoever sat there last.
//!
//! | who finds a claim of member m | m's next holder |
//! |---|---|
//! | loads the word: claimed by m | |
//! | loads m's state: taken, epoch e; asks the kernel: nobody has m's lock | |
//! | CAS of the state to (e, dead) | takes the lock; takes back m's claims; sits: (e+1, taken) |
//! | loads the state again: dead; CAS of the word | claims |
//!
//! A claim of the next holder comes after its state. So who has loaded such a claim, and then the state,
//! does not see "dead": it never takes back a claim of somebody who lives.

use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::segment::{GroupRegions, LaneClaims};
use crate::claims::Window;
use crate::crash::crash_point;
use crate::error::Error;
use crate::layout::claim::{Stand, Why, millis};
use crate::layout::group::MemberWords;
use crate::participant::{Participant, Role};
use crate::regions;
use crate::seat;
use crate::shm::lock;
use crate::shm::mapping::Shared;
use crate::shm::segment::Segment;
use crate::sync::{AtomicU64, Ordering, clock};

/// How often a newcomer goes round all seats before it reports that none is free.
const ROUNDS: u32 = 3;
/// How long it waits for a seat whose lock is held though nobody sits there.
const CHANGING: Duration = Duration::from_secs(1);

/// A lane's head and the group's gate on it.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    pub(super) head: &'a AtomicU64,
    pub(super) gate: &'a AtomicU64,
}

/// Takes a free seat, after taking back what a dead holder had claimed: `take_back` does that.
///
/// # Errors
/// `SeatsTaken` naming the holders; `Io` when locking is refused.
pub(super) fn take(
    segment: &Segment,
    group: &GroupRegions,
    name: &str,
    take_back: impl Fn(u32),
) -> Result<u32, Error> {
    let failed = |action| move |source| Error::Io { action, source };
    let deadline = Instant::now() + CHANGING;
    let mut rounds = 0;
    loop {
        let mut changing = false;
        for (index, member) in (0_u32..).zip(&group.members) {
            let byte = u64::from(index);
            if !lock::try_lock(&segment.file, byte).map_err(failed("lock a member's seat"))? {
                changing |= !seat::is_taken(&member.seat);
                continue;
            }
            crash_point!(GroupSeatLocked);
            if seat::is_taken(&member.seat) {
                take_back(index);
            }
            lock::sit(&segment.file, byte).map_err(failed("keep a member's seat"))?;
            seat::sit(&member.seat, std::process::id(), Uid::effective().as_raw(), name);
            crash_point!(GroupMemberSeated);
            return Ok(index);
        }
        rounds += 1;
        if changing && Instant::now() < deadline {
            std::thread::sleep(CHANGING / 1000);
        } else if rounds < ROUNDS {
            std::thread::yield_now();
        } else {
            break;
        }
    }
    let holders = members(segment, group);
    Err(Error::SeatsTaken { name: segment.name.clone(), role: "member", holders })
}

/// Marks the seat free and gives its lock back. All its claims have been taken back.
pub(super) fn leave(segment: &Segment, group: &GroupRegions, index: u32) {
    if let Some(member) = member(group, index) {
        seat::set_free(&member.seat);
    }
    // Should it fail, the kernel unlocks when the segment is closed.
    let _unlocked = lock::unlock(&segment.file, index.into());
}

/// Whether the member that made a claim, which was loaded before this, is no more. Asks the kernel
/// unless `asked` says that it was asked already.
pub(super) fn is_dead(
    segment: &Segment,
    group: &GroupRegions,
    index: u32,
    asked: &mut u64,
) -> bool {
    let Some(member) = member(group, index) else {
        // No honest member has such a number.
        return true;
    };
    // The state comes first; see above.
    let state = seat::state(&member.seat);
    if !state.is_taken() || state.is_dead() {
        return true;
    }
    let bit = 1 << (index & 63);
    if *asked & bit != 0 {
        return false;
    }
    *asked |= bit;
    // Where the lock cannot be looked at, nothing proves death.
    if lock::is_inhabited(&segment.file, index.into()).unwrap_or(true) {
        return false;
    }
    regions::bury(&member.seat, state);
    seat::state(&member.seat).is_dead()
}

/// Takes back all claims of a member on a lane; returns how many. Nobody claims in its name.
pub(super) fn take_back_all(
    lane: &LaneClaims,
    ends: Ends<'_>,
    capacity: u64,
    member: u32,
    why: Why,
) -> u64 {
    let Ok(window) = Window::look(ends.head, ends.gate, capacity) else {
        return 0;
    };
    let now_ms = millis(clock::monotonic_ns());
    let mut count = 0;
    for step in 0..window.len() {
        let position = window.gate.wrapping_add(step);
        let word = lane.claims.word(position);
        let is_its = matches!(
            lane.claims.stand(position, word),
            Stand::Claimed { member: claimant, .. } if claimant == member
        );
        if is_its && lane.claims.take_back(position, word, why, now_ms) {
            count += 1;
        }
    }
    count
}

/// Everybody who sits in a member's seat.
pub(super) fn members(segment: &Segment, group: &GroupRegions) -> Vec<Participant> {
    let indexed = (0_u32..).zip(&group.members);
    indexed
        .filter_map(|(index, member)| {
            let inhabited = || lock::is_inhabited(&segment.file, index.into()).unwrap_or(true);
            seat::occupant_of(&member.seat, Role::Consumer, index, inhabited)
        })
        .collect()
}

/// Counts something in one of the group's words.
#[cold]
pub(super) fn count(word: &AtomicU64, by: u64) {
    // ORDERING: relaxed; a statistic.
    word.fetch_add(by, Ordering::Relaxed);
}

/// Takes back what was counted too early.
#[cold]
pub(super) fn uncount(word: &AtomicU64) {
    // ORDERING: relaxed; a statistic.
    word.fetch_sub(1, Ordering::Relaxed);
}

fn member(group: &GroupRegions, index: u32) -> Option<&Shared<MemberWords>> {
    group.members.get(usize::try_from(index).ok()?)
}
