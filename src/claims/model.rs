//! Claims under `loom`: every interleaving and every permitted staleness of a few steps.
//!
//! The code that runs here is the code that runs across processes. A frame's payload is an atomic word
//! that holds its position: a producer that overwrites it while a member copies it is allowed (the copy
//! is then not believed), and a copy that is believed and is another position's fails the model. Where
//! no claim is taken from anybody, it stands in a cell that loom watches as well: there an overwriting
//! that is not ordered after the copy fails the model even if the value happens to be right.
//!
//! Models begin just before positions wrap at 2^64. `docs/models.md` lists what each was seen to catch.

#![allow(unsafe_code)] // reading and writing loom's cells

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::{Claims, Window};
use crate::lane::model::explore;
use crate::lane::model::life::{Life, explore_deaths, until_death};
use crate::lane::writer::LaneWriter;
use crate::lane::{Gates, model::lane_words};
use crate::layout::claim::{ClaimWord, Stand, Why, is_due};
use crate::layout::words::LaneWords;
use crate::sync::{AtomicU64, Ordering};
use std::ops::Deref;

const CAPACITY: u64 = 2;
const ORIGIN: u64 = u64::MAX - 1;

struct Memory {
    words: LaneWords,
    attached: AtomicU64,
    gate: AtomicU64,
    claims: Box<[AtomicU64]>,
    slots: [AtomicU64; CAPACITY as usize],
    cells: [UnsafeCell<u64>; CAPACITY as usize],
    /// Counts steps whose order loom is to try both ways: by itself it tries two accesses to a word in
    /// both orders only while nobody else touches it in between.
    steps: AtomicU64,
    /// Whether the group may be removed: then its standing is looked at.
    mortal: bool,
    removed: AtomicU64,
}

// SAFETY: the cells are the only part that is not `Sync`, and loom watches each access to them.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

/// Leads one participant to the memory.
#[derive(Clone)]
struct Lane {
    memory: Arc<Memory>,
    life: Life,
}

/// The claim words, each access a step of a life.
#[derive(Clone)]
struct Words(Lane);

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        self.0.life.step();
        &self.0.memory.claims
    }
}

impl Deref for Lane {
    type Target = LaneWords;

    fn deref(&self) -> &LaneWords {
        self.life.step();
        &self.memory.words
    }
}

impl Gates for Lane {
    fn attached(&self) -> &AtomicU64 {
        &self.memory.attached
    }

    fn cursor(&self, consumer: u32) -> Option<&AtomicU64> {
        (consumer == 0).then_some(&self.memory.gate)
    }

    fn lets_go(&self, _consumer: u32) -> bool {
        // As `regions::standings` and `Berth::is_held` look at the seat.
        self.memory.mortal && self.memory.removed.load(Ordering::Acquire) != 0
    }
}

impl Lane {
    fn new() -> Self {
        Self::of(false)
    }

    fn of(mortal: bool) -> Self {
        let memory = Arc::new(Memory {
            words: lane_words(ORIGIN),
            attached: AtomicU64::new(1),
            gate: AtomicU64::new(ORIGIN),
            claims: (0..CAPACITY).map(|_| AtomicU64::new(0)).collect(),
            slots: [AtomicU64::new(0), AtomicU64::new(0)],
            cells: [UnsafeCell::new(0), UnsafeCell::new(0)],
            steps: AtomicU64::new(0),
            mortal,
            removed: AtomicU64::new(0),
        });
        let lane = Self { memory, life: Life::without_end() };
        lane.claims().begin(ORIGIN);
        lane
    }

    fn mortal(&self, life: &Life) -> Self {
        Self { memory: Arc::clone(&self.memory), life: life.clone() }
    }

    fn claims(&self) -> Claims<Words> {
        Claims::over(Words(self.clone())).unwrap()
    }

    fn slot(&self, position: u64) -> &AtomicU64 {
        &self.memory.slots[usize::try_from(position & (CAPACITY - 1)).unwrap()]
    }

    fn cell(&self, position: u64) -> &UnsafeCell<u64> {
        &self.memory.cells[usize::try_from(position & (CAPACITY - 1)).unwrap()]
    }

