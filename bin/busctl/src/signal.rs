//! Ctrl-C and SIGTERM as a flag that loops look at, so that an end leaves its seat cleanly.

use crate::exit::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the program was asked to stop. Clones look at the same flag.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on the first SIGINT or SIGTERM raises the flag; a second one ends the process.
    pub fn on_signals() -> Result<Self, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the second signal must find the flag that the first one raised.
            flag::register_conditional_default(signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }

    /// Whether the program was asked to stop.
    pub fn requested(&self) -> bool {
        // ORDERING: relaxed; the flag publishes nothing but itself.
        self.0.load(Ordering::Relaxed)
    }
}
