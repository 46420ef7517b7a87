//! What every request over HTTP goes through before its texts are looked at: credentials, kind of body,
//! deadline, size, place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use futures_util::StreamExt;
use tonic::Code;
use tonic::metadata::MetadataMap;

use super::answer::{error, json};
use crate::api::authenticate::{expect, identify};
use crate::api::service::{Service, Timed};
use crate::api::status::ApiError;
use crate::guard::CheckError;
use crate::ops::auth::{Authenticator, Caller, CallerRole};
use crate::ops::traces;

/// Header with the time that a caller allows, in milliseconds.
const TIMEOUT: &str = "x-request-timeout-ms";
/// Where requests over HTTP come in.
#[derive(Clone)]
pub(super) struct Entrance {
    pub(super) service: Service,
    pub(super) auth: Authenticator,
    /// Bytes of a body.
    pub(super) largest: usize,
}

/// A request that may be answered.
pub(super) struct Call {
    pub(super) service: Service,
    pub(super) caller: Caller,
    pub(super) body: Bytes,
    pub(super) deadline: Instant,
    headers: HeaderMap,
}

impl Call {
    /// The tenant, if the caller may do all of this.
    pub(super) fn tenant(&self, roles: &[CallerRole]) -> Result<Arc<str>, ApiError> {
        roles.iter().try_for_each(|r| expect(&self.caller, *r))?;
        Ok(self.caller.tenant.clone())
    }

    /// `x-request-id`, or a new name.
    pub(super) fn id(&self) -> String {
        let given = self.headers.get("x-request-id");
        self.service.name(given.and_then(|v| v.to_str().ok()))
    }

    /// The policy that the caller's headers name.
    pub(super) fn policy(&self) -> Result<Option<String>, ApiError> {
        let given = self.headers.get(crate::api::POLICY);
        let text = given.map(|v| v.to_str().map(str::to_owned));
        text.transpose()
            .map_err(|_| ApiError::invalid(crate::api::POLICY, "is not ASCII"))
    }
}

impl Entrance {
    /// A route that answers with JSON, and what is posted to it is JSON. `name` is its name in metrics and
    /// traces.
    pub(super) fn on<H, F>(
        &self,
        method: MethodFilter,
        name: &'static str,
        handler: H,
    ) -> MethodRouter
    where
        H: Fn(Call) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Vec<u8>, ApiError>> + Send + 'static,
    {
        let entrance = self.clone();
        let has_body = method == MethodFilter::POST;
        on(method, move |request: Request| {
            let (entrance, handler) = (entrance.clone(), handler.clone());
            async move { entrance.run(name, has_body, request, handler).await }
        })
    }

    async fn run<F>(
        self,
        route: &'static str,
        has_body: bool,
        request: Request,
        handler: impl Fn(Call) -> F,
    ) -> Response
    where
        F: Future<Output = Result<Vec<u8>, ApiError>>,
    {
        let arrived = Instant::now();
        let (parts, body) = request.into_parts();
        let headers = parts.headers;
        let parent = traces::parent(&trace_context(&headers));
        let work = async {
            let caller = identify(&self.auth, &headers, &parts.extensions)?;
            let deadline = self.service.deadline(arrived, timeout(&headers)?);
            let body = match has_body {
                true => {
                    expect_json(&headers)?;
                    read(body, &headers, self.largest, deadline).await?
                }
                false => Bytes::new(),
            };
            let _permit = self.service.permit(&caller.tenant)?;
            handler(Call {
                service: self.service.clone(),
                caller,
                body,
                deadline,
                headers,
            })
            .await
        };
        match Timed::new(route, &parent).run(work).await {
            Ok(body) => json(200, body),
            Err(refused) => error(refused),
        }
    }
}

/// The headers of W3C's trace context, as gRPC has them.
fn trace_context(headers: &HeaderMap) -> MetadataMap {
    let mut context = HeaderMap::new();
    for name in ["traceparent", "tracestate"] {
        if let Some(value) = headers.get(name) {
            context.insert(name, value.clone());
        }
    }
    MetadataMap::from_headers(context)
}

/// The time that the caller allows, if it says.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let millis = value.to_str().ok().and_then(|text| text.parse().ok());
    match millis {
        None => Err(ApiError::invalid(TIMEOUT, "is no number of milliseconds")),
        Some(0) => Err(CheckError::Deadline.into()),
        Some(millis) => Ok(Some(Duration::from_millis(millis))),
    }
}

/// Fails on a body that does not say it is plain JSON.
fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| {
        let value = headers.get(name).map(|v: &header::HeaderValue| v.to_str());
        value.map(|v| v.unwrap_or("?").trim().to_ascii_lowercase())
    };
    let unsupported = |problem| Err(ApiError::new(Code::InvalidArgument, "MEDIA_TYPE", problem));
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim_end();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if !is_json {
        return unsupported(format!(
            "content-type: {kind:?}; application/json is needed"
        ));
    }
    match text(header::CONTENT_ENCODING).as_deref() {
        None | Some("" | "identity") => Ok(()),
        Some(encoding) => unsupported(format!(
            "content-encoding: {encoding:?}; bodies must come as they are"
        )),
    }
}

/// The whole body, if it comes by `deadline` and has at most `largest` bytes.
async fn read(
    body: Body,
    headers: &HeaderMap,
    largest: usize,
    deadline: Instant,
) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("the body has over {largest} bytes, the most that is read");
        ApiError::new(Code::OutOfRange, "TOO_LARGE", message)
    };
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|l| l > largest as u64) {
        return Err(too_large());
    }
    let mut chunks = body.into_data_stream();
    let whole = async {
        let mut whole = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| ApiError::invalid("(body)", e))?;
            if whole.len() + chunk.len() > largest {
                return Err(too_large());
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.into())
    };
    let read = tokio::time::timeout_at(deadline.into(), whole).await;
    read.unwrap_or_else(|_| {
        let message = "the body did not arrive in time";
        Err(ApiError::new(
            Code::DeadlineExceeded,
            "BODY_TIMEOUT",
            message,
        ))
    })
}
