//! What a request can fail with, in fleet's form: `{"error":{"code":404,"message":"…"}}`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use units::wire::v1::ErrorBody;

use crate::registry::RegistryError;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// 400
    BadRequest(String),
    /// 404
    NotFound(&'static str),
    /// 405
    Method(&'static str),
    /// 408
    Slow,
    /// 409
    Conflict(String),
    /// 413
    TooLarge,
    /// 410: the event stream cannot be resumed from there.
    Gone(String),
    /// 415
    MediaType(String),
    /// 503, with the reason.
    Unavailable(String),
}

/// The body, if all of it came and it is not too large.
pub(super) fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge,
        _ => ApiError::BadRequest(format!("unable to read body: {rejection}")),
    })
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Compacted(_) => Self::Gone(error.to_string()),
            // fleet's words first: scripts look for them.
            _ => Self::Unavailable(format!("fleet server unable to communicate with etcd: {error}")),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, message),
            Self::NotFound(message) => (StatusCode::NOT_FOUND, message.to_owned()),
            Self::Method(message) => (StatusCode::METHOD_NOT_ALLOWED, message.to_owned()),
            Self::Slow => {
                let message = "the request did not arrive, or could not be answered, in time";
                (StatusCode::REQUEST_TIMEOUT, message.to_owned())
            }
            Self::Conflict(message) => (StatusCode::CONFLICT, message),
            Self::Gone(message) => (StatusCode::GONE, message),
            Self::TooLarge => {
                let message = format!("the body is larger than {} bytes", super::LARGEST_BODY);
                (StatusCode::PAYLOAD_TOO_LARGE, message)
            }
            Self::MediaType(message) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, message),
            Self::Unavailable(message) => {
                tracing::warn!(message, "could not answer a request");
                (StatusCode::SERVICE_UNAVAILABLE, message)
            }
        };
        (status, Json(ErrorBody::new(status.as_u16(), message))).into_response()
    }
}
