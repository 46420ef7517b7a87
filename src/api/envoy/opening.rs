//! What the headers of a request decide: how its body is read, and by which policy.

use std::borrow::Cow;

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::google::protobuf::value::Kind;

use super::body::{Context, Refusal};
use super::reply::NAMESPACE;
use crate::api::chat::scan::Asked;
use crate::api::chat::{Format, normalised};
use crate::api::gateway::UnknownPaths;
use crate::guard::{Guard, Role};

/// How a request is read.
pub(super) struct Opened {
    pub(super) format: Format,
    /// Whether what cannot be scanned does not pass.
    pub(super) fails_closed: bool,
}

/// Reads the path and headers of a request into `asked`, whose policy is the route's word where it has one;
/// none where no format is known and the request passes unread.
///
/// Without a route's word the policy is that of dynamic metadata, of the configured header, or of the path.
pub(super) fn open<'h>(
    context: Context<'_>,
    guard: &Guard,
    asked: &mut Asked,
    path: &str,
    metadata: Option<&Metadata>,
    header: impl Fn(&str) -> Option<Cow<'h, str>>,
) -> Result<Option<Opened>, Refusal> {
    let config = context.config;
    let path = normalised(path);
    asked.id = context.service.name(header("x-request-id").as_deref());
    if asked.policy.is_empty() {
        let named = config.policy_header.as_deref().and_then(header);
        asked.policy = metadata
            .and_then(policy_of)
            .or(named.as_deref())
            .unwrap_or_else(|| config.policy_of_path(&path))
            .to_owned();
    }
    let Some(format) = Format::of_path(&path, &config.formats) else {
        return match config.unknown_paths {
            UnknownPaths::Pass => Ok(None),
            UnknownPaths::Block => Err(Refusal {
                status: 403,
                code: "unknown_path",
                message: "requests to this path are not scanned, and not let through".into(),
                scanned: true,
            }),
        };
    };
    // Before its texts are looked at: what cannot be scanned is the policy's matter, too.
    let chosen = context.service.choose(&asked.tenant, &mut asked.policy);
    chosen.map_err(|error| Refusal {
        status: 403,
        code: "guard_failed",
        message: error.message,
        scanned: true,
    })?;
    match guard.policy(&asked.policy) {
        Ok(policy) => Ok(Some(Opened {
            format,
            // Of a body that cannot be read nobody knows who speaks in it.
            fails_closed: policy.fails_closed(&Role::ALL),
        })),
        // Nobody knows whether it would fail open.
        Err(error) => Err(Refusal {
            status: 500,
            code: "guard_failed",
            message: error.to_string(),
            scanned: true,
        }),
    }
}

/// The policy that a filter before this one has noted.
fn policy_of(metadata: &Metadata) -> Option<&str> {
    let ours = metadata.filter_metadata.get(NAMESPACE)?;
    match ours.fields.get("policy")?.kind.as_ref()? {
        Kind::StringValue(policy) => Some(policy),
        _ => None,
    }
}
