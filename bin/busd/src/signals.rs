//! The signals that end the daemon, waited for by a thread.
//!
//! They are blocked before there is a second thread, so that one that comes while the daemon starts
//! is not lost and ends it as cleanly as any other. The runtime's own signal handling panics where
//! a descriptor cannot be had; a thread that waits needs none. Reference: sigwait(3).

use std::io;
use std::thread::Builder;

use nix::sys::signal::{SigSet, Signal};
use tokio::sync::oneshot::{Receiver, channel};

/// What ends the daemon.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The signals, held back until somebody waits.
#[derive(Debug)]
pub(crate) struct Signals {
    set: SigSet,
}

/// Holds back the signals that end the daemon, in this thread and in those that it starts.
///
/// For a process that has threads of its own before it calls [`run`](crate::run): a signal that is not
/// held in all of them ends the process where it stands instead of the daemon in order.
///
/// # Errors
/// When the system refuses.
pub fn hold_signals() -> io::Result<()> {
    Signals::hold().map(drop)
}

impl Signals {
    /// From here on the signals do nothing by themselves, in this thread and in those that it
    /// starts.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn hold() -> io::Result<Self> {
        let set = SigSet::from_iter(ENDING);
        set.thread_block()?;
        Ok(Self { set })
    }

    /// The name of the first that comes, once it has come.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn first(self) -> io::Result<Receiver<&'static str>> {
        let (sender, first) = channel();
        let wait = move || {
            // It fails for bad sets only. Whoever should be told has ended if nobody listens.
            let _told = sender.send(self.set.wait().map_or("a signal", Signal::as_str));
        };
        Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(first)
    }
}
