//! `[server.audit]` of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[server.audit]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// Where records go.
    pub file: PathBuf,
    /// File whose content (32 to 4096 bytes) is the key of the lines' codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Which verdicts are recorded.
    #[serde(default)]
    pub verdicts: Verdicts,
    /// Whether the texts are recorded with them.
    #[serde(default)]
    pub texts: bool,
    /// What becomes of a check whose record finds no place.
    #[serde(default)]
    pub on_error: OnError,
    /// MiB after which a file is put aside and another one begun; 0: never.
    #[serde(default = "gibibyte")]
    pub max_file_mib: u64,
}

fn gibibyte() -> u64 {
    1024
}

/// Which verdicts are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdicts {
    /// Every one.
    #[default]
    All,
    /// Those with another action than to allow, and those that are not complete.
    Flagged,
}

/// What becomes of a check whose record finds no place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It fails: nothing is answered that is not recorded.
    #[default]
    Closed,
    /// It is answered all the same, and counted.
    Open,
}
