//! What is said of a verdict.

use ring::hmac;
use serde_json::{Map, Value, json};

use crate::guard::{Limits, Segment, Verdict};
use crate::package::hex;

/// A line before it has a place: an object of JSON without `seq`, `time`, `previous` and `mac`.
pub(super) struct Record(Box<str>);

/// Bytes that a record takes beside its fields, and the most of a finding, of a text's digest, or of a detector.
const PART: usize = 1 << 10;
/// The most bytes of a byte of text in JSON: `\u0000`.
const ESCAPED: usize = 6;
/// Detectors that there is room for.
const DETECTORS: usize = 256;

impl Record {
    fn new(fields: Map<String, Value>) -> Self {
        Self(Value::Object(fields).to_string().into())
    }

    /// Its fields, without the braces around them.
    pub(super) fn fields(&self) -> &str {
        &self.0[1..self.0.len() - 1]
    }

    /// Bytes that it takes while it waits, and no fewer than its line will have.
    pub(super) fn size(&self) -> usize {
        PART + self.0.len()
    }
}

/// The most bytes of a verdict's record, whose texts may be in it as they are.
pub fn largest_record(limits: &Limits, whole: bool) -> usize {
    let parts = [limits.max_findings, limits.max_segments, DETECTORS];
    let parts = parts.into_iter().fold(0, usize::saturating_add);
    let ids = (limits.max_segments.saturating_add(1)).saturating_mul(limits.max_id_bytes);
    let texts = if whole { limits.max_text_bytes } else { 0 };
    let written = ids.saturating_add(texts).saturating_mul(ESCAPED);
    parts.saturating_mul(PART).saturating_add(written)
}

/// Something that happened.
pub(super) fn event(event: &str, details: Value) -> Record {
    Record::new(Map::from_iter([
        ("event".into(), event.into()),
        ("details".into(), details),
    ]))
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
    let named = fields.map(|(name, value)| (name.to_owned(), value));
    Record::new(Map::from_iter(named))
}

/// A score to four digits.
fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1e4).round() / 1e4
}
