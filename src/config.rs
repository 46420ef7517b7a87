//! One typed configuration: a TOML file, overridden by flags and `PORTCULLIS_*` variables. Every
//! default runs. `docs/configuration.md` describes each key; a test holds the two together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::ServerConfig;
use crate::detect::PackageSource;
use crate::engine::{DeviceChoice, DeviceLoss, Precision};
use crate::guard::{Limits, PolicyConfig};
use crate::ops::audit::{WAITING_BYTES, largest_record};
use crate::ops::drift::DriftConfig;
use crate::ops::file::{self, FileError};
use crate::ops::logs::LogFormat;
use crate::ops::traces::TelemetryConfig;
use crate::package::TrustedKeys;
use crate::scheduler::SchedulerConfig;
use crate::text::normalise::NormaliseConfig;

/// The whole configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses, limits and deadlines of the server.
    pub server: ServerConfig,
    /// Sizes of requests.
    pub limits: Limits,
    /// The device and its threads.
    pub engine: EngineConfig,
    /// Queue and batches.
    pub scheduler: SchedulerTable,
    /// Logs.
    pub log: LogConfig,
    /// Traces.
    pub telemetry: TelemetryConfig,
    /// Model packages; the bundled one where none is listed.
    pub packages: Vec<PackageSource>,
    /// Public keys of minisign, of which one must have signed each package.
    pub trusted_keys: TrustedKeys,
    /// Whether scores are spread as they were.
    pub drift: DriftConfig,
    /// Disguises that are undone before detectors read.
    pub normalise: NormaliseConfig,
    /// Keys of redaction.
    pub redaction: RedactionConfig,
    /// Policies, by name.
    pub policies: BTreeMap<String, PolicyConfig>,
    /// File with more policies, a table each, which is read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies_file: Option<PathBuf>,
}

/// `[redaction]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactionConfig {
    /// File whose content is the secret behind hashes, pseudonyms and restore tokens; at least 32 bytes.
    /// Without one, a new secret is made at every start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// For how long restore tokens are worth something, in seconds.
    pub restore_ttl_s: u64,
}

impl Default for RedactionConfig {
    fn default() -> Self {
        Self {
            key_file: None,
            restore_ttl_s: 3_600,
        }
    }
}

impl RedactionConfig {
    /// The secret.
    pub fn secret(&self) -> Result<Vec<u8>, ConfigError> {
        let Some(file) = &self.key_file else {
            return Ok(rand::random::<[u8; 32]>().to_vec());
        };
        Ok(file::secret(file)?)
    }
}

/// `[engine]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: DeviceChoice,
    /// When a GPU fails for good: `exit` to be restarted, or `cpu` takes over.
    pub on_device_loss: DeviceLoss,
    /// Device memory for weights and batches, in MiB; 0 takes nine tenths of what is free.
    pub device_memory_mib: usize,
    /// Threads of the CPU engine; 0 takes one for each core.
    pub threads: usize,
    /// In what the CPU multiplies: `float32`, or `bfloat16`, which is faster where there is AMX.
    pub cpu_precision: Precision,
    /// Threads that tokenise; 0 takes one for every four cores.
    pub tokenizer_threads: usize,
    /// Bytes of text that may wait for tokenisation.
    pub max_tokenizer_backlog_bytes: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            on_device_loss: DeviceLoss::Exit,
            device_memory_mib: 0,
            threads: 0,
            cpu_precision: Precision::Float32,
            tokenizer_threads: 0,
            max_tokenizer_backlog_bytes: 64 << 20,
        }
    }
}

impl EngineConfig {
    /// Threads of the engine on this machine.
    #[must_use]
    pub fn engine_threads(&self) -> usize {
        or_cores(self.threads, 1)
    }

    /// Threads that tokenise on this machine.
    #[must_use]
    pub fn tokenizer_threads(&self) -> usize {
        or_cores(self.tokenizer_threads, 4)
    }
}

fn or_cores(configured: usize, share: usize) -> usize {
    if configured > 0 {
        configured
    } else {
        std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(share))
    }
}

/// `[scheduler]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulerTable {
    /// Most tokens in a batch.
    pub max_batch_tokens: usize,
    /// Most windows in a batch.
    pub max_batch_sequences: usize,
    /// Predicted time that a batch is filled up to, in milliseconds.
    pub batch_target_ms: u64,
    /// Most tokens waiting.
    pub max_queued_tokens: usize,
    /// Most requests waiting or running.
    pub max_jobs: usize,
    /// Requests of up to this many tokens take the short lane.
    pub short_tokens: usize,
    /// How long short texts may pass long ones, in milliseconds.
    pub long_lane_age_ms: u64,
    /// Share of the time to a deadline that predictions may use up.
    pub deadline_share: f64,
}

