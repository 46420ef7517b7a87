//! All the texts of a body through the guard.

use std::sync::Arc;
use std::time::Instant;

use super::literal::{Edit, apply};
use super::{Literal, Texts};
use crate::api::service::Service;
use crate::api::status::ApiError;
use crate::guard::{Action, Check, Finding, Outcome, Segment, Selection, Verdict};

/// Kinds of findings that a summary lists.
const MOST_KINDS: usize = 64;

/// On whose behalf a body is scanned, and how.
#[derive(Debug, Clone)]
pub(in super::super) struct Asked {
    /// Names the exchange.
    pub(in super::super) id: String,
    /// On whose behalf.
    pub(in super::super) tenant: Arc<str>,
    /// The policy; the default one where empty.
    pub(in super::super) policy: String,
}

/// What was found in a body, and what to do.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Summary {
    /// The strictest action of all.
    pub(in super::super) action: Action,
    /// The policy and its version, once something was scanned.
    pub(in super::super) policy: Option<(Arc<str>, Arc<str>)>,
    /// Whether everything was scanned.
    pub(in super::super) outcome: Option<Outcome>,
    /// Why, where no finding says it.
    pub(in super::super) reason: Option<String>,
    /// What was found, a line for each detector and label, with the highest score and how often.
    pub(in super::super) found: Vec<Kind>,
}

/// Findings of one detector and label.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Kind {
    pub(in super::super) detector: String,
    pub(in super::super) label: String,
    pub(in super::super) action: Action,
    pub(in super::super) score: Option<f32>,
    pub(in super::super) count: usize,
}

impl Summary {
    /// Adds a verdict.
    pub(in super::super) fn add(&mut self, verdict: &Verdict) {
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
    pub(in super::super) fn blocked_because(&self) -> String {
        let blocking = self.found.iter().filter(|k| k.action == Action::Block);
        let names: Vec<_> = blocking
            .map(|k| format!("{} ({})", k.detector, k.label))
            .collect();
        let why = match (&self.reason, names.is_empty()) {
            (Some(reason), true) => reason.clone(),
            _ => names.join(", "),
        };
        let policy = self.policy.as_ref().map_or("", |(id, _)| id);
        format!("blocked by the policy {policy:?}: {why}")
    }
}

/// What became of a body.
#[derive(Debug)]
pub(in super::super) struct Scanned {
    /// What was found.
    pub(in super::super) summary: Summary,
    /// The body as it may pass; none where it may pass as it is, or not at all.
    pub(in super::super) redacted: Option<String>,
}

/// Checks the texts of `body`, in as many checks as the limits on one ask for.
pub(in super::super) async fn scan(
    service: &Service,
    asked: &Asked,
    deadline: Instant,
    body: &str,
    texts: &Texts<'_>,
) -> Result<Scanned, ApiError> {
    let mut summary = Summary::default();
    let mut edits: Vec<Edit> = Vec::new();
    let (literals, segments): (Vec<Literal<'_>>, Vec<Segment>) = texts
        .texts
        .iter()
        .map(|t| (t.literal, t.role, t.literal.decode()))
        .filter(|(_, _, said)| !said.is_empty())
        .map(|(literal, role, said)| {
            let segment = Segment {
                role,
                text: Arc::from(&*said),
                id: None,
            };
            (literal, segment)
        })
        .unzip();
    let check = Check {
        id: asked.id.clone(),
        tenant: asked.tenant.clone(),
        segments,
        selection: Selection::Policy(asked.policy.clone()),
        deadline,
        conversation: None,
        include_scores: false,
    };
    let _permit = service.permit()?;
    for (first, verdict) in service.check_long(check).await? {
        for redacted in &verdict.redacted {
            if let Some(literal) = literals.get(first + redacted.segment) {
                edits.extend(literal.redact(body, &redacted.replaced));
            }
        }
        summary.add(&verdict);
    }
    if !edits.is_empty() {
        let echoes = texts.echoes.iter();
        edits.extend(echoes.map(|value| Edit::silence(body, value)));
    }
    let passes = summary.action != Action::Block && !edits.is_empty();
    Ok(Scanned {
        redacted: passes.then(|| apply(body, edits)),
        summary,
    })
}
