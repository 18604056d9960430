//! Version, health, and the interface's own description.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Context;
use super::error::ApiError;
use super::work::blocking;
use crate::api::{API_VERSION, Health, HealthStatus, Version};
use crate::runtime_dir::own_uid;
use crate::watch::WatchReport;

/// A watch that has not looked for this long is stuck: it looks several times a second.
const WATCH_AGE_MAX: Duration = Duration::from_secs(5);

/// The interface in OpenAPI 3.1.
pub(super) const OPENAPI: &str = include_str!("../openapi.json");

pub(super) async fn version() -> Json<Version> {
    Json(Version {
        name: "busd".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: API_VERSION.to_owned(),
    })
}

pub(super) async fn health(State(context): State<Context>) -> Result<Json<Health>, ApiError> {
    let shared = &context.shared;
    let watch = shared.watch.report();
    let brokered = shared.brokered.clone();
    // The broker may be making memory for somebody.
    let (held, attached) = blocking(move || {
        let broker = brokered.lock();
        let attached = |bus: &busway::host::HostedBus| bus.participants().len();
        Ok((broker.buses().count(), broker.buses().map(attached).sum::<usize>()))
    })
    .await?;
    let keeps_up = keeps_up(watch);
    Ok(Json(Health {
        status: if keeps_up { HealthStatus::Ok } else { HealthStatus::Degraded },
        pid: std::process::id(),
        uid: own_uid(),
        uptime_ms: milliseconds(shared.started.elapsed()),
        runtime_dir: shared.runtime_dir.display().to_string(),
        config_file: shared.config_file.as_ref().map(|path| path.display().to_string()),
        buses: watch.buses + held as u64,
        unreadable: watch.unreadable,
        participants: watch.participants + attached as u64,
        seats_recovered: watch.seats_recovered,
        watch_age_ms: milliseconds(watch.age),
    }))
}

/// Whether the watch looks as often as it should.
pub(super) fn keeps_up(watch: WatchReport) -> bool {
    watch.age < WATCH_AGE_MAX
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
