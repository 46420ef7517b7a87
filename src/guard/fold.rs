//! From scores to a verdict: what the policy makes of what was found, what is left of the texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::trace_span;

use super::allow::Allowed;
use super::gather::{Evidence, JOINED, built_in_report, hits, report_limits};
use super::policy::{DENIED, OnError};
use super::redact::Redactable;
use super::{
    Action, Check, ClassScore, DetectorReport, DetectorState, Finding, Guard, Outcome,
    RedactedSegment, Redaction, Replacement, Scope, SegmentVerdict, Timings, Verdict,
};
use crate::text::PositionIndex;

/// Score from which a pattern's label stands whatever a model says of the same place.
pub(super) const SURE: f32 = 0.9;

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
            let (mut report, found) = self.gather(evidence, choice);
            let is_class = !choice.detector.finds_spans;
            // What a text says alone is not said again of it together with others, which come last.
            let mut alone: BTreeSet<(usize, Arc<str>)> = BTreeSet::new();
            // What a text says as it stands is not said again of another reading of it, which comes later.
            let mut spans: BTreeMap<(usize, Arc<str>, usize), usize> = BTreeMap::new();
            for found in found {
                let label = &*found.label;
                let joint = !found.with.is_empty();
                if !joint {
                    metrics::histogram!(
                        "portcullis_score",
                        "detector" => report.name.clone(), "label" => label.to_owned()
                    )
                    .record(f64::from(found.score));
                }
                if check.include_scores && is_class && !joint {
                    report.scores.push(ClassScore {
                        segment: found.segment,
                        label: label.to_owned(),
                        score: found.score,
                    });
                }
                let segment = &check.segments[found.segment];
                let Some(threshold) = choice.rule.threshold(label, segment.role) else {
                    continue;
                };
                if found.score < threshold {
                    continue;
                }
                let pass = if is_class {
                    found.segments().all(|segment| allowed.whole(segment))
                } else {
                    allowed.covers(found.segment, &found.span)
                };
                let said = |segment| alone.contains(&(segment, found.label.clone()));
                if pass || joint && found.segments().any(said) {
                    continue;
                }
                if !joint {
                    alone.insert((found.segment, found.label.clone()));
                }
                let (start, end) = (found.span.start, found.span.end);
                if !is_class {
                    let place = (found.segment, found.label.clone(), start);
                    let before = spans.range(..=&place).next_back();
                    let same = before.filter(|((s, l, _), _)| (*s, l) == (place.0, &place.1));
                    if found.derived && same.is_some_and(|(_, &reached)| reached >= end) {
                        continue;
                    }
                    if !found.derived {
                        spans.insert(place, end);
                    }
                }
                findings.push(Finding {
                    segment: found.segment,
                    segment_id: segment.id.clone(),
                    detector: report.name.clone(),
                    action: choice.rule.action_on(label, segment.role),
                    label: label.to_owned(),
                    rule: found.rule,
                    score: Some(found.score),
                    threshold: Some(if found.with.is_empty() {
                        threshold
                    } else {
                        threshold.max(JOINED)
                    }),
                    start: indexes[found.segment].at(start),
                    end: indexes[found.segment].at(end),
                    undone: found.undone,
                    read_with: found.with,
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
        let closed = |detector: &&DetectorReport| {
            let rule = evidence.rule(&detector.name);
            let on_error = rule.map_or(policy.on_error, |rule| rule.on_error);
            !finished(detector) && on_error == OnError::Closed
        };
        let missing: Vec<String> = detectors
            .iter()
            .filter(closed)
            .map(|d| format!("{} ({})", d.name, d.state.name()))
            .collect();
        if !missing.is_empty() {
            action = Action::Block;
            reason = Some(format!(
                "not everything was scanned and the policy fails closed: {}",
                missing.join(", ")
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
            segments: by_segment(check, &findings),
            findings_omitted: 0,
            findings,
            detectors,
            timings: Timings::default(),
        }
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
                let replaced = redactor.replacements(&text.text, &spans, scope, &mut pseudonyms);
                redacted.push(RedactedSegment {
                    segment,
                    id: text.id.clone(),
                    text: Replacement::apply(&replaced, &text.text),
                    replaced,
                });
            }
        }
        (redacted, pseudonyms)
    }
}

/// The conversation of a request that names none: no name of a conversation can be equal to it.
pub(super) fn alone(id: &str) -> String {
    format!("\0{id}")
}

/// What to do with each segment that has findings, which are in the order of the segments.
fn by_segment(check: &Check, findings: &[Finding]) -> Vec<SegmentVerdict> {
    let each = findings.chunk_by(|a, b| a.segment == b.segment);
    each.filter_map(|of_one| {
        let segment = of_one.first()?.segment;
        Some(SegmentVerdict {
            segment,
            id: check.segments.get(segment)?.id.clone(),
            action: of_one.iter().map(|f| f.action).max().unwrap_or_default(),
        })
    })
    .collect()
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
            segment_id: evidence.check.segments[found.segment].id.clone(),
            detector: DENIED.into(),
            label: found.label.to_string(),
            rule: found.rule,
            score: None,
            threshold: None,
            start: indexes[found.segment].at(found.span.start),
            end: indexes[found.segment].at(found.span.end),
            action: evidence.policy.deny_action,
            undone: found.undone,
            read_with: Vec::new(),
        })
        .collect();
    let mut report = built_in_report(DENIED, true);
    report_limits(&mut report, evidence, |_| true);
    (report, findings)
}

fn finished(detector: &DetectorReport) -> bool {
    matches!(
        detector.state,
        DetectorState::Scored | DetectorState::Skipped
    )
}

pub(super) fn outcome(detectors: &[DetectorReport]) -> Outcome {
    if detectors.iter().all(finished) {
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
