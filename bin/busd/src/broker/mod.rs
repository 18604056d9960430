//! The broker: hands out the memory of brokered buses to those who may have it.
//!
//! What is handed out to whom, and what becomes of it, is the library's (`busway::host`). Here are the
//! socket and the limits (`service`). One thread serves all connections, with calls that do not wait
//! for a client: making a lane's memory is what takes longest, about half a second a GiB, and those
//! who attach meanwhile wait for it. Nobody who is attached does.
//!
//! A brokered bus lives as long as this process. Its participants go on without it, and learn it.

mod service;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use busway::host::Broker;
use service::{Service, Stop};

/// Longest time to wait for the thread's end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The buses that this daemon holds, from any thread.
#[derive(Clone, Default)]
pub(crate) struct Brokered {
    broker: Arc<Mutex<Broker>>,
}

/// The running service.
pub(crate) struct BrokerService {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl Brokered {
    /// The broker, for as long as the guard is held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Broker> {
        // Whoever panicked with it left seats that are as they were or as they should be.
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BrokerService {
    /// Serves on a thread of its own.
    ///
    /// # Errors
    /// When the system gives no descriptor or thread.
    pub(crate) fn start(listener: OwnedFd, brokered: Brokered) -> io::Result<Self> {
        let stop = Arc::new(Stop::new()?);
        let service = Service::new(listener, brokered, Arc::clone(&stop))?;
        let thread =
            std::thread::Builder::new().name("broker".to_owned()).spawn(move || service.run())?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread, and with it every connection. One that does not listen is left behind: the
    /// process ends anyway.
    pub(crate) fn stop(self) {
        self.stop.tell();
        let start = Instant::now();
        while !self.thread.is_finished() {
            if start.elapsed() > STOP_TIMEOUT {
                tracing::warn!("the broker does not end; left behind");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.thread.join().is_err() {
            tracing::error!("the broker had broken off");
        }
    }
}
