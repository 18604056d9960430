//! Which handler answers what, and what holds for every request.
//!
//! The table below is the whole of the interface: the router is built from it, and a test compares
//! it with the paths of `openapi.json`.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};

use super::access::{Peer, guard};
use super::error::ApiError;
use super::{Context, buses, monitoring, schedules, service};

/// Largest body that is read. A request is some hundred bytes; a schema of a thousand fields with
/// documentation is about 200 KiB.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// Longest time for one answer. Creating a bus writes every page of it: about half a second a
/// GiB.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

type Row = (&'static str, &'static str, MethodRouter<Context>);

fn table() -> Vec<Row> {
    vec![
        ("GET", "/v1/version", get(service::version)),
        ("GET", "/v1/health", get(service::health)),
        ("GET", "/v1/openapi.json", get(service::openapi)),
        ("GET", "/metrics", get(monitoring::metrics)),
        ("GET", "/healthz", get(monitoring::alive)),
        ("GET", "/readyz", get(monitoring::ready)),
        ("GET", "/v1/buses", get(buses::list)),
        ("POST", "/v1/buses", post(buses::create)),
        ("GET", "/v1/buses/{name}", get(buses::inspect)),
        ("DELETE", "/v1/buses/{name}", delete(buses::remove)),
        ("GET", "/v1/buses/{name}/participants", get(buses::participants_of)),
        ("GET", "/v1/participants", get(buses::participants)),
        ("GET", "/v1/schedules", get(schedules::list)),
        ("POST", "/v1/schedules", post(schedules::create)),
        ("GET", "/v1/schedules/{id}", get(schedules::show)),
        ("DELETE", "/v1/schedules/{id}", delete(schedules::cancel)),
    ]
}

/// Every method and path that the daemon answers.
#[must_use]
pub fn routes() -> Vec<(&'static str, &'static str)> {
    table().into_iter().map(|(method, path, _)| (method, path)).collect()
}

pub(crate) fn router(context: Context) -> Router {
    table()
        .into_iter()
        .fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(context.clone(), guard))
        .layer(middleware::from_fn_with_state(context.clone(), bound))
        .with_state(context)
}

/// Gives every answer a latest time, and writes it to the log.
async fn bound(State(_): State<Context>, request: Request, next: Next) -> Response {
    use axum::response::IntoResponse;
    let peer = request.extensions().get::<Peer>().copied();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timed_out",
            format!("no answer within {} s; it may still be done", REQUEST_TIMEOUT.as_secs()),
        )
        .into_response(),
    };
    let status = response.status().as_u16();
    let (uid, pid) = peer.map_or((None, None), |peer| (Some(peer.uid), peer.pid));
    tracing::debug!(%method, path, status, uid, pid, "request");
    response
}

async fn no_such_path(uri: Uri) -> ApiError {
    let message = format!("no path {:?} here", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "no_such_path", message)
        .with_hint("GET /v1/openapi.json lists the paths")
}

async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{method} is not possible on {:?}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", message)
        .with_hint("GET /v1/openapi.json lists the methods of each path")
}
