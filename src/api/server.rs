//! The server: listeners, TLS, authentication, health, reflection, and a shutdown that loses
//! nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use serde_json::json;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server as Transport;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::authenticate::interceptor;
use super::connections::accepted;
use super::envoy::{ExtAuthz, ExtProc};
use super::guard_service::GuardApi;
use super::inference::Inference;
use super::pb::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use super::pb::v1::guard_service_server::{GuardServiceServer, SERVICE_NAME};
use super::service::{Rules, Service, ServiceLimits};
use super::{ServerConfig, http, pb, tls};
use crate::guard::Guard;
use crate::ops::audit::Audit;
use crate::ops::auth::{Authenticator, Credentials};
use crate::ops::file::FileError;
use crate::ops::rates::Rates;
use crate::ops::watched::{self, Look};

/// Largest message to the health and reflection services, in bytes.
const SMALL_MESSAGE: usize = 16 << 10;
/// Bytes that a gateway's message may have beside a body: headers and metadata.
const GATEWAY_MESSAGE: usize = 256 << 10;
/// What finished calls get to reach their callers before open health watches and the like are cut.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// Bytes of a connection that may be on their way.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Interval and patience of HTTP/2 pings: a peer that is gone is noticed within a minute.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A server that is bound and not yet serving.
pub struct Server {
    config: ServerConfig,
    incoming: TcpIncoming,
    address: SocketAddr,
    auth: Authenticator,
    audit: Audit,
    tls: Option<TlsAcceptor>,
    /// Read again when they change.
    files: Vec<Arc<dyn Look>>,
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
    /// A certificate, a file of keys or tenants, or the audit trail cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
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
pub struct ServerHandle {
    stop: CancellationToken,
    look: watch::Sender<()>,
}

impl ServerHandle {
    /// Starts the shutdown: not ready any more, no new call, open ones finish.
    pub fn shut_down(&self) {
        self.stop.cancel();
    }

