//! What was undone where, and how much it looks like hiding.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A way to write a text so that a detector does not read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transformation {
    /// Zero-width and control characters inside words.
    Invisible,
    /// Characters that change the direction of writing, inside words or overriding it.
    Bidi,
    /// Variation selectors that select nothing; their payload.
    VariationSelectors,
    /// Unicode tag characters that make no flag; their payload.
    Tags,
    /// Full-width Latin words.
    FullWidth,
    /// Words of mathematical, circled, squared or raised letters.
    StyledLetters,
    /// More combining marks than any script stacks, and strokes through letters.
    StackedMarks,
    /// Letters of another script that look like Latin ones.
    Confusables,
    /// Letters said again and again.
    RepeatedLetters,
    /// Digits and signs for letters.
    Leetspeak,
    /// Words spelled letter by letter.
    SpacedLetters,
    /// Punctuation or markup inside words.
    SplitWords,
    /// A letter put before a word.
    PrefixedWords,
    /// Words without the spaces between them.
    JoinedWords,
    /// Letters inside words in another order.
    SwappedLetters,
    /// Base64, standard or URL-safe.
    Base64,
    /// Bytes in hexadecimal, with or without separators.
    Hex,
    /// Bytes in binary.
    Binary,
    /// Percent-encoding of characters that need none.
    Url,
    /// HTML character references for characters that need none.
    HtmlEntity,
    /// Backslash escapes for characters that need none.
    Escape,
    /// Letters rotated by 13.
    Rot13,
    /// Characters in reverse order, in a text or in each word.
    Reversed,
    /// Words in reverse order.
    ReversedWords,
}

impl Transformation {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 24] = [
        Self::Invisible,
        Self::Bidi,
        Self::VariationSelectors,
        Self::Tags,
        Self::FullWidth,
        Self::StyledLetters,
        Self::StackedMarks,
        Self::Confusables,
        Self::RepeatedLetters,
        Self::Leetspeak,
        Self::SpacedLetters,
        Self::SplitWords,
        Self::PrefixedWords,
        Self::JoinedWords,
        Self::SwappedLetters,
        Self::Base64,
        Self::Hex,
        Self::Binary,
        Self::Url,
        Self::HtmlEntity,
        Self::Escape,
        Self::Rot13,
        Self::Reversed,
        Self::ReversedWords,
    ];

    /// The name used as a detector's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invisible => "invisible",
            Self::Bidi => "bidi",
            Self::VariationSelectors => "variation_selectors",
            Self::Tags => "tags",
            Self::FullWidth => "full_width",
            Self::StyledLetters => "styled_letters",
            Self::StackedMarks => "stacked_marks",
            Self::Confusables => "confusables",
            Self::RepeatedLetters => "repeated_letters",
            Self::Leetspeak => "leetspeak",
            Self::SpacedLetters => "spaced_letters",
            Self::SplitWords => "split_words",
            Self::PrefixedWords => "prefixed_words",
            Self::JoinedWords => "joined_words",
            Self::SwappedLetters => "swapped_letters",
            Self::Base64 => "base64",
            Self::Hex => "hex",
            Self::Binary => "binary",
            Self::Url => "url",
            Self::HtmlEntity => "html_entity",
            Self::Escape => "escape",
            Self::Rot13 => "rot13",
            Self::Reversed => "reversed",
            Self::ReversedWords => "reversed_words",
        }
    }

    /// Whether undoing it changes the canonical text itself; the others give further texts.
    #[must_use]
    pub fn is_in_place(self) -> bool {
        matches!(
            self,
            Self::Invisible
                | Self::Bidi
                | Self::VariationSelectors
                | Self::Tags
                | Self::FullWidth
                | Self::StyledLetters
                | Self::StackedMarks
                | Self::Confusables
                | Self::RepeatedLetters
        )
    }

    /// Whether what it gives is what was written, in another form; others are guesses at spelling.
    #[must_use]
    pub fn is_decoded(self) -> bool {
        matches!(
            self,
            Self::Base64
                | Self::Hex
                | Self::Binary
                | Self::Url
                | Self::HtmlEntity
                | Self::Escape
                | Self::Rot13
                | Self::Reversed
                | Self::Tags
                | Self::VariationSelectors
        )
    }

    /// The count at which this kind alone scores one half: what ordinary text may well hold has a high
    /// one, and what nobody writes by accident a low one.
    fn half(self) -> f32 {
        match self {
            Self::Tags | Self::VariationSelectors | Self::Url | Self::HtmlEntity => 4.0,
            Self::Escape => 6.0,
            Self::Base64 | Self::Hex | Self::Binary => 8.0, // decoded characters
            Self::Rot13 | Self::Reversed => 3.0,            // words
            Self::ReversedWords => 3.0,                     // pairs
            Self::Bidi | Self::Invisible => 4.0,
            Self::StackedMarks => 6.0,
            Self::Confusables => 2.0, // words
            Self::SpacedLetters
            | Self::FullWidth
            | Self::StyledLetters
            | Self::SplitWords
            | Self::Leetspeak => 3.0,
            Self::PrefixedWords | Self::JoinedWords => 4.0,
            Self::SwappedLetters => 6.0, // people mistype
            Self::RepeatedLetters => 24.0,
        }
    }
}

