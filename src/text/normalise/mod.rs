//! Normalisation: a canonical text with a map back to the original, and what else the text may say.
//!
//! What keeps the meaning is done in place: compatible forms, invisible characters, marks beyond any
//! spelling, lookalikes in words that mix alphabets. What might be meant as written (leetspeak, spelled
//! words, words of one alphabet that look Latin, decodings) becomes a further text beside it, so that a
//! detector scores both and the highest counts. Everything is one pass over the text, and bounded.

mod bytes;
mod cipher;
mod class;
mod disguise;
mod escape;
mod fold;
mod hidden;
mod letters;
mod lexicon;
mod map;
mod markup;
mod order;
mod payload;
mod repair;
mod signal;
mod spelled;
mod together;
mod words;

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::hidden::Payload;
use self::payload::Decoded;
use self::repair::Repair;
use self::signal::Record;

pub use self::map::OffsetMap;
pub use self::signal::{Obfuscation, Transformation, Undone};

/// Limits on what is read beside the canonical text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NormaliseConfig {
    /// Transformations within one another that are undone; 0 yields the canonical text alone.
    pub max_depth: usize,
    /// Bytes of all derived texts, in proportion to the text's; 4 KiB are always allowed.
    pub max_growth: f64,
    /// Derived texts of one text; where there are more, neighbours are read as one.
    pub max_derived: usize,
}

impl Default for NormaliseConfig {
    fn default() -> Self {
        Self {
            max_depth: 3,
            max_growth: 2.0,
            max_derived: 256,
        }
    }
}

/// Bytes of derived texts that are allowed whatever the text's length.
const LEAST_GROWTH: usize = 4096;

/// Makes canonical texts; cheap to clone and to share.
#[derive(Debug, Clone)]
pub struct Normaliser {
    config: NormaliseConfig,
}

/// A text made canonical.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised<'t> {
    /// The canonical text.
    pub text: Cow<'t, str>,
    /// From bytes of [`Self::text`] to bytes of the original.
    pub map: OffsetMap,
    /// What else the text may say, by place; none is equal to another.
    pub derived: Vec<Derived>,
    /// What was undone, by place.
    pub undone: Vec<Undone>,
    /// Whether a limit kept anything out of [`Self::derived`].
    pub limited: bool,
}

/// A further text to be scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// What it says.
    pub text: String,
    /// Where it came from, in bytes of the original.
    pub range: Range<usize>,
    /// From bytes of [`Self::text`] to bytes of the original.
    pub map: OffsetMap,
    /// What was undone to get it, from the outside in.
    pub transformations: Vec<Transformation>,
}

impl Normalised<'_> {
    /// The original bytes behind the bytes `range` of the canonical text, on character boundaries of
    /// both.
    #[must_use]
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        let (mut start, mut end) = (
            range.start.min(self.text.len()),
            range.end.min(self.text.len()),
        );
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        self.map.original(start..end)
    }

    /// How much the text looks like hiding something.
    #[must_use]
    pub fn obfuscation(&self) -> Obfuscation {
        signal::obfuscation(&self.undone)
    }
}

impl Default for Normaliser {
    fn default() -> Self {
        Self::new(NormaliseConfig::default())
    }
}

impl Normaliser {
    /// A normaliser with these limits. The first one reads the tables that all share.
    #[must_use]
    pub fn new(config: NormaliseConfig) -> Self {
        class::class('a');
        lexicon::Lexicon::get();
        Self { config }
    }

    /// Makes `text` canonical. Takes time and memory in proportion to its length.
    #[must_use]
    pub fn normalise<'t>(&self, text: &'t str) -> Normalised<'t> {
        let growth = (text.len() as f64 * self.config.max_growth) as usize;
        let mut budget = Budget {
            bytes: growth.max(LEAST_GROWTH),
            limited: false,
            seen: HashSet::new(),
            hasher: RandomState::new(),
        };
        let Level {
            folded,
            record,
            mut derived,
        } = explore(text, self.config.max_depth, &mut budget);
        derived.retain(|d| d.text != *folded.text);
        if derived.len() > self.config.max_derived {
            derived = together::read(derived, self.config.max_derived);
        }
        budget.limited |= derived.len() > self.config.max_derived;
        derived.truncate(self.config.max_derived);
        derived.sort_by_key(|d| (d.range.start, d.range.end));
        Normalised {
            text: folded.text,
            map: folded.map,
            derived,
            undone: record.finish(),
            limited: budget.limited,
        }
    }
}

