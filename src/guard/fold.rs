//! From scores to a verdict: what each detector found, what the policy makes of it, what is left of the
//! texts.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use tracing::trace_span;

use super::choose::Chosen;
use super::parts::{Part, Reading};
use super::policy::{DENIED, OnError};
use super::redact::Redactable;
use super::scan::PackageScan;
use super::{
    Action, Check, ClassScore, DetectorReport, DetectorState, Finding, Guard, Outcome, Policy,
    RedactedSegment, Redaction, Role, Scope, Timings, Verdict,
};
use crate::detect::patterns::{Family, PatternMatch};
use crate::detect::{Coverage, OBFUSCATION, Source};
use crate::package::Task;
use crate::text::PositionIndex;
use crate::text::normalise::Transformation;

/// Everything that was found out about a check.
pub(super) struct Evidence<'c> {
    pub(super) check: &'c Check,
    pub(super) policy: &'c Policy,
    pub(super) chosen: &'c [Chosen<'c>],
    pub(super) parts: &'c [Part],
    /// One a segment.
    pub(super) readings: &'c [Reading],
    pub(super) scans: &'c [PackageScan],
    pub(super) patterns: &'c [PatternHit],
}

/// A pattern's match in a part.
pub(super) struct PatternHit {
    /// The detector's family; none for the policy's own list.
    pub(super) family: Option<Family>,
    /// Index of the part.
    pub(super) part: usize,
    pub(super) found: PatternMatch,
}

/// Something a detector has a score for.
struct Found {
    segment: usize,
    label: Arc<str>,
    rule: Option<Arc<str>>,
    score: f32,
    /// Bytes of the segment.
    span: Range<usize>,
    undone: Vec<Transformation>,
}

impl Guard {
    pub(super) fn fold(&self, evidence: &Evidence<'_>) -> Verdict {
        let Evidence { check, policy, .. } = evidence;
        let folding = trace_span!("fold").entered();
        let indexes: Vec<PositionIndex<'_>> = check
            .segments
            .iter()
            .map(|s| PositionIndex::new(&s.text))
            .collect();
        let allowed = Allowed::new(check, policy);
        let mut findings = Vec::new();
        let mut detectors = Vec::new();
        for choice in evidence.chosen {
            let (mut report, found) = match choice.detector.source {
                Source::Head { package, head } => self.of_head(evidence, choice, package, head),
                Source::Patterns(family) => self.of_patterns(evidence, choice, family),
                Source::Obfuscation => self.of_obfuscation(evidence, choice),
            };
            let is_class = !choice.detector.finds_spans;
            for found in found {
                let label = &*found.label;
                metrics::histogram!(
                    "portcullis_score",
                    "detector" => report.name.clone(), "label" => label.to_owned()
                )
                .record(f64::from(found.score));
                if check.include_scores && is_class {
                    report.scores.push(ClassScore {
                        segment: found.segment,
                        label: label.to_owned(),
                        score: found.score,
                    });
                }
                let Some(&threshold) = choice.rule.thresholds.get(label) else {
                    continue;
                };
                if found.score < threshold || allowed.covers(&found, is_class) {
                    continue;
                }
                let (start, end) = (found.span.start, found.span.end);
                findings.push(Finding {
                    segment: found.segment,
                    detector: report.name.clone(),
                    action: choice
                        .rule
                        .action_on(label, check.segments[found.segment].role),
                    label: label.to_owned(),
                    rule: found.rule,
                    score: Some(found.score),
                    threshold: Some(threshold),
                    start: indexes[found.segment].at(start),
                    end: indexes[found.segment].at(end),
                    undone: found.undone,
                });
            }
            detectors.push(report);
        }
        if policy.deny.is_some() {
            let (report, denied) = denied(evidence, &indexes);
            detectors.push(report);
            findings.extend(denied);
        }
        for report in &detectors {
            metrics::counter!(
                "portcullis_detector_results_total",
                "detector" => report.name.clone(), "state" => report.state.name()
            )
            .increment(1);
        }
        findings.sort_by_key(|f: &Finding| (f.segment, f.start.byte, f.end.byte));
        drop(folding);
        let _deciding = trace_span!("policy").entered();

        let outcome = outcome(&detectors);
        let mut action = findings.iter().map(|f| f.action).max().unwrap_or_default();
        let mut reason = None;
        if outcome != Outcome::Complete && policy.on_error == OnError::Closed {
            action = Action::Block;
            let unfinished = detectors
                .iter()
                .filter(|d| !matches!(d.state, DetectorState::Scored | DetectorState::Skipped))
                .map(|d| format!("{} ({})", d.name, d.state.name()));
            reason = Some(format!(
                "not everything was scanned and the policy fails closed: {}",
                unfinished.collect::<Vec<_>>().join(", ")
            ));
        }
        let (redacted, pseudonyms) = self.redactions(evidence, &findings);
        Verdict {
            id: check.id.clone(),
            policy: policy.id.clone(),
            policy_version: policy.version.clone(),
            outcome,
            action,
            reason,
            redacted,
            pseudonyms,
            findings_omitted: findings.len().saturating_sub(self.limits().max_findings),
            findings: {
                findings.truncate(self.limits().max_findings);
                findings
            },
            detectors,
            timings: Timings::default(),
        }
    }

