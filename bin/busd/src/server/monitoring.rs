//! What monitoring asks for: the metrics page, and whether the daemon is well.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;

use super::Context;
use super::error::ApiError;
use super::service::keeps_up;
use super::work::blocking;
use crate::api::{Alive, HealthStatus, Ready};
use crate::metrics::{self, Format};

pub(super) async fn metrics(
    State(context): State<Context>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let format = Format::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    let page = blocking(move || {
        let shared = &context.shared;
        let (samples, unreadable) = metrics::all(&shared.brokered)?;
        metrics::page(samples, unreadable, shared.watch.report(), format).map_err(|error| {
            let message = format!("cannot write the page: {error}");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
        })
    });
    Ok(([(CONTENT_TYPE, format.content_type())], page.await?))
}

/// Whether the daemon does its work: it answers, and its watch looks.
pub(super) async fn alive(State(context): State<Context>) -> (StatusCode, Json<Alive>) {
    let keeps_up = keeps_up(context.shared.watch.report());
    let status = if keeps_up { HealthStatus::Ok } else { HealthStatus::Degraded };
    (code(keeps_up), Json(Alive { status }))
}

/// Whether what the config declares is there.
pub(super) async fn ready(
    State(context): State<Context>,
) -> Result<(StatusCode, Json<Ready>), ApiError> {
    let keeps_up = keeps_up(context.shared.watch.report());
    let missing = blocking(move || {
        let shared = &context.shared;
        let mut there: BTreeSet<String> = busway::Bus::list()?.into_iter().collect();
        there.extend(shared.brokered.lock().buses().map(|bus| bus.info().name.clone()));
        let declared = shared.declared.iter();
        Ok(declared.filter(|name| !there.contains(*name)).cloned().collect::<Vec<_>>())
    });
    let missing = missing.await?;
    let ready = keeps_up && missing.is_empty();
    Ok((code(ready), Json(Ready { ready, missing })))
}

fn code(is_well: bool) -> StatusCode {
    if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
