//! The span of a check, under the caller's own.

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::Code;
use tonic::metadata::{KeyRef, MetadataMap};
use tracing::{Span, field, trace_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The caller's trace, if it sent one.
#[derive(Debug, Clone)]
pub struct Parent(Option<Context>);

/// Reads `traceparent` and `tracestate`.
#[must_use]
pub fn parent(metadata: &MetadataMap) -> Parent {
    if metadata.get("traceparent").is_none() {
        return Parent(None);
    }
    let context =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(metadata));
    Parent(context.has_active_span().then_some(context))
}

/// gRPC metadata as the propagator reads it.
struct Carrier<'m>(&'m MetadataMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        let name = |key| match key {
            KeyRef::Ascii(key) => Some(key.as_str()),
            KeyRef::Binary(_) => None,
        };
        self.0.keys().filter_map(name).collect()
    }
}

/// The span of one call; a no-op where nobody listens. `method` is one of `portcullis.v1.GuardService`
/// (`Check`), of another service (`package.Service/Method`) or a route of HTTP (`POST /path`).
#[must_use]
pub fn check_span(method: &'static str, parent: &Parent) -> Span {
    let span = trace_span!(
        "check",
        otel.name = field::Empty,
        otel.kind = "server",
        otel.status_code = field::Empty,
        rpc.system = field::Empty,
        rpc.service = field::Empty,
        rpc.method = field::Empty,
        rpc.grpc.status_code = field::Empty,
        http.request.method = field::Empty,
        http.route = field::Empty,
        portcullis.tenant = field::Empty,
        portcullis.outcome = field::Empty,
        portcullis.action = field::Empty,
        portcullis.findings = field::Empty,
    );
    if span.is_disabled() {
        return span;
    }
    if let Some((verb, route)) = method.split_once(' ') {
        span.record("otel.name", method)
            .record("http.request.method", verb)
            .record("http.route", route);
    } else if let Some((service, name)) = method.split_once('/') {
        span.record("otel.name", method)
            .record("rpc.system", "grpc")
            .record("rpc.service", service)
            .record("rpc.method", name);
    }
    if let Some(context) = &parent.0 {
        let _ = span.set_parent(context.clone());
    }
    span
}

/// Says how the call of `span` ended. Only faults of the server count as errors, as OpenTelemetry's
/// conventions for gRPC have it.
pub fn ended(span: &Span, code: Code) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.grpc.status_code", code as i32);
    let is_fault = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if is_fault {
        span.record("otel.status_code", "ERROR");
    }
}
