//! `[server]` of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{GatewayConfig, TenantPolicies};
use crate::ops::audit::AuditConfig;
use crate::ops::auth::JwtConfig;
use crate::ops::rates::RatesConfig;

/// Addresses, TLS, credentials, limits and deadlines.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address of gRPC and HTTP.
    pub listen: SocketAddr,
    /// Prometheus address, at `/metrics`; none turns it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// Serve other than loopback addresses without TLS or without credentials.
    pub insecure: bool,
    /// Certificate chain, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of client certificates, PEM: turns on mutual TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca: Option<PathBuf>,
    /// File of API-key hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<PathBuf>,
    /// File of the tenants that are turned away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_list: Option<PathBuf>,
    /// JSON Web Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtConfig>,
    /// What tenants may ask for in a while.
    pub rates: RatesConfig,
    /// The policies that tenants may choose.
    pub tenant_policies: TenantPolicies,
    /// The audit trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditConfig>,
    /// Deadline of requests that name none, in milliseconds.
    pub default_deadline_ms: u64,
    /// Longest deadline, in milliseconds; what asks for more gets this.
    pub max_deadline_ms: u64,
    /// Largest message, or body over HTTP, in bytes.
    pub max_message_bytes: usize,
    /// Requests in flight at once.
    pub max_in_flight: usize,
    /// Connections at once; more are closed on arrival.
    pub max_connections: usize,
    /// Open streams at once: `CheckStream`, `GuardOutput`, and each exchange of a gateway.
    pub max_streams: usize,
    /// Requests in flight on one stream.
    pub stream_in_flight: usize,
    /// How long a stream may be silent before it is ended, in milliseconds.
    pub stream_idle_ms: u64,
    /// Calls at once on one connection.
    pub max_calls_per_connection: u32,
    /// How long, after SIGTERM, calls are still taken while health says NOT_SERVING, in milliseconds:
    /// the time that balancers need to notice.
    pub shutdown_delay_ms: u64,
    /// Time that open calls get to finish after that, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Bodies that gateways bring.
    pub gateway: GatewayConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
            metrics: Some(SocketAddr::from(([127, 0, 0, 1], 9464))),
            insecure: false,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            api_keys: None,
            block_list: None,
            jwt: None,
            rates: RatesConfig::default(),
            tenant_policies: TenantPolicies::default(),
            audit: None,
            default_deadline_ms: 2_000,
            max_deadline_ms: 60_000,
            max_message_bytes: 2 << 20,
            max_in_flight: 2_048,
            max_connections: 4_096,
            max_streams: 1_024,
            stream_in_flight: 64,
            stream_idle_ms: 600_000,
            max_calls_per_connection: 1_024,
            shutdown_delay_ms: 0,
            drain_timeout_ms: 30_000,
            gateway: GatewayConfig::default(),
        }
    }
}
