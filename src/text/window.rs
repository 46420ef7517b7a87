//! Exact token windows: how a text longer than the model's input is cut.

use std::ops::Range;

/// A window size no package may go below: too little context to score anything.
const MIN_CONTENT: usize = 8;

/// Cuts `n` content tokens into windows of at most `content` tokens, neighbours sharing `stride`.
///
/// Window `k` starts at token `k * (content - stride)`; the last one ends at the last token. Every
/// token is in at least one window and no window is empty. Special tokens are not counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowPlan {
    content: usize,
    stride: usize,
}

/// Why a window plan makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WindowPlanError {
    /// The model's input leaves too few tokens for text.
    #[error(
        "max_length {max_length} leaves {content} tokens for text beside {special} special tokens; at least {MIN_CONTENT} are needed"
    )]
    TooShort {
        /// The model's input, special tokens included.
        max_length: usize,
        /// Special tokens of every window.
        special: usize,
        /// What is left.
        content: usize,
    },
    /// The overlap leaves no progress.
    #[error("stride {stride} must be at most half of the {content} text tokens of a window")]
    StrideTooLong {
        /// Tokens shared by neighbours.
        stride: usize,
        /// Text tokens of a window.
        content: usize,
    },
}

impl WindowPlan {
    /// A plan for windows of `max_length` tokens, `special` of which are special tokens, with
    /// `stride` text tokens shared by neighbouring windows.
    pub fn new(max_length: usize, special: usize, stride: usize) -> Result<Self, WindowPlanError> {
        let content = max_length.saturating_sub(special);
        if content < MIN_CONTENT {
            return Err(WindowPlanError::TooShort {
                max_length,
                special,
                content,
            });
        }
        if stride > content / 2 {
            return Err(WindowPlanError::StrideTooLong { stride, content });
        }
        Ok(Self { content, stride })
    }

    /// Text tokens of a full window.
    #[must_use]
    pub fn content(&self) -> usize {
        self.content
    }

    /// The windows of a text of `tokens` tokens, in order. None for an empty text.
    pub fn windows(&self, tokens: usize) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let Self { content, stride } = *self;
        (0..self.count(tokens)).map(move |k| {
            let start = k * (content - stride);
            start..(start + content).min(tokens)
        })
    }

    /// How many windows a text of `tokens` tokens has.
    #[must_use]
    pub fn count(&self, tokens: usize) -> usize {
        if tokens == 0 {
            0
        } else {
            1 + tokens
                .saturating_sub(self.content)
                .div_ceil(self.content - self.stride)
        }
    }

    /// The window that owns `token` of `tokens`; see [`Self::owned`].
    #[must_use]
    pub fn owner(&self, token: usize, tokens: usize) -> usize {
        let step = self.content - self.stride;
        (token.saturating_sub(self.stride / 2) / step).min(self.count(tokens).saturating_sub(1))
    }

    /// The part of window `k` whose tokens have more context there than in a neighbour: the overlap
    /// with each neighbour is split in the middle. These parts cover every token exactly once.
    #[must_use]
    pub fn owned(&self, k: usize, tokens: usize) -> Range<usize> {
        let step = self.content - self.stride;
        let start = if k == 0 {
            0
        } else {
            k * step + self.stride / 2
        };
        let end = if k + 1 == self.count(tokens) {
            tokens
        } else {
            (k + 1) * step + self.stride / 2
        };
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_cover_every_token_and_owned_parts_cover_each_once(
            content in 8usize..300, stride_share in 0usize..=50, tokens in 0usize..3_000,
        ) {
            let plan = WindowPlan::new(content + 2, 2, content * stride_share / 100).unwrap();
            let windows: Vec<_> = plan.windows(tokens).collect();
            prop_assert_eq!(windows.len(), plan.count(tokens));
            let mut next = 0;
            for (k, window) in windows.iter().enumerate() {
                prop_assert!(!window.is_empty() && window.len() <= content);
                let owned = plan.owned(k, tokens);
                prop_assert_eq!(owned.start, next, "owned parts are contiguous");
                prop_assert!(owned.start >= window.start && owned.end <= window.end);
                prop_assert!(!owned.is_empty());
                prop_assert_eq!(plan.owner(owned.start, tokens), k);
                prop_assert_eq!(plan.owner(owned.end - 1, tokens), k);
                next = owned.end;
            }
            prop_assert_eq!(next, tokens);
        }
    }

    #[test]
    fn a_plan_without_room_or_progress_is_refused() {
        assert!(matches!(
            WindowPlan::new(9, 2, 0),
            Err(WindowPlanError::TooShort { .. })
        ));
        assert!(matches!(
            WindowPlan::new(34, 2, 17),
            Err(WindowPlanError::StrideTooLong { .. })
        ));
        assert!(WindowPlan::new(34, 2, 16).is_ok());
    }
}
