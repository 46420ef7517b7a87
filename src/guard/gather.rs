//! What was found out about a check, detector by detector: scores with their places in the segments as
//! they came, and how each detector fared.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::choose::Chosen;
use super::parts::{Part, Reading};
use super::scan::PackageScan;
use super::{Check, DetectorReport, DetectorState, Guard, Policy, Role, Rule};
use crate::detect::patterns::{Family, PatternMatch};
use crate::detect::{Coverage, OBFUSCATION, Source};
use crate::package::Task;
use crate::text::normalise::Transformation;

const LIMITED: &str = "a text may be read in more ways than the limits of normalisation let in";
/// Score from which texts say something together that none says alone. A change of subject from one to the
/// next looks a little like an attack, which changes it, too.
pub(super) const JOINED: f32 = 0.98;
/// Characters of words that a model does not know, from which on a text is not read unless it knows one in
/// [`OF_EACH`].
const MANY: usize = 16;
const OF_EACH: usize = 10;
const NO_ROLE: &str = "the policy applies it to none of these roles";

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

impl Evidence<'_> {
    /// The rule that `detector` follows; none for the policy's own list.
    pub(super) fn rule(&self, detector: &str) -> Option<&Rule> {
        let mut chosen = self.chosen.iter();
        chosen.find(|c| c.detector.name == detector).map(|c| c.rule)
    }
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
pub(super) struct Found {
    pub(super) segment: usize,
    pub(super) label: Arc<str>,
    pub(super) rule: Option<Arc<str>>,
    pub(super) score: f32,
    /// Bytes of the segment.
    pub(super) span: Range<usize>,
    pub(super) undone: Vec<Transformation>,
    /// Whether it was found in what the segment may also say.
    pub(super) derived: bool,
    /// Segments that were read with this one to find it.
    pub(super) with: Vec<usize>,
}

impl Found {
    /// All segments that were read to find it.
    pub(super) fn segments(&self) -> impl Iterator<Item = usize> {
        self.with.iter().copied().chain([self.segment])
    }
}

impl Guard {
    /// What a detector found, whatever the thresholds.
    pub(super) fn gather(
        &self,
        evidence: &Evidence<'_>,
        choice: &Chosen<'_>,
    ) -> (DetectorReport, Vec<Found>) {
        match choice.detector.source {
            Source::Head { package, head } => self.of_head(evidence, choice, package, head),
            Source::Patterns(family) => of_patterns(evidence, choice, family),
            Source::Obfuscation => of_obfuscation(evidence, choice),
        }
    }

    /// What a head of a package says: for classes, the highest score of each among all readings of a
    /// segment, and then among those of texts read together.
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
        let mut illegible = false;
        let mut found: Vec<Found> = Vec::new();
        let mut known = Known::new();
        // Of classes, where the best score of each (segment, label) stands in `found`.
        let mut best: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        // What texts say together, by the same key.
        let mut joint: BTreeMap<(usize, usize), Found> = BTreeMap::new();
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
                illegible |= is_illegible(&coverage);
            }
            for scored in scored {
                if !is_class && part.repeats(scored.span.clone()) {
                    continue; // with less around it than where the text says it itself
                }
                let span = part.original(scored.span);
                let next = Found {
                    segment: part.segment,
                    label: labels[scored.label].as_str().into(),
                    rule: None,
                    score: scored.score,
                    undone: part.undone(&span, &evidence.readings[part.segment]),
                    derived: !part.is_canonical(),
                    with: part.with.clone(),
                    span,
                };
                if !part.with.is_empty() {
                    let known = joint.get(&(part.segment, scored.label));
                    if next.score >= known.map_or(JOINED, |known| known.score) {
                        joint.insert((part.segment, scored.label), next);
                    }
                    continue;
                }
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
        found.extend(joint.into_values());
        report.windows = all.windows;
        let all_text = all.of_tokens + all.unread;
        report.coverage = if all_text == 0 {
            1.0
        } else {
            all.tokens as f64 / all_text as f64
        };
        let mut read = scan.parts.iter().filter(|(_, s)| s.heads().contains(head));
        (report.state, report.reason) = if all.failed > 0 {
            let reason = format!("{} windows failed or scored no finite number", all.failed);
            (DetectorState::Failed, Some(reason))
        } else if all.expired > 0 {
            let reason = format!("the deadline passed before {} windows ran", all.expired);
            (DetectorState::Deadline, Some(reason))
        } else if read.any(|(part, _)| limited(evidence, *part)) {
            (DetectorState::Failed, Some(LIMITED.to_owned()))
        } else if all.unread > 0 {
            let reason = format!("{} characters mean nothing to this model", all.unread);
            let state = match illegible {
                true => DetectorState::Failed,
                false => DetectorState::Scored,
            };
            (state, Some(reason))
        } else {
            (DetectorState::Scored, None)
        };
        (report, found)
    }
}

/// Whether hardly anything of a text that seems to hold words means something to a model.
fn is_illegible(text: &Coverage) -> bool {
    text.illegible >= MANY && text.of_tokens * OF_EACH <= text.illegible
}

fn of_patterns(
    evidence: &Evidence<'_>,
    choice: &Chosen<'_>,
    family: Family,
) -> (DetectorReport, Vec<Found>) {
    let mut report = scored_here(evidence, choice);
    report_limits(&mut report, evidence, |role| choice.covers(role));
    (report, hits(evidence, Some(family)))
}

fn of_obfuscation(evidence: &Evidence<'_>, choice: &Chosen<'_>) -> (DetectorReport, Vec<Found>) {
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
                derived: false,
                with: Vec::new(),
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
            derived: false,
            with: Vec::new(),
        });
    }
    (report, found)
}

/// Says so where a text that a detector covers has readings it did not see.
pub(super) fn report_limits(
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

/// Whether a part, or its segment, has readings that no detector saw.
fn limited(evidence: &Evidence<'_>, part: usize) -> bool {
    let Some(part) = evidence.parts.get(part) else {
        return false;
    };
    part.limited
        || evidence
            .readings
            .get(part.segment)
            .is_some_and(|r| r.limited)
}

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
pub(super) fn hits(evidence: &Evidence<'_>, family: Option<Family>) -> Vec<Found> {
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
            derived: !part.is_canonical(),
            with: Vec::new(),
            span,
        };
        push_unless_known(&mut found, &mut known, next);
    }
    found
}

/// Adds what the text, or a reading of the same place, has not shown as surely.
fn push_unless_known(found: &mut Vec<Found>, known: &mut Known, next: Found) {
    let place = (
        next.segment,
        next.label.clone(),
        next.span.start,
        next.span.end,
        next.derived,
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

/// Where in a list of what was found a place stands: segment, label, start, end, whether it is a reading's.
type Known = HashMap<(usize, Arc<str>, usize, usize, bool), usize>;

/// From the first to the last of `ranges`.
fn cover<'r>(ranges: impl Iterator<Item = &'r Range<usize>>) -> Option<Range<usize>> {
    ranges.fold(None, |all: Option<Range<usize>>, next| {
        Some(match all {
            None => next.clone(),
            Some(all) => all.start.min(next.start)..all.end.max(next.end),
        })
    })
}
