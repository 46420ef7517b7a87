//! Protobuf to domain and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pb::v1;
use crate::detect::{Catalog, Source};
use crate::guard::{
    Action, Check, CheckError, DetectorReport, DetectorState, Finding, Guard, Limits, OnError,
    Outcome, OutputCheck, Policy, Redaction, Role, Rule, Segment, Selection, Verdict,
};
use crate::text::Position;

/// A request as the domain knows it. `id` is used where the request has none.
pub fn check(
    request: v1::CheckRequest,
    tenant: Arc<str>,
    deadline: Instant,
    id: impl FnOnce() -> String,
) -> Result<Check, CheckError> {
    let selection = match (request.policy_id.is_empty(), request.detectors.is_empty()) {
        (false, false) => {
            return Err(CheckError::Invalid {
                field: "detectors".into(),
                problem: "given together with policy_id; give one of them".into(),
            });
        }
        (_, true) => Selection::Policy(request.policy_id),
        (true, false) => Selection::Detectors(request.detectors),
    };
    let segments = request
        .segments
        .into_iter()
        .enumerate()
        .map(|(i, segment)| {
            Ok(Segment {
                role: role(segment.role, format!("segments[{i}].role"))?,
                text: segment.text.into(),
                id: Some(segment.id.into()).filter(|id: &Arc<str>| !id.is_empty()),
            })
        })
        .collect::<Result<_, CheckError>>()?;
    Ok(Check {
        id: if request.request_id.is_empty() {
            id()
        } else {
            request.request_id
        },
        tenant,
        segments,
        selection,
        deadline,
        conversation: Some(request.conversation_id).filter(|c| !c.is_empty()),
        include_scores: request.include_scores,
    })
}

/// A guarded stream as the domain knows it; its ids have at most `most` bytes.
pub fn output_check(
    start: v1::OutputStart,
    tenant: Arc<str>,
    timeout: Duration,
    most: usize,
    id: impl FnOnce() -> String,
) -> Result<OutputCheck, CheckError> {
    for (field, value) in [
        ("request_id", &start.request_id),
        ("conversation_id", &start.conversation_id),
    ] {
        if value.len() > most || value.contains(char::is_control) {
            return Err(CheckError::Invalid {
                field: field.into(),
                problem: format!("has over {most} bytes, or control characters"),
            });
        }
    }
    Ok(OutputCheck {
        id: if start.request_id.is_empty() {
            id()
        } else {
            start.request_id
        },
        tenant,
        role: match start.role {
            0 => Role::Assistant,
            given => role(given, "role".into())?,
        },
        policy: start.policy_id,
        conversation: Some(start.conversation_id).filter(|c| !c.is_empty()),
        timeout,
    })
}

fn role(value: i32, field: String) -> Result<Role, CheckError> {
    match v1::Role::try_from(value) {
        Ok(v1::Role::System) => Ok(Role::System),
        Ok(v1::Role::User) => Ok(Role::User),
        Ok(v1::Role::Assistant) => Ok(Role::Assistant),
        Ok(v1::Role::Tool) => Ok(Role::Tool),
        Ok(v1::Role::Document) => Ok(Role::Document),
        Ok(v1::Role::Unspecified) | Err(_) => Err(CheckError::Invalid {
            field,
            problem: format!(
                "{value} is no role; one of ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL, \
                 ROLE_DOCUMENT is needed"
            ),
        }),
    }
}

fn role_to_proto(role: Role) -> v1::Role {
    match role {
        Role::System => v1::Role::System,
        Role::User => v1::Role::User,
        Role::Assistant => v1::Role::Assistant,
        Role::Tool => v1::Role::Tool,
        Role::Document => v1::Role::Document,
    }
}

/// A verdict as the API sends it.
#[must_use]
pub fn verdict(verdict: Verdict, restore_token: Vec<u8>, utf16: bool) -> v1::CheckResponse {
    let timings = verdict.timings;
    v1::CheckResponse {
        request_id: verdict.id,
        policy_id: verdict.policy.to_string(),
        policy_version: verdict.policy_version.to_string(),
        findings_omitted: verdict.findings_omitted as u32,
        restore_token,
        outcome: match verdict.outcome {
            Outcome::Complete => v1::Outcome::Complete,
            Outcome::Partial => v1::Outcome::Partial,
            Outcome::Failed => v1::Outcome::Failed,
        }
        .into(),
        action: action(verdict.action).into(),
        action_reason: verdict.reason.unwrap_or_default(),
        findings: verdict
            .findings
            .into_iter()
            .map(|f| finding(f, utf16))
            .collect(),
        detectors: verdict.detectors.into_iter().map(detector_result).collect(),
        redacted: verdict
            .redacted
            .into_iter()
            .map(|r| v1::RedactedSegment {
                segment: r.segment as u32,
                segment_id: name(r.id),
                text: r.text,
            })
            .collect(),
        segments: verdict
            .segments
            .into_iter()
            .map(|s| v1::SegmentResult {
                segment: s.segment as u32,
                segment_id: name(s.id),
                action: action(s.action).into(),
            })
            .collect(),
        timings: Some(v1::Timings {
            tokenize: Some(duration(timings.tokenize)),
            queue: Some(duration(timings.queue)),
            engine: Some(duration(timings.engine)),
            total: Some(duration(timings.total)),
        }),
    }
}

fn name(name: Option<Arc<str>>) -> String {
    name.map(|name| name.to_string()).unwrap_or_default()
}

fn action(action: Action) -> v1::Action {
    match action {
        Action::Allow => v1::Action::Allow,
        Action::Monitor => v1::Action::Monitor,
        Action::Redact => v1::Action::Redact,
        Action::Block => v1::Action::Block,
    }
}