    /// What a head of a package says: for classes, the highest score of each among all readings of a
    /// segment.
    fn of_head(
        &self,
        evidence: &Evidence<'_>,
        choice: &Chosen<'_>,
        package: usize,
        head: usize,
    ) -> (DetectorReport, Vec<Found>) {
        let loaded = &self.catalog().packages[package];
        let labels = loaded.heads[head].finding_labels();
        let is_class = matches!(loaded.heads[head].task, Task::Sequence);
        let mut report = DetectorReport {
            name: choice.detector.name.clone(),
            state: DetectorState::Skipped,
            reason: None,
            package: loaded.name.clone(),
            version: loaded.version.clone(),
            device: self.scheduler().device(),
            windows: 0,
            coverage: 0.0,
            scores: Vec::new(),
        };
        let scan = evidence.scans.iter().find(|s| s.package == package);
        let Some(scan) = scan.filter(|s| s.parts.iter().any(|(_, s)| s.heads().contains(head)))
        else {
            report.reason = Some(NO_ROLE.into());
            return (report, Vec::new());
        };
        let outcomes = match &scan.result {
            Ok(outcomes) => outcomes,
            Err(refusal) => {
                report.state = DetectorState::Shed;
                report.reason = Some(refusal.to_string());
                return (report, Vec::new());
            }
        };
        let mut all = Coverage::default();
        let mut found: Vec<Found> = Vec::new();
        let mut known = Known::new();
        // Of classes, where the best score of each (segment, label) stands in `found`.
        let mut best: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut at = 0;
        for (index, scan) in &scan.parts {
            let outcomes = &outcomes[at..at + scan.len()];
            at += scan.len();
            if !scan.heads().contains(head) {
                continue;
            }
            let part = &evidence.parts[*index];
            let (scored, coverage) = scan.fold(loaded, head, &part.text, outcomes);
            all.windows += coverage.windows;
            all.expired += coverage.expired;
            all.failed += coverage.failed;
            all.tokens += coverage.tokens;
            all.of_tokens += coverage.of_tokens;
            if part.is_canonical() {
                all.unread += coverage.unread;
            }
            for scored in scored {
                let span = part.original(scored.span);
                let next = Found {
                    segment: part.segment,
                    label: labels[scored.label].as_str().into(),
                    rule: None,
                    score: scored.score,
                    undone: part.undone(&span, &evidence.readings[part.segment]),
                    span,
                };
                if !is_class {
                    push_unless_known(&mut found, &mut known, next);
                    continue;
                }
                match best.get(&(part.segment, scored.label)) {
                    Some(&known) if found[known].score >= next.score => {}
                    Some(&known) => found[known] = next,
                    None => {
                        best.insert((part.segment, scored.label), found.len());
                        found.push(next);
                    }
                }
            }
        }
        report.windows = all.windows;
        let all_text = all.of_tokens + all.unread;
        report.coverage = if all_text == 0 {
            1.0
        } else {
            all.tokens as f64 / all_text as f64
        };
        (report.state, report.reason) = if all.failed > 0 {
            let reason = format!("{} windows failed or scored no finite number", all.failed);
            (DetectorState::Failed, Some(reason))
        } else if all.expired > 0 {
            let reason = format!("the deadline passed before {} windows ran", all.expired);
            (DetectorState::Deadline, Some(reason))
        } else if scan.parts.iter().any(|(part, _)| limited(evidence, *part)) {
            (DetectorState::Failed, Some(LIMITED.to_owned()))
        } else if all.unread > 0 {
            let reason = format!("{} characters mean nothing to this model", all.unread);
            (DetectorState::Scored, Some(reason))
        } else {
            (DetectorState::Scored, None)
        };
        (report, found)
    }

    fn of_patterns(
        &self,
        evidence: &Evidence<'_>,
        choice: &Chosen<'_>,
        family: Family,
    ) -> (DetectorReport, Vec<Found>) {
        let mut report = scored_here(evidence, choice);
        report_limits(&mut report, evidence, |role| choice.covers(role));
        (report, hits(evidence, Some(family)))
    }

