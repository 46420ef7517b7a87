//! Positions of one text in bytes, characters (Unicode scalars) and UTF-16 code units.

use unicode_segmentation::{GraphemeCursor, GraphemeIncomplete};

/// One place in a text, in the three units callers count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Bytes of UTF-8 before the place.
    pub byte: usize,
    /// Unicode scalars before the place.
    pub char: usize,
    /// UTF-16 code units before the place.
    pub utf16: usize,
}

/// Distance in bytes between two checkpoints of the index.
const EVERY: usize = 512;

/// Answers where a byte offset lies in characters and UTF-16 units, each in constant time after one
/// linear pass.
#[derive(Debug)]
pub struct PositionIndex<'t> {
    text: &'t str,
    checkpoints: Vec<Position>,
}

impl<'t> PositionIndex<'t> {
    /// Reads `text` once.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let mut checkpoints = Vec::with_capacity(text.len() / EVERY + 1);
        let mut here = Position::default();
        checkpoints.push(here);
        for c in text.chars() {
            if here.byte >= checkpoints.len() * EVERY {
                checkpoints.push(here);
            }
            here = after(here, c);
        }
        Self { text, checkpoints }
    }

    /// The position at `byte`, which is moved back to the character it falls into.
    #[must_use]
    pub fn at(&self, byte: usize) -> Position {
        let byte = floor_char_boundary(self.text, byte);
        // A checkpoint is the first character start at or after its multiple of EVERY.
        let mut slot = (byte / EVERY).min(self.checkpoints.len() - 1);
        while self.checkpoints[slot].byte > byte {
            slot -= 1;
        }
        let mut here = self.checkpoints[slot];
        for c in self.text[here.byte..byte].chars() {
            here = after(here, c);
        }
        here
    }
}

fn after(here: Position, c: char) -> Position {
    Position {
        byte: here.byte + c.len_utf8(),
        char: here.char + 1,
        utf16: here.utf16 + c.len_utf16(),
    }
}

/// The last character start at or before `byte`.
pub(crate) fn floor_char_boundary(text: &str, byte: usize) -> usize {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

/// How far a boundary may move to reach the end of what a reader sees as one character. Longer
/// clusters (stacked combining marks) are cut: the bound keeps hostile text linear.
const MAX_CLUSTER: usize = 64;

/// What no entity begins or ends with.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '|')
}

/// Widens `start..end` so that no visible character (grapheme cluster) is cut in two, and drops
/// white space and separators at both ends. Returns `None` when nothing is left.
pub(crate) fn tidy_span(text: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let start = floor_char_boundary(text, start);
    let end = floor_char_boundary(text, end);
    if start >= end {
        return None;
    }
    let mut first = start;
    while first > 0 && start - first < MAX_CLUSTER && !is_cluster_boundary(text, first) {
        first = floor_char_boundary(text, first - 1);
    }
    let mut last = end;
    while last < text.len() && last - end < MAX_CLUSTER && !is_cluster_boundary(text, last) {
        last += 1;
        while !text.is_char_boundary(last) {
            last += 1;
        }
    }
    let slice = &text[first..last];
    let trimmed = slice.trim_start_matches(is_separator);
    let first = last - trimmed.len();
    let last = first + trimmed.trim_end_matches(is_separator).len();
    (first < last).then_some((first, last))
}

fn is_cluster_boundary(text: &str, byte: usize) -> bool {
    let from = floor_char_boundary(text, byte.saturating_sub(MAX_CLUSTER));
    let to = floor_char_boundary(text, byte + MAX_CLUSTER);
    let mut cursor = GraphemeCursor::new(byte, text.len(), true);
    match cursor.is_boundary(&text[from..to], from) {
        Ok(boundary) => boundary,
        Err(GraphemeIncomplete::PreContext(_)) => {
            // The deciding context lies further back than a cluster may reach: call it a boundary.
            true
        }
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_offset_agrees_with_counting(text in "(\\PC|\u{301}|🙂|é|漢|\u{200d}){0,900}") {
            let index = PositionIndex::new(&text);
            for (chars, (byte, _)) in text.char_indices().enumerate() {
                let position = index.at(byte);
                prop_assert_eq!(position.byte, byte);
                prop_assert_eq!(position.char, chars);
                prop_assert_eq!(position.utf16, text[..byte].encode_utf16().count());
            }
            prop_assert_eq!(index.at(text.len()).byte, text.len());
        }
    }

    #[test]
    fn a_span_never_cuts_a_visible_character() {
        // "é" written as e + combining acute: the span takes the mark along.
        let text = "Ame\u{301}lie x";
        assert_eq!(tidy_span(text, 0, 3), Some((0, 5)));
        assert_eq!(
            tidy_span(text, 5, 9),
            Some((5, 8)),
            "white space is dropped"
        );
        assert_eq!(tidy_span("a   b", 1, 4), None);
        assert_eq!(tidy_span("by Ada, Bob;", 2, 7), Some((3, 6)));
        // A family emoji joined by zero-width joiners is one character.
        let family = "👩\u{200d}👧 x";
        assert_eq!(tidy_span(family, 0, 4), Some((0, 11)));
    }
}
