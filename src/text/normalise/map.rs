//! From bytes of the canonical text back to bytes of the original.

use std::ops::Range;

/// Where each piece of a canonical text came from.
///
/// Kept as runs of equal units: what was copied is one run of one-byte units, a word of full-width
/// letters is one run of units "one byte from three". A text that nothing was changed in has no runs.
/// What was deleted belongs to no unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetMap {
    runs: Vec<Run>,
    canonical: usize,
    original: usize,
}

/// Units of equal size that follow each other in both texts, up to the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// First byte in the canonical text.
    canonical: usize,
    /// First byte in the original text.
    original: usize,
    /// Canonical bytes of a unit, at least 1.
    to: u32,
    /// Original bytes of a unit, at least 1.
    from: u32,
}

impl OffsetMap {
    /// The map of a text of `bytes` bytes that is its own canonical form.
    #[must_use]
    pub fn identity(bytes: usize) -> Self {
        Self {
            runs: Vec::new(),
            canonical: bytes,
            original: bytes,
        }
    }

    /// Whether the canonical text is the original.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.runs.is_empty() && self.canonical == self.original
    }

    /// The original bytes behind the bytes `range` of the canonical text, widened to whole units.
    ///
    /// On character boundaries when `range` is. Deleted characters inside are covered, those at the
    /// edges are not. An empty range yields an empty one; a range past the end is cut.
    #[must_use]
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        let start = self.start(range.start);
        if range.start >= range.end {
            return start..start;
        }
        start..self.end(range.end).max(start)
    }

    /// Where the unit that holds the canonical byte `at` starts.
    fn start(&self, at: usize) -> usize {
        if at >= self.canonical {
            return self.original;
        }
        match self.run(at) {
            Some(run) => run.original + (at - run.canonical) / run.to as usize * run.from as usize,
            None => at,
        }
    }

    /// Where the unit that holds the canonical byte before `at` ends.
    fn end(&self, at: usize) -> usize {
        let last = at.min(self.canonical).saturating_sub(1);
        match self.run(last) {
            Some(run) => {
                run.original + ((last - run.canonical) / run.to as usize + 1) * run.from as usize
            }
            None => at.min(self.original),
        }
    }

    fn run(&self, at: usize) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.canonical <= at);
        self.runs.get(after.checked_sub(1)?)
    }
}

/// Builds an [`OffsetMap`] from left to right; what is not named was deleted.
#[derive(Debug, Default)]
pub(super) struct MapBuilder {
    runs: Vec<Run>,
    canonical: usize,
    /// One past the last original byte named.
    reached: usize,
}

impl MapBuilder {
    /// The next canonical bytes are a copy of the original's `range`.
    pub(super) fn copied(&mut self, range: Range<usize>) {
        let bytes = range.len();
        if bytes > 0 {
            self.unit(range.start, 1, 1);
            self.canonical += bytes;
            self.reached = range.end;
        }
    }

    /// The next `bytes` canonical bytes stand for the original's `range`; neither is empty.
    pub(super) fn changed(&mut self, range: Range<usize>, bytes: usize) {
        if bytes > 0 && !range.is_empty() {
            self.unit(range.start, bytes as u32, range.len() as u32);
            self.canonical += bytes;
            self.reached = range.end;
        }
    }

    /// Begins a run unless the last one goes on.
    fn unit(&mut self, original: usize, to: u32, from: u32) {
        let goes_on = self.reached == original
            && self
                .runs
                .last()
                .is_some_and(|run| (run.to, run.from) == (to, from));
        if !goes_on {
            self.runs.push(Run {
                canonical: self.canonical,
                original,
                to,
                from,
            });
        }
    }

    /// The map, for an original of `original` bytes.
    pub(super) fn finish(self, original: usize) -> OffsetMap {
        let identity = self.canonical == original
            && matches!(
                self.runs[..],
                [] | [Run {
                    original: 0,
                    to: 1,
                    from: 1,
                    ..
                }]
            );
        OffsetMap {
            runs: if identity { Vec::new() } else { self.runs },
            canonical: self.canonical,
            original,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_changed_and_deleted_bytes_map_back() {
        let mut map = MapBuilder::default();
        map.copied(0..4); // "abcd"
        map.changed(7..10, 1); // after a deletion, a full-width letter
        map.changed(10..13, 1);
        map.changed(13..16, 2); // "e" with a mark, composed
        map.copied(16..18);
        let map = map.finish(20);
        assert!(!map.is_identity());
        assert_eq!(map.runs.len(), 4, "two full-width letters are one run");
        assert_eq!(map.original(0..4), 0..4);
        assert_eq!(map.original(4..5), 7..10);
        assert_eq!(map.original(5..6), 10..13);
        assert_eq!(
            map.original(3..5),
            3..10,
            "what was deleted inside is covered"
        );
        assert_eq!(map.original(6..7), 13..16, "half a unit is the whole unit");
        assert_eq!(map.original(8..10), 16..18);
        assert_eq!(map.original(4..4), 7..7);
        assert_eq!(map.original(10..99), 20..20);
    }

    #[test]
    fn an_unchanged_text_keeps_no_runs() {
        let mut map = MapBuilder::default();
        map.copied(0..3);
        map.copied(3..9);
        let map = map.finish(9);
        assert_eq!(map, OffsetMap::identity(9));
        assert_eq!(map.original(2..5), 2..5);
    }
}
