//! What running a server takes: authentication, rates, the audit trail, drift, logs, metrics, traces.

pub mod audit;
pub mod auth;
pub mod drift;
pub mod logs;
pub mod metrics;
pub mod rates;
pub mod traces;
