//! What running a server takes: logs, metrics, authentication.

pub mod auth;
pub mod logs;
pub mod metrics;