    /// Has the files that are watched read again, whether they changed or not.
    pub fn look(&self) {
        self.look.send_replace(());
    }
}

/// What a server serves, and the files that are watched while it does.
pub struct Loaded {
    /// What answers.
    pub guard: Guard,
    /// What it was made of and can be read again.
    pub files: Vec<Arc<dyn Look>>,
}

impl From<Guard> for Loaded {
    fn from(guard: Guard) -> Self {
        Self {
            guard,
            files: Vec::new(),
        }
    }
}

impl Server {
    /// Binds the address and reads certificates and keys.
    pub fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        let auth = Authenticator::new(Credentials {
            keys: config.api_keys.as_deref(),
            jwt: config.jwt.as_ref(),
            certificates: config.tls_client_ca.is_some(),
            blocked: config.block_list.as_deref(),
        })?;
        let audit = config.audit.as_ref().map(Audit::start).transpose()?;
        let mut files = auth.files();
        let tls = match tls::acceptor(&config)? {
            None => None,
            Some((acceptor, certificate)) => {
                files.push(certificate);
                Some(acceptor)
            }
        };
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
            audit: audit.unwrap_or_default(),
            tls,
            files,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `handle` says otherwise. Health answers from the start; the guard that `load`
    /// makes, on a thread of its own, from when it is there. Fails if `load` does.
    pub async fn run<L: Into<Loaded>, E: std::fmt::Display + Send + 'static>(
        self,
        handle: ServerHandle,
        load: impl FnOnce() -> Result<L, E> + Send + 'static,
    ) -> Result<(), ServeError> {
        let limits = ServiceLimits {
            max_in_flight: self.config.max_in_flight,
            max_streams: self.config.max_streams,
            stream_in_flight: self.config.stream_in_flight,
            stream_idle: Duration::from_millis(self.config.stream_idle_ms),
            default_deadline: Duration::from_millis(self.config.default_deadline_ms),
            max_deadline: Duration::from_millis(self.config.max_deadline_ms),
            cannot_redact: self.config.gateway.cannot_redact,
        };
        let limits_end = limits.max_deadline;
        let stop = handle.stop.clone();
        let drain = CancellationToken::new();
        let rules = Rules {
            auth: self.auth.clone(),
            rates: Rates::new(&self.config.rates),
            policies: self.config.tenant_policies.clone(),
            audit: self.audit.clone(),
        };
        let service = Service::new(limits, rules, stop.clone(), drain.clone());
        let (health, health_service) = tonic_health::server::health_reporter();
        set_health(&health, ServingStatus::NotServing).await;

        let mut transport = Transport::builder()
            .accept_http1(true)
            // Bodies must arrive within this, whatever they ask for; requests over HTTP, which end by
            // themselves, must not meet it.
            .timeout(limits_end + LAST_BYTES)
            // The transport lets as many small frames wait as their overhead goes into half of this.
            .initial_connection_window_size(Some(CONNECTION_WINDOW))
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(self.config.max_calls_per_connection)
            .http2_max_header_list_size(16 << 10);
        let routes = routes(&service, &self.auth, &self.config)?
            .add_service(health_service.max_decoding_message_size(SMALL_MESSAGE));
        let routes = http::beside(routes, &service, &self.auth, self.config.max_message_bytes);
        let incoming = accepted(self.incoming, self.config.max_connections, self.tls);
        let stopped = drain.clone();
        let mut serving = tokio::spawn(transport.add_routes(routes).serve_with_incoming_shutdown(
            incoming,
            async move {
                stopped.cancelled().await;
            },
        ));

        let now = handle.look.subscribe();
        let watch =
            |files| AbortOnDropHandle::new(tokio::spawn(watched::watch(files, now.clone())));
        let _watching = watch(self.files);

        let gateway = self.config.gateway.clone();
        let policies = self.config.tenant_policies.clone();
        let loading = tokio::task::spawn_blocking(move || {
            let loaded: Loaded = load().map_err(|e| e.to_string())?.into();
            let guard = &loaded.guard;
            gateway.check(guard)?;
            policies.check(guard)?;
            let names = gateway.policies.values().chain(policies.names());
            guard.policies().require(names);
            Ok::<_, String>(loaded)
        });
        let loaded = tokio::select! {
            biased; // a shutdown that was asked for is not the transport's failure
            () = stop.cancelled() => None,
            loaded = loading => Some(loaded),
            ended = &mut serving => return Err(transport_ended(ended)),
        };
        let loaded = loaded.map(|loaded| match loaded {
            Ok(loaded) => loaded.map_err(ServeError::Load),
            Err(panic) => Err(ServeError::Load(format!("loading panicked: {panic}"))),
        });
        let mut _watching_more = None;
        let result = match loaded {
            Some(Ok(Loaded { guard, files })) => {
                _watching_more = Some(watch(files));
                let device = guard.scheduler().clone();
                // Nothing is answered before it is on record that there is somebody who answers.
                let begun = self.audit.event("started", started(&guard)).await;
                if let Err(unrecorded) = begun {
                    Err(ServeError::Load(unrecorded.to_string()))
                } else {
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
            }
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        set_health(&health, ServingStatus::NotServing).await;
        stop.cancel();
        if result.is_ok() && service.guard().is_some() {
            tokio::time::sleep(Duration::from_millis(self.config.shutdown_delay_ms)).await;
        }
        drain.cancel();
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
        // What never began does not end.
        if service.guard().is_some() {
            let audit = self.audit.clone();
            let _ = tokio::task::spawn_blocking(move || audit.stop()).await;
        }
        result
    }
}

/// The services that need credentials, each behind them.
fn routes(
    service: &Service,
    auth: &Authenticator,
    config: &ServerConfig,
) -> Result<Routes, ServeError> {
    // Many clients still speak the older of the two.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let error = |e: tonic_reflection::server::Error| ServeError::Transport(e.to_string());
    let v1 = reflection().build_v1().map_err(error)?;
    let v1alpha = reflection().build_v1alpha().map_err(error)?;
    let guard = GuardServiceServer::new(GuardApi(service.clone()));
    let inference = GrpcInferenceServiceServer::new(Inference(service.clone()));
    let envoy = ExtProc::new(service.clone(), config.gateway.clone());
    let ext_authz = AuthorizationServer::new(ExtAuthz(envoy.clone()));
    let ext_proc = ExternalProcessorServer::new(envoy).max_encoding_message_size(usize::MAX);
    let largest = config.max_message_bytes;
    let largest_body = config.gateway.max_body_bytes + GATEWAY_MESSAGE;
    let auth = || interceptor(auth.clone());
    Ok(Routes::default()
        .add_service(InterceptedService::new(
            v1.max_decoding_message_size(SMALL_MESSAGE),
            auth(),
        ))
        .add_service(InterceptedService::new(
            v1alpha.max_decoding_message_size(SMALL_MESSAGE),
            auth(),
        ))
        .add_service(InterceptedService::new(
            guard.max_decoding_message_size(largest),
            auth(),
        ))
        .add_service(InterceptedService::new(
            inference.max_decoding_message_size(largest),
            auth(),
        ))
        .add_service(InterceptedService::new(
            ext_proc.max_decoding_message_size(largest_body),
            auth(),
        ))
        .add_service(InterceptedService::new(
            ext_authz.max_decoding_message_size(largest_body),
            auth(),
        )))
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

/// What the audit trail says of the beginning.
fn started(guard: &Guard) -> serde_json::Value {
    let packages = guard.catalog().packages.iter();
    let packages =
        packages.map(|p| json!({"name": p.name, "version": p.version, "digests": p.digests}));
    json!({
        "server": env!("CARGO_PKG_VERSION"), "device": &*guard.scheduler().device(),
        "packages": packages.collect::<serde_json::Value>(),
    })
}

fn announce(guard: &Guard) {
    let (catalog, device) = (guard.catalog(), guard.scheduler().device());
    for package in &catalog.packages {
        tracing::info!(
            package = package.name,
            version = package.version,
            %device,
            "serving"
        );
    }
    let packages = catalog.packages.iter();
    crate::ops::metrics::serving(
        &device,
        packages.map(|p| (p.name.clone(), p.version.clone())),
    );
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in ["", SERVICE_NAME] {
        health.set_service_status(service, status).await;
    }
}
