//! What a policy lets pass whatever detectors say.

use std::ops::Range;

use super::{Check, Policy};

/// What a policy lets pass whatever detectors say.
pub(super) struct Allowed {
    /// Spans of each segment.
    spans: Vec<Vec<Range<usize>>>,
    /// Each segment without the white space around it.
    whole: Vec<Range<usize>>,
}

impl Allowed {
    pub(super) fn new(check: &Check, policy: &Policy) -> Self {
        let Some(patterns) = &policy.allow else {
            return Self {
                spans: Vec::new(),
                whole: Vec::new(),
            };
        };
        let texts = || check.segments.iter().map(|s| &*s.text);
        Self {
            spans: texts()
                .map(|text| {
                    let mut reach = 0;
                    let spans = patterns.scan(text).into_iter().map(|m| m.span);
                    spans
                        .filter(|s| {
                            let farther = s.end > reach;
                            reach = reach.max(s.end);
                            farther
                        })
                        .collect()
                })
                .collect(),
            whole: texts()
                .map(|text| {
                    let start = text.len() - text.trim_start().len();
                    start..start + text.trim().len()
                })
                .collect(),
        }
    }

    /// Whether an allowed text covers all of a segment.
    pub(super) fn whole(&self, segment: usize) -> bool {
        let whole = self.whole.get(segment);
        whole.is_some_and(|whole| self.covers(segment, whole))
    }

    /// Whether an allowed text covers all of a span.
    pub(super) fn covers(&self, segment: usize, span: &Range<usize>) -> bool {
        let Some(spans) = self.spans.get(segment) else {
            return false;
        };
        // In order of their starts, and cut to those that reach farther than all before them.
        let before = spans.partition_point(|s| s.start <= span.start);
        spans[..before].last().is_some_and(|s| span.end <= s.end)
    }
}
