//! One segment through one package: tokens to windows, windows' scores back to evidence.

use std::ops::Range;
use std::sync::Arc;

use super::LoadedPackage;
use super::patterns::escape;
use crate::engine::{HeadSet, SequenceScores};
use crate::package::Task;
use crate::scheduler::{Window, WindowOutcome};
use crate::text::TokenizedText;

/// A segment's tokens and the windows they were cut into for one package.
#[derive(Debug)]
pub struct SegmentScan {
    tokens: Arc<TokenizedText>,
    heads: HeadSet,
    /// Text tokens of each window.
    windows: Vec<Range<usize>>,
}

/// What a head says about a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Index into [`crate::package::HeadSpec::finding_labels`].
    pub label: usize,
    /// 0 to 1.
    pub score: f32,
    /// Bytes of the original text: the entity, or the window that scored highest.
    pub span: Range<usize>,
}

/// How much of a segment a head has scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Windows scored.
    pub windows: usize,
    /// Text tokens scored.
    pub tokens: usize,
    /// Text tokens in all.
    pub of_tokens: usize,
    /// Characters the tokenizer deleted or has no token for, white space and marks aside.
    pub unread: usize,
    /// Those of them that may be part of words.
    pub illegible: usize,
    /// Windows whose deadline passed.
    pub expired: usize,
    /// Windows that failed, or whose scores were not finite.
    pub failed: usize,
}

impl SegmentScan {
    /// Cuts `tokens` for `package`; `heads` are wanted.
    #[must_use]
    pub fn new(package: &LoadedPackage, tokens: Arc<TokenizedText>, heads: HeadSet) -> Self {
        let windows = package.windows.windows(tokens.ids.len()).collect();
        Self {
            tokens,
            heads,
            windows,
        }
    }

    /// The heads wanted for this segment.
    #[must_use]
    pub fn heads(&self) -> HeadSet {
        self.heads
    }

    /// How many windows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether the text has no token at all (white space, say).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The windows as the scheduler takes them, special tokens added.
    pub fn windows<'a>(&'a self, package: &'a LoadedPackage) -> impl Iterator<Item = Window> + 'a {
        self.windows.iter().map(|window| {
            let text = &self.tokens.ids[window.clone()];
            let tokenizer = &package.tokenizer;
            Window {
                ids: [tokenizer.prefix(), text, tokenizer.suffix()]
                    .concat()
                    .into(),
                heads: self.heads,
            }
        })
    }

    /// Folds the windows' outcomes for `head`: the maximum of each label of a sequence head; the
    /// entities of a token head, decoded once over the whole text from the windows in which each
    /// token has the most context. `text` is the segment's.
    #[must_use]
    pub fn fold(
        &self,
        package: &LoadedPackage,
        head: usize,
        text: &str,
        outcomes: &[WindowOutcome],
    ) -> (Vec<Evidence>, Coverage) {
        let mut coverage = Coverage {
            of_tokens: self.tokens.ids.len() - self.tokens.unknown,
            unread: self.tokens.unread,
            illegible: self.tokens.illegible,
            ..Coverage::default()
        };
        let mut scored = Vec::with_capacity(self.windows.len());
        for (k, outcome) in outcomes.iter().enumerate() {
            match outcome {
                WindowOutcome::Scored(scores) => match finite(scores, head) {
                    Some(scores) => {
                        coverage.windows += 1;
                        let owned = package.windows.owned(k, self.tokens.ids.len());
                        coverage.tokens += self.tokens.known_in(owned);
                        scored.push((k, scores));
                    }
                    None => coverage.failed += 1,
                },
                WindowOutcome::Failed(_) => coverage.failed += 1,
                WindowOutcome::Expired => coverage.expired += 1,
            }
        }
        let spec = &package.heads[head];
        let evidence = match &spec.task {
            Task::Sequence => self.fold_maximum(spec.labels.len(), &scored),
            Task::Token(tags) => {
                let columns = tags.tags();
                let outside = tags.outside();
                let skip = package.tokenizer.prefix().len();
                let mut of_window = vec![None; self.windows.len()];
                for (k, scores) in &scored {
                    of_window[*k] = Some(*scores);
                }
                // A token of a window that has no scores counts as outside; coverage tells.
                let row = |token: usize| {
                    let k = package.windows.owner(token, self.tokens.ids.len());
                    of_window[k].map_or(outside.as_slice(), |scores| {
                        let at = skip + token - self.windows[k].start;
                        &scores[at * columns..][..columns]
                    })
                };
                tags.decode(text, &self.tokens, row)
                    .into_iter()
                    .map(|entity| Evidence {
                        label: entity.label,
                        score: entity.score,
                        span: escape::outside(text, entity.start..entity.end),
                    })
                    .collect()
            }
        };
        (evidence, coverage)
    }

    fn fold_maximum(&self, labels: usize, scored: &[(usize, &[f32])]) -> Vec<Evidence> {
        (0..labels)
            .filter_map(|label| {
                let (k, scores) = scored
                    .iter()
                    .max_by(|(_, a), (_, b)| a[label].total_cmp(&b[label]))?;
                Some(Evidence {
                    label,
                    score: scores[label],
                    span: self.bytes(&self.windows[*k]),
                })
            })
            .collect()
    }

    /// The bytes behind a range of tokens.
    fn bytes(&self, tokens: &Range<usize>) -> Range<usize> {
        let spans = &self.tokens.spans[tokens.clone()];
        let start = spans.iter().map(|s| s.0).min().unwrap_or(0);
        let end = spans.iter().map(|s| s.1).max().unwrap_or(start);
        start..end
    }
}

fn finite(scores: &SequenceScores, head: usize) -> Option<&[f32]> {
    scores
        .get(head)?
        .as_ref()
        .filter(|output| output.finite)
        .map(|output| output.scores.as_slice())
}
