//! Accepts connections, serves HTTP/1.1 on each, and ends them when the daemon ends.
//!
//! Bounds: connections at a time, the time to send a request's head, the time to finish what is
//! under way when the daemon is told to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::access::Peer;
use super::{Context, routes};

/// Connections at a time; more wait in the kernel's queue. Well below the usual 1024 descriptors.
const CONNECTIONS_MAX: usize = 128;
/// Longest time to send a request's head, and to sit idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time to finish requests that are under way when the daemon stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause after a failed accept (out of descriptors, most likely), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` completes, then finishes what is under way.
pub(crate) async fn serve(listener: UnixListener, context: Context, stop: impl Future) {
    let router = routes::router(context);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            // The semaphore is never closed, so that this always gives a place.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            _ = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = graceful.watcher();
                let router = router.clone();
                tokio::spawn(async move {
                    converse(stream, router, connection).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("ended with requests under way");
    }
}

/// One connection, from the first request to the last.
pub(crate) async fn converse(stream: UnixStream, router: Router, watcher: Watcher) {
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%error, "refused a connection whose sender the kernel does not name");
            return;
        }
    };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        // A router is a handle; `call` takes it by `&mut` for no reason that matters here.
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that has said all it has to say still gets its answer (`socat`, `nc -N`).
        .half_close(true)
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, uid = peer.uid, pid = peer.pid, "connection ended badly");
    }
}
