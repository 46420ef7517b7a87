//! `[server.gateway]` of the configuration: bodies of HTTP that gateways bring.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::chat::{Pointers, normalised};
use crate::guard::Guard;

/// What a gateway's requests are read as, by which policy, and within which bounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Time for each body, or part of one that streams, in milliseconds; below the gateway's own.
    pub deadline_ms: u64,
    /// Largest body, and most of one that streams that is held back, in bytes.
    pub max_body_bytes: usize,
    /// Bytes of bodies that all exchanges together may hold.
    pub max_buffered_bytes: usize,
    /// Header of the HTTP request that names the policy. Whoever can set it chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_header: Option<String>,
    /// Policies by the path that a request begins with.
    pub policies: BTreeMap<String, String>,
    /// What becomes of requests whose path no format is known for.
    pub unknown_paths: UnknownPaths,
    /// What becomes of what a policy redacts where a protocol cannot rewrite it.
    pub cannot_redact: CannotRedact,
    /// More formats.
    pub formats: Vec<Pointers>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            deadline_ms: 2000,
            max_body_bytes: 8 << 20,
            max_buffered_bytes: 512 << 20,
            policy_header: None,
            policies: BTreeMap::new(),
            unknown_paths: UnknownPaths::Pass,
            cannot_redact: CannotRedact::Block,
            formats: Vec::new(),
        }
    }
}

/// What becomes of requests whose path no format is known for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownPaths {
    /// They pass as they are, unread.
    Pass,
    /// They are refused.
    Block,
}

/// What becomes of what a policy redacts where a protocol cannot rewrite it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CannotRedact {
    /// It is blocked.
    Block,
    /// It passes as it is.
    Pass,
}

impl GatewayConfig {
    /// The same, with its paths as those of requests are compared with them.
    #[must_use]
    pub(super) fn prepared(mut self) -> Self {
        for format in &mut self.formats {
            format.path = normalised(&format.path);
        }
        let policies = self.policies.into_iter();
        self.policies = policies.map(|(p, name)| (normalised(&p), name)).collect();
        self
    }

    /// Fails on a policy that is not there.
    pub(super) fn check(&self, guard: &Guard) -> Result<(), String> {
        for (path, policy) in &self.policies {
            let found = guard.policy(policy);
            found.map_err(|e| format!("server.gateway.policies.{path:?}: {e}"))?;
        }
        Ok(())
    }

    /// The policy of requests to `path`, which is normalised: that of the longest beginning. Empty where
    /// none is configured.
    pub(super) fn policy_of_path(&self, path: &str) -> &str {
        let of_path = self.policies.iter().filter(|(p, _)| path.starts_with(*p));
        of_path
            .max_by_key(|(p, _)| p.len())
            .map_or("", |(_, policy)| policy)
    }
}
