//! Text that is guarded while it streams: what may pass is released as soon as nothing to come can
//! change the verdict on it.
//!
//! Patterns see the text as one, however it is cut, and are exact. Models see windows that lie on a
//! grid fixed by the text alone: each decides on one block, with the blocks before it and a lookahead
//! behind it. So the result is that of the whole text given at once, whatever the chunks were.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fold::SURE;
use super::policy::{DEFAULT, DENIED, OnError, Policies};
use super::redact::Redactable;
use super::{
    Action, Check, CheckError, DetectorReport, DetectorState, Finding, Guard, Outcome, Policy,
    PolicyError, Redaction, Role, Scope, Segment, Selection, Timings, Verdict,
};
use crate::detect::Source;
use crate::detect::patterns::{PatternMatch, PatternStream};
use crate::text::PositionIndex;

/// Stands in reports for windows that could not be scanned at all.
const WINDOWS: &str = "windows";
/// Bytes of a block at least; it ends behind the next white space, or at twice as many.
const BLOCK: usize = 128;
/// Bytes behind a block that its window sees at least: about 32 tokens.
const LOOKAHEAD: usize = 128;
/// Blocks before a block that its window sees.
const CONTEXT: usize = 2;

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
    /// Names the conversation, as in [`Check`].
    pub conversation: Option<String>,
    /// Time for each window.
    pub timeout: Duration,
}

/// A text under way.
pub struct OutputGuard<'g> {
    guard: &'g Guard,
    asked: OutputCheck,
    policy: Policy,
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