impl Default for SchedulerTable {
    fn default() -> Self {
        let config = SchedulerConfig::default();
        Self {
            max_batch_tokens: config.max_batch_tokens,
            max_batch_sequences: config.max_batch_sequences,
            batch_target_ms: config.batch_target.as_millis() as u64,
            max_queued_tokens: config.max_queued_tokens,
            max_jobs: config.max_jobs,
            short_tokens: config.short_tokens,
            long_lane_age_ms: config.long_lane_age.as_millis() as u64,
            deadline_share: config.deadline_share,
        }
    }
}

impl From<&SchedulerTable> for SchedulerConfig {
    fn from(table: &SchedulerTable) -> Self {
        Self {
            max_batch_tokens: table.max_batch_tokens,
            max_batch_sequences: table.max_batch_sequences,
            batch_target: Duration::from_millis(table.batch_target_ms),
            max_queued_tokens: table.max_queued_tokens,
            max_jobs: table.max_jobs,
            short_tokens: table.short_tokens,
            long_lane_age: Duration::from_millis(table.long_lane_age_ms),
            deadline_share: table.deadline_share,
        }
    }
}

/// `[log]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// A level, or a list of `target=level`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".into(),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read or understood.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be accepted.
        problem: String,
    },
    /// There is no package to serve.
    #[error(
        "no model package: models/{BUNDLED} was found neither here nor above the program; name one with --package DIR or [[packages]]"
    )]
    NoPackage,
}

/// The package that comes with the server.
const BUNDLED: &str = "portcullis-minilm-l6";

impl Config {
    /// Reads a TOML file. Relative paths in it are relative to its directory.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = file::toml(file)?;
        let base = file.parent().unwrap_or(Path::new(""));
        let server = &mut config.server;
        for path in [
            &mut server.tls_cert,
            &mut server.tls_key,
            &mut server.tls_client_ca,
            &mut server.api_keys,
            &mut server.block_list,
            &mut config.drift.baseline,
            &mut config.redaction.key_file,
            &mut config.policies_file,
            &mut config.telemetry.otlp_ca,
        ]
        .into_iter()
        .flatten()
        .chain(server.jwt.iter_mut().map(|jwt| &mut jwt.keys))
        .chain(server.audit.iter_mut().flat_map(|audit| {
            let key_file = audit.key_file.iter_mut();
            std::iter::once(&mut audit.file).chain(key_file)
        }))
        .chain(
            config
                .packages
                .iter_mut()
                .map(|p| &mut p.path)
                .filter(|path| !path.starts_with("hf:")),
        ) {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    /// Fails on values that cannot work, before anything is started.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let error = |key, problem: String| Err(ConfigError::Value { key, problem });
        let server = &self.server;
        if server.tls_cert.is_some() != server.tls_key.is_some() {
            return error(
                "server.tls_cert",
                "needs server.tls_key, and the other way round".into(),
            );
        }
        if server.tls_client_ca.is_some() && server.tls_cert.is_none() {
            return error(
                "server.tls_client_ca",
                "needs server.tls_cert and server.tls_key".into(),
            );
        }
        let authenticated =
            server.api_keys.is_some() || server.jwt.is_some() || server.tls_client_ca.is_some();
        let secured = server.tls_cert.is_some() && authenticated;
        if !(server.listen.ip().is_loopback() || secured || server.insecure) {
            return error(
                "server.listen",
                format!(
                    "{} can be reached from other machines: that needs TLS (server.tls_cert, \
                     server.tls_key) and API keys (server.api_keys), tokens (server.jwt) or client \
                     certificates (server.tls_client_ca). --insecure serves it without: anybody who reaches it \
                     can read and send texts",
                    server.listen
                ),
            );
        }
        if let Some(jwt) = &server.jwt
            && [&jwt.issuer, &jwt.audience, &jwt.tenant_claim]
                .iter()
                .any(|s| s.is_empty())
        {
            return error(
                "server.jwt",
                "issuer, audience and tenant_claim must say something".into(),
            );
        }
        let scheduler = &self.scheduler;
        if !(0.05..=1.0).contains(&scheduler.deadline_share) {
            return error(
                "scheduler.deadline_share",
                "must lie between 0.05 and 1".into(),
            );
        }
        if !(100..=1_000_000).contains(&self.drift.window) {
            return error("drift.window", "must lie between 100 and 1000000".into());
        }
        if let Some(audit) = &server.audit {
            let largest = largest_record(&self.limits, audit.texts);
            if largest > WAITING_BYTES {
                return error(
                    "limits",
                    format!(
                        "with server.audit, a record may have {largest} bytes, of at most {WAITING_BYTES}: \
                         lower max_findings, max_segments, max_id_bytes or, with server.audit.texts, \
                         max_text_bytes"
                    ),
                );
            }
        }
        if self.drift.baseline.is_some() && server.metrics.is_none() {
            return error(
                "drift.baseline",
                "needs server.metrics, where it shows".into(),
            );
        }
        if !(0.0..=1.0).contains(&self.telemetry.sample_ratio) {
            return error("telemetry.sample_ratio", "must lie between 0 and 1".into());
        }
        let positive = [
            (
                "server.default_deadline_ms",
                server.default_deadline_ms as usize,
            ),
            ("server.max_deadline_ms", server.max_deadline_ms as usize),
            ("server.max_message_bytes", server.max_message_bytes),
            ("server.max_in_flight", server.max_in_flight),
            ("server.max_connections", server.max_connections),
            ("server.max_streams", server.max_streams),
            ("server.stream_in_flight", server.stream_in_flight),
            ("server.stream_idle_ms", server.stream_idle_ms as usize),
            (
                "server.max_calls_per_connection",
                server.max_calls_per_connection as usize,
            ),
            (
                "server.gateway.deadline_ms",
                server.gateway.deadline_ms as usize,
            ),
            (
                "server.gateway.max_body_bytes",
                server.gateway.max_body_bytes,
            ),
            (
                "server.gateway.max_buffered_bytes",
                server.gateway.max_buffered_bytes,
            ),
            ("limits.max_text_bytes", self.limits.max_text_bytes),
            ("limits.max_segments", self.limits.max_segments),
            ("scheduler.max_batch_tokens", scheduler.max_batch_tokens),
            (
                "scheduler.max_batch_sequences",
                scheduler.max_batch_sequences,
            ),
            (
                "scheduler.batch_target_ms",
                scheduler.batch_target_ms as usize,
            ),
            ("scheduler.max_queued_tokens", scheduler.max_queued_tokens),
            ("scheduler.max_jobs", scheduler.max_jobs),
            (
                "telemetry.max_queued_spans",
                self.telemetry.max_queued_spans,
            ),
        ];
        /// A semaphore holds no more, and a deadline further off helps nobody.
        const MOST: usize = 1 << 40;
        for (key, value) in positive {
            if value == 0 || value > MOST {
                return error(
                    key,
                    format!("{value} must be at least 1 and at most {MOST}"),
                );
            }
        }
        if server.max_message_bytes <= self.limits.max_text_bytes {
            return error(
                "server.max_message_bytes",
                "must be above limits.max_text_bytes, or texts within the limit could not be sent"
                    .into(),
            );
        }
        let gateway = &server.gateway;
        if gateway.max_buffered_bytes < gateway.max_body_bytes {
            return error(
                "server.gateway.max_buffered_bytes",
                "must not be below server.gateway.max_body_bytes".into(),
            );
        }
        for format in &gateway.formats {
            let pointers = [&format.request, &format.response, &format.event];
            let mut all = pointers.into_iter().flatten();
            if format.request.is_empty() || all.any(|p| !p.is_empty() && !p.starts_with('/')) {
                return error(
                    "server.gateway.formats",
                    format!(
                        "{:?} needs texts of requests, and JSON pointers begin with \"/\"",
                        format.path
                    ),
                );
            }
        }
        if self.limits.max_text_bytes > u32::MAX as usize / 2 {
            return error("limits.max_text_bytes", "must be below 2 GiB".into());
        }
        Ok(())
    }