    fn step(&self) {
        self.memory.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn window(&self) -> Window {
        Window::look(&self.memory.words.head, &self.memory.gate, CAPACITY).expect("gated")
    }

    /// Publishes `count` frames, one by one, as far as there is room.
    fn publish(&self, count: u64) -> u64 {
        self.publish_watched(count, false)
    }

    fn publish_watched(&self, count: u64, watched: bool) -> u64 {
        let mut writer = LaneWriter::resume(self.clone(), self.clone(), CAPACITY);
        let mut published = 0;
        while published < count && writer.has_room(1) {
            let position = writer.head();
            self.step();
            self.slot(position).store(position, Ordering::Relaxed);
            if watched {
                // SAFETY: loom proves that nobody else is at the cell.
                self.cell(position).with_mut(|cell| unsafe { *cell = position });
            }
            writer.publish(1);
            published += 1;
        }
        published
    }

    /// Claims the first frame that this member may work on. `steals`: claims of others are over.
    fn claim(&self, member: u32, steals: bool) -> Option<(u64, ClaimWord)> {
        let (claims, window) = (self.claims(), self.window());
        for step in 0..window.len() {
            let position = window.gate.wrapping_add(step);
            let mut seen = claims.word(position);
            match claims.stand(position, seen) {
                Stand::Fresh | Stand::Waiting { .. } => {}
                Stand::Claimed { member: other, due_ms } if steals && other != member => {
                    assert!(is_due(due_ms, 0));
                    if !claims.take_back(position, seen, Why::TimedOut, 0) {
                        continue;
                    }
                    seen = seen.returned(Why::TimedOut, 0);
                }
                _ => continue,
            }
            if let Some(claim) = claims.claim(position, seen, member, 0) {
                return Some((claims.settled(position, &self.memory.gate), claim));
            }
        }
        None
    }

    /// Claims, copies, looks, acknowledges. Returns the position if it is this member's to count.
    fn work(&self, member: u32, steals: bool) -> Option<u64> {
        let (position, claim) = self.claim(member, steals)?;
        let claims = self.claims();
        let copy = self.slot(position).load(Ordering::Relaxed);
        if !claims.holds(position, claim) {
            return None;
        }
        assert_eq!(copy, position, "a copy that is believed is whole");
        claims.finish(position, claim).then_some(position)
    }

    /// The same where nobody's claim is taken back, so that the copy is of what stands still.
    fn work_watched(&self, member: u32) -> Option<u64> {
        let (position, claim) = self.claim(member, false)?;
        // SAFETY: loom proves that nobody writes the cell.
        let copy = self.cell(position).with(|cell| unsafe { *cell });
        assert_eq!(copy, position);
        assert!(self.claims().holds(position, claim) && self.claims().finish(position, claim));
        Some(position)
    }

    fn advance(&self) {
        let window = self.window();
        self.claims().advance(&self.memory.gate, window, CAPACITY);
    }
}

/// Each frame is one member's, and all are somebody's.
#[test]
fn two_members_never_have_one_frame() {
    explore(Some(3), || {
        let lane = Lane::new();
        assert_eq!(lane.publish(2), 2);
        let other = lane.clone();
        let thread = thread::spawn(move || other.work(1, false));
        let mine = lane.work(0, false);
        let others = thread.join().unwrap();
        assert!(mine.is_some() || others.is_some());
        assert_ne!(mine, others);
        lane.advance();
        let rest = lane.work(0, false);
        assert_eq!(
            [mine, others, rest].iter().flatten().count(),
            2,
            "{mine:?} {others:?} {rest:?}"
        );
    });
}

/// A member whose time is over acknowledges while another takes its frame: one of them has it.
#[test]
fn late_acknowledgement_and_timeout_exclude_each_other() {
    explore(None, || {
        let lane = Lane::new();
        assert_eq!(lane.publish(1), 1);
        let (position, claim) = lane.claim(0, false).unwrap();
        let other = lane.clone();
        let thread = thread::spawn(move || {
            other.step();
            let redone = other.work(1, true);
            other.step();
            redone
        });
        lane.step();
        let acknowledged = lane.claims().finish(position, claim);
        let redone = thread.join().unwrap();
        assert!(acknowledged != redone.is_some(), "{acknowledged} {redone:?}");
        lane.advance();
        assert_eq!(lane.window().len(), 0);
    });
}

/// A slow member's claim is taken over, acknowledged, passed and its slot used again while it copies:
/// it believes no copy that is another lap's.
#[test]
fn gate_and_reuse_never_give_a_slow_member_a_frame_of_another_lap() {
    explore(None, || {
        let lane = Lane::new();
        assert_eq!(lane.publish(2), 2);
        let (position, claim) = lane.claim(0, false).unwrap();
        let slow = thread::spawn({
            let lane = lane.clone();
            move || {
                lane.step();
                let copy = lane.slot(position).load(Ordering::Relaxed);
                lane.step();
                if lane.claims().holds(position, claim) {
                    assert_eq!(copy, position, "a copy that is believed is whole");
                }
            }
        });
        let taken = lane.work(1, true);
        lane.advance();
        let published = lane.publish(1);
        slow.join().unwrap();
        assert_eq!((taken, published), (Some(ORIGIN), 1), "the gate has passed it");
        assert!(!lane.claims().finish(position, claim));
    });
}

/// The group is removed while a member copies: producers wait for it no more, and use a slot again whose
/// claim stands. No copy of another lap is believed, and no head that is too far ahead is taken for one
/// that nobody stores.
#[test]
fn removed_group_gives_no_member_a_frame_of_another_lap() {
    explore(None, || {
        let lane = Lane::of(true);
        assert_eq!(lane.publish(2), 2);
        let (position, claim) = lane.claim(0, false).unwrap();
        let slow = thread::spawn({
            let lane = lane.clone();
            move || {
                lane.step();
                let copy = lane.slot(position).load(Ordering::Relaxed);
                lane.step();
                if lane.claims().holds(position, claim) && !lane.lets_go(0) {
                    assert_eq!(copy, position, "a copy that is believed is whole");
                }
                if Window::look(&lane.memory.words.head, &lane.memory.gate, CAPACITY).is_err() {
                    assert!(lane.lets_go(0), "nobody stores such a head while the group is there");
                }
            }
        });
        // As `reset::disband` ends the seat's tenancy.
        assert_eq!(lane.memory.removed.fetch_or(1, Ordering::AcqRel), 0);
        let published = lane.publish(1);
        slow.join().unwrap();
        assert_eq!(published, 1, "nobody is waited for");
    });
}

/// Two members move the gate, at whatever each has seen of the words, while the producer uses what
/// they give it: it never passes a frame that is not done.
#[test]
fn gate_is_moved_by_many_and_never_past_a_claim() {
    explore(Some(3), || {
        let lane = Lane::new();
        assert_eq!(lane.publish_watched(2, true), 2);
        let threads: Vec<_> = (1..3)
            .map(|member| {
                let lane = lane.clone();
                thread::spawn(move || {
                    lane.step();
                    let done = lane.work_watched(member);
                    lane.step();
                    lane.advance();
                    lane.step();
                    done
                })
            })
            .collect();
        lane.step();
        lane.publish_watched(1, true);
        let done: Vec<_> = threads.into_iter().filter_map(|one| one.join().unwrap()).collect();
        lane.advance();
        let window = lane.window();
        for position in done {
            assert!(!window.contains(position) || position != window.gate, "passed when done");
        }
        for step in 0..window.len() {
            let position = window.gate.wrapping_add(step);
            let stand = lane.claims().stand(position, lane.claims().word(position));
            assert!(matches!(stand, Stand::Fresh | Stand::Done), "{stand:?}");
        }
    });
}

/// A member dies at each of its steps: the next one finds every frame either acknowledged or to be had.
#[test]
fn member_that_dies_anywhere_leaves_every_frame_done_or_to_be_had() {
    explore_deaths(Some(2), |life| {
        let lane = Lane::new();
        assert_eq!(lane.publish(1), 1);
        let mortal = lane.mortal(life);
        let thread = thread::spawn(move || {
            until_death(|| {
                let done = mortal.work(1, false);
                mortal.advance();
                done
            })
        });
        let mine = lane.work(0, false);
        let theirs = thread.join().unwrap();
        // It is dead now, or done: its claims are over.
        let rest = lane.work(0, true);
        lane.advance();
        assert_eq!(lane.window().len(), 0, "nothing is left behind");
        let counted = [mine, theirs.flatten(), rest].iter().flatten().count();
        // Who died between its acknowledgement and saying so is not counted.
        assert!(counted <= 1 && (counted == 1 || theirs.is_none()));
    });
}
