//! What the tests of this binary stand on: buses that clean up after themselves, worker processes,
//! frames that can be checked, and a ledger of what a reader has seen.

pub mod bus;
pub mod frame;
pub mod ledger;
pub mod random;
pub mod role;
pub mod shared;
pub mod worker;

use std::time::Duration;

/// How long anything may take before a test gives up. Nothing is asserted about time.
pub const PATIENCE: Duration = Duration::from_secs(60);
