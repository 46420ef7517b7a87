//! Text whose words stand in reverse order: "the of", "your to", where language has "of the", "to your".

use std::ops::Range;

use super::payload::Decoded;
use super::signal::Transformation;

/// Reversed pairs, above pairs in order, that make a text one to be read backwards.
const ENOUGH: u32 = 2;

/// What a word does beside its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Part {
    /// Stands before a noun.
    Article,
    /// Joins what is before it and what is after; never right after an article.
    Link,
    #[default]
    Other,
}

impl Part {
    fn of(word: &[u8]) -> Self {
        let is = |of: &[&[u8]]| of.iter().any(|known| word.eq_ignore_ascii_case(known));
        match word.len() {
            2 if is(&[
                b"of", b"to", b"in", b"on", b"is", b"as", b"by", b"at", b"or",
            ]) =>
            {
                Self::Link
            }
            3 if is(&[b"and", b"for", b"are"]) => Self::Link,
            4 if is(&[b"with", b"from"]) => Self::Link,
            2 if is(&[b"an", b"my"]) => Self::Article,
            3 if is(&[b"the", b"our"]) => Self::Article,
            4 if is(&[b"your"]) => Self::Article,
            5 if is(&[b"their"]) => Self::Article,
            _ => Self::Other,
        }
    }
}

/// Follows the words of a text and keeps the stretches that run backwards (a cumulative sum: up for
/// each reversed pair, down for each pair in order).
#[derive(Debug, Default)]
pub(super) struct Order {
    before: Part,
    start: usize,
    end: usize,
    sum: u32,
    peak: u32,
    found: Vec<(Range<usize>, u32)>,
}

impl Order {
    /// The next word.
    pub(super) fn word(&mut self, word: &[u8], range: &Range<usize>) {
        let part = Part::of(word);
        match (self.before, part) {
            (Part::Article, Part::Link) => {
                if self.sum == 0 {
                    self.start = range.start;
                }
                self.sum += 1;
                if self.sum > self.peak {
                    self.peak = self.sum;
                    self.end = range.end;
                }
            }
            (Part::Link, Part::Article) if self.sum > 0 => {
                self.sum -= 1;
                if self.sum == 0 {
                    self.close();
                }
            }
            _ => {}
        }
        self.before = part;
    }

    /// Something that is no word.
    pub(super) fn other(&mut self) {
        self.before = Part::Other;
    }

    fn close(&mut self) {
        if self.peak >= ENOUGH {
            self.found.push((self.start..self.end, self.peak));
        }
        (self.sum, self.peak) = (0, 0);
    }

    /// The lines of `text` that run backwards, with their words in order.
    pub(super) fn read(mut self, text: &str) -> Vec<Decoded> {
        self.close();
        let mut decoded: Vec<Decoded> = Vec::new();
        let mut reached = 0;
        for (stretch, pairs) in self.found {
            let before = text.get(reached..stretch.start).unwrap_or_default();
            let start = before.rfind('\n').map_or(reached, |at| reached + at + 1);
            let after = text.get(stretch.end..).unwrap_or_default();
            let end = after.find('\n').map_or(text.len(), |at| stretch.end + at);
            if stretch.start < reached {
                continue;
            }
            let lines = text.get(start..end).unwrap_or_default();
            let words: Vec<&str> = lines.split_whitespace().rev().collect();
            let kinds = vec![Transformation::ReversedWords];
            let said = words.join(" ");
            decoded.push(Decoded::of(start..end, kinds, said, pairs as usize));
            reached = end;
        }
        decoded
    }
}
