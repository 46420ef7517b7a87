//! The server: listeners, TLS, authentication, health, reflection, and a shutdown that loses
//! nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::{TcpIncoming, TlsConnectInfo};
use tonic::transport::{Certificate, Identity, Server as Transport, ServerTlsConfig};
use tonic::{Code, Request, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::ServerConfig;
use super::connections::bounded;
use super::deadline;
use super::ext_proc::ExtProc;
use super::guard_service::GuardApi;
use super::pb;
use super::pb::v1::guard_service_server::{GuardServiceServer, SERVICE_NAME};
use super::service::{Service, ServiceLimits};
use super::status::ApiError;
use crate::guard::{CheckError, Guard};
use crate::ops::auth::{Authenticator, KeyFileError};

/// Largest message to the health and reflection services, in bytes.
const SMALL_MESSAGE: usize = 16 << 10;
/// Bytes that a gateway's message may have beside a body: headers and metadata.
const GATEWAY_MESSAGE: usize = 256 << 10;
/// What finished calls get to reach their callers before open health watches and the like are cut.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// Interval and patience of HTTP/2 pings: a peer that is gone is noticed within a minute.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A server that is bound and not yet serving.
pub struct Server {
    config: ServerConfig,
    incoming: TcpIncoming,
    address: SocketAddr,
    auth: Authenticator,
    tls: Option<ServerTlsConfig>,
}

/// Why a server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("{file}: {problem}")]
    Tls {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The packages cannot serve.
    #[error("{0}")]
    Load(String),
    /// The device failed for good.
    #[error("the device is lost: {0}")]
    DeviceLost(String),
    /// The transport failed.
    #[error("the server failed: {0}")]
    Transport(String),
}

/// Stops a running server.
#[derive(Debug, Clone, Default)]
pub struct ServerHandle(CancellationToken);

impl ServerHandle {
    /// Starts the shutdown: not ready any more, no new call, open ones finish.
    pub fn shut_down(&self) {
        self.0.cancel();
    }
}

impl Server {
    /// Binds the address and reads certificates and keys.
    pub fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        let auth = Authenticator::new(config.api_keys.as_deref(), config.tls_client_ca.is_some())?;
        let tls = tls(&config)?;
        let bind_error = |error| ServeError::Bind {
            address: config.listen,
            error,
        };
        let incoming = TcpIncoming::bind(config.listen)
            .map_err(bind_error)?
            .with_nodelay(Some(true))
            .with_keepalive(Some(KEEPALIVE));
        let address = incoming.local_addr().map_err(bind_error)?;
        Ok(Self {
            config,
            incoming,
            address,
            auth,
            tls,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `handle` says otherwise. Health answers from the start; the guard that `load`
    /// makes, on a thread of its own, from when it is there. Fails if `load` does.
    pub async fn run<E: std::fmt::Display + Send + 'static>(
        self,
        handle: ServerHandle,
        load: impl FnOnce() -> Result<Guard, E> + Send + 'static,
    ) -> Result<(), ServeError> {
        let limits = ServiceLimits {
            max_in_flight: self.config.max_in_flight,
            max_streams: self.config.max_streams,
            stream_in_flight: self.config.stream_in_flight,
            default_deadline: Duration::from_millis(self.config.default_deadline_ms),
            max_deadline: Duration::from_millis(self.config.max_deadline_ms),
        };
        let stop = handle.0.clone();
        let service = Service::new(limits, stop.clone());
        let (health, health_service) = tonic_health::server::health_reporter();
        set_health(&health, ServingStatus::NotServing).await;
        let health_service = health_service.max_decoding_message_size(SMALL_MESSAGE);

        let mut transport = Transport::builder()
            // Bodies must arrive within this, whatever they ask for.
            .timeout(Duration::from_millis(self.config.max_deadline_ms))
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(self.config.max_calls_per_connection)
            .http2_max_header_list_size(16 << 10);
        if let Some(tls) = self.tls {
            transport = transport
                .tls_config(tls)
                .map_err(|e| ServeError::Transport(e.to_string()))?;
        }
        let auth = self.auth;
        let guard_service = InterceptedService::new(
            GuardServiceServer::new(GuardApi(service.clone()))
                .max_decoding_message_size(self.config.max_message_bytes),
            authenticate(auth.clone()),
        );
        let gateway = self.config.gateway.clone();
        let most = gateway.max_body_bytes + GATEWAY_MESSAGE;
        let ext_proc = InterceptedService::new(
            ExternalProcessorServer::new(ExtProc::new(service.clone(), gateway))
                .max_decoding_message_size(most)
                .max_encoding_message_size(usize::MAX),
            authenticate(auth.clone()),
        );
        // Many clients still speak the older of the two.
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(pb::DESCRIPTOR)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let reflection_error =
            |e: tonic_reflection::server::Error| ServeError::Transport(e.to_string());
        let reflection_v1 = reflection()
            .build_v1()
            .map_err(reflection_error)?
            .max_decoding_message_size(SMALL_MESSAGE);
        let reflection_v1alpha = reflection()
            .build_v1alpha()
            .map_err(reflection_error)?
            .max_decoding_message_size(SMALL_MESSAGE);
        let incoming = bounded(self.incoming, self.config.max_connections);
        let stopped = stop.clone();
        let mut serving = tokio::spawn(
            transport
                .add_service(health_service)
                .add_service(InterceptedService::new(
                    reflection_v1,
                    authenticate(auth.clone()),
                ))
                .add_service(InterceptedService::new(
                    reflection_v1alpha,
                    authenticate(auth),
                ))
                .add_service(guard_service)
                .add_service(ext_proc)
                .serve_with_incoming_shutdown(incoming, async move {
                    stopped.cancelled().await;
                }),
        );

        let loading = tokio::task::spawn_blocking(load);
        let loaded = tokio::select! {
            biased; // a shutdown that was asked for is not the transport's failure
            () = stop.cancelled() => None,
            loaded = loading => Some(loaded),
            ended = &mut serving => return Err(transport_ended(ended)),
        };
        let result = match loaded {
            Some(Ok(Ok(guard))) => {
                let device = guard.scheduler().clone();
                service.serve(guard);
                set_health(&health, ServingStatus::Serving).await;
                service.guard().inspect(|guard| announce(guard));
                tokio::select! {
                    biased;
                    () = stop.cancelled() => Ok(()),
                    reason = device.device_lost() => Err(ServeError::DeviceLost(reason)),
                    ended = &mut serving => return Err(transport_ended(ended)),
                }
            }
            Some(Ok(Err(error))) => Err(ServeError::Load(error.to_string())),
            Some(Err(panic)) => Err(ServeError::Load(format!("loading panicked: {panic}"))),
            None => Ok(()),
        };
        set_health(&health, ServingStatus::NotServing).await;
        stop.cancel();
        tracing::info!("draining");
        let patience = Duration::from_millis(self.config.drain_timeout_ms);
        // Checks are waited for; a health watch, which never ends, is not.
        let checks_done = async {
            while !service.is_idle() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(LAST_BYTES).await;
        };
        tokio::select! {
            ended = &mut serving => match ended {
                Ok(Ok(())) => tracing::info!("stopped"),
                _ => return Err(transport_ended(ended)),
            },
            () = checks_done => tracing::info!("stopped"),
            () = tokio::time::sleep(patience) => {
                tracing::warn!(?patience, "open calls did not finish in time and were cut");
            }
        }
        serving.abort();
        result
    }
}

fn transport_ended(
    ended: Result<Result<(), tonic::transport::Error>, tokio::task::JoinError>,
) -> ServeError {
    ServeError::Transport(match ended {
        Ok(Ok(())) => "it stopped by itself".into(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    })
}

fn announce(guard: &Guard) {
    let catalog = guard.catalog();
    for package in &catalog.packages {
        tracing::info!(
            package = package.name,
            version = package.version,
            device = %catalog.device,
            "serving"
        );
    }
    let packages = catalog.packages.iter();
    crate::ops::metrics::serving(
        &catalog.device,
        packages.map(|p| (p.name.clone(), p.version.clone())),
    );
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in ["", SERVICE_NAME] {
        health.set_service_status(service, status).await;
    }
}

/// Finds out who calls, before a message is read.
fn authenticate(
    auth: Authenticator,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |mut request: Request<()>| {
        let tenant = {
            let header = |name| request.metadata().get(name).map(|v| v.as_bytes());
            let bearer = header("authorization").and_then(|v| {
                let (scheme, key) = v.split_at_checked(7)?;
                scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
            });
            let key = bearer.or_else(|| header("x-api-key"));
            let certificates = request
                .extensions()
                .get::<TlsConnectInfo<tonic::transport::server::TcpConnectInfo>>()
                .and_then(TlsConnectInfo::peer_certs);
            let certificate = certificates
                .as_deref()
                .and_then(|chain| chain.first())
                .map(AsRef::as_ref);
            auth.authenticate(key, certificate)
        };
        let tenant = tenant.map_err(|error| {
            ApiError::new(Code::Unauthenticated, "CREDENTIALS", error.to_string()).into_status()
        })?;
        // Looked at before the body is waited for: the transport would call its end CANCELLED.
        match deadline::timeout(request.metadata()) {
            Ok(Some(Duration::ZERO)) => Err(ApiError::from(CheckError::Deadline).into_status()),
            Err(problem) => Err(ApiError::invalid("grpc-timeout", problem).into_status()),
            Ok(_) => {
                request.extensions_mut().insert(tenant);
                Ok(request)
            }
        }
    }
}

fn tls(config: &ServerConfig) -> Result<Option<ServerTlsConfig>, ServeError> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    let identity = Identity::from_pem(
        read_pem(cert, "CERTIFICATE")?,
        read_pem(key, "PRIVATE KEY")?,
    );
    let mut tls = ServerTlsConfig::new().identity(identity);
    if let Some(ca) = &config.tls_client_ca {
        tls = tls.client_ca_root(Certificate::from_pem(read_pem(ca, "CERTIFICATE")?));
    }
    Ok(Some(tls))
}

fn read_pem(file: &Path, what: &str) -> Result<Vec<u8>, ServeError> {
    let error = |problem: String| ServeError::Tls {
        file: file.display().to_string(),
        problem,
    };
    let bytes = std::fs::read(file).map_err(|e| error(e.to_string()))?;
    let text = String::from_utf8_lossy(&bytes);
    if text
        .lines()
        .any(|l| l.starts_with("-----BEGIN") && l.contains(what))
    {
        Ok(bytes)
    } else {
        Err(error(format!("holds no PEM block of a {what}")))
    }
}
