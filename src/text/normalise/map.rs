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

    /// The map of a text of `bytes` bytes that stands as a whole for an original of `original` bytes.
    #[must_use]
    pub fn whole(bytes: usize, original: usize) -> Self {
        let mut map = MapBuilder::default();
        map.changed(0..original, bytes);
        map.finish(original)
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

    /// Whether any byte of `range` stands for something else in the original.
    #[must_use]
    pub fn is_changed(&self, range: Range<usize>) -> bool {
        let after = self
            .runs
            .partition_point(|run| run.canonical <= range.start);
        let from_there = self.runs.get(after.saturating_sub(1)..).unwrap_or_default();
        let mut touched = from_there
            .iter()
            .take_while(|run| run.canonical < range.end);
        touched.any(|run| !run.is_copy())
    }

    /// The map of a text whose original is itself the canonical text of `outer`, back to the original of that.
    pub(super) fn within(&self, outer: &Self) -> Self {
        let mut map = MapBuilder::default();
        self.append_to(outer, &mut map);
        map.finish(outer.original)
    }

    /// Adds to `map` where each byte of this text stands in the original of `outer`.
    fn append_to(&self, outer: &Self, map: &mut MapBuilder) {
        for (run, end) in self.stretches() {
            if run.is_copy() {
                outer.copy(run.original..run.original + (end - run.canonical), map);
                continue;
            }
            let units = (end - run.canonical) / run.to as usize;
            for unit in 0..units {
                let from = run.original + unit * run.from as usize;
                let range = outer.original(from..from + run.from as usize);
                map.changed(range, run.to as usize);
            }
        }
    }

    /// Adds the bytes `range` of this text to `map`.
    fn copy(&self, range: Range<usize>, map: &mut MapBuilder) {
        let mut at = range.start;
        let first = self.runs.partition_point(|run| run.canonical <= at);
        for (run, end) in self.stretches_from(first.saturating_sub(1)) {
            let end = end.min(range.end);
            if at >= end {
                break;
            }
            if run.is_copy() {
                let from = run.original + (at - run.canonical);
                map.copied(from..from + (end - at));
                at = end;
            }
            while at < end {
                let unit = (at - run.canonical) / run.to as usize;
                let next = end.min(run.canonical + (unit + 1) * run.to as usize);
                let from = run.original + unit * run.from as usize;
                map.changed(from..from + run.from as usize, next - at);
                at = next;
            }
        }
    }

    /// Each run and where it ends in the canonical text.
    fn stretches(&self) -> impl Iterator<Item = (Run, usize)> {
        self.stretches_from(0)
    }

    fn stretches_from(&self, first: usize) -> impl Iterator<Item = (Run, usize)> {
        let whole = Run {
            canonical: 0,
            original: 0,
            to: 1,
            from: 1,
        };
        let runs = self.runs.get(first..).unwrap_or_default();
        let whole = self.runs.is_empty().then_some((whole, self.canonical));
        let each = runs.iter().enumerate().map(move |(i, run)| {
            let next = runs.get(i + 1);
            (*run, next.map_or(self.canonical, |next| next.canonical))
        });
        each.chain(whole)
    }
}

impl Run {
    /// Whether its bytes are the original's.
    fn is_copy(&self) -> bool {
        (self.to, self.from) == (1, 1)
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

    /// The next canonical bytes are those of the text that `map` belongs to.
    pub(super) fn appended(&mut self, map: &OffsetMap) {
        map.append_to(&OffsetMap::identity(map.original), self);
    }

    /// The map, for an original that ends with the last byte named.
    pub(super) fn finish_here(self) -> OffsetMap {
        let end = self.reached;
        self.finish(end)
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
    fn a_map_within_a_map_leads_to_the_original() {
        let mut outer = MapBuilder::default();
        outer.copied(0..4);
        outer.changed(4..7, 1);
        outer.changed(7..10, 1);
        outer.changed(10..16, 2);
        outer.copied(20..30);
        let outer = outer.finish(30); // 18 bytes
        let mut inner = MapBuilder::default();
        inner.copied(2..7); // ends amid the unit of two
        inner.changed(9..12, 2);
        inner.copied(12..18);
        let map = inner.finish(18).within(&outer);
        assert_eq!(map.original(0..2), 2..4);
        assert_eq!(map.original(2..3), 4..7);
        assert_eq!(map.original(4..5), 10..16);
        assert_eq!(map.original(5..6), 21..24);
        assert_eq!(map.original(7..13), 24..30);
        assert!(!map.is_changed(7..13) && map.is_changed(6..13) && !map.is_changed(0..2));
        assert!(!OffsetMap::identity(9).is_changed(0..9));
        let identity = OffsetMap::identity(18);
        assert_eq!(outer.within(&OffsetMap::identity(30)), outer);
        assert_eq!(identity.within(&outer), outer);
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