fn finding(finding: Finding, utf16: bool) -> v1::Finding {
    v1::Finding {
        segment: finding.segment as u32,
        segment_id: name(finding.segment_id),
        detector: finding.detector,
        label: finding.label,
        score: finding.score,
        threshold: finding.threshold,
        span: Some(span(finding.start, finding.end, utf16)),
        action: action(finding.action).into(),
        rule: name(finding.rule),
        undone: finding.undone.iter().map(|t| t.name().to_owned()).collect(),
        read_with: finding.read_with.iter().map(|&s| s as u32).collect(),
    }
}

fn span(start: Position, end: Position, utf16: bool) -> v1::Span {
    v1::Span {
        start_byte: start.byte as u32,
        end_byte: end.byte as u32,
        start_char: start.char as u32,
        end_char: end.char as u32,
        start_utf16: utf16.then_some(start.utf16 as u32),
        end_utf16: utf16.then_some(end.utf16 as u32),
    }
}

fn detector_result(report: DetectorReport) -> v1::DetectorResult {
    v1::DetectorResult {
        detector: report.name,
        state: match report.state {
            DetectorState::Scored => v1::DetectorState::Scored,
            DetectorState::Shed => v1::DetectorState::Shed,
            DetectorState::Deadline => v1::DetectorState::Deadline,
            DetectorState::Failed => v1::DetectorState::Failed,
            DetectorState::Skipped => v1::DetectorState::Skipped,
        }
        .into(),
        reason: report.reason.unwrap_or_default(),
        package: report.package,
        package_version: report.version,
        device: report.device.to_string(),
        windows_scanned: report.windows as u32,
        coverage: report.coverage,
        scores: report
            .scores
            .into_iter()
            .map(|s| v1::ClassScore {
                segment: s.segment as u32,
                label: s.label,
                score: s.score,
            })
            .collect(),
    }
}

/// What a guard offers.
#[must_use]
pub fn offers(guard: &Guard) -> v1::ListDetectorsResponse {
    let catalog = guard.catalog();
    v1::ListDetectorsResponse {
        detectors: detectors(catalog, &guard.scheduler().device()),
        policies: guard
            .policies()
            .current()
            .values()
            .map(|p| policy(p, guard.limits()))
            .collect(),
    }
}

/// The detectors, of which those of packages run on `device`.
fn detectors(catalog: &Catalog, device: &str) -> Vec<v1::Detector> {
    catalog
        .detectors
        .iter()
        .map(|detector| {
            let package = match detector.source {
                Source::Head { package, .. } => catalog.packages.get(package),
                Source::Patterns(_) | Source::Obfuscation => None,
            };
            v1::Detector {
                name: detector.name.clone(),
                kind: detector.kind.clone(),
                finds_spans: detector.finds_spans,
                labels: detector
                    .labels
                    .iter()
                    .map(|name| v1::Label {
                        name: name.clone(),
                        threshold: detector.thresholds.get(name).copied(),
                    })
                    .collect(),
                package: package.map_or("built-in", |p| &p.name).to_owned(),
                package_version: package
                    .map_or(env!("CARGO_PKG_VERSION"), |p| &p.version)
                    .to_owned(),
                device: package.map_or("cpu", |_| device).to_owned(),
                window_tokens: package.map_or(0, |p| p.windows.content() as u32),
            }
        })
        .collect()
}

fn policy(policy: &Policy, server: &Limits) -> v1::Policy {
    let limits = policy.limits(server);
    v1::Policy {
        id: policy.id.to_string(),
        version: policy.version.to_string(),
        fails_closed: policy.on_error == OnError::Closed,
        rules: policy
            .rules
            .iter()
            .map(|(d, r)| policy_rule(d, r))
            .collect(),
        context_turns: policy.context_turns as u32,
        max_text_bytes: limits.max_text_bytes as u64,
        max_segments: limits.max_segments as u32,
        max_findings: limits.max_findings as u32,
        has_allow_list: policy.allow.is_some(),
        deny_action: policy
            .deny
            .is_some()
            .then(|| action(policy.deny_action).into()),
    }
}

fn policy_rule(detector: &str, rule: &Rule) -> v1::PolicyRule {
    let redaction = |redaction: Redaction| redaction.name().to_owned();
    let mut differ: Vec<Role> = Role::ALL.to_vec();
    differ.retain(|r| rule.role_actions.contains_key(r) || rule.role_thresholds.contains_key(r));
    v1::PolicyRule {
        detector: detector.to_owned(),
        action: action(rule.action).into(),
        roles: rule
            .roles
            .iter()
            .map(|&r| role_to_proto(r).into())
            .collect(),
        thresholds: labels(&rule.thresholds),
        by_role: differ
            .into_iter()
            .map(|role| v1::RoleRule {
                role: role_to_proto(role).into(),
                action: rule.role_actions.get(&role).map(|&a| action(a).into()),
                thresholds: rule.role_thresholds.get(&role).map_or(vec![], labels),
            })
            .collect(),
        label_actions: rule
            .label_actions
            .iter()
            .map(|(label, &a)| (label.clone(), action(a).into()))
            .collect(),
        redaction: redaction(rule.redaction),
        label_redactions: rule
            .label_redactions
            .iter()
            .map(|(label, &by)| (label.clone(), redaction(by)))
            .collect(),
        fails_closed: rule.on_error == OnError::Closed,
    }
}

fn labels(thresholds: &BTreeMap<String, f32>) -> Vec<v1::Label> {
    let each = thresholds.iter();
    each.map(|(name, &threshold)| v1::Label {
        name: name.clone(),
        threshold: Some(threshold),
    })
    .collect()
}

/// A duration as protobuf writes it.
#[must_use]
pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: duration.as_secs().min(i64::MAX as u64) as i64,
        nanos: duration.subsec_nanos() as i32,
    }
}
