//! Spans found against spans annotated.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A labelled span, in characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub struct Span {
    /// First character.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// Entity label.
    pub label: String,
}

/// Counts of one label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LabelCounts {
    /// Annotated.
    pub truth: usize,
    /// Found.
    pub found: usize,
    /// Found with exactly an annotated span.
    pub exact: usize,
    /// Found and overlapping an annotated span of the label.
    pub overlapping_found: usize,
    /// Annotated and overlapped by a found span of the label.
    pub overlapped_truth: usize,
}

/// Counts by label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpanCounts(pub BTreeMap<String, LabelCounts>);

impl LabelCounts {
    /// F1 of exact spans; none where nothing was annotated or found.
    #[must_use]
    pub fn exact_f1(&self) -> Option<f64> {
        let all = self.truth + self.found;
        (all > 0).then(|| 2.0 * self.exact as f64 / all as f64)
    }

    /// F1 of overlapping spans.
    #[must_use]
    pub fn overlap_f1(&self) -> Option<f64> {
        let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
        let precision = share(self.overlapping_found, self.found);
        let recall = share(self.overlapped_truth, self.truth);
        let sum = precision + recall;
        (self.truth + self.found > 0).then(|| {
            if sum > 0.0 {
                2.0 * precision * recall / sum
            } else {
                0.0
            }
        })
    }

    fn add(&mut self, other: &Self) {
        self.truth += other.truth;
        self.found += other.found;
        self.exact += other.exact;
        self.overlapping_found += other.overlapping_found;
        self.overlapped_truth += other.overlapped_truth;
    }
}

impl SpanCounts {
    /// Counts one text. Labels outside `covered` are unknown and left out.
    pub fn count(&mut self, truth: &[Span], found: &[Span], covered: Option<&BTreeSet<String>>) {
        let known = |s: &&Span| covered.is_none_or(|c| c.contains(&s.label));
        let overlap = |a: &Span, b: &Span| a.label == b.label && a.start < b.end && b.start < a.end;
        for span in truth.iter().filter(known) {
            let counts = self.0.entry(span.label.clone()).or_default();
            counts.truth += 1;
            counts.exact += usize::from(found.contains(span));
            counts.overlapped_truth += usize::from(found.iter().any(|f| overlap(span, f)));
        }
        for span in found.iter().filter(known) {
            let counts = self.0.entry(span.label.clone()).or_default();
            counts.found += 1;
            counts.overlapping_found += usize::from(truth.iter().any(|t| overlap(span, t)));
        }
    }

    /// All labels together.
    #[must_use]
    pub fn total(&self) -> LabelCounts {
        let mut total = LabelCounts::default();
        self.0.values().for_each(|counts| total.add(counts));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, end: usize, label: &str) -> Span {
        Span {
            start,
            end,
            label: label.into(),
        }
    }

    #[test]
    fn pieces_are_misses_and_uncovered_labels_are_left_out() {
        let mut counts = SpanCounts::default();
        let truth = [span(0, 10, "A"), span(20, 25, "B")];
        let found = [
            span(0, 4, "A"),
            span(5, 10, "A"),
            span(20, 25, "B"),
            span(30, 31, "C"),
        ];
        let covered = ["A".to_owned(), "B".to_owned()].into();
        counts.count(&truth, &found, Some(&covered));
        let total = counts.total();
        assert_eq!((total.truth, total.found, total.exact), (2, 3, 1));
        assert_eq!(total.exact_f1(), Some(0.4));
        assert_eq!(counts.0["A"].overlap_f1(), Some(1.0));
        assert!(!counts.0.contains_key("C"));
    }
}
