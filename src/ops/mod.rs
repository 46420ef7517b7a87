//! What running a server takes: logs, metrics, traces, authentication.

pub mod auth;
pub mod logs;
pub mod metrics;
pub mod traces;
