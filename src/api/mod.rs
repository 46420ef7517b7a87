//! What callers see. Protobuf and the domain meet in [`convert`] and nowhere else.

mod answers;
mod authenticate;
mod chat;
mod codec;
mod config;
mod connections;
pub mod convert;
mod deadline;
mod envoy;
mod gateway;
mod guard_service;
mod http;
mod inference;
pub mod json;
mod server;
mod service;
mod status;
mod summary;
mod tenant_policies;
mod tls;

pub use chat::Pointers;
pub use config::ServerConfig;
pub use gateway::{CannotRedact, GatewayConfig, UnknownPaths};
pub use server::{Loaded, ServeError, Server, ServerHandle};
pub use status::status;
pub use tenant_policies::TenantPolicies;

/// The header of a request, or metadata of a call, that names the policy.
const POLICY: &str = "x-portcullis-policy";

/// The generated types of `proto/`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated; documented in the proto files"
)]
pub mod pb {
    /// `portcullis.v1`.
    pub mod v1 {
        tonic::include_proto!("portcullis.v1");
    }

    /// `inference`, the Open Inference Protocol.
    pub mod inference {
        tonic::include_proto!("inference");
    }

    /// The compiled `proto/`, for reflection and proto3 JSON.
    pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portcullis.binpb"));
}
