//! What a command checks texts with: a guard in this process, or a server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::{Result, assemble};
use crate::api::pb::v1::guard_service_client::GuardServiceClient;
use crate::api::pb::v1::{CheckRequest, CheckResponse, ListDetectorsRequest};
use crate::api::{self, convert};
use crate::config::Config;
use crate::guard::Guard;
use crate::ops::auth::Caller;

/// Who calls a server, and whom the caller trusts.
#[derive(Debug, clap::Args)]
pub(super) struct Credentials {
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
}

/// Options of every command that checks texts.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// Ask this server (http://HOST:PORT or https://HOST:PORT) instead of checking in process.
    #[arg(long, value_name = "URL", env = "PORTCULLIS_SERVER")]
    server: Option<String>,
    #[command(flatten)]
    credentials: Credentials,
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

/// A connected target.
pub(super) enum Client {
    Local(Box<Guard>),
    Remote {
        url: String,
        key: Option<MetadataValue<Ascii>>,
        service: Box<GuardServiceClient<Channel>>,
    },
}

/// Largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

impl Credentials {
    /// A connection to the server at `url`.
    pub(super) async fn connect(&self, url: &str) -> Result<Channel> {
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|e| format!("{url:?}: {e}"))?
            .connect_timeout(Duration::from_secs(5));
        if url.starts_with("https:") {
            let mut tls = ClientTlsConfig::new();
            if let Some(file) = &self.ca {
                let pem = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls)?;
        }
        let channel = endpoint.connect().await;
        channel.map_err(|e| format!("cannot reach {url}: {}", root_cause(&e)).into())
    }

    /// The header that carries the key.
    pub(super) fn key(&self) -> Result<Option<MetadataValue<Ascii>>> {
        let Some(key) = &self.api_key else {
            return Ok(None);
        };
        let value = format!("Bearer {key}").parse();
        Ok(Some(value.map_err(
            |_| "--api-key: has characters that no header may have",
        )?))
    }
}

impl Target {
    /// Loads the packages, or connects to the server.
    pub(super) async fn connect(&self) -> Result<Client> {
        let Some(url) = &self.server else {
            let mut config = match &self.config {
                Some(file) => Config::read(file)?,
                None => Config::default(),
            };
            if let Some(path) = &self.package {
                config.packages = vec![path.clone().into()];
            }
            return Ok(Client::Local(Box::new(assemble(&config)?)));
        };
        let channel = self.credentials.connect(url).await?;
        Ok(Client::Remote {
            url: url.clone(),
            key: self.credentials.key()?,
            service: Box::new(
                GuardServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER),
            ),
        })
    }
}

impl Client {
    /// Checks one request.
    pub(super) async fn check(
        &self,
        request: CheckRequest,
        timeout: Duration,
    ) -> Result<CheckResponse> {
        let answer = self.ask(request, timeout).await;
        answer.map_err(|status| self.failed(&status).into())
    }

    /// As [`Self::check`], with the status as a caller of the API gets it.
    pub(super) async fn ask(
        &self,
        request: CheckRequest,
        timeout: Duration,
    ) -> std::result::Result<CheckResponse, Status> {
        match self {
            Self::Local(guard) => {
                let deadline = Instant::now() + timeout;
                let tenant = Caller::anonymous().tenant;
                let utf16 = request.utf16_offsets;
                let check = convert::check(request, tenant, deadline, || "check".into());
                let check = check.map_err(api::status)?;
                let verdict = guard.check(&check).await.map_err(api::status)?;
                let token = guard.seal(&check.tenant, &verdict).map_err(api::status)?;
                let token = token.unwrap_or_default();
                Ok(convert::verdict(verdict, token, utf16))
            }
            Self::Remote { service, .. } => {
                let mut request = self.authorised(request);
                request.set_timeout(timeout);
                Ok(service.clone().check(request).await?.into_inner())
            }
        }
    }

    /// The thresholds of a detector's labels.
    pub(super) async fn thresholds(&self, detector: &str) -> Result<BTreeMap<String, f64>> {
        let offers = match self {
            Self::Local(guard) => convert::offers(guard),
            Self::Remote { service, .. } => {
                let request = self.authorised(ListDetectorsRequest {});
                let answer = service.clone().list_detectors(request).await;
                answer.map_err(|s| self.failed(&s))?.into_inner()
            }
        };
        let names: Vec<String> = offers.detectors.iter().map(|d| d.name.clone()).collect();
        let found = offers.detectors.into_iter().find(|d| d.name == detector);
        let found = found.ok_or_else(|| {
            format!(
                "no detector {detector:?} is served; {} are",
                names.join(", ")
            )
        })?;
        let labels = found.labels.into_iter();
        Ok(labels
            .filter_map(|l| Some((l.name, f64::from(l.threshold?))))
            .collect())
    }

    fn authorised<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Self::Remote { key: Some(key), .. } = self {
            request.metadata_mut().insert("authorization", key.clone());
        }
        request
    }

    /// What went wrong, in a line.
    pub(super) fn failed(&self, status: &Status) -> String {
        let message = super::render::printable(status.message());
        match self {
            Self::Local(_) => message,
            Self::Remote { url, .. } => format!("{url}: {:?}: {message}", status.code()),
        }
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
