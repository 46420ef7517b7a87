//! Traces over OTLP: a span for each check under the caller's own (W3C `traceparent`), and below it
//! those of its stages. Off unless an endpoint is configured; then spans of level TRACE of this crate
//! are exported. Texts never reach them: only spans are, no events, and what a span holds is named
//! here and where it is made.
//!
//! Spans wait in a bounded queue for a thread of their own; a collector that is slow or away costs
//! spans, never a request.

mod span;

use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, ClientTlsConfig};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::file;
pub use span::{Parent, check_span, ended, parent};

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
        let pem = file::bytes(file).map_err(|e| TracesError(e.to_string()))?;
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
