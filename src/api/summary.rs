//! What several verdicts say together.

use std::sync::Arc;

use crate::guard::{Action, Finding, Outcome, Verdict};

/// Kinds of findings that a summary lists.
const MOST_KINDS: usize = 64;

/// What was found in the texts of an exchange, and what to do.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    /// The strictest action of all.
    pub(super) action: Action,
    /// The policy and its version, once something was scanned.
    pub(super) policy: Option<(Arc<str>, Arc<str>)>,
    /// Whether everything was scanned.
    pub(super) outcome: Option<Outcome>,
    /// Why, where no finding says it.
    pub(super) reason: Option<String>,
    /// What was found, a line for each detector and label, with the highest score and how often.
    pub(super) found: Vec<Kind>,
}

/// Findings of one detector and label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kind {
    pub(super) detector: String,
    pub(super) label: String,
    pub(super) action: Action,
    pub(super) score: Option<f32>,
    pub(super) count: usize,
}

impl Summary {
    /// Adds a verdict.
    pub(super) fn add(&mut self, verdict: &Verdict) {
        self.action = self.action.max(verdict.action);
        self.policy = Some((verdict.policy.clone(), verdict.policy_version.clone()));
        let rank = |outcome: Outcome| match outcome {
            Outcome::Complete => 0,
            Outcome::Partial => 1,
            Outcome::Failed => 2,
        };
        self.outcome = self
            .outcome
            .into_iter()
            .chain([verdict.outcome])
            .max_by_key(|o| rank(*o));
        if self.reason.is_none() {
            self.reason.clone_from(&verdict.reason);
        }
        for finding in &verdict.findings {
            self.count(finding);
        }
    }

    fn count(&mut self, finding: &Finding) {
        let kinds = self.found.len();
        let known = self
            .found
            .iter_mut()
            .find(|k| (&k.detector, &k.label) == (&finding.detector, &finding.label));
        match known {
            Some(kind) => {
                kind.count += 1;
                kind.action = kind.action.max(finding.action);
                kind.score = match (kind.score, finding.score) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    (a, b) => a.or(b),
                };
            }
            None if kinds < MOST_KINDS => self.found.push(Kind {
                detector: finding.detector.clone(),
                label: finding.label.clone(),
                action: finding.action,
                score: finding.score,
                count: 1,
            }),
            None => {}
        }
    }

    /// Why it is blocked, for the caller: names of detectors and labels, nothing of the text.
    pub(super) fn blocked_because(&self) -> String {
        let blocking = self.found.iter().filter(|k| k.action == Action::Block);
        let names: Vec<_> = blocking
            .map(|k| format!("{} ({})", k.detector, k.label))
            .collect();
        let why = match (&self.reason, names.is_empty()) {
            (Some(reason), true) => reason.clone(),
            (None, true) => "a finding that is not listed".to_owned(),
            _ => names.join(", "),
        };
        let policy = self.policy.as_ref().map_or("", |(id, _)| id);
        format!("blocked by the policy {policy:?}: {why}")
    }
}
