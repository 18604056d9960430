//! Shares under `loom`: a share that changes hands while frames of it are claimed.
//!
//! One share, with all frames of one short lane, or of two with a frame each, to which members come in
//! either order. A member that has a frame in hand is at a cell that loom watches: two members at it,
//! one not ordered after what the other did, fail the model, whatever their words say. The cell counts
//! the frames of one lane that were in hand: first attempts are made in the order of the lane. What
//! stands around the protocol in the engine (who takes, the scan of one lane) is repeated here, with
//! nothing but its steps.

#![allow(unsafe_code)] // reading and writing loom's cells

use std::ops::Deref;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::{OwnerWord, Shares, store_then_look};
use crate::claims::Claims;
use crate::lane::model::explore;
use crate::lane::model::life::{Life, explore_deaths, until_death};
use crate::layout::claim::{Stand, Why};
use crate::sync::{AtomicU64, Ordering};

const CAPACITY: u64 = 2;
const ORIGIN: u64 = u64::MAX - 1;
const SHARE: u8 = 0;

struct Memory {
    owner: [AtomicU64; 1],
    claims: Box<[AtomicU64]>,
    /// Whether the frames are of one lane.
    in_order: bool,
    /// How many of the lane's frames were in hand so far, in their order.
    hands: UnsafeCell<u64>,
    /// Counts steps whose order loom is to try both ways; see `claims::model`.
    steps: AtomicU64,
}

// SAFETY: the cell is the only part that is not `Sync`, and loom watches each access to it.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

/// One member.
#[derive(Clone)]
struct Member {
    memory: Arc<Memory>,
    index: u32,
    life: Life,
}

/// The words of shares or claims, each access a step of a life.
struct Words {
    member: Member,
    of_shares: bool,
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        self.member.life.step();
        if self.of_shares { &self.member.memory.owner } else { &self.member.memory.claims }
    }
}

impl Member {
    /// Members 0, 1, 2; the share is member 0's, and open.
    fn all(in_order: bool) -> [Self; 3] {
        let memory = Arc::new(Memory {
            owner: [AtomicU64::new(OwnerWord::of(0, 1).word())],
            claims: (0..CAPACITY).map(|_| AtomicU64::new(0)).collect(),
            in_order,
            hands: UnsafeCell::new(0),
            steps: AtomicU64::new(0),
        });
        [0, 1, 2].map(|index| {
            let memory = Arc::clone(&memory);
            let member = Self { memory, index, life: Life::without_end() };
            if index == 0 {
                member.claims().begin(ORIGIN);
            }
            member
        })
    }

    fn mortal(&self, life: &Life) -> Self {
        Self { life: life.clone(), ..self.clone() }
    }

    fn words(&self, of_shares: bool) -> Words {
        Words { member: self.clone(), of_shares }
    }

    fn shares(&self) -> Shares<Words> {
        Shares::over(self.words(true))
    }

    fn claims(&self) -> Claims<Words> {
        Claims::over(self.words(false)).unwrap()
    }

    fn own(&self) -> OwnerWord {
        OwnerWord::of(self.index, 1)
    }

