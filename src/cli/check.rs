//! `portcullis check`.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::{Done, Result, assemble, render, runtime};
use crate::api::pb::v1::guard_service_client::GuardServiceClient;
use crate::api::pb::v1::{Action, CheckRequest, CheckResponse, Role, Segment};
use crate::api::{convert, json};
use crate::config::Config;
use crate::ops::auth::Tenant;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The text; "-" reads standard input.
    text: String,
    /// Who speaks.
    #[arg(long, value_enum, default_value = "user")]
    role: RoleName,
    /// Policy to apply [default: the server's default].
    #[arg(long, value_name = "ID", conflicts_with = "detectors")]
    policy: Option<String>,
    /// Detectors to apply instead of a policy's.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    detectors: Vec<String>,
    /// Print the answer as JSON (portcullis.v1.CheckResponse).
    #[arg(long)]
    json: bool,
    /// Time for the check, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    timeout_ms: u64,
    /// Ask this server (http://HOST:PORT or https://HOST:PORT) instead of checking in process.
    #[arg(long, value_name = "URL", env = "PORTCULLIS_SERVER")]
    server: Option<String>,
    /// API key for the server.
    #[arg(
        long,
        value_name = "KEY",
        env = "PORTCULLIS_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
    /// Authorities (PEM) that vouch for the server.
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CA")]
    ca: Option<PathBuf>,
    /// Model package to check with, in process [default: the bundled one].
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    package: Option<PathBuf>,
    /// Configuration file, in process.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "server",
        env = "PORTCULLIS_CONFIG"
    )]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleName {
    System,
    User,
    Assistant,
    Tool,
    Document,
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::System => Self::System,
            RoleName::User => Self::User,
            RoleName::Assistant => Self::Assistant,
            RoleName::Tool => Self::Tool,
            RoleName::Document => Self::Document,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Done> {
    let text = match args.text.as_str() {
        "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes)?;
            String::from_utf8(bytes).map_err(|e| format!("standard input is not UTF-8: {e}"))?
        }
        text => text.to_owned(),
    };
    let request = CheckRequest {
        segments: vec![Segment {
            role: Role::from(args.role).into(),
            text: text.clone(),
        }],
        policy_id: args.policy.clone().unwrap_or_default(),
        detectors: args.detectors.clone(),
        ..CheckRequest::default()
    };
    let timeout = Duration::from_millis(args.timeout_ms);
    let response = match &args.server {
        Some(url) => runtime()?.block_on(ask(args, url, request, timeout))?,
        None => runtime()?.block_on(in_process(args, request, timeout))?,
    };
    let mut out = anstream::stdout().lock();
    if args.json {
        let json = json::to_string("portcullis.v1.CheckResponse", &response)?;
        writeln!(out, "{json}")?;
    } else {
        render::verdict(&mut out, &text, &response)?;
    }
    out.flush()?;
    Ok(match response.action() {
        Action::Allow => Done::Fine,
        _ => Done::Flagged,
    })
}

async fn in_process(
    args: &Args,
    request: CheckRequest,
    timeout: Duration,
) -> Result<CheckResponse> {
    let mut config = match &args.config {
        Some(file) => Config::read(file)?,
        None => Config::default(),
    };
    if let Some(path) = &args.package {
        config.packages = vec![path.clone().into()];
    }
    let guard = assemble(&config)?;
    let deadline = Instant::now() + timeout;
    let tenant = Tenant::anonymous().0;
    let check = convert::check(request, tenant, deadline, || "check".into())?;
    Ok(convert::verdict(guard.check(&check).await?, false))
}

async fn ask(
    args: &Args,
    url: &str,
    request: CheckRequest,
    timeout: Duration,
) -> Result<CheckResponse> {
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|e| format!("--server {url:?}: {e}"))?
        .connect_timeout(Duration::from_secs(5));
    if url.starts_with("https:") {
        let mut tls = ClientTlsConfig::new();
        if let Some(file) = &args.ca {
            let pem = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        endpoint = endpoint.tls_config(tls)?;
    }
    let channel = endpoint
        .connect()
        .await
        .map_err(|e| format!("cannot reach {url}: {}", root_cause(&e)))?;
    let mut request = tonic::Request::new(request);
    request.set_timeout(timeout);
    if let Some(key) = &args.api_key {
        let value: AsciiMetadataValue = format!("Bearer {key}")
            .parse()
            .map_err(|_| "--api-key: not ASCII")?;
        request.metadata_mut().insert("authorization", value);
    }
    let response = GuardServiceClient::new(channel)
        .max_decoding_message_size(64 << 20)
        .check(request)
        .await
        .map_err(|status| format!("{url}: {:?}: {}", status.code(), status.message()))?;
    Ok(response.into_inner())
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