/// Something to take out.
struct Span {
    range: Range<usize>,
    label: Arc<str>,
    by: Redaction,
    sure: bool,
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
        let policies = guard.policies().current();
        let name = match asked.policy.as_str() {
            "" => DEFAULT,
            name => name,
        };
        let policy = policies
            .get(name)
            .ok_or_else(|| PolicyError::Unknown {
                name: name.to_owned(),
                known: policies.keys().cloned().collect(),
            })?
            .clone();
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
            .map(|(name, _)| (name.clone(), super::fold::built_in_report(name, true)))
            .collect();
        Ok(Self {
            guard,
            models,
            policies: Arc::new(Policies::from([(name.to_owned(), policy.clone())])),
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
    pub async fn push(&mut self, chunk: &str) -> Result<String, CheckError> {
        if self.blocked {
            return Ok(String::new());
        }
        let most = self.guard.limits().max_text_bytes;
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
    pub async fn finish(mut self) -> (String, Verdict) {
        let mut rest = String::new();
        if !self.blocked {
            let mut matches = Vec::new();
            for (detector, stream) in std::mem::take(&mut self.patterns) {
                let released = stream.finish();
                matches.extend(released.matches.into_iter().map(|m| (detector.clone(), m)));
            }
            self.patterns_safe = self.text.len();
            self.take_matches(matches);
            self.advance(true).await;
            rest = self.release(true);
        }
        (rest, self.verdict())
    }

    fn take_matches(&mut self, matches: Vec<(String, PatternMatch)>) {
        for (detector, found) in matches {
            let rule = self.policy.rules.get(&detector);
            let threshold = rule.and_then(|r| r.thresholds.get(&*found.label).copied());
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

    // === the grid ===

    /// Scores every block that can be scored.
    async fn advance(&mut self, last: bool) {
        while self.models && !self.blocked {
            let at = self.blocks.len() - 1;
            let start = self.blocks[at];
            if start >= self.text.len() {
                return;
            }
            let Some(end) = cut(&self.text, start, BLOCK, last) else {
                return;
            };
            let Some(until) = cut(&self.text, end, LOOKAHEAD, last) else {
                return;
            };
            let from = self.blocks[at.saturating_sub(CONTEXT)];
            self.score(from..until, start..end).await;
            self.blocks.push(end);
        }
    }

    /// Scores the window, for what it says of the block.
    async fn score(&mut self, window: Range<usize>, block: Range<usize>) {
        let text = self.text.get(window.clone()).unwrap_or_default();
        if text.trim().is_empty() {
            return;
        }
        let check = Check {
            id: self.asked.id.clone(),
            tenant: self.asked.tenant.clone(),
            segments: vec![Segment {
                role: self.asked.role,
                text: text.into(),
            }],
            selection: Selection::Policy(self.policy.id.to_string()),
            conversation: None,
            deadline: Instant::now() + self.asked.timeout,
            include_scores: false,
        };
        let verdict = match self.guard.check_by(&self.policies, &check).await {
            Ok(verdict) => verdict,
            Err(error) => {
                let mut report = super::fold::built_in_report(WINDOWS, true);
                report.state = DetectorState::Failed;
                report.reason = Some(error.to_string());
                merge(&mut self.reports, report);
                if self.policy.on_error == OnError::Closed {
                    self.blocked = true;
                    self.reason = Some(format!("a part could not be scanned: {error}"));
                }
                return;
            }
        };
        self.timings.tokenize += verdict.timings.tokenize;
        self.timings.queue += verdict.timings.queue;
        self.timings.engine += verdict.timings.engine;
        if verdict.outcome != Outcome::Complete && self.policy.on_error == OnError::Closed {
            self.blocked = true;
            self.reason = verdict.reason;
        }
        for report in verdict.detectors {
            merge(&mut self.reports, report);
        }
        for finding in verdict.findings {
            let spans = self
                .guard
                .catalog()
                .detector(&finding.detector)
                .is_some_and(|d| d.finds_spans);
            // Patterns see the text as a whole; windows add what was disguised.
            let patterns = finding.rule.is_some();
            if patterns && finding.undone.is_empty() {
                continue;
            }
            let range = if spans || patterns {
                let start = (window.start + finding.start.byte).max(block.start);
                start..window.start + finding.end.byte
            } else {
                block.clone()
            };
            // What begins behind the block is the next window's to say.
            if range.start >= block.end || range.is_empty() {
                continue;
            }
            self.note(Found {
                range,
                detector: finding.detector,
                label: finding.label.into(),
                rule: finding.rule,
                score: finding.score,
                threshold: finding.threshold,
                action: finding.action,
                undone: finding.undone,
            });
        }
    }

    // === release ===

    /// What may pass by now, and did not yet.
    fn release(&mut self, last: bool) -> String {
        if self.blocked {
            return String::new();
        }
        let scored = match self.models && !last {
            true => self.blocks.last().copied().unwrap_or(0),
            false => self.text.len(),
        };
        let mut until = scored.min(self.patterns_safe);
        if !last {
            // Not through a span, nor up to one that the next may touch.
            self.spans.sort_by_key(|s| (s.range.start, s.range.end));
            for span in self.spans.iter().rev() {
                if span.range.start < until && until <= span.range.end {
                    until = span.range.start;
                }
            }
        }
        if until <= self.released {
            return String::new();
        }
        let from = self.released;
        let spans: Vec<Redactable<'_>> = self
            .spans
            .iter()
            .filter(|s| s.range.start >= from && s.range.end <= until)
            .map(|s| Redactable {
                span: s.range.start - from..s.range.end - from,
                label: &s.label,
                by: s.by,
                sure: s.sure,
            })
            .collect();
        let alone = super::fold::alone(&self.asked.id);
        let scope = Scope {
            tenant: &self.asked.tenant,
            conversation: self.asked.conversation.as_deref().unwrap_or(&alone),
        };
        let text = self.text.get(from..until).unwrap_or_default();
        let redactor = self.guard.redactor();
        let out = redactor.redact(text, &spans, scope, &mut self.pseudonyms);
        self.spans.retain(|s| s.range.end > until);
        self.released = until;
        out
    }

    fn verdict(mut self) -> Verdict {
        let index = PositionIndex::new(&self.text);
        self.found.sort_by_key(|f| (f.range.start, f.range.end));
        let mut action = self
            .found
            .iter()
            .map(|f| f.action)
            .max()
            .unwrap_or_default();
        if self.blocked {
            action = Action::Block;
        }
        let most = self.guard.limits().max_findings;
        let findings_omitted = self.found.len().saturating_sub(most);
        let findings = self
            .found
            .into_iter()
            .take(most)
            .map(|f| Finding {
                segment: 0,
                detector: f.detector,
                label: f.label.to_string(),
                rule: f.rule,
                score: f.score,
                threshold: f.threshold,
                start: index.at(f.range.start),
                end: index.at(f.range.end),
                action: f.action,
                undone: f.undone,
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
                super::fold::outcome(&detectors)
            },
            action,
            reason: self.reason,
            findings,
            findings_omitted,
            detectors,
            redacted: Vec::new(),
            pseudonyms: self.pseudonyms,
            timings: Timings {
                total: self.start.elapsed(),
                ..self.timings
            },
        }
    }
}

/// Where the stretch of at least `least` bytes from `start` on ends: behind the next white space, or at
/// twice as many bytes. None where that cannot be known yet; the end of the text where it is `last`.
fn cut(text: &str, start: usize, least: usize, last: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let most = start + 2 * least;
    for (at, byte) in bytes.iter().enumerate().take(most).skip(start + least) {
        if byte.is_ascii_whitespace() {
            return Some(at + 1);
        }
    }
    if bytes.len() >= most {
        let mut end = most;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        return Some(end);
    }
    last.then_some(bytes.len())
}

/// Adds what a window's detector reports: the worst state, all windows, the least coverage.
fn merge(reports: &mut BTreeMap<String, DetectorReport>, report: DetectorReport) {
    let rank = |state: DetectorState| match state {
        DetectorState::Skipped => 0,
        DetectorState::Scored => 1,
        DetectorState::Shed => 2,
        DetectorState::Deadline => 3,
        DetectorState::Failed => 4,
    };
    match reports.get_mut(&report.name) {
        None => {
            reports.insert(report.name.clone(), report);
        }
        Some(known) => {
            known.windows += report.windows;
            known.coverage = known.coverage.min(report.coverage);
            if rank(report.state) > rank(known.state) {
                known.state = report.state;
                known.reason = report.reason;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cuts_depend_on_the_text_alone() {
        let text = "word ".repeat(200) + &"x".repeat(700) + &"é".repeat(300);
        let mut whole = Vec::new();
        let mut start = 0;
        while let Some(end) = cut(&text, start, 128, true).filter(|_| start < text.len()) {
            whole.push(end);
            start = end;
        }
        assert_eq!(whole.last(), Some(&text.len()));
        // Known as soon as a prefix allows it, and then never otherwise.
        let mut start = 0;
        for &end in &whole {
            for len in start..text.len() {
                if let Some(prefix) = text.get(..len)
                    && let Some(early) = cut(prefix, start, 128, false)
                {
                    assert_eq!(early, end);
                }
            }
            start = end;
        }
    }
}
