//! The handlers of schedules. Each change is on disk before it is answered, so the work is done on threads
//! that may block.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};

use super::Context;
use super::access::Peer;
use super::error::ApiError;
use super::extract::JsonBody;
use super::work::blocking;
use crate::api::{CreateSchedule, Schedule, ScheduleList};
use crate::schedule::ScheduleError;

pub(super) async fn list(State(context): State<Context>) -> Result<Json<ScheduleList>, ApiError> {
    let schedules = context.shared.schedules.clone();
    blocking(move || Ok(Json(ScheduleList { schedules: schedules.list()? }))).await
}

pub(super) async fn create(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    JsonBody(wish): JsonBody<CreateSchedule>,
) -> Result<Response, ApiError> {
    let shared = context.clone();
    let made = blocking(move || {
        if shared.shared.brokered.lock().bus(&wish.bus).is_some() {
            return Err(brokered(&wish.bus));
        }
        Ok(shared.shared.schedules.create(&wish, peer.uid)?)
    })
    .await?;
    let (uid, pid) = (peer.uid, peer.pid);
    tracing::info!(id = made.id, bus = made.bus, due = made.due_unix_ns, uid, pid, "scheduled");
    let location = format!("/v1/schedules/{}", made.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(made)).into_response())
}

pub(super) async fn show(
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Result<Json<Schedule>, ApiError> {
    let id = number(&id)?;
    let schedules = context.shared.schedules.clone();
    blocking(move || Ok(Json(schedules.show(id)?))).await
}

pub(super) async fn cancel(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
) -> Result<Json<Schedule>, ApiError> {
    let id = number(&id)?;
    let schedules = context.shared.schedules.clone();
    let cancelled = blocking(move || Ok(schedules.cancel(id)?)).await?;
    tracing::info!(id, bus = cancelled.bus, uid = peer.uid, pid = peer.pid, "cancelled");
    Ok(Json(cancelled))
}

fn number(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!("{text:?} is not the number of a schedule"))
            .with_hint("GET /v1/schedules lists them")
    })
}

fn brokered(bus: &str) -> ApiError {
    let message =
        format!("bus {bus:?} is brokered: it goes with this daemon, and a schedule stays");
    ApiError::new(StatusCode::BAD_REQUEST, "bad_option", message)
        .with_hint("schedule on a named bus")
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        let message = error.to_string();
        match error {
            ScheduleError::Bad(_) => Self::bad_request(message),
            ScheduleError::Bus(error) => error.into(),
            ScheduleError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", message)
                .with_hint("GET /v1/schedules lists them"),
            ScheduleError::TooMany(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "no_space", message)
                    .with_hint("cancel some, failed and doubtful ones first")
            }
            ScheduleError::Store(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "io", message)
                .with_hint("whether it was done is not known; GET /v1/schedules tells"),
            ScheduleError::StateDir(_) | ScheduleError::Locked(_) | ScheduleError::Io { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "io", message)
                    .with_hint("--state-dir names another directory for schedules")
            }
        }
    }
}