/// What may still be derived.
struct Budget {
    bytes: usize,
    limited: bool,
    /// Fingerprints of the texts there are, under keys of this text's own: nobody can choose a text that
    /// is taken for another.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Budget {
    /// Whether another text of `bytes` bytes may be looked into.
    fn allows(&mut self, bytes: usize) -> bool {
        let allowed = bytes <= self.bytes;
        self.limited |= !allowed;
        if allowed {
            self.bytes -= bytes;
        }
        allowed
    }

    /// Whether `text` is new; it then counts.
    fn takes(&mut self, text: &str) -> bool {
        !text.is_empty() && self.seen.insert(self.hasher.hash_one(text))
    }
}

/// A text and everything found in it.
struct Level<'t> {
    folded: fold::Folded<'t>,
    record: Record,
    derived: Vec<Derived>,
}

/// Normalises `text` and, down to `depth`, what it may stand for.
fn explore<'t>(text: &'t str, depth: usize, budget: &mut Budget) -> Level<'t> {
    let mut record = Record::default();
    let mut folded = fold::fold(text, &mut record);
    let mut derived = Vec::new();
    if depth == 0 {
        // What is decoded no more may still say something.
        budget.limited |= words::scan(&folded.text)
            .decoded
            .iter()
            .any(|decoded| lexicon::reads_as_language(&decoded.text));
        return Level {
            folded,
            record,
            derived,
        };
    }
    let found = words::scan(&folded.text);

    let mut repairs = std::mem::take(&mut folded.repairs);
    repairs.extend(found.repairs);
    let without_tags = repair::readings(&folded.text, markup::repairs(&folded.text));
    let readings = repair::readings(&folded.text, repairs).into_iter();
    for reading in readings.chain(without_tags) {
        let mut chain = Vec::new();
        for Repair {
            range, kind, count, ..
        } in &reading.repairs
        {
            record.note(*kind, folded.map.original(range.clone()), *count);
            if !chain.contains(kind) {
                chain.push(*kind);
            }
        }
        if budget.allows(reading.text.len()) {
            let inner = explore(&reading.text, depth - 1, budget);
            let map = reading.map.within(&folded.map);
            add(inner, &chain, &map, budget, &mut derived);
        }
    }

    let decoded = found.decoded.into_iter();
    let decoded = decoded.map(|d| (d.map.within(&folded.map), d, false));
    let hidden = std::mem::take(&mut folded.payloads).into_texts();
    let hidden = hidden.into_iter().map(|d| (d.map.clone(), d, true));
    for (map, decoded, certain) in decoded.chain(hidden) {
        if !budget.allows(decoded.text.len()) {
            continue;
        }
        let inner = explore(&decoded.text, depth - 1, budget);
        let reads = certain || lexicon::reads_as_language(&inner.folded.text);
        if !reads && inner.derived.is_empty() {
            continue;
        }
        let range = map.original(0..decoded.text.len());
        for kind in &decoded.kinds {
            record.note(*kind, range.clone(), decoded.count);
        }
        for undone in inner.record.stretches() {
            record.note(undone.kind, range.clone(), undone.count);
        }
        if reads {
            add(inner, &decoded.kinds, &map, budget, &mut derived);
        } else {
            add_inner(inner.derived, &decoded.kinds, &map, &mut derived);
        }
    }
    Level {
        folded,
        record,
        derived,
    }
}

/// Adds a text found in another one, and what was found in it.
fn add(
    inner: Level<'_>,
    chain: &[Transformation],
    map: &OffsetMap,
    budget: &mut Budget,
    derived: &mut Vec<Derived>,
) {
    if budget.takes(&inner.folded.text) {
        let map = inner.folded.map.within(map);
        derived.push(Derived {
            range: map.original(0..inner.folded.text.len()),
            map,
            text: inner.folded.text.into_owned(),
            transformations: chain.to_vec(),
        });
    }
    add_inner(inner.derived, chain, map, derived);
}

fn add_inner(
    inner: Vec<Derived>,
    chain: &[Transformation],
    map: &OffsetMap,
    derived: &mut Vec<Derived>,
) {
    derived.extend(inner.into_iter().map(|inner| Derived {
        text: inner.text,
        range: map.original(inner.range),
        map: inner.map.within(map),
        transformations: chain.iter().copied().chain(inner.transformations).collect(),
    }));
}

impl hidden::Payloads {
    /// The payloads that are text, with their places in the original.
    fn into_texts(self) -> Vec<Decoded> {
        let all = self
            .tags
            .into_iter()
            .chain(self.selectors)
            .chain(self.overrides);
        all.filter_map(|Payload { range, kind, bytes }| {
            let text = String::from_utf8(bytes).ok()?;
            let letters = text.chars().filter(|c| c.is_alphabetic()).count();
            (letters >= 3).then(|| Decoded::of(range, vec![kind], text, 0))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
