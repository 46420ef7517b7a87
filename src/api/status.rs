//! Errors as callers see them: a gRPC status with `google.rpc` details.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::convert;
use super::pb::v1;
use crate::guard::{CheckError, RestoreError};
use crate::ops::audit::Unrecorded;
use crate::scheduler::Refusal;

/// Who issues the reasons.
const DOMAIN: &str = "portcullis.dev";
/// The reason where a tenant has used up what it may ask for.
pub(super) const RATE_LIMITED: &str = "RATE_LIMITED";
/// The reason where a verdict cannot be put on record.
pub(super) const UNRECORDED: &str = "AUDIT";

/// An error before it becomes a status or a message of a stream.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) code: Code,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) field: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) needs: Option<Duration>,
}

impl ApiError {
    pub(super) fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            field: None,
            retry_after: None,
            needs: None,
        }
    }

    /// A fault of ours.
    pub(super) fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(Code::Internal, "INTERNAL", error.to_string())
    }

    /// More at once than a limit allows.
    pub(super) fn too_many(what: &str, limit: usize) -> Self {
        let mut error = Self::new(
            Code::ResourceExhausted,
            "TOO_MANY_REQUESTS",
            format!("{limit} {what} are open, as many as are allowed at once"),
        );
        error.retry_after = Some(Duration::from_millis(100));
        error
    }

    /// Refused, or cut short, by a shutdown.
    pub(super) fn draining() -> Self {
        Self::new(
            Code::Unavailable,
            "NOT_READY",
            "the server is shutting down",
        )
    }

    pub(super) fn invalid(field: &str, problem: impl std::fmt::Display) -> Self {
        let mut error = Self::new(
            Code::InvalidArgument,
            "INVALID_REQUEST",
            format!("{field}: {problem}"),
        );
        error.field = Some(field.to_owned());
        error
    }

    /// As the status of a call.
    pub(super) fn into_status(self) -> Status {
        let needs_ms = self
            .needs
            .map(|n| ("needs_ms".to_owned(), n.as_millis().to_string()));
        let metadata: HashMap<_, _> = needs_ms.into_iter().collect();
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, metadata);
        if let Some(field) = self.field {
            details.add_bad_request_violation(field, self.message.clone());
        }
        if let Some(retry_after) = self.retry_after {
            details.set_retry_info(Some(retry_after));
        }
        Status::with_error_details(self.code, self.message, details)
    }

    /// As a message of a stream.
    pub(super) fn into_message(self) -> v1::CheckError {
        v1::CheckError {
            code: self.code as i32,
            message: self.message,
            reason: self.reason.into(),
            retry_after: self.retry_after.map(convert::duration),
            field: self.field.unwrap_or_default(),
            needs: self.needs.map(convert::duration),
        }
    }
}

/// The status that a caller gets for `error`.
#[must_use]
pub fn status(error: impl Into<Failure>) -> Status {
    error.into().0.into_status()
}

/// Any error of the domain.
pub struct Failure(ApiError);

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        Self(error.into())
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        Self(error.into())
    }
}

impl From<CheckError> for ApiError {
    fn from(error: CheckError) -> Self {
        let message = error.to_string();
        let retry_after = error.retry_after();
        let (code, reason) = match &error {
            CheckError::Invalid { .. } => (Code::InvalidArgument, "INVALID_REQUEST"),
            CheckError::Policy(_) => (Code::NotFound, "UNKNOWN_POLICY"),
            CheckError::Refused(Refusal::Overloaded { .. }) | CheckError::Backlog(_) => {
                (Code::ResourceExhausted, "OVERLOADED")
            }
            CheckError::Refused(Refusal::Unmeetable { .. }) => {
                (Code::DeadlineExceeded, "DEADLINE_TOO_SHORT")
            }
            CheckError::Refused(Refusal::Closed) => (Code::Unavailable, "NOT_READY"),
            CheckError::Deadline => (Code::DeadlineExceeded, "DEADLINE_PASSED"),
            CheckError::Internal(_) => (Code::Internal, "INTERNAL"),
        };
        let mut api = Self::new(code, reason, message);
        api.retry_after = retry_after;
        match error {
            CheckError::Invalid { field, .. } => api.field = Some(field),
            CheckError::Refused(Refusal::Unmeetable { needs, .. }) => {
                api.needs = Some(needs);
            }
            _ => {}
        }
        api
    }
}

impl From<Unrecorded> for ApiError {
    fn from(error: Unrecorded) -> Self {
        Self::new(Code::Unavailable, UNRECORDED, error.to_string())
    }
}

impl From<RestoreError> for ApiError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Invalid => {
                let mut refused = Self::invalid("token", error);
                refused.reason = "RESTORE_TOKEN";
                refused
            }
            RestoreError::Expired => Self::new(
                Code::FailedPrecondition,
                "RESTORE_EXPIRED",
                format!("token: {error}"),
            ),
            RestoreError::TooLong { .. } => Self::invalid("text", error),
            RestoreError::Random => Self::new(Code::Internal, "INTERNAL", error.to_string()),
        }
    }
}
