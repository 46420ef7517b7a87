//! Traces over OTLP: a span for each check under the caller's own (W3C `traceparent`), and below it
//! those of its stages. Off unless an endpoint is configured; then spans of level TRACE of this crate
//! are exported. Texts never reach them: only spans are, no events, and what a span holds is named
//! here and where it is made.
//!
//! Spans wait in a bounded queue for a thread of their own; a collector that is slow or away costs
//! spans, never a request.

use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use serde::{Deserialize, Serialize};
use tonic::Code;
use tonic::metadata::{KeyRef, MetadataMap};
use tonic::transport::{Certificate, ClientTlsConfig};
use tracing::{Metadata, Span, Subscriber, field, trace_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// `[telemetry]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// OTLP over gRPC: `http://HOST:4317`, or `https://` with `otlp_ca`. None: no traces.
    pub otlp_endpoint: Option<String>,
    /// Authorities (PEM) that vouch for the collector.
    pub otlp_ca: Option<PathBuf>,
    /// `service.name` of the spans.
    pub service_name: String,
    /// Share of the checks that are traced where the caller has not decided it.
    pub sample_ratio: f64,
    /// Spans that may wait for the collector; more are dropped.
    pub max_queued_spans: usize,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            otlp_ca: None,
            service_name: "portcullis".into(),
            sample_ratio: 1.0,
            max_queued_spans: 2048,
        }
    }
}

/// Why traces could not be exported.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.otlp_endpoint: {0}")]
pub struct TracesError(String);

/// Time for one export, and for the last one at the end.
const EXPORT: Duration = Duration::from_secs(5);
/// How often spans are sent.
const DELAY: Duration = Duration::from_secs(1);

/// A running exporter.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Starts exporting, if an endpoint is configured. Must be called within a tokio runtime; a collector
/// that is away is no error.
pub fn start(config: &TelemetryConfig) -> Result<Option<Traces>, TracesError> {
    let Some(endpoint) = &config.otlp_endpoint else {
        return Ok(None);
    };
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT);
    if endpoint.starts_with("https:") {
        let file = config.otlp_ca.as_ref();
        let file = file.ok_or_else(|| TracesError("https needs telemetry.otlp_ca".into()))?;
        let pem =
            std::fs::read(file).map_err(|e| TracesError(format!("{}: {e}", file.display())))?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        exporter = exporter.with_tls_config(tls);
    }
    let exporter = exporter.build().map_err(|e| TracesError(e.to_string()))?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(config.max_queued_spans)
        .with_max_export_batch_size(config.max_queued_spans.min(512))
        .with_scheduled_delay(DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    let resource = Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let sampler = Sampler::TraceIdRatioBased(config.sample_ratio);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(sampler)))
        .with_resource(resource)
        .build();
    Ok(Some(Traces { provider }))
}

impl Traces {
    /// The layer that turns this crate's spans into OTLP ones.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync + 'static,
    {
        let tracer: SdkTracer = self.provider.tracer("portcullis");
        let ours = |m: &Metadata<'_>| m.is_span() && m.target().starts_with("portcullis");
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(ours))
    }

    /// Sends what is left, as far as the collector takes it in time.
    pub async fn stop(self) {
        let stopped =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(EXPORT));
        if !matches!(stopped.await, Ok(Ok(()))) {
            tracing::warn!("the last spans did not reach the collector");
        }
    }
}

// === the span of a check ===

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
