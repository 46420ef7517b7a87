//! Text that is guarded while it streams: what may pass is released as soon as nothing to come can
//! change the verdict on it.
//!
//! Patterns see the text as one, however it is cut, and are exact. Models see windows that lie on a
//! grid fixed by the text alone: each decides on one block, with the blocks before it and a lookahead
//! behind it. So the result is that of the whole text given at once, whatever the chunks were.

mod grid;
mod release;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use release::Released;
use release::Span;

use super::fold::{SURE, outcome};
use super::gather::built_in_report;
use super::policy::{DENIED, Policies};
use super::{
    Action, CheckError, DetectorReport, Finding, Guard, Limits, Outcome, Policy, Redaction, Role,
    SegmentVerdict, Timings, Verdict,
};
use crate::detect::Source;
use crate::detect::patterns::{PatternMatch, PatternStream};
use crate::text::PositionIndex;

/// What a caller asks of a guarded stream.
#[derive(Debug, Clone)]
pub struct OutputCheck {
    /// The caller's name for it, or one of ours.
    pub id: String,
    /// On whose behalf.
    pub tenant: Arc<str>,
    /// Who speaks.
    pub role: Role,
    /// The policy; the default one where empty.
    pub policy: String,
    /// Names the conversation, as in [`Check`](super::Check).
    pub conversation: Option<String>,
    /// Time for each window.
    pub timeout: Duration,
}

/// A text under way.
pub struct OutputGuard<'g> {
    guard: &'g Guard,
    asked: OutputCheck,
    policy: Policy,
    limits: Limits,
    /// The policy alone, by which windows are checked.
    policies: Arc<Policies>,
    /// Whether there is anything but patterns to ask.
    models: bool,
    patterns: Vec<(String, PatternStream)>,
    text: String,
    released: usize,
    /// Before this no pattern will match any more.
    patterns_safe: usize,
    /// Starts of the blocks, the next one to be scored included.
    blocks: Vec<usize>,
    spans: Vec<Span>,
    found: Vec<Found>,
    reports: BTreeMap<String, DetectorReport>,
    pseudonyms: BTreeMap<String, String>,
    blocked: bool,
    reason: Option<String>,
    start: Instant,
    timings: Timings,
}

/// A finding before its positions are known in characters.
struct Found {
    range: Range<usize>,
    detector: String,
    label: Arc<str>,
    rule: Option<Arc<str>>,
    score: Option<f32>,
    threshold: Option<f32>,
    action: Action,
    undone: Vec<crate::text::normalise::Transformation>,
}

impl<'g> OutputGuard<'g> {
    /// Begins a text.
    pub fn new(guard: &'g Guard, asked: OutputCheck) -> Result<Self, CheckError> {
        let policy = guard.policy(&asked.policy)?;
        let applies = |detector: &str| {
            let rule = policy.rules.get(detector);
            rule.is_some_and(|r| r.roles.contains(&asked.role))
        };
        let mut patterns = Vec::new();
        for detector in &guard.catalog().detectors {
            if let Source::Patterns(family) = detector.source
                && applies(&detector.name)
            {
                let set = guard.catalog().patterns(family);
                patterns.push((detector.name.clone(), set.stream()));
            }
        }
        if let Some(deny) = &policy.deny {
            patterns.push((DENIED.to_owned(), deny.stream()));
        }
        let models = guard.catalog().detectors.iter().any(|detector| {
            !matches!(detector.source, Source::Patterns(_)) && applies(&detector.name)
        });
        let reports = patterns
            .iter()
            .map(|(name, _)| (name.clone(), built_in_report(name, true)))
            .collect();
        Ok(Self {
            guard,
            limits: policy.limits(guard.limits()),
            models,
            policies: Arc::new(Policies::from([(policy.id.to_string(), policy.clone())])),
            policy,
            patterns,
            asked,
            text: String::new(),
            released: 0,
            patterns_safe: 0,
            blocks: vec![0],
            spans: Vec::new(),
            found: Vec::new(),
            reports,
            pseudonyms: BTreeMap::new(),
            blocked: false,
            reason: None,
            start: Instant::now(),
            timings: Timings::default(),
        })
    }

    /// Whether nothing more will pass.
    #[must_use]
    pub fn blocked(&self) -> bool {
        self.blocked
    }

    /// Takes the next part of the text and gives what may pass by now, redacted.
    pub async fn push(&mut self, chunk: &str) -> Result<Released, CheckError> {
        if self.blocked {
            return Ok(self.release(false));
        }
        let most = self.limits.max_text_bytes;
        if self.text.len() + chunk.len() > most {
            let problem = format!("the text of a stream has more than {most} bytes");
            return Err(CheckError::invalid("chunk", problem));
        }
        self.text.push_str(chunk);
        let mut safe = self.text.len();
        let mut matches = Vec::new();
        for (detector, stream) in &mut self.patterns {
            let released = stream.push(chunk);
            safe = safe.min(released.safe);
            matches.extend(released.matches.into_iter().map(|m| (detector.clone(), m)));
        }
        self.patterns_safe = safe;
        self.take_matches(matches);
        self.advance(false).await;
        Ok(self.release(false))
    }