    fn of_obfuscation(
        &self,
        evidence: &Evidence<'_>,
        choice: &Chosen<'_>,
    ) -> (DetectorReport, Vec<Found>) {
        let mut report = scored_here(evidence, choice);
        let mut found = Vec::new();
        for (segment, reading) in evidence.readings.iter().enumerate() {
            let Some(text) = evidence.check.segments.get(segment) else {
                continue;
            };
            if !choice.covers(text.role) {
                continue;
            }
            if reading.limited {
                report.reason = Some(LIMITED.into());
            }
            let of_kind = |kind: Transformation| {
                let stretches = reading.undone.iter().filter(move |u| u.kind == kind);
                cover(stretches.map(|u| &u.range))
            };
            let kinds = reading.obfuscation.kinds.iter();
            found.extend(kinds.filter_map(|&(kind, score)| {
                Some(Found {
                    segment,
                    label: kind.name().into(),
                    rule: None,
                    score,
                    span: of_kind(kind)?,
                    undone: vec![kind],
                })
            }));
            let whole = cover(reading.undone.iter().map(|u| &u.range));
            found.push(Found {
                segment,
                label: OBFUSCATION.into(),
                rule: None,
                score: reading.obfuscation.score,
                span: whole.unwrap_or(0..0),
                undone: reading.obfuscation.kinds.iter().map(|k| k.0).collect(),
            });
        }
        (report, found)
    }

    /// The segments with a finding to redact, redacted, and what the pseudonyms in them stand for.
    fn redactions(
        &self,
        evidence: &Evidence<'_>,
        findings: &[Finding],
    ) -> (Vec<RedactedSegment>, BTreeMap<String, String>) {
        let check = evidence.check;
        let alone = alone(&check.id);
        let mut pseudonyms = BTreeMap::new();
        let mut redacted = Vec::new();
        for (segment, text) in check.segments.iter().enumerate() {
            let first = findings.partition_point(|f| f.segment < segment);
            let spans: Vec<_> = findings[first..]
                .iter()
                .take_while(|f| f.segment == segment)
                .filter(|f| f.action == Action::Redact)
                .map(|f| Redactable {
                    span: f.start.byte..f.end.byte,
                    label: &f.label,
                    by: match f.undone.is_empty() {
                        true => evidence.policy.redaction(&f.detector, &f.label),
                        // A disguise left standing, in part or by its shape, could be undone again.
                        false => Redaction::Replace,
                    },
                    sure: f.rule.is_some() && f.score.is_none_or(|score| score >= SURE),
                })
                .collect();
            if !spans.is_empty() {
                let scope = Scope {
                    tenant: &check.tenant,
                    conversation: check.conversation.as_deref().unwrap_or(&alone),
                };
                let redactor = self.redactor();
                redacted.push(RedactedSegment {
                    segment,
                    text: redactor.redact(&text.text, &spans, scope, &mut pseudonyms),
                });
            }
        }
        (redacted, pseudonyms)
    }
}

/// Says so where a text that a detector covers has readings it did not see.
fn report_limits(
    report: &mut DetectorReport,
    evidence: &Evidence<'_>,
    covers: impl Fn(Role) -> bool,
) {
    let mut texts = evidence.readings.iter().zip(&evidence.check.segments);
    if texts.any(|(reading, segment)| reading.limited && covers(segment.role)) {
        report.state = DetectorState::Failed;
        report.reason = Some(LIMITED.to_owned());
    }
}

/// Whether the segment of `part` has readings that no detector saw.
fn limited(evidence: &Evidence<'_>, part: usize) -> bool {
    let segment = evidence.parts.get(part).map(|p| p.segment);
    segment
        .and_then(|s| evidence.readings.get(s))
        .is_some_and(|r| r.limited)
}

/// The conversation of a request that names none: no name of a conversation can be equal to it.
pub(super) fn alone(id: &str) -> String {
    format!("\0{id}")
}

const LIMITED: &str = "a text may be read in more ways than the limits of normalisation let in";
/// Score from which a pattern's label stands whatever a model says of the same place.
pub(super) const SURE: f32 = 0.9;
const NO_ROLE: &str = "the policy applies it to none of these roles";

/// The report of a detector that reads every text there is, at once.
fn scored_here(evidence: &Evidence<'_>, choice: &Chosen<'_>) -> DetectorReport {
    let applies = evidence
        .check
        .segments
        .iter()
        .any(|s| choice.covers(s.role));
    built_in_report(&choice.detector.name, applies)
}

