//! What is to happen at which system call, shared by the tracer and by who directs it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::calls::{Call, Failure};

/// What is done to the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: its calls are counted.
    None,
    /// The `nth` call of the window fails, in the `variant`-th way that it may.
    Fail {
        /// Counted from 0.
        nth: usize,
        /// Counted from 0.
        variant: usize,
    },
    /// The process is killed at the `nth` call of the window.
    Kill {
        /// Counted from 0.
        nth: usize,
        /// Before or after the call.
        moment: Moment,
    },
}

/// Of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The kernel has not begun.
    Entry,
    /// The kernel is done.
    Exit,
}

/// What came of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    /// The window had fewer calls.
    NotReached,
    /// The call has fewer ways to fail, or never ends.
    NoVariant,
    /// It was done.
    Done {
        /// The call's name.
        call: String,
        /// What was done to it: an error's name, `half`, `kill before` or `kill after`.
        what: String,
    },
}

/// A fault and the window in which calls are counted.
#[derive(Debug)]
pub struct Plan(Mutex<State>);

#[derive(Debug)]
struct State {
    fault: Fault,
    is_open: bool,
    count: usize,
    hit: Hit,
}

/// What the tracer has to do at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Pass,
    Fail(Failure),
    Kill(Moment),
}

impl Plan {
    /// This fault, once the window opens.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self(Mutex::new(State { fault, is_open: false, count: 0, hit: Hit::NotReached }))
    }

    /// Opens the window for a fault: calls are counted anew from here.
    pub fn arm(&self, fault: Fault) {
        *self.lock() = State { fault, is_open: true, count: 0, hit: Hit::NotReached };
    }

    /// Closes the window. Returns what came of the fault.
    pub fn disarm(&self) -> Hit {
        let mut state = self.lock();
        state.is_open = false;
        state.hit.clone()
    }

    /// What has come of the fault so far.
    #[must_use]
    pub fn hit(&self) -> Hit {
        self.lock().hit.clone()
    }

    /// Calls counted in the window.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// A mark of the child: opens the window, or closes it.
    pub(crate) fn toggle(&self) {
        let mut state = self.lock();
        state.is_open = !state.is_open;
    }

    pub(crate) fn open(&self) {
        self.lock().is_open = true;
    }

    /// Counts a call, and says what is to be done to it.
    pub(crate) fn at_call(&self, call: &Call) -> Act {
        let mut state = self.lock();
        if !state.is_open {
            return Act::Pass;
        }
        let this = state.count;
        state.count += 1;
        let (act, what) = match state.fault {
            Fault::Fail { nth, variant } if nth == this => {
                let Some(failure) = call.failures().get(variant) else {
                    state.hit = Hit::NoVariant;
                    return Act::Pass;
                };
                (Act::Fail(*failure), failure.to_string())
            }
            Fault::Kill { nth, moment: Moment::Exit } if nth == this && call.is_exit() => {
                state.hit = Hit::NoVariant;
                return Act::Pass;
            }
            Fault::Kill { nth, moment } if nth == this => {
                let what = if moment == Moment::Entry { "kill before" } else { "kill after" };
                (Act::Kill(moment), what.to_owned())
            }
            _ => return Act::Pass,
        };
        state.hit = Hit::Done { call: call.name(), what };
        act
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
