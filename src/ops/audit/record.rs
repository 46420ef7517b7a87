//! What is said of a verdict.

use ring::hmac;
use serde_json::{Map, Value, json};

use crate::guard::{Segment, Verdict};
use crate::package::hex;

/// A line before it has a place: an object without `seq`, `time`, `previous` and `mac`.
pub(super) type Record = Map<String, Value>;

/// Bytes that a record takes while it waits, and each finding, text and detector in it: about so many.
pub(super) const PART: usize = 1 << 10;

/// About how many bytes a verdict's record takes, whose texts may be in it as they are.
pub(super) fn size(segments: &[Segment], verdict: &Verdict, whole: bool) -> usize {
    let texts: usize = segments.iter().map(|s| s.text.len()).sum();
    let parts = 1 + verdict.findings.len() + verdict.detectors.len() + segments.len();
    PART * parts + if whole { texts } else { 0 }
}

/// Something that happened.
pub(super) fn event(event: &str, details: Value) -> Record {
    Map::from_iter([("event".into(), event.into()), ("details".into(), details)])
}

/// A verdict on these texts, which are known by digests under `key`, and as they are where that is asked for.
pub(super) fn verdict(
    tenant: &str,
    segments: &[Segment],
    verdict: &Verdict,
    (key, whole): (&hmac::Key, bool),
) -> Record {
    let findings = verdict.findings.iter().map(|finding| {
        json!({
            "segment": finding.segment, "detector": finding.detector, "label": finding.label,
            "rule": finding.rule.as_deref(), "score": finding.score.map(rounded),
            "start": finding.start.byte, "end": finding.end.byte,
        })
    });
    let detectors = verdict.detectors.iter().map(|report| {
        json!({
            "name": report.name, "state": report.state.name(),
            "package": report.package, "version": report.version,
        })
    });
    let texts = segments.iter().map(|segment| {
        let digest = hex(hmac::sign(key, segment.text.as_bytes()).as_ref());
        let text = whole.then(|| &*segment.text);
        json!({
            "role": segment.role, "id": segment.id.as_deref(), "bytes": segment.text.len(),
            "digest": digest, "text": text,
        })
    });
    let fields = [
        ("event", json!("verdict")),
        ("tenant", json!(tenant)),
        ("request", json!(verdict.id)),
        ("policy", json!(&*verdict.policy)),
        ("policy_version", json!(&*verdict.policy_version)),
        ("outcome", json!(verdict.outcome.name())),
        ("action", json!(verdict.action.name())),
        ("reason", json!(verdict.reason)),
        ("findings", findings.collect()),
        ("findings_omitted", json!(verdict.findings_omitted)),
        ("detectors", detectors.collect()),
        ("texts", texts.collect()),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// A score to four digits.
fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1e4).round() / 1e4
}