pub(super) fn built_in_report(name: &str, applies: bool) -> DetectorReport {
    DetectorReport {
        name: name.to_owned(),
        state: if applies {
            DetectorState::Scored
        } else {
            DetectorState::Skipped
        },
        reason: (!applies).then(|| NO_ROLE.to_owned()),
        package: "built-in".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        device: "cpu".into(),
        windows: 0,
        coverage: if applies { 1.0 } else { 0.0 },
        scores: Vec::new(),
    }
}

/// What the patterns of a family, or of the policy's own list, found.
fn hits(evidence: &Evidence<'_>, family: Option<Family>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut known = Known::new();
    for hit in evidence.patterns.iter().filter(|h| h.family == family) {
        let part = &evidence.parts[hit.part];
        let span = part.original(hit.found.span.clone());
        let next = Found {
            segment: part.segment,
            label: hit.found.label.clone(),
            rule: Some(hit.found.rule.clone()),
            score: hit.found.score,
            undone: part.undone(&span, &evidence.readings[part.segment]),
            span,
        };
        push_unless_known(&mut found, &mut known, next);
    }
    found
}

/// Findings of the policy's own list.
fn denied(
    evidence: &Evidence<'_>,
    indexes: &[PositionIndex<'_>],
) -> (DetectorReport, Vec<Finding>) {
    let findings = hits(evidence, None)
        .into_iter()
        .map(|found| Finding {
            segment: found.segment,
            detector: DENIED.into(),
            label: found.label.to_string(),
            rule: found.rule,
            score: None,
            threshold: None,
            start: indexes[found.segment].at(found.span.start),
            end: indexes[found.segment].at(found.span.end),
            action: evidence.policy.deny_action,
            undone: found.undone,
        })
        .collect();
    let mut report = built_in_report(DENIED, true);
    report_limits(&mut report, evidence, |_| true);
    (report, findings)
}

/// Adds what no reading of the same place has shown as surely.
fn push_unless_known(found: &mut Vec<Found>, known: &mut Known, next: Found) {
    let place = (
        next.segment,
        next.label.clone(),
        next.span.start,
        next.span.end,
    );
    match known.get(&place) {
        Some(&at) if found[at].score >= next.score => {}
        Some(&at) => found[at] = next,
        None => {
            known.insert(place, found.len());
            found.push(next);
        }
    }
}

/// Where in a list of what was found a place stands: segment, label, start, end.
type Known = HashMap<(usize, Arc<str>, usize, usize), usize>;

/// From the first to the last of `ranges`.
fn cover<'r>(ranges: impl Iterator<Item = &'r Range<usize>>) -> Option<Range<usize>> {
    ranges.fold(None, |all: Option<Range<usize>>, next| {
        Some(match all {
            None => next.clone(),
            Some(all) => all.start.min(next.start)..all.end.max(next.end),
        })
    })
}

/// What a policy lets pass whatever detectors say.
struct Allowed {
    /// Spans of each segment.
    spans: Vec<Vec<Range<usize>>>,
    /// Each segment without the white space around it.
    whole: Vec<Range<usize>>,
}

impl Allowed {
    fn new(check: &Check, policy: &Policy) -> Self {
        let Some(patterns) = &policy.allow else {
            return Self {
                spans: Vec::new(),
                whole: Vec::new(),
            };
        };
        let texts = || check.segments.iter().map(|s| &*s.text);
        Self {
            spans: texts()
                .map(|text| {
                    let mut reach = 0;
                    let spans = patterns.scan(text).into_iter().map(|m| m.span);
                    spans
                        .filter(|s| {
                            let farther = s.end > reach;
                            reach = reach.max(s.end);
                            farther
                        })
                        .collect()
                })
                .collect(),
            whole: texts()
                .map(|text| {
                    let start = text.len() - text.trim_start().len();
                    start..start + text.trim().len()
                })
                .collect(),
        }
    }

    /// Whether an allowed text covers all that was found: the span, or for a class the whole segment.
    fn covers(&self, found: &Found, is_class: bool) -> bool {
        let Some(spans) = self.spans.get(found.segment) else {
            return false;
        };
        let span = if is_class {
            &self.whole[found.segment]
        } else {
            &found.span
        };
        // In order of their starts, and cut to those that reach farther than all before them.
        let before = spans.partition_point(|s| s.start <= span.start);
        spans[..before].last().is_some_and(|s| span.end <= s.end)
    }
}

pub(super) fn outcome(detectors: &[DetectorReport]) -> Outcome {
    let finished =
        |d: &&DetectorReport| matches!(d.state, DetectorState::Scored | DetectorState::Skipped);
    if detectors.iter().all(|d| finished(&d)) {
        return Outcome::Complete;
    }
    let some = detectors
        .iter()
        .any(|d| d.state == DetectorState::Scored || d.windows > 0);
    if some {
        Outcome::Partial
    } else {
        Outcome::Failed
    }
}
