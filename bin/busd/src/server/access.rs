//! Who is at the other end of a connection, and what they may do.
//!
//! The kernel says who connected (`SO_PEERCRED`, unix(7)); nothing that the client sends counts.
//! Whoever the socket's mode lets in may read. Only the daemon's own user, root, and the users
//! that the config file names may change anything.

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tokio::net::UnixStream;

use super::Context;
use super::error::ApiError;

/// Who connected, as the kernel recorded it at that moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub uid: u32,
    pub pid: Option<i32>,
}

/// Who may change things.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    own_uid: u32,
    allow_uids: Vec<u32>,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), pid: credentials.pid() })
    }
}

impl Access {
    pub(crate) fn new(own_uid: u32, allow_uids: Vec<u32>) -> Self {
        Self { own_uid, allow_uids }
    }

    fn may_change(&self, peer: Peer) -> bool {
        peer.uid == 0 || peer.uid == self.own_uid || self.allow_uids.contains(&peer.uid)
    }
}

/// Refuses every request that could change something, unless its sender may. Runs before the body
/// is read.
pub(super) async fn guard(
    State(context): State<Context>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(next.run(request).await);
    }
    let access = &context.shared.access;
    match request.extensions().get::<Peer>() {
        Some(peer) if access.may_change(*peer) => Ok(next.run(request).await),
        peer => {
            let who = peer.map_or("an unknown user".to_owned(), |peer| format!("uid {}", peer.uid));
            tracing::warn!(peer = who, method = %request.method(), path = request.uri().path(),
                "refused");
            let message = format!("{who} may read here and not change anything");
            let hint = format!(
                "ask as uid {} or root, or have the uid added to allow-uids in the config file",
                access.own_uid
            );
            Err(ApiError::new(StatusCode::FORBIDDEN, "permission", message).with_hint(hint))
        }
    }
}
