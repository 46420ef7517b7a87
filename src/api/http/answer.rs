//! Answers as HTTP sends them: JSON, errors included.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use serde::Serialize;
use tonic::Code;

use crate::api::status::ApiError;

/// `body` as JSON.
pub(super) fn json(status: u16, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[derive(Serialize)]
struct Envelope<'e> {
    error: Error<'e>,
}

/// What a gRPC status and its details say.
#[derive(Serialize)]
struct Error<'e> {
    code: &'static str,
    reason: &'static str,
    message: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_ms: Option<u64>,
}

/// `error` with its status.
pub(super) fn error(error: ApiError) -> Response<Body> {
    let millis = |d: std::time::Duration| d.as_millis() as u64;
    let envelope = Envelope {
        error: Error {
            code: name(error.code),
            reason: error.reason,
            message: &error.message,
            field: error.field.as_deref(),
            retry_after_ms: error.retry_after.map(millis),
            needs_ms: error.needs.map(millis),
        },
    };
    let body = serde_json::to_vec(&envelope).unwrap_or_default();
    let mut response = json(status(&error), body);
    let headers = response.headers_mut();
    if let Some(wait) = error.retry_after {
        // In whole seconds; the body has it in milliseconds.
        let seconds = wait.as_millis().div_ceil(1000).max(1) as u64;
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if error.code == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The status of HTTP that says what `error` says.
fn status(error: &ApiError) -> u16 {
    match (error.reason, error.code) {
        ("BODY_TIMEOUT", _) => 408,
        ("METHOD", _) => 405,
        ("MEDIA_TYPE", _) => 415,
        (_, Code::OutOfRange) => 413,
        (_, Code::InvalidArgument | Code::FailedPrecondition) => 400,
        (_, Code::Unauthenticated) => 401,
        (_, Code::PermissionDenied) => 403,
        (_, Code::NotFound) => 404,
        (_, Code::ResourceExhausted) => 429,
        (_, Code::Unimplemented) => 501,
        (_, Code::Unavailable) => 503,
        (_, Code::DeadlineExceeded) => 504,
        _ => 500,
    }
}

/// The code as gRPC spells it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
