//! `portcullis serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::reload::Policies;
use super::{Done, Result, assemble, runtime};
use crate::api::{Loaded, Server, ServerHandle};
use crate::config::Config;
use crate::engine::DeviceChoice;
use crate::ops::watched::Watch;
use crate::ops::{logs, metrics, traces};

/// What `serve` can be told on the command line; all else is in the file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file (TOML); docs/configuration.md lists its keys.
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG")]
    config: Option<PathBuf>,
    /// Address of gRPC and HTTP [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_LISTEN")]
    listen: Option<SocketAddr>,
    /// Prometheus address, or "off" [default: 127.0.0.1:9464].
    #[arg(long, value_name = "ADDR", env = "PORTCULLIS_METRICS")]
    metrics: Option<String>,
    /// Model package to serve; may be repeated [default: the bundled one].
    #[arg(
        long = "package",
        value_name = "DIR",
        env = "PORTCULLIS_PACKAGES",
        value_delimiter = ','
    )]
    packages: Vec<PathBuf>,
    /// Device: auto, cpu, cuda or cuda:N [default: auto].
    #[arg(long, value_name = "DEVICE", env = "PORTCULLIS_DEVICE")]
    device: Option<DeviceChoice>,
    /// Threads of the CPU engine [default: one for each core].
    #[arg(long, value_name = "N", env = "PORTCULLIS_THREADS")]
    threads: Option<usize>,
    /// Certificate chain (PEM): serve TLS.
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Authorities (PEM) whose client certificates are asked for.
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,
    /// File of API-key hashes; make keys with `portcullis keys new`.
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_API_KEYS")]
    api_keys: Option<PathBuf>,
    /// Serve other machines without TLS or without credentials. Anybody who reaches the port can
    /// then use the server, and read what others send.
    #[arg(long, env = "PORTCULLIS_INSECURE")]
    insecure: bool,
    /// Log lines for people or machines [default: text].
    #[arg(long, value_enum, env = "PORTCULLIS_LOG_FORMAT")]
    log_format: Option<logs::LogFormat>,
    /// Log level, or a list of target=level [default: info].
    #[arg(long, value_name = "FILTER", env = "PORTCULLIS_LOG")]
    log: Option<String>,
    /// Collector for traces, OTLP over gRPC (http://HOST:4317) [default: no traces].
    #[arg(long, value_name = "URL", env = "PORTCULLIS_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
}

impl Args {
    /// The file's configuration with these options over it.
    fn config(&self) -> Result<Config> {
        let mut config = match &self.config {
            Some(file) => Config::read(file)?,
            None => Config::default(),
        };
        let server = &mut config.server;
        if let Some(listen) = self.listen {
            server.listen = listen;
        }
        match self.metrics.as_deref() {
            None => {}
            Some("off") => server.metrics = None,
            Some(address) => {
                let parsed = address.parse();
                server.metrics =
                    Some(parsed.map_err(|e| format!("--metrics {address:?}: {e}; or \"off\""))?);
            }
        }
        for (to, from) in [
            (&mut server.tls_cert, &self.tls_cert),
            (&mut server.tls_key, &self.tls_key),
            (&mut server.tls_client_ca, &self.tls_client_ca),
            (&mut server.api_keys, &self.api_keys),
        ] {
            if from.is_some() {
                to.clone_from(from);
            }
        }
        server.insecure |= self.insecure;
        if !self.packages.is_empty() {
            config.packages = self.packages.iter().cloned().map(Into::into).collect();
        }
        if let Some(device) = self.device {
            config.engine.device = device;
        }
        if let Some(threads) = self.threads {
            config.engine.threads = threads;
        }
        if let Some(format) = self.log_format {
            config.log.format = format;
        }
        if let Some(filter) = &self.log {
            config.log.filter.clone_from(filter);
        }
        if self.otlp_endpoint.is_some() {
            config
                .telemetry
                .otlp_endpoint
                .clone_from(&self.otlp_endpoint);
        }
        Ok(config)
    }
}

/// For how long work that hangs is waited for at the end: a package that loads, a look at a file.
const LAST: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Args) -> Result<Done> {
    let config = args.config()?;
    config.validate()?;
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let traces = traces::start(&config.telemetry)?;
        logs::start(config.log.format, &config.log.filter, traces.as_ref())?;
        logs::report_panics_without_messages();
        let served = serve(config).await;
        if let Some(traces) = traces {
            traces.stop().await;
        }
        served
    });
    runtime.shutdown_timeout(LAST);
    done
}

/// SIGTERM and Ctrl-C end the server, a second one at once; SIGHUP has it read files again.
fn listen(handle: ServerHandle) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let mut ends = false;
        loop {
            let signal = tokio::select! {
                _ = hangup.recv() => {
                    handle.look();
                    continue;
                }
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            if ends {
                std::process::exit(128 + signal.as_raw_value());
            }
            ends = true;
            handle.shut_down();
        }
    });
    Ok(())
}

async fn serve(config: Config) -> Result<Done> {
    let handle = ServerHandle::default();
    listen(handle.clone())?;
    if let Some(address) = config.server.metrics {
        metrics::start(address, &config.drift)?;
        tracing::info!(url = %format!("http://{address}/metrics"), "metrics");
    }
    let server = Server::bind(config.server.clone())?;
    tracing::info!(
        address = %server.address(),
        tls = config.server.tls_cert.is_some(),
        "listening; loading packages"
    );
    if config.server.insecure && !server.address().ip().is_loopback() {
        tracing::warn!(
            "--insecure: anybody who reaches {} can use this server",
            server.address()
        );
    }
    let load = move || {
        // Before it is read: what changes while it is shows.
        let watch = config.policies_file.as_deref().map(Watch::new);
        let guard = assemble(&config)?;
        let policies = watch.map(|w| Policies::new(w, config, guard.policies().clone()));
        let files = policies.into_iter().map(|p| Arc::new(p) as _).collect();
        Ok::<_, super::AssembleError>(Loaded { guard, files })
    };
    server.run(handle, load).await?;
    Ok(Done::Fine)
}
