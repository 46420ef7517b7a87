//! What of a check is scanned: each segment's canonical text, and what else it may say.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::Segment;
use super::joined::join;
use crate::text::normalise::{Normaliser, Obfuscation, OffsetMap, Transformation, Undone};

/// A text to scan, with the way back to the segment it came from.
#[derive(Debug)]
pub(super) struct Part {
    /// Index of the segment.
    pub(super) segment: usize,
    /// Segments before it that are read with it as one: then this is what they say together.
    pub(super) with: Vec<usize>,
    /// The text.
    pub(super) text: Arc<str>,
    /// Of segments read as one: whether a limit kept a further reading of them out.
    pub(super) limited: bool,
    /// From bytes of the text to bytes of the segment.
    map: OffsetMap,
    /// What was undone to read it, where it is something that the segment may also say.
    derived: Option<Vec<Transformation>>,
}

/// What normalisation found out about a segment.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// How much it looks like hiding something.
    pub(super) obfuscation: Obfuscation,
    /// What was undone where.
    pub(super) undone: Vec<Undone>,
    /// Whether a limit kept a further reading out.
    pub(super) limited: bool,
}

impl Part {
    /// The bytes of the segment behind the bytes `range` of this text.
    pub(super) fn original(&self, range: Range<usize>) -> Range<usize> {
        self.map.original(range)
    }

    /// Whether this is what the segment itself says.
    pub(super) fn is_canonical(&self) -> bool {
        self.derived.is_none()
    }

    /// Whether `range` is what the segment's canonical text says there, too.
    pub(super) fn repeats(&self, range: Range<usize>) -> bool {
        self.derived.is_some() && !self.map.is_changed(range)
    }

    /// Whether every detector should read it: a text of its own, and not a guess at how a word might
    /// be spelled.
    pub(super) fn is_text(&self) -> bool {
        let certain = |by: &Vec<Transformation>| by.iter().all(|t| t.is_decoded());
        self.with.is_empty() && self.derived.as_ref().is_none_or(certain)
    }

    /// What was undone to read `range` (bytes of the segment) here.
    pub(super) fn undone(&self, range: &Range<usize>, reading: &Reading) -> Vec<Transformation> {
        let mut kinds = match &self.derived {
            Some(by) => by.clone(),
            None if self.map.is_identity() => Vec::new(),
            None => reading
                .undone
                .iter()
                .filter(|u| u.range.start < range.end && range.start < u.range.end)
                .filter(|u| u.kind.is_in_place())
                .map(|u| u.kind)
                .collect(),
        };
        let mut seen = Vec::new();
        kinds.retain(|kind| {
            !seen.contains(kind) && {
                seen.push(*kind);
                true
            }
        });
        kinds
    }
}

/// Reads each segment in every way it may be meant, and then what the user's last `turns` turns say as
/// one. The parts of a segment stand together, its canonical text first.
pub(super) fn read(
    segments: &[Segment],
    turns: usize,
    normaliser: &Normaliser,
) -> (Vec<Part>, Vec<Reading>) {
    let mut parts = Vec::with_capacity(segments.len());
    let mut readings = Vec::with_capacity(segments.len());
    for (segment, Segment { text, .. }) in segments.iter().enumerate() {
        let normalised = normaliser.normalise(text);
        readings.push(Reading {
            obfuscation: normalised.obfuscation(),
            undone: normalised.undone,
            limited: normalised.limited,
        });
        parts.push(Part {
            segment,
            with: Vec::new(),
            text: match normalised.text {
                Cow::Borrowed(_) => text.clone(),
                Cow::Owned(changed) => changed.into(),
            },
            limited: false,
            map: normalised.map,
            derived: None,
        });
        parts.extend(normalised.derived.into_iter().map(|derived| Part {
            segment,
            with: Vec::new(),
            text: derived.text.into(),
            limited: false,
            map: derived.map,
            derived: Some(derived.transformations),
        }));
    }
    for mut joined in join(segments, turns) {
        let normalised = normaliser.normalise(&joined.text);
        let Some(last) = joined.segments.pop() else {
            continue;
        };
        let limited = normalised.limited;
        let in_place = normalised.undone.iter().map(|u| u.kind);
        let in_place: Vec<_> = in_place.filter(|kind| kind.is_in_place()).collect();
        let derived = normalised.derived.into_iter();
        let derived = derived.map(|d| (d.text, d.transformations));
        let says = std::iter::once((normalised.text.into_owned(), in_place)).chain(derived);
        parts.extend(says.map(|(text, by)| Part {
            segment: last,
            with: joined.segments.clone(),
            map: OffsetMap::whole(text.len(), segments[last].text.len()),
            text: text.into(),
            limited,
            derived: Some(by),
        }));
    }
    (parts, readings)
}
