//! Structured logs through `tracing`. Texts never reach them.

use std::io::IsTerminal;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::traces::Traces;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Says where a panic happened instead of printing its message, which may hold a piece of a text.
pub fn report_panics_without_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
}

/// Starts logging to standard error, and `traces` if there are any. `filter` is a level or a list of
/// `target=level`.
///
/// A second call changes nothing, so that several servers may live in one process.
pub fn start(format: LogFormat, filter: &str, traces: Option<&Traces>) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("log filter {filter:?}: {e}"))?;
    // The tokenizer library logs pieces of texts at its finest level.
    let quiet = Directive::from_str("tokenizers=off").map_err(|e| e.to_string())?;
    let filter = filter.add_directive(quiet);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let _ = tracing_subscriber::registry()
        .with(traces.map(Traces::layer))
        .with(lines.with_filter(filter))
        .try_init();
    Ok(())
}
