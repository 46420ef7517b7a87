//! Other readings of words, gathered into other readings of the text around them.

use std::ops::Range;

use super::map::{MapBuilder, OffsetMap};
use super::signal::Transformation;

/// Repairs nearer than this are read together, in bytes.
const NEAR: usize = 240;
/// Text kept on each side of a reading, in bytes; at most half of [`NEAR`], so that none overlap.
const CONTEXT: usize = 120;
/// Weight that a group of repairs must reach to be read at all.
const ENOUGH: u32 = 2;
/// Weight of a group whose weightless repairs go along.
const COMPANY: u32 = 3;

/// Another reading of a word or of a few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repair {
    /// Bytes of the canonical text.
    pub(super) range: Range<usize>,
    pub(super) text: String,
    /// Where a part of `text` alone differs: bytes of the canonical text, and how many stand for them. All
    /// of it is another reading where none are named.
    pub(super) units: Vec<(Range<usize>, usize)>,
    pub(super) kind: Transformation,
    /// 2: certain by itself. 1: needs another one near. 0: goes along where there are several.
    pub(super) weight: u32,
    /// What it adds to the signal.
    pub(super) count: usize,
}

/// A stretch of the canonical text with its words repaired.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) text: String,
    /// From bytes of `text` to bytes of the canonical text.
    pub(super) map: OffsetMap,
    pub(super) repairs: Vec<Repair>,
}

/// Groups `repairs` of `text` and applies those of each group that weighs enough: what is decoded by itself,
/// guesses at spelling by themselves.
pub(super) fn readings(text: &str, mut repairs: Vec<Repair>) -> Vec<Reading> {
    repairs.sort_by(|a, b| {
        (a.range.start, b.range.end, b.weight).cmp(&(b.range.start, a.range.end, a.weight))
    });
    let mut reached = 0;
    repairs.retain(|repair| {
        let free = repair.range.start >= reached;
        if free {
            reached = repair.range.end;
        }
        free
    });
    let (decoded, guessed): (Vec<_>, Vec<_>) =
        repairs.into_iter().partition(|r| r.kind.is_decoded());
    let mut all = grouped(text, decoded);
    all.extend(grouped(text, guessed));
    all
}

fn grouped(text: &str, repairs: Vec<Repair>) -> Vec<Reading> {
    let mut all = Vec::new();
    let mut rest = repairs.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut group = vec![first];
        while let Some(next) = rest.next_if(|next| {
            group
                .last()
                .is_some_and(|last| next.range.start <= last.range.end + NEAR)
        }) {
            group.push(next);
        }
        let weight: u32 = group.iter().map(|repair| repair.weight).sum();
        if weight < COMPANY {
            group.retain(|repair| repair.weight > 0);
        }
        let changes = |repair: &Repair| text.get(repair.range.clone()) != Some(&repair.text);
        if weight >= ENOUGH && group.iter().any(changes) {
            all.push(apply(text, group));
        }
    }
    all
}

fn apply(text: &str, repairs: Vec<Repair>) -> Reading {
    let start = repairs.first().map_or(0, |repair| repair.range.start);
    let end = repairs.last().map_or(0, |repair| repair.range.end);
    let range = context_start(text, start)..context_end(text, end);
    let mut read = String::with_capacity(range.len());
    let mut map = MapBuilder::default();
    let mut at = range.start;
    for repair in &repairs {
        read.push_str(text.get(at..repair.range.start).unwrap_or_default());
        map.copied(at..repair.range.start);
        read.push_str(&repair.text);
        at = repair.range.start;
        for (from, to) in &repair.units {
            map.copied(at..from.start);
            map.changed(from.clone(), *to);
            at = from.end;
        }
        if repair.units.is_empty() {
            map.changed(repair.range.clone(), repair.text.len());
        } else {
            map.copied(at..repair.range.end);
        }
        at = repair.range.end;
    }
    read.push_str(text.get(at..range.end).unwrap_or_default());
    map.copied(at..range.end);
    Reading {
        text: read,
        map: map.finish(range.end),
        repairs,
    }
}

/// The first white space within reach before `start`, or the text's start.
fn context_start(text: &str, start: usize) -> usize {
    let from = start.saturating_sub(CONTEXT);
    if from == 0 {
        return 0;
    }
    let window = text.as_bytes().get(from..start).unwrap_or_default();
    window
        .iter()
        .position(u8::is_ascii_whitespace)
        .map_or(start, |at| from + at + 1)
}

/// The last white space within reach after `end`, or the text's end.
fn context_end(text: &str, end: usize) -> usize {
    if end + CONTEXT >= text.len() {
        return text.len();
    }
    let window = text.as_bytes().get(end..end + CONTEXT).unwrap_or_default();
    window
        .iter()
        .rposition(u8::is_ascii_whitespace)
        .map_or(end, |at| end + at)
}