    /// The policies of this configuration and of its policies file, read anew.
    pub fn all_policies(&self) -> Result<BTreeMap<String, PolicyConfig>, ConfigError> {
        let mut all = self.policies.clone();
        let Some(file) = &self.policies_file else {
            return Ok(all);
        };
        let error = |problem: String| FileError::new(file, problem);
        let kind = std::fs::metadata(file).map_err(|e| error(e.to_string()))?;
        if !kind.is_file() {
            return Err(error("is no regular file".into()).into());
        }
        let read: BTreeMap<String, PolicyConfig> = file::toml(file)?;
        // As while it is being written anew.
        if read.is_empty() {
            return Err(error("has no policy".into()).into());
        }
        for (name, policy) in read {
            if all.insert(name.clone(), policy).is_some() {
                return Err(error(format!("{name} is in the configuration, too")).into());
            }
        }
        Ok(all)
    }

    /// The packages to serve: those listed, or the bundled one, looked for here and in every
    /// directory above the program.
    pub fn packages(&self) -> Result<Vec<PackageSource>, ConfigError> {
        let mut packages = match self.packages.is_empty() {
            true => vec![Self::bundled()?.into()],
            false => self.packages.clone(),
        };
        for package in &mut packages {
            package.trusted_keys.clone_from(&self.trusted_keys);
        }
        Ok(packages)
    }

    fn bundled() -> Result<PathBuf, ConfigError> {
        let program = std::env::current_exe().unwrap_or_default();
        std::iter::once(Path::new(""))
            .chain(program.ancestors().skip(1))
            .map(|dir| dir.join("models").join(BUNDLED))
            .find(|dir| dir.is_dir())
            .ok_or(ConfigError::NoPackage)
    }
}
