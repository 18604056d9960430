//! Threads for work that may block, a bounded number at a time.
//!
//! Each piece of work gets a thread of its own, for some tens of microseconds, because starting a
//! thread may fail and then the request has to be told: the runtime's own pool panics when it has
//! no thread and the system gives none.

use std::sync::{Arc, LazyLock};
use std::thread::Builder;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::{Semaphore, oneshot};

use super::error::ApiError;

/// Pieces of work at a time; more wait for their turn.
const THREADS_MAX: usize = 4;

/// One place a thread, held until its work is done, also when nobody waits for it any more.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(THREADS_MAX)));

/// Runs on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    // The semaphore is never closed, so that this always gives a place.
    let place = Arc::clone(&PLACES).acquire_owned().await.ok();
    let (sender, done) = oneshot::channel();
    let work = move || {
        // Whoever asked may be gone by now.
        let _told = sender.send(work());
        drop(place);
    };
    Builder::new().name("work".to_owned()).spawn(work).map_err(|source| {
        ApiError::from(busway::Error::Io { action: "start a thread for this request", source })
    })?;
    done.await.unwrap_or_else(|_| {
        let message = "the work for this request broke off";
        Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message))
    })
}

/// Waits for work whose request was given up already. Whether all of it is done in time.
pub(crate) fn finish(timeout: Duration) -> bool {
    let start = Instant::now();
    while PLACES.available_permits() < THREADS_MAX {
        if start.elapsed() > timeout {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
