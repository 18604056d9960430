//! The policies by themselves, on a clock that is moved by hand.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::breaker::{Admission, Circuit};
use super::rate::Bucket;
use super::*;
use crate::clock::{Clock, ManualClock};

fn circuit(failures: u32, open_ns: u64, probes: u32) -> Circuit {
    let open_for = Duration::from_nanos(open_ns);
    Circuit::new(Breaker { failures, open_for, probes, while_open: WhileOpen::Wait })
}

#[test]
fn breaker_opens_after_failures_in_a_row_and_not_before() {
    let mut circuit = circuit(3, 100, 1);
    for succeeded in [false, false, true, false, false] {
        assert_eq!(circuit.admits(0), Admission::Yes);
        let period = circuit.begin();
        circuit.end(0, period, succeeded);
    }
    assert_eq!(circuit.state(), BreakerState::Closed);
    let period = circuit.begin();
    circuit.end(5, period, false);
    assert_eq!(circuit.state(), BreakerState::Open);
    assert_eq!(circuit.admits(104), Admission::At(105));
    assert_eq!(circuit.admits(105), Admission::Yes);
}

#[test]
fn half_open_breaker_lets_no_more_through_than_its_probes() {
    let mut circuit = circuit(1, 100, 2);
    let period = circuit.begin();
    circuit.end(0, period, false);
    assert_eq!(circuit.admits(100), Admission::Yes);
    let first = circuit.begin();
    assert_eq!(circuit.state(), BreakerState::HalfOpen);
    assert_eq!(circuit.admits(100), Admission::Yes);
    let second = circuit.begin();
    assert_eq!(circuit.admits(100), Admission::Later);
    circuit.end(101, first, true);
    assert_eq!(circuit.admits(101), Admission::Later, "one has succeeded, one is under way");
    circuit.end(102, second, true);
    assert_eq!(circuit.state(), BreakerState::Closed);
}

#[test]
fn failed_probe_opens_the_breaker_again() {
    let mut circuit = circuit(1, 100, 2);
    let period = circuit.begin();
    circuit.end(0, period, false);
    let (first, second) = (circuit.begin(), circuit.begin());
    circuit.end(150, first, false);
    assert_eq!(circuit.admits(249), Admission::At(250));
    // The other began before it opened: it says nothing any more.
    circuit.end(151, second, true);
    assert_eq!(circuit.state(), BreakerState::Open);
}

#[test]
fn attempt_that_began_before_the_breaker_opened_does_not_count() {
    let mut circuit = circuit(1, 100, 1);
    let (old, failing) = (circuit.begin(), circuit.begin());
    circuit.end(0, failing, false);
    let probe = circuit.begin();
    circuit.end(100, old, false);
    assert_eq!(circuit.state(), BreakerState::HalfOpen, "the probe decides");
    circuit.end(101, probe, true);
    assert_eq!(circuit.state(), BreakerState::Closed);
}

