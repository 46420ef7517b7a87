//! Who calls: the credentials of a request, over gRPC and HTTP alike, before its body is read.

use std::time::Duration;

use http::{Extensions, HeaderMap};
use tonic::{Code, Request, Status};

use super::connections::Peer;
use super::deadline;
use super::status::ApiError;
use crate::guard::CheckError;
use crate::ops::auth::{Authenticator, Tenant};

/// The tenant behind `authorization: Bearer KEY`, `x-api-key: KEY` or the connection's certificate.
pub(super) fn identify(
    auth: &Authenticator,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Tenant, ApiError> {
    let header = |name| headers.get(name).map(http::HeaderValue::as_bytes);
    let bearer = header("authorization").and_then(|value| {
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    let key = bearer.or_else(|| header("x-api-key"));
    let peer = extensions.get::<Peer>();
    let certificate = peer.and_then(|p| p.certificate.as_deref());
    auth.authenticate(key, certificate)
        .map_err(|error| ApiError::new(Code::Unauthenticated, "CREDENTIALS", error.to_string()))
}

/// The interceptor of gRPC services.
pub(super) fn interceptor(
    auth: Authenticator,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |mut request: Request<()>| {
        let tenant = identify(&auth, request.metadata().as_ref(), request.extensions())
            .map_err(ApiError::into_status)?;
        // Looked at before the body is waited for: the transport would call its end CANCELLED.
        let timeout = deadline::timeout(request.metadata()).map_err(ApiError::into_status)?;
        if timeout == Some(Duration::ZERO) {
            return Err(ApiError::from(CheckError::Deadline).into_status());
        }
        request.extensions_mut().insert(tenant);
        Ok(request)
    }
}
