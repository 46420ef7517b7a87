//! Who calls: the credentials of a request, over gRPC and HTTP alike, before its body is read.

use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderMap};
use tonic::{Code, Request, Status};

use super::connections::Peer;
use super::deadline;
use super::status::ApiError;
use crate::guard::CheckError;
use crate::ops::auth::{AuthError, Authenticator, Caller, CallerRole, Presented};

/// Who is behind `authorization: Bearer KEY-OR-TOKEN`, `x-api-key: KEY` or the connection's certificate.
pub(super) fn identify(
    auth: &Authenticator,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Caller, ApiError> {
    let header = |name| headers.get(name).map(http::HeaderValue::as_bytes);
    let bearer = header("authorization").and_then(|value| {
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    let peer = extensions.get::<Peer>();
    let presented = Presented {
        bearer,
        key: header("x-api-key"),
        certificate: peer.and_then(|p| p.certificate.as_deref()),
    };
    auth.authenticate(presented).map_err(refused)
}

/// What a caller is told that is turned away.
pub(super) fn refused(error: AuthError) -> ApiError {
    let reason = match error {
        AuthError::Missing => "missing",
        AuthError::Unknown => "unknown",
        AuthError::Certificate => "certificate",
        AuthError::Token(_) => "token",
        AuthError::Blocked(_) => "blocked",
    };
    metrics::counter!("portcullis_credentials_refused_total", "reason" => reason).increment(1);
    let (code, reason) = match error {
        AuthError::Blocked(_) => (Code::PermissionDenied, "BLOCKED"),
        _ => (Code::Unauthenticated, "CREDENTIALS"),
    };
    ApiError::new(code, reason, error.to_string())
}

/// The tenant who makes a request with these extensions, if it may do this.
pub(super) fn tenant(extensions: &Extensions, role: CallerRole) -> Result<Arc<str>, ApiError> {
    Ok(caller_as(extensions, role)?.tenant)
}

/// Who makes a request with these extensions, if they may do this.
pub(super) fn caller_as(extensions: &Extensions, role: CallerRole) -> Result<Caller, ApiError> {
    let caller = caller(extensions);
    expect(&caller, role)?;
    Ok(caller)
}

/// Who makes a request with these extensions.
pub(super) fn caller(extensions: &Extensions) -> Caller {
    let caller = extensions.get::<Caller>().cloned();
    caller.unwrap_or_else(Caller::anonymous)
}

/// Refuses a caller who lacks a role.
pub(super) fn expect(caller: &Caller, role: CallerRole) -> Result<(), ApiError> {
    if caller.roles.allow(role) {
        return Ok(());
    }
    let problem = format!("{} lacks the role {:?}", caller.tenant, role.name());
    Err(ApiError::new(Code::PermissionDenied, "ROLE", problem))
}

/// The interceptor of gRPC services.
pub(super) fn interceptor(
    auth: Authenticator,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |mut request: Request<()>| {
        let caller = identify(&auth, request.metadata().as_ref(), request.extensions())
            .map_err(ApiError::into_status)?;
        // Looked at before the body is waited for: the transport would call its end CANCELLED.
        let timeout = deadline::timeout(request.metadata()).map_err(ApiError::into_status)?;
        if timeout == Some(Duration::ZERO) {
            return Err(ApiError::from(CheckError::Deadline).into_status());
        }
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}
