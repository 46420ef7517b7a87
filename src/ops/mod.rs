//! What running a server takes: authentication, rates, the audit trail, drift, logs, metrics, traces, the files of
//! these and their changes.

pub mod audit;
pub mod auth;
pub mod drift;
pub mod file;
pub mod logs;
pub mod metrics;
pub mod rates;
pub mod traces;
pub mod watched;
