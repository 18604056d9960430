//! Bodies, paths and queries of requests, refused as JSON with the place of the fault.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::routes::BODY_BYTES_MAX;

/// A JSON body. The content type is not looked at, so that `curl -d` is enough.
pub(super) struct JsonBody<T>(pub T);

/// The `{name}` of the path.
pub(super) struct BusName(pub String);

/// The query string.
pub(super) struct QueryOf<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|refused| {
            if refused.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let message = format!("the body has more than {BODY_BYTES_MAX} bytes");
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
            } else {
                ApiError::bad_request(format!("the body cannot be read: {}", refused.body_text()))
            }
        })?;
        // serde would take an array for a struct as well, its items for the fields in order.
        match bytes.trim_ascii_start().first() {
            Some(b'{') => {}
            Some(_) => return Err(ApiError::bad_request("the body is not a JSON object")),
            None => {
                return Err(ApiError::bad_request("the body is empty, not a JSON object"));
            }
        }
        // serde_json's sentence ends with the line and column.
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| ApiError::bad_request(format!("the body is not as needed: {error}")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for BusName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|refused| ApiError::bad_request(refused.body_text()))?;
        busway::check_name(&name)?;
        Ok(Self(name))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|refused| ApiError::bad_request(refused.body_text()))?;
        Ok(Self(query))
    }
}
