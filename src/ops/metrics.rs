//! Prometheus metrics over HTTP. The names are here; the values are recorded where they arise.

use std::net::SocketAddr;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use super::drift::{DriftConfig, Watching};

/// Buckets of durations, in seconds.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Buckets of counts.
const COUNTS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 16384.0,
];
/// Buckets of scores.
const SCORES: &[f64] = &[
    0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0,
];

/// Every metric: name, kind, unit, meaning.
pub const METRICS: &[(&str, Kind, Unit, &str)] = &[
    (
        "portcullis_requests_total",
        Kind::Counter,
        Unit::Count,
        "Requests, by method and gRPC code",
    ),
    (
        "portcullis_request_seconds",
        Kind::Seconds,
        Unit::Seconds,
        "Time from request to answer, by method",
    ),
    (
        "portcullis_detector_results_total",
        Kind::Counter,
        Unit::Count,
        "Detector results, by detector and state",
    ),
    (
        "portcullis_score",
        Kind::Score,
        Unit::Count,
        "Scores, by detector and label",
    ),
    (
        "portcullis_score_drift",
        Kind::Gauge,
        Unit::Count,
        "How far the latest scores are spread otherwise than in the baseline, by detector and label",
    ),
    (
        "portcullis_verdicts_total",
        Kind::Counter,
        Unit::Count,
        "Verdicts, by policy, action and outcome",
    ),
    (
        "portcullis_windows_per_request",
        Kind::Count,
        Unit::Count,
        "Token windows of a request",
    ),
    (
        "portcullis_queue_seconds",
        Kind::Seconds,
        Unit::Seconds,
        "Longest wait of a batch's windows",
    ),
    (
        "portcullis_engine_seconds",
        Kind::Seconds,
        Unit::Seconds,
        "Time of a batch on the device",
    ),
    (
        "portcullis_batch_tokens",
        Kind::Count,
        Unit::Count,
        "Tokens of a batch",
    ),
    (
        "portcullis_batch_sequences",
        Kind::Count,
        Unit::Count,
        "Windows of a batch",
    ),
    (
        "portcullis_tokens_scanned_total",
        Kind::Counter,
        Unit::Count,
        "Tokens run through the device",
    ),
    (
        "portcullis_windows_expired_total",
        Kind::Counter,
        Unit::Count,
        "Windows whose deadline passed in the queue",
    ),
    (
        "portcullis_batches_failed_total",
        Kind::Counter,
        Unit::Count,
        "Batches the engine failed on",
    ),
    (
        "portcullis_refused_total",
        Kind::Counter,
        Unit::Count,
        "What was refused at admission, by reason: rate, requests and streams (no place), or what the scheduler says of its jobs",
    ),
    (
        "portcullis_credentials_refused_total",
        Kind::Counter,
        Unit::Count,
        "Requests without credentials that count, by reason",
    ),
    (
        "portcullis_audit_records_total",
        Kind::Counter,
        Unit::Count,
        "Records of the audit trail: written, or lost: found no place, or not in time",
    ),
    (
        "portcullis_connections_refused_total",
        Kind::Counter,
        Unit::Count,
        "Connections above the limit",
    ),
    (
        "portcullis_file_current",
        Kind::Gauge,
        Unit::Count,
        "For each file that was read again: 1 where what it says is in force, 0 while it cannot be read",
    ),
    (
        "portcullis_file_looked_at_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "For each file that is read again when it changes: when it was looked at last, since 1970",
    ),
    (
        "portcullis_policy_reloads_total",
        Kind::Counter,
        Unit::Count,
        "Times the policies file was read again, by result",
    ),
    (
        "portcullis_device_info",
        Kind::Gauge,
        Unit::Count,
        "1 for the device in use",
    ),
    (
        "portcullis_package_info",
        Kind::Gauge,
        Unit::Count,
        "1 for each package that serves, with its version",
    ),
];

/// What a metric is, and which buckets it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A histogram of seconds.
    Seconds,
    /// A histogram of counts.
    Count,
    /// A histogram of scores.
    Score,
}

/// Why metrics could not be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics: {0}")]
pub struct MetricsError(String);

/// Serves the process's metrics at `http://listen/metrics`. Must be called within a tokio runtime.
/// `drift` says what scores are compared with.
pub fn start(listen: SocketAddr, drift: &DriftConfig) -> Result<(), MetricsError> {
    let error = |e: &dyn std::fmt::Display| MetricsError(e.to_string());
    let mut builder = PrometheusBuilder::new();
    for (name, kind, ..) in METRICS {
        let buckets = match kind {
            Kind::Seconds => SECONDS,
            Kind::Count => COUNTS,
            Kind::Score => SCORES,
            Kind::Counter | Kind::Gauge => continue,
        };
        builder = builder
            .set_buckets_for_metric(Matcher::Full((*name).into()), buckets)
            .map_err(|e| error(&e))?;
    }
    let (recorder, exporter) = builder
        .with_http_listener(listen)
        .build()
        .map_err(|e| error(&e))?;
    let watching = Watching::new(recorder, drift).map_err(|e| error(&e))?;
    metrics::set_global_recorder(watching).map_err(|e| error(&e))?;
    tokio::spawn(async move {
        if exporter.await.is_err() {
            tracing::error!("the metrics listener stopped");
        }
    });
    // An alert sees a first failure only where there was a series before it.
    for result in ["ok", "failed"] {
        metrics::counter!("portcullis_policy_reloads_total", "result" => result).increment(0);
    }
    metrics::counter!("portcullis_audit_records_total", "result" => "lost").increment(0);
    metrics::counter!("portcullis_batches_failed_total").increment(0);
    for (name, kind, unit, text) in METRICS {
        match kind {
            Kind::Counter => describe_counter!(*name, *unit, *text),
            Kind::Gauge => describe_gauge!(*name, *unit, *text),
            Kind::Seconds | Kind::Count | Kind::Score => describe_histogram!(*name, *unit, *text),
        }
    }
    Ok(())
}

/// Says which device and which package serve.
pub fn serving(device: &str, packages: impl Iterator<Item = (String, String)>) {
    gauge!("portcullis_device_info", "device" => device.to_owned()).set(1.0);
    for (package, version) in packages {
        gauge!("portcullis_package_info", "package" => package, "version" => version).set(1.0);
    }
}
