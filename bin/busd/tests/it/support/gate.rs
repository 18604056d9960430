//! Which tests may run beside each other.
//!
//! Every daemon watches every bus of the host, so the seat of a dead process is given back by
//! whichever daemon is first. A test that wants to see its own daemon do it runs alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many passes are held in company; `ALONE` while a test runs alone.
static RUNNING: Mutex<u32> = Mutex::new(0);
static CHANGED: Condvar = Condvar::new();
const ALONE: u32 = u32::MAX;

/// Held for as long as daemons run.
pub struct Pass {
    is_alone: bool,
}

/// Lets in beside others. A test may hold several.
pub fn in_company() -> Pass {
    let mut running = wait_while(|running| running == ALONE);
    *running += 1;
    Pass { is_alone: false }
}

/// Lets in when everybody else has left. A test may hold nothing else.
pub fn alone() -> Pass {
    let mut running = wait_while(|running| running != 0);
    *running = ALONE;
    Pass { is_alone: true }
}

/// A test that failed has left in order: its pass was dropped.
fn wait_while(is_barred: impl Fn(u32) -> bool) -> MutexGuard<'static, u32> {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = CHANGED.wait_while(running, |running| is_barred(*running));
    waited.unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        *running = if self.is_alone { 0 } else { *running - 1 };
        CHANGED.notify_all();
    }
}