    fn step(&self) {
        self.memory.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the share from whoever has it.
    fn take(&self) -> bool {
        let seen = self.shares().owner(SHARE);
        self.shares().take(SHARE, seen, self.own())
    }

    /// Looks for others' claims. `are_dead`: theirs are over. `true`: the share is open.
    fn survey(&self, are_dead: bool) -> bool {
        store_then_look();
        let claims = self.claims();
        (0..CAPACITY).all(|step| {
            let position = ORIGIN.wrapping_add(step);
            let seen = claims.word(position);
            match claims.stand(position, seen) {
                Stand::Claimed { member, .. } if member != self.index => {
                    are_dead && claims.take_back(position, seen, Why::Died, 0)
                }
                _ => true,
            }
        })
    }

    /// The frames as this member comes to them.
    fn frames(&self) -> [u64; 2] {
        if self.memory.in_order || self.index == 0 { [0, 1] } else { [1, 0] }
    }

    /// Claims what there is, one after the other, in an open share.
    fn work(&self, most: u64) {
        let (claims, shares) = (self.claims(), self.shares());
        let mut worked = 0;
        for step in self.frames() {
            let position = ORIGIN.wrapping_add(step);
            let seen = claims.word(position);
            match claims.stand(position, seen) {
                Stand::Done => continue,
                Stand::Fresh | Stand::Waiting { .. } if worked < most => {}
                // Another's, who has not looked again yet: the share is closed.
                _ => break,
            }
            let Some(claim) = claims.claim(position, seen, self.index, 0) else {
                break;
            };
            store_then_look();
            if !shares.is_kept(SHARE, self.own()) {
                assert!(claims.put_back(position, claim, 0), "nobody takes it back");
                break;
            }
            self.memory.hands.with_mut(|hands| {
                // SAFETY: loom proves that nobody else is at the cell.
                unsafe {
                    let is_next = seen.attempts() > 0 || *hands == step;
                    assert!(is_next || !self.memory.in_order, "frame {step} after {}", *hands);
                    *hands = step + 1;
                }
            });
            self.step();
            assert!(claims.finish(position, claim), "nobody takes it back");
            worked += 1;
        }
    }

    fn take_and_work(&self, most: u64) {
        if self.take() && self.survey(false) {
            self.work(most);
        }
    }

    /// With everybody else gone: what is left is to be had.
    fn finish(&self) {
        assert!(self.shares().is_kept(SHARE, self.own()) || self.take());
        assert!(self.survey(true), "claims of the gone are over");
        self.work(CAPACITY);
        let claims = self.claims();
        for step in 0..CAPACITY {
            let position = ORIGIN.wrapping_add(step);
            assert_eq!(claims.stand(position, claims.word(position)), Stand::Done, "{step}");
        }
    }
}

/// The owner works while another takes its share and works as well.
fn pass_on(in_order: bool) {
    let [owner, taker, _] = Member::all(in_order);
    let thread = thread::spawn(move || {
        owner.step();
        owner.work(CAPACITY);
    });
    taker.step();
    taker.take_and_work(CAPACITY);
    thread.join().unwrap();
    taker.finish();
}

#[test]
fn frames_of_a_share_are_in_one_members_hands_whatever_their_lane() {
    explore(Some(4), || pass_on(false));
}

#[test]
fn frames_of_a_share_are_in_one_members_hands_in_the_order_of_their_lane() {
    explore(Some(4), || pass_on(true));
}

/// The share goes from one to the next to a third, while each works as far as it may.
#[test]
fn share_that_is_taken_twice_is_one_members_at_a_time() {
    explore(Some(2), || {
        let [owner, taker, third] = Member::all(false);
        let threads = [
            thread::spawn(move || owner.work(1)),
            thread::spawn({
                let taker = taker.clone();
                move || taker.take_and_work(1)
            }),
        ];
        third.take_and_work(1);
        for thread in threads {
            thread.join().unwrap();
        }
        third.finish();
    });
}

/// The owner dies at each of its steps; who takes the share finds every frame done or to be had.
#[test]
fn owner_that_dies_anywhere_leaves_its_share_to_be_had() {
    explore_deaths(Some(3), |life| {
        let [owner, taker, _] = Member::all(false);
        let mortal = owner.mortal(life);
        let thread = thread::spawn(move || until_death(|| mortal.work(CAPACITY)));
        taker.take_and_work(1);
        let _lived = thread.join().unwrap();
        taker.finish();
    });
}

/// Who takes a share dies at each of its steps; a third takes it, and the former owner goes on.
#[test]
fn taker_that_dies_anywhere_leaves_its_share_to_be_had() {
    explore_deaths(Some(2), |life| {
        let [owner, taker, third] = Member::all(false);
        let mortal = taker.mortal(life);
        let thread = thread::spawn(move || until_death(|| mortal.take_and_work(CAPACITY)));
        owner.work(1);
        let _lived = thread.join().unwrap();
        third.finish();
    });
}
