//! The part of a text that is at hand.

use std::ops::Range;

use super::escape::{self, Reading};

/// Bytes a check sees behind a match, unless its rule says otherwise: two characters.
pub(super) const LOOK: usize = 8;

/// Bytes a check sees before a match: four groups of four digits, and what stands before them.
pub(super) const FRONT: usize = 24;

/// The part of the text that is at hand: from byte `base` of the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'t> {
    pub text: &'t str,
    pub base: usize,
    /// Whether the whole text ends here.
    pub last: bool,
}

impl<'t> View<'t> {
    pub(super) fn end(&self) -> usize {
        self.base + self.text.len()
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.text
            .as_bytes()
            .get(at.checked_sub(self.base)?)
            .copied()
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &'t str {
        let local = range.start.saturating_sub(self.base)..range.end.saturating_sub(self.base);
        self.text.get(local).unwrap_or_default()
    }

    pub(super) fn slice_bytes(&self, range: Range<usize>) -> &'t [u8] {
        let local = range.start.saturating_sub(self.base)..range.end.saturating_sub(self.base);
        self.text.as_bytes().get(local).unwrap_or_default()
    }

    /// The whole characters of `range`, as far as the text goes.
    pub(super) fn around(&self, range: Range<usize>) -> &'t str {
        let (mut start, mut end) = (range.start.max(self.base), range.end.min(self.end()));
        while start < end && !self.text.is_char_boundary(start - self.base) {
            start += 1;
        }
        while start < end && !self.text.is_char_boundary(end - self.base) {
            end -= 1;
        }
        self.slice(start..end)
    }

    pub(super) fn char_before(&self, at: usize) -> Option<char> {
        self.slice(self.base..at).chars().next_back()
    }

    /// The character before `at`; a line break for an escape.
    pub(super) fn sign_before(&self, at: usize) -> Option<char> {
        match escape::ends(self.slice_bytes(self.base..at)) {
            true => Some('\n'),
            false => self.char_before(at),
        }
    }

    /// What the backslash before `at` may be, by what a check may see.
    pub(super) fn reading(&self, at: usize) -> Reading {
        let before = self.slice_bytes(at.saturating_sub(LOOK)..at);
        Reading::of(before, self.slice_bytes(at..self.end()))
    }
}
