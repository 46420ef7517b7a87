//! What a caller asks: texts with roles, and which policy or detectors to apply.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::PolicyError;
use crate::scheduler::Refusal;

/// One request.
#[derive(Debug, Clone)]
pub struct Check {
    /// The caller's name for it, or one of ours.
    pub id: String,
    /// On whose behalf.
    pub tenant: Arc<str>,
    /// The texts.
    pub segments: Vec<Segment>,
    /// What to apply to them.
    pub selection: Selection,
    /// When the answer must be there.
    pub deadline: Instant,
    /// Names the conversation, within which pseudonyms stay the same; the check alone where absent.
    pub conversation: Option<String>,
    /// Report the score of every class, whatever the thresholds.
    pub include_scores: bool,
}

/// A text with its role in the conversation.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: Arc<str>,
    /// The caller's name for it, such as a document's; findings carry it.
    pub id: Option<Arc<str>>,
}

/// Where a text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The application's own instructions.
    System,
    /// The end user.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
    /// Retrieved text.
    Document,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::System,
        Self::User,
        Self::Assistant,
        Self::Tool,
        Self::Document,
    ];
}

/// Which detectors apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// As the policy of this name says; the default one where empty.
    Policy(String),
    /// These detectors, on every segment, with the default policy's thresholds and actions.
    Detectors(Vec<String>),
}

/// Sizes a check may have.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of text in all segments together.
    pub max_text_bytes: usize,
    /// Segments of a check.
    pub max_segments: usize,
    /// Bytes of an id: of a request, a conversation, a segment.
    pub max_id_bytes: usize,
    /// Findings listed in a verdict; more are counted.
    pub max_findings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_text_bytes: 1 << 20,
            max_segments: 256,
            max_id_bytes: 128,
            max_findings: 4_096,
        }
    }
}

/// Why a check has no verdict.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The request makes no sense.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field, as the API names it.
        field: String,
        /// What is wrong, and what would be accepted.
        problem: String,
    },
    /// The policy is not there.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// No detector could be let in.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The tokenisation backlog is full.
    #[error("overloaded: {0}")]
    Backlog(String),
    /// The deadline passed before anything was done.
    #[error("the deadline has passed")]
    Deadline,
    /// A fault of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl CheckError {
    pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// When trying again makes sense, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(Refusal::Overloaded { retry_after, .. }) => Some(*retry_after),
            Self::Backlog(_) => Some(Duration::from_millis(100)),
            _ => None,
        }
    }
}

impl Check {
    /// Fails on what `limits` do not allow. Everything is looked at before anything is done.
    pub fn validate(&self, limits: &Limits) -> Result<(), CheckError> {
        fn invalid(field: impl Into<String>, problem: impl Into<String>) -> CheckError {
            CheckError::invalid(field, problem)
        }
        let usable = |id: &str| id.len() <= limits.max_id_bytes && !id.contains(char::is_control);
        let unusable = format!(
            "has over {} bytes, or control characters",
            limits.max_id_bytes
        );
        if !usable(&self.id) {
            return Err(invalid("request_id", unusable));
        }
        if !self.conversation.as_deref().is_none_or(usable) {
            return Err(invalid("conversation_id", unusable));
        }
        if self.segments.is_empty() {
            return Err(invalid("segments", "is empty; at least one is needed"));
        }
        if self.segments.len() > limits.max_segments {
            let problem = format!(
                "has {}; at most {}",
                self.segments.len(),
                limits.max_segments
            );
            return Err(invalid("segments", problem));
        }
        for (i, segment) in self.segments.iter().enumerate() {
            if segment.text.is_empty() {
                return Err(invalid(format!("segments[{i}].text"), "is empty"));
            }
            if !segment.id.as_deref().is_none_or(usable) {
                return Err(invalid(format!("segments[{i}].id"), unusable));
            }
        }
        let bytes: usize = self.segments.iter().map(|s| s.text.len()).sum();
        if bytes > limits.max_text_bytes {
            let problem = format!(
                "hold {bytes} bytes of text; at most {} are scanned in one request, and none is \
                 skipped in silence: split the text",
                limits.max_text_bytes
            );
            return Err(invalid("segments", problem));
        }
        Ok(())
    }
}
