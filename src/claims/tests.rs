//! The steps of a claim, one by one, over the heap.

use super::*;

const CAPACITY: u64 = 4;

struct Lane {
    claims: Claims<Box<[AtomicU64]>>,
    gate: AtomicU64,
    head: AtomicU64,
}

impl Lane {
    fn at(start: u64) -> Self {
        let claims = Claims::over((0..CAPACITY).map(|_| AtomicU64::new(0)).collect()).unwrap();
        claims.begin(start);
        Self { claims, gate: AtomicU64::new(start), head: AtomicU64::new(start) }
    }

    fn window(&self) -> Window {
        Window::look(&self.head, &self.gate, CAPACITY).unwrap()
    }

    fn publish(&self, count: u64) {
        let head = self.head.fetch_add(count, Ordering::Release).wrapping_add(count);
        assert!(head.wrapping_sub(self.gate.load(Ordering::Acquire)) <= CAPACITY, "gated");
    }

    fn claim(&self, position: u64, member: u32) -> Option<ClaimWord> {
        self.claims.claim(position, self.claims.word(position), member, 100)
    }

    fn advance(&self) -> u64 {
        self.claims.advance(&self.gate, self.window(), u64::MAX)
    }
}

#[test]
fn words_serve_lap_after_lap_without_a_reset() {
    for start in [0, 1, 3, u64::MAX - 5] {
        let lane = Lane::at(start);
        for step in 0..40 {
            let position = lane.head.load(Ordering::Relaxed);
            lane.publish(1);
            assert!(lane.window().contains(position), "{step}");
            let seen = lane.claims.word(position);
            assert_eq!(lane.claims.stand(position, seen), Stand::Fresh);
            let claim = lane.claim(position, 5).unwrap();
            assert_eq!(lane.claims.settled(position, &lane.gate), position);
            assert!(lane.claims.holds(position, claim));
            assert_eq!(lane.advance(), 0, "the claim holds the gate");
            assert!(lane.claims.finish(position, claim));
            assert!(!lane.claims.finish(position, claim), "once");
            assert_eq!(lane.advance(), 1);
        }
    }
}

#[test]
fn frame_that_is_acknowledged_out_of_turn_waits_for_those_before_it() {
    let lane = Lane::at(0);
    lane.publish(3);
    let claims: Vec<_> = (0..3).map(|position| lane.claim(position, 1).unwrap()).collect();
    assert!(lane.claims.finish(2, claims[2]) && lane.claims.finish(1, claims[1]));
    assert_eq!(lane.advance(), 0);
    assert!(lane.claims.finish(0, claims[0]));
    assert_eq!(lane.advance(), 3);
}

#[test]
fn claim_that_was_taken_back_is_nobodys_to_acknowledge() {
    let lane = Lane::at(0);
    lane.publish(1);
    let first = lane.claim(0, 1).unwrap();
    assert!(lane.claims.take_back(0, first, Why::TimedOut, 7));
    assert!(!lane.claims.finish(0, first) && !lane.claims.holds(0, first));
    let seen = lane.claims.word(0);
    assert_eq!(lane.claims.stand(0, seen), Stand::Waiting { due_ms: 7 });
    let second = lane.claim(0, 1).unwrap();
    assert_eq!((second.attempts(), second.why()), (2, Why::TimedOut));
    assert!(!lane.claims.take_back(0, first, Why::Died, 7), "the first claim is over");
    assert!(lane.claims.put_back(0, second, 0));
    assert_eq!(lane.claims.word(0).attempts(), 1, "what was not handed out does not count");
}

#[test]
fn whoever_claims_laps_too_late_learns_the_position_it_has_claimed() {
    let lane = Lane::at(1 << 40);
    lane.publish(1);
    let stale = (1 << 40) - (CAPACITY << 14);
    let claim = lane.claim(stale, 3).expect("the same lap, modulo 2^14");
    let position = lane.claims.settled(stale, &lane.gate);
    assert_eq!(position, 1 << 40);
    assert!(lane.claims.finish(position, claim));
}

#[test]
fn positions_out_of_the_window_are_not_claimed() {
    let lane = Lane::at(8);
    lane.publish(1);
    for position in [4, 12, 16] {
        assert_eq!(
            lane.claims.stand(position, lane.claims.word(position)),
            if position == 4 { Stand::Done } else { Stand::Alien }
        );
    }
    lane.head.store(8 + CAPACITY + 1, Ordering::Relaxed);
    assert_eq!(Window::look(&lane.head, &lane.gate, CAPACITY), Err(Impossible));
    lane.head.store(7, Ordering::Relaxed);
    assert_eq!(lane.window().len(), 0, "a head that is behind is an old one");
}

#[test]
fn words_that_nobody_stores_hold_the_gate_until_the_group_begins_anew() {
    let lane = Lane::at(0);
    lane.publish(2);
    lane.claims.words[0].store(u64::MAX, Ordering::Relaxed);
    assert_eq!(lane.claims.stand(0, lane.claims.word(0)), Stand::Alien);
    assert_eq!(lane.advance(), 0);
    lane.claims.begin(2);
    assert_eq!(lane.advance(), 2, "what was published before the start is done");
}
