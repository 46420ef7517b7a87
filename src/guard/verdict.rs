//! What a check answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Replacement;
use crate::text::Position;
use crate::text::normalise::Transformation;

/// What to do, from mild to strict; a verdict's action is the strictest of its findings'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Pass it on.
    #[default]
    Allow,
    /// Pass it on and keep a record.
    Monitor,
    /// Pass on the redacted text.
    Redact,
    /// Do not pass it on.
    Block,
}

impl Action {
    /// As configurations and messages spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Monitor => "monitor",
            Self::Redact => "redact",
            Self::Block => "block",
        }
    }
}

/// The answer to a check.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The request's id.
    pub id: String,
    /// The policy applied.
    pub policy: Arc<str>,
    /// Its version.
    pub policy_version: Arc<str>,
    /// Whether everything asked for was scanned.
    pub outcome: Outcome,
    /// What to do.
    pub action: Action,
    /// Why, where no finding says it.
    pub reason: Option<String>,
    /// What was found, up to a limit.
    pub findings: Vec<Finding>,
    /// Findings beyond it, which count in `action` and `redacted`.
    pub findings_omitted: usize,
    /// What to do with each segment in which something was found, by itself, in order.
    pub segments: Vec<SegmentVerdict>,
    /// One for every detector that was asked for.
    pub detectors: Vec<DetectorReport>,
    /// Texts with what must not pass taken out; for segments with a finding to redact.
    pub redacted: Vec<RedactedSegment>,
    /// What the pseudonyms in `redacted` stand for.
    pub pseudonyms: BTreeMap<String, String>,
    /// Where the time went.
    pub timings: Timings,
}

/// How much of what was asked for was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it.
    Complete,
    /// Some of it.
    Partial,
    /// None of it.
    Failed,
}

impl Outcome {
    /// As messages spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

impl Verdict {
    /// Lists no more than `most` findings; what they led to stands.
    pub(super) fn list_at_most(&mut self, most: usize) {
        self.findings_omitted = self.findings.len().saturating_sub(most);
        self.findings.truncate(most);
    }
}

/// Something found in a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Index of the segment.
    pub segment: usize,
    /// The caller's name for the segment.
    pub segment_id: Option<Arc<str>>,
    /// The detector's name.
    pub detector: String,
    /// What it is.
    pub label: String,
    /// The pattern that found it, where one did.
    pub rule: Option<Arc<str>>,
    /// 0 to 1; none for detectors that do not score.
    pub score: Option<f32>,
    /// The score from which it counts.
    pub threshold: Option<f32>,
    /// Where it begins in the segment.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// What the policy says about it.
    pub action: Action,
    /// Disguises that were undone to read it.
    pub undone: Vec<Transformation>,
    /// Segments before this one that were read with it as one text to find it, where none says it alone.
    pub read_with: Vec<usize>,
}

/// What to do with a segment by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentVerdict {
    /// Its index.
    pub segment: usize,
    /// The caller's name for it.
    pub id: Option<Arc<str>>,
    /// The strictest action of its findings.
    pub action: Action,
}

/// How a detector fared.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorReport {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub state: DetectorState,
    /// Why, where it did not score.
    pub reason: Option<String>,
    /// The package behind it.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The device that ran it.
    pub device: Arc<str>,
    /// Windows scored, over all segments.
    pub windows: usize,
    /// Share of the tokens in its scope that were scored, 0 to 1.
    pub coverage: f64,
    /// The score of every class for every segment, if asked for.
    pub scores: Vec<ClassScore>,
}

/// A class's score for a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassScore {
    /// Index of the segment.
    pub segment: usize,
    /// The class.
    pub label: String,
    /// 0 to 1.
    pub score: f32,
}

/// What became of a detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DetectorState {
    /// Every token in its scope was scored.
    Scored,
    /// Refused for want of capacity.
    Shed,
    /// The deadline passed before all was scored.
    Deadline,
    /// It failed on some or all of the text.
    Failed,
    /// The policy has no segment for it.
    Skipped,
}

impl DetectorState {
    /// Lower case, as in metrics and terminals.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::Shed => "shed",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A segment's text after redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactedSegment {
    /// Index of the segment.
    pub segment: usize,
    /// The caller's name for it.
    pub id: Option<Arc<str>>,
    /// Its text.
    pub text: String,
    /// What in it is not as it came.
    pub replaced: Vec<Replacement>,
}

/// Where the time of a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Normalising and tokenising, waiting for a thread included.
    pub tokenize: Duration,
    /// Waiting for the device.
    pub queue: Duration,
    /// On the device, from the first window's start to the last one's end.
    pub engine: Duration,
    /// All of it.
    pub total: Duration,
}
