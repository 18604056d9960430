//! An error answer: status, stable code, sentence, hint.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use busway::Error;

use crate::api::{ErrorBody, ErrorDocument};

/// What a handler returns when it cannot do what was asked.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let body = ErrorBody { code: code.to_owned(), message: message.into(), hint: None };
        Self { status, body }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    pub(super) fn into_body(self) -> ErrorBody {
        self.body
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let code = error.code();
        let body =
            ErrorBody { code: code.to_owned(), message: error.to_string(), hint: hint_of(code) };
        Self { status: status_of(code), body }
    }
}

/// The status of each code of [`Error::code`]; a code that is new here is the server's failure.
fn status_of(code: &str) -> StatusCode {
    match code {
        "bad_name" | "bad_geometry" | "bad_option" | "bad_schema" => StatusCode::BAD_REQUEST,
        "permission" => StatusCode::FORBIDDEN,
        "not_found" => StatusCode::NOT_FOUND,
        "already_exists" | "differs" | "incompatible" | "corrupt" | "untrusted" => {
            StatusCode::CONFLICT
        }
        "no_space" => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn hint_of(code: &str) -> Option<String> {
    let hint = match code {
        "not_found" => "GET /v1/buses lists the buses",
        "already_exists" => "set \"if_not_exists\": true to accept a bus with the same options",
        "differs" => "choose another name, or remove the bus first",
        "no_space" => "ask for less capacity, payload or lanes, or free space in /dev/shm",
        "permission" => "the daemon acts as its own user; that user may not do this",
        "incompatible" => "use the version of busway that created the bus",
        "untrusted" => "somebody put it there to be found; remove it, or ask its owner",
        "corrupt" => "remove the segment; nothing can be read from it",
        _ => return None,
    };
    Some(hint.to_owned())
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorDocument { error: self.body })).into_response()
    }
}
