//! Stretches of unknown words that become known ones when letters are rotated or read backwards.

use std::ops::Range;

use super::lexicon::Lexicon;
use super::payload::Decoded;
use super::signal::Transformation;

/// Excess of unknown over known words that makes a stretch worth a try.
const WORTH: f32 = 2.0;
/// How far a stretch reaches over words of its line that are known by chance, in bytes.
const EDGE: usize = 24;

/// Follows the words of a text and keeps the stretches where few are known (a cumulative sum: up for
/// each unknown word, down for each known one).
#[derive(Debug, Default)]
pub(super) struct Stretches {
    start: usize,
    /// Where the sum was highest.
    end: usize,
    sum: f32,
    peak: f32,
    found: Vec<Range<usize>>,
}

impl Stretches {
    /// A known word.
    pub(super) fn known(&mut self) {
        if self.sum > 0.0 {
            self.sum -= 1.5;
            if self.sum <= 0.0 || self.sum < self.peak - 6.0 {
                self.close();
            }
        }
    }

    /// An unknown word in `range`.
    pub(super) fn unknown(&mut self, range: &Range<usize>) {
        if self.sum <= 0.0 {
            self.start = range.start;
        }
        self.sum += 1.0;
        if self.sum > self.peak {
            self.peak = self.sum;
            self.end = range.end;
        }
    }

    fn close(&mut self) {
        if self.peak >= WORTH {
            self.found.push(self.start..self.end);
        }
        (self.sum, self.peak) = (0.0, 0.0);
    }

    /// What the stretches of `text` say.
    pub(super) fn read(mut self, text: &str) -> Vec<Decoded> {
        self.close();
        let mut decoded = Vec::new();
        let mut reached = 0;
        for stretch in self.found {
            let range = to_line_edges(text, stretch.start.max(reached)..stretch.end.max(reached));
            reached = range.end;
            let slice = text.get(range.clone()).unwrap_or_default();
            let words = Count::of(slice);
            let mut push = |kind, text, count| {
                decoded.push(Decoded::of(range.clone(), vec![kind], text, count));
            };
            if words.says(words.rotated) {
                push(Transformation::Rot13, rot13(slice), words.rotated.words);
            }
            if words.says(words.reversed) {
                let count = words.reversed.words;
                let backwards = slice.chars().rev().collect();
                push(Transformation::Reversed, backwards, count);
                // Each word by itself: a text cannot be both, so it adds nothing to the signal.
                push(Transformation::Reversed, reverse_words(slice), 0);
            }
        }
        decoded
    }
}

/// Words and letters that a reading makes known.
#[derive(Debug, Clone, Copy, Default)]
struct Hits {
    words: usize,
    letters: usize,
}

#[derive(Debug, Default)]
struct Count {
    letters: usize,
    plain: Hits,
    rotated: Hits,
    reversed: Hits,
}

impl Count {
    fn of(text: &str) -> Self {
        let lexicon = Lexicon::get();
        let mut count = Self::default();
        let mut buffer = Vec::new();
        for word in text.as_bytes().split(|b| !b.is_ascii_alphabetic()) {
            if word.len() < 2 {
                continue;
            }
            count.letters += word.len();
            let note = |hits: &mut Hits, word: &[u8]| {
                if lexicon.knows(word) {
                    hits.words += usize::from(word.len() > 2);
                    hits.letters += word.len();
                }
            };
            note(&mut count.plain, word);
            buffer.clear();
            buffer.extend(word.iter().map(|&b| rotate(b)));
            note(&mut count.rotated, &buffer);
            buffer.clear();
            buffer.extend(word.iter().rev());
            note(&mut count.reversed, &buffer);
        }
        count
    }

    /// Whether a reading with these hits is what the text says.
    fn says(&self, hits: Hits) -> bool {
        hits.words >= 3
            && hits.letters * 10 >= self.letters * 6
            && hits.letters >= 2 * self.plain.letters
            && hits.letters >= 12
    }
}

/// Widens a stretch to the ends of its lines where these are near.
fn to_line_edges(text: &str, range: Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let from = range.start.saturating_sub(EDGE);
    let before = bytes.get(from..range.start).unwrap_or_default();
    let start = match before.iter().rposition(|&b| b == b'\n') {
        Some(at) => from + at + 1,
        None if from == 0 => 0,
        None => range.start,
    };
    let to = (range.end + EDGE).min(bytes.len());
    let after = bytes.get(range.end..to).unwrap_or_default();
    let end = match after.iter().position(|&b| b == b'\n') {
        Some(at) => range.end + at,
        None if to == bytes.len() => to,
        None => range.end,
    };
    start..end
}

/// An ASCII letter rotated by 13; anything else as it is.
pub(super) fn rotate(b: u8) -> u8 {
    match b {
        b'a'..=b'z' => (b - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (b - b'A' + 13) % 26 + b'A',
        _ => b,
    }
}

/// `text` with its ASCII letters rotated by 13.
pub(super) fn rot13(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii() {
                rotate(c as u8).into()
            } else {
                c
            }
        })
        .collect()
}

/// `text` with the characters of each word in reverse order and the words where they are.
fn reverse_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end_matches(char::is_whitespace);
        out.extend(word.chars().rev());
        out.push_str(&piece[word.len()..]);
    }
    out
}