proptest! {
    /// Whatever comes in whatever order: probes are bounded, an open breaker admits nothing before its
    /// time, and after enough successes it is closed.
    #[test]
    fn breaker_keeps_its_bounds(
        failures in 1_u32..5,
        probes in 1_u32..4,
        steps in prop::collection::vec((0_u64..60, any::<bool>(), any::<bool>()), 0..200),
    ) {
        let mut circuit = circuit(failures, 100, probes);
        let (mut now, mut under_way) = (0, Vec::new());
        for (pass, begins, succeeds) in steps {
            now += pass;
            let before = circuit.state();
            if begins && circuit.admits(now) == Admission::Yes {
                under_way.push(circuit.begin());
                let was_open = before == BreakerState::Open;
                prop_assert!(!was_open || circuit.state() == BreakerState::HalfOpen);
            } else if !under_way.is_empty() {
                circuit.end(now, under_way.remove(0), succeeds);
            }
            if let Admission::At(at) = circuit.admits(now) {
                prop_assert!(at > now && at <= now + 100);
                prop_assert_eq!(circuit.state(), BreakerState::Open);
            }
        }
        // Everything under way ends, then everything succeeds.
        for period in under_way {
            circuit.end(now, period, true);
        }
        now += 100;
        for _ in 0..probes {
            prop_assert_eq!(circuit.admits(now), Admission::Yes);
            let period = circuit.begin();
            circuit.end(now, period, true);
        }
        prop_assert_eq!(circuit.state(), BreakerState::Closed);
    }

    /// In no stretch of time more than the rate allows and the bucket holds; and told to wait, one gets
    /// one at that time.
    #[test]
    fn bucket_gives_no_more_than_its_rate(
        per_second in 1_u32..10_000,
        burst in 1_u32..50,
        waits in prop::collection::vec(0_u64..2_000_000, 1..200),
    ) {
        let clock = ManualClock::new();
        let rate = Rate { per_second: f64::from(per_second), burst };
        let bucket = Bucket::new(&rate, Arc::new(clock.clone())).unwrap();
        let mut taken = 0_u64;
        for wait in waits {
            clock.advance(Duration::from_nanos(wait));
            match bucket.take() {
                Ok(()) => taken += 1,
                Err(at) => {
                    let now = clock.now_ns();
                    prop_assert!(at > now);
                    clock.advance(Duration::from_nanos(at - now));
                    prop_assert_eq!(bucket.take(), Ok(()));
                    taken += 1;
                }
            }
            let refilled = clock.now_ns() * u64::from(per_second) / 1_000_000_000;
            let allowed = u64::from(burst) + refilled + 1;
            prop_assert!(taken <= allowed, "{} of {}", taken, allowed);
        }
    }

    /// One delay fewer than attempts; each at least as long as the one before without jitter, at most
    /// the longest, and with jitter at most twice that.
    #[test]
    fn delays_grow_to_their_longest(
        attempts in 1_u32..20,
        first_ms in 1_u64..100,
        factor in 1.0_f32..4.0,
        longest_ms in 100_u64..2_000,
        jitter: bool,
    ) {
        let longest = Duration::from_millis(longest_ms);
        let first = Duration::from_millis(first_ms);
        let retry = Retry { attempts, first, factor, longest, jitter };
        let delays: Vec<_> = retry.delays().collect();
        prop_assert_eq!(delays.len(), attempts as usize - 1);
        let most = if jitter { 2 * longest } else { longest };
        prop_assert!(delays.iter().all(|delay| (first..=most).contains(delay)));
        prop_assert!(jitter || delays.is_sorted());
    }
}

#[test]
fn bucket_takes_many_at_once_up_to_what_it_holds() {
    let clock = ManualClock::new();
    let rate = Rate { per_second: 1000.0, burst: 10 };
    let bucket = Bucket::new(&rate, Arc::new(clock.clone())).unwrap();
    assert_eq!(bucket.take_many(0), Ok(()));
    assert_eq!(bucket.take_many(1_000_000), Ok(()), "a batch above the burst costs the burst");
    let at = bucket.take_many(4).unwrap_err();
    assert_eq!(at, 4_000_000);
    clock.advance(Duration::from_millis(4));
    assert_eq!(bucket.take_many(4), Ok(()));
}

#[test]
fn policies_that_make_no_sense_are_refused_by_name() {
    let refused = |policy: Policy| policy.check().unwrap_err().to_string();
    let retry = |retry: Retry| refused(Policy { retry, ..Policy::default() });
    assert!(retry(Retry::attempts(0)).starts_with("retry.attempts 0 is out of range"));
    assert!(retry(Retry { factor: f32::NAN, ..Retry::default() }).starts_with("retry.factor"));
    let breaker = Breaker { probes: 0, ..Breaker::default() };
    let text = refused(Policy { breaker: Some(breaker), ..Policy::default() });
    assert_eq!(text, "breaker.probes 0 is out of range; allowed: 1 or more");
    for rate in [Rate::per_second(0.0), Rate::per_second(-1.0), Rate::per_second(f64::NAN)] {
        assert!(refused(Policy { rate: Some(rate), ..Policy::default() }).starts_with("rate."));
    }
    let timeout = Some(Duration::ZERO);
    assert!(refused(Policy { timeout, ..Policy::default() }).starts_with("timeout 0"));
}