    /// Ends the text: what is left of it, and the verdict on the whole.
    pub async fn finish(mut self) -> (Released, Verdict) {
        if !self.blocked {
            let mut matches = Vec::new();
            for (detector, stream) in std::mem::take(&mut self.patterns) {
                let released = stream.finish();
                matches.extend(released.matches.into_iter().map(|m| (detector.clone(), m)));
            }
            self.patterns_safe = self.text.len();
            self.take_matches(matches);
            self.advance(true).await;
        }
        let rest = self.release(true);
        (rest, self.verdict())
    }

    fn take_matches(&mut self, matches: Vec<(String, PatternMatch)>) {
        for (detector, found) in matches {
            let rule = self.policy.rules.get(&detector);
            let threshold = rule.and_then(|r| r.threshold(&found.label, self.asked.role));
            let denied = detector == DENIED;
            if !denied && threshold.is_none_or(|t| found.score < t) {
                continue;
            }
            let action = match rule {
                Some(rule) => rule.action_on(&found.label, self.asked.role),
                None => self.policy.deny_action,
            };
            let hidden = self.text.get(found.span.clone()).unwrap_or_default();
            if !denied && self.allows(hidden) {
                continue;
            }
            self.note(Found {
                range: found.span,
                detector,
                label: found.label,
                rule: Some(found.rule),
                score: (!denied).then_some(found.score),
                threshold,
                action,
                undone: Vec::new(),
            });
        }
    }

    fn allows(&self, hidden: &str) -> bool {
        let matches = self.policy.allow.as_ref().map(|allow| allow.scan(hidden));
        matches.is_some_and(|m| m.iter().any(|m| m.span == (0..hidden.len())))
    }

    /// Keeps a finding and what follows from it.
    fn note(&mut self, found: Found) {
        match found.action {
            Action::Allow | Action::Monitor => {}
            Action::Redact => self.spans.push(Span {
                range: found.range.clone(),
                label: found.label.clone(),
                by: match found.undone.is_empty() {
                    true => self.policy.redaction(&found.detector, &found.label),
                    false => Redaction::Replace,
                },
                sure: found.rule.is_some() && found.score.is_none_or(|s| s >= SURE),
            }),
            Action::Block => self.blocked = true,
        }
        let known = self.found.iter().rev().take(64).any(|f| {
            (&f.detector, &f.label) == (&found.detector, &found.label)
                && f.range.start <= found.range.start
                && found.range.end <= f.range.end
        });
        if known {
            return;
        }
        // A class that goes on from window to window is one finding.
        let goes_on = self.found.iter_mut().rev().take(8).find(|f| {
            f.rule.is_none()
                && found.rule.is_none()
                && (&f.detector, &f.label) == (&found.detector, &found.label)
                && f.range.end == found.range.start
        });
        match goes_on {
            Some(known) => {
                known.range.end = found.range.end;
                if found.score > known.score {
                    known.score = found.score;
                }
            }
            None => self.found.push(found),
        }
    }

    fn verdict(mut self) -> Verdict {
        let index = PositionIndex::new(&self.text);
        self.found.sort_by_key(|f| (f.range.start, f.range.end));
        let action_on_it = self.found.iter().map(|f| f.action).max();
        let mut action = action_on_it.unwrap_or_default();
        if self.blocked {
            action = Action::Block;
        }
        let most = self.limits.max_findings;
        let findings_omitted = self.found.len().saturating_sub(most);
        let findings = self
            .found
            .into_iter()
            .take(most)
            .map(|f| Finding {
                segment: 0,
                segment_id: None,
                detector: f.detector,
                label: f.label.to_string(),
                rule: f.rule,
                score: f.score,
                threshold: f.threshold,
                start: index.at(f.range.start),
                end: index.at(f.range.end),
                action: f.action,
                undone: f.undone,
                read_with: Vec::new(),
            })
            .collect();
        let detectors: Vec<_> = self.reports.into_values().collect();
        Verdict {
            id: self.asked.id,
            policy: self.policy.id.clone(),
            policy_version: self.policy.version.clone(),
            outcome: if self.reason.is_some() {
                Outcome::Partial
            } else {
                outcome(&detectors)
            },
            action,
            reason: self.reason,
            findings,
            findings_omitted,
            detectors,
            segments: action_on_it
                .map(|action| SegmentVerdict {
                    segment: 0,
                    id: None,
                    action,
                })
                .into_iter()
                .collect(),
            redacted: Vec::new(),
            pseudonyms: self.pseudonyms,
            timings: Timings {
                total: self.start.elapsed(),
                ..self.timings
            },
        }
    }
}