/// One kind of transformation undone in one stretch of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// What was undone.
    pub kind: Transformation,
    /// From the first to the last place, in bytes of the original.
    pub range: Range<usize>,
    /// How often: characters, or words where words are what is undone.
    pub count: usize,
}

/// How much a text looks like hiding something.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Obfuscation {
    /// 0 (nothing) to 1; one half and above is no accident.
    pub score: f32,
    /// Each kind's own score, highest first.
    pub kinds: Vec<(Transformation, f32)>,
}

/// Places of one kind nearer than this are one stretch, in bytes.
const NEAR: usize = 64;

/// Collects what was undone, from left to right for each kind.
#[derive(Debug, Default)]
pub(super) struct Record {
    undone: Vec<Undone>,
    /// The latest stretch of each kind.
    latest: [Option<usize>; Transformation::ALL.len()],
}

impl Record {
    /// Notes that `count` of `kind` were undone in `range`; nothing when `count` is 0.
    pub(super) fn note(&mut self, kind: Transformation, range: Range<usize>, count: usize) {
        if count == 0 {
            return;
        }
        let latest = self.latest.get_mut(kind as usize);
        let near = latest
            .as_ref()
            .and_then(|slot| **slot)
            .and_then(|i| self.undone.get_mut(i));
        if let Some(stretch) = near
            && range.start <= stretch.range.end + NEAR
            && range.start >= stretch.range.start
        {
            stretch.range.end = stretch.range.end.max(range.end);
            stretch.count += count;
            return;
        }
        if let Some(slot) = latest {
            *slot = Some(self.undone.len());
        }
        self.undone.push(Undone { kind, range, count });
    }

    /// All stretches so far.
    pub(super) fn stretches(&self) -> &[Undone] {
        &self.undone
    }

    /// All stretches, by place.
    pub(super) fn finish(mut self) -> Vec<Undone> {
        self.undone
            .sort_by_key(|u| (u.range.start, u.range.end, u.kind));
        self.undone
    }
}

/// Scores what was undone.
pub(super) fn obfuscation(undone: &[Undone]) -> Obfuscation {
    let mut kinds: Vec<(Transformation, f32)> = Transformation::ALL
        .into_iter()
        .filter_map(|kind| {
            let count: usize = undone
                .iter()
                .filter(|u| u.kind == kind)
                .map(|u| u.count)
                .sum();
            let count = count as f32;
            (count > 0.0).then(|| (kind, count / (count + kind.half())))
        })
        .collect();
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    let calm: f32 = kinds
        .iter()
        .map(|(_, score)| 1.0 - score * score.sqrt())
        .product();
    let top = kinds.first().map_or(0.0, |k| k.1);
    Obfuscation {
        score: (1.0 - calm).max(top).min(1.0),
        kinds,
    }
}
