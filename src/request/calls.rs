//! The calls that a caller has in flight: a slot for each.
//!
//! A slot is used again, with another generation, so that a reply which comes after its call was given up
//! is known not to be the next one's.

use std::time::Instant;

/// One call of a [`Caller`](super::Caller).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call(pub(super) u64);

impl Call {
    fn slot(self) -> usize {
        usize::try_from(self.0 & 0xffff).unwrap_or(usize::MAX)
    }
}

/// What is known of a call in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) deadline: Option<Instant>,
    /// The tenancy of the server that it was sent to.
    pub(super) server: u64,
    /// Replies were overwritten unread since it was sent.
    pub(super) may_be_lost: bool,
}

#[derive(Debug)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    free: Vec<u16>,
    max: usize,
    /// No call in flight has an earlier deadline than this.
    soonest: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    generation: u64,
    call: Option<InFlight>,
}

impl Calls {
    /// Room for `max` calls, at most 65 536.
    pub(super) fn new(max: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), max: max.clamp(1, 1 << 16), soonest: None }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A slot for a call; `None` when all are taken.
    pub(super) fn begin(&mut self, call: InFlight) -> Option<Call> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < self.max => {
                let index = u16::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot { generation: 0, call: None });
                index
            }
            None => return None,
        };
        let slot = self.slots.get_mut(usize::from(index))?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.call = Some(call);
        if let Some(deadline) = call.deadline {
            self.soonest = Some(self.soonest.map_or(deadline, |soonest| soonest.min(deadline)));
        }
        Some(Call(slot.generation << 16 | u64::from(index)))
    }

    /// Whether the call is in flight.
    pub(super) fn has(&self, call: Call) -> bool {
        self.slots.get(call.slot()).is_some_and(|slot| slot.call.is_some() && slot.is(call))
    }

    /// Takes it off.
    pub(super) fn end(&mut self, call: Call) -> Option<InFlight> {
        let slot = self.slots.get_mut(call.slot()).filter(|slot| slot.is(call))?;
        let ended = slot.call.take()?;
        self.free.push(u16::try_from(call.slot()).ok()?);
        Some(ended)
    }

    /// When the next deadline is, or a moment before.
    pub(super) fn soonest(&self) -> Option<Instant> {
        self.soonest.filter(|_| self.len() > 0)
    }

    /// Takes off all that are `over`, each handed to `ended`.
    pub(super) fn end_all(
        &mut self,
        over: impl Fn(&InFlight) -> bool,
        mut ended: impl FnMut(Call, InFlight),
    ) {
        self.soonest = None;
        for (index, slot) in (0_u16..=u16::MAX).zip(&mut self.slots) {
            match slot.call {
                Some(call) if over(&call) => {
                    slot.call = None;
                    self.free.push(index);
                    ended(Call(slot.generation << 16 | u64::from(index)), call);
                }
                Some(InFlight { deadline: Some(deadline), .. }) => {
                    self.soonest = Some(self.soonest.map_or(deadline, |one| one.min(deadline)));
                }
                _ => {}
            }
        }
    }

    /// Takes note that any of them may have lost its reply.
    pub(super) fn note_loss(&mut self) {
        for call in self.slots.iter_mut().filter_map(|slot| slot.call.as_mut()) {
            call.may_be_lost = true;
        }
    }
}

impl Slot {
    fn is(&self, call: Call) -> bool {
        // The generation as far as a call's number has room for it.
        self.generation << 16 == call.0 & !0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: InFlight = InFlight { deadline: None, server: 1, may_be_lost: false };

    #[test]
    fn slot_used_again_is_another_call() {
        let mut calls = Calls::new(2);
        let first = calls.begin(CALL).unwrap();
        let second = calls.begin(CALL).unwrap();
        assert!(calls.begin(CALL).is_none());
        assert!(calls.end(first).is_some());
        let third = calls.begin(CALL).unwrap();
        assert_ne!(first, third);
        assert!(!calls.has(first) && calls.has(second) && calls.has(third));
        assert!(calls.end(first).is_none());
        assert!(calls.end(Call(u64::MAX)).is_none());
        assert_eq!(calls.len(), 2);
    }

    #[test]
    fn what_is_over_ends_and_the_rest_stays() {
        let mut calls = Calls::new(8);
        let kept = calls.begin(InFlight { server: 2, ..CALL }).unwrap();
        let ended = calls.begin(CALL).unwrap();
        let mut seen = Vec::new();
        calls.end_all(|call| call.server == 1, |call, _| seen.push(call));
        assert_eq!(seen, [ended]);
        assert!(calls.has(kept) && calls.len() == 1);
    }
}
