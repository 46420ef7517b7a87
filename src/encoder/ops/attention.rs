//! Softmax attention over packed sequences: each sequence attends to itself only.

use std::ops::Range;

use rayon::prelude::*;

use super::Precision;
use super::gemm::{Panels, multiply, multiply_within};
use super::linear::block_rows;
use super::rounded::RoundedPanels;
use super::vector::softmax_rows;

/// Sizes of an attention layer.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Heads.
    pub heads: usize,
    /// Dimension of a head.
    pub dim: usize,
    /// Scores are multiplied by this before the softmax: `1 / sqrt(dim)`.
    pub scale: f32,
    /// Tokens on each side that a token looks at; all of them where absent.
    pub window: Option<usize>,
    /// In what the products are; rounded ones need a dimension of whole 32s, or they are not.
    pub precision: Precision,
}

impl AttentionShape {
    /// Whether the products of a sequence of `n` tokens are rounded: of few, f32 ones cost less.
    fn rounds(&self, n: usize) -> bool {
        self.precision.available() == Precision::Bfloat16
            && self.dim.is_multiple_of(32)
            && n > FEW_TOKENS
    }
}

/// Up to so many tokens, it costs more to fill tiles than to multiply without them.
const FEW_TOKENS: usize = 48;

/// The tokens whose context is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Each.
    Every,
    /// The first of each sequence.
    First,
}

/// `context = softmax(Q K^T * scale) V`, head by head and sequence by sequence.
///
/// `qkv` is `[tokens, 3 * heads * dim]`: query, key and value of each token side by side.
/// `sequences` are the lengths of the sequences, whose sum is `tokens`. `context` becomes
/// `[wanted tokens, heads * dim]`.
pub fn attention(
    qkv: &[f32],
    sequences: &[usize],
    wanted: Wanted,
    shape: AttentionShape,
    context: &mut Vec<f32>,
) {
    let queries = |n: usize| match wanted {
        Wanted::Every => n,
        Wanted::First => n.min(1),
    };
    let width = shape.heads * shape.dim;
    let tokens: usize = sequences.iter().sum();
    assert_eq!(qkv.len(), tokens * 3 * width);
    let asked: usize = sequences.iter().map(|n| queries(*n)).sum();
    context.resize(asked * width, 0.0);

    // Keys and values of every (sequence, head), packed once and read by all of its query blocks.
    let starts: Vec<usize> = sequences
        .iter()
        .scan(0, |at, n| {
            let start = *at;
            *at += n;
            Some(start)
        })
        .collect();
    let packed: Vec<KeysAndValues> = (0..sequences.len() * shape.heads)
        .into_par_iter()
        .map(|i| {
            let (sequence, head) = (i / shape.heads, i % shape.heads);
            let at = starts[sequence] * 3 * width + width + head * shape.dim;
            KeysAndValues::pack(qkv, at, sequences[sequence], shape)
        })
        .collect();

    // Units of a few queries bound the scores held at once.
    let mut blocks = Vec::new();
    let mut rest = context.as_mut_slice();
    for (sequence, &n) in sequences.iter().enumerate() {
        let most = match shape.rounds(n) {
            false => block_rows(tokens),
            true => block_rows(tokens).next_multiple_of(16).min(32),
        };
        for first in (0..queries(n)).step_by(most) {
            let rows = most.min(queries(n) - first);
            let (block, after) = rest.split_at_mut(rows * width);
            rest = after;
            blocks.push((sequence, first, rows, block));
        }
    }
    blocks
        .into_par_iter()
        .for_each_init(Vec::new, |scores, (sequence, first, rows, block)| {
            let n = sequences[sequence];
            // The keys that any of these queries looks at, in whole panels.
            let reach = shape.window.map_or(n, |w| w.min(n));
            let panel = Panels::width();
            let panels =
                first.saturating_sub(reach) / panel..(first + rows + reach).min(n).div_ceil(panel);
            let line = panels.len() * panel;
            scores.clear();
            scores.resize(rows * line, 0.0);
            for head in 0..shape.heads {
                let pair = &packed[sequence * shape.heads + head];
                let at = (starts[sequence] + first) * 3 * width + head * shape.dim;
                let queries = (&qkv[at..], 3 * width);
                pair.scores(queries, rows, panels.clone(), scores, line);
                super::simd::scale(scores, shape.scale);
                for (r, scores) in scores.chunks_exact_mut(line).enumerate() {
                    let i = first + r;
                    let low = i.saturating_sub(reach).max(panels.start * panel);
                    let high = (i + reach + 1).min(n);
                    let seen = low - panels.start * panel..high - panels.start * panel;
                    scores[..seen.start].fill(0.0);
                    scores[seen.end..].fill(0.0);
                    softmax_rows(&mut scores[seen.clone()], seen.len());
                }
                let out = &mut block[head * shape.dim..];
                pair.context((scores, line), rows, panels.clone(), out, width);
            }
        });
}

/// Keys and values of one head of a sequence.
enum KeysAndValues {
    Full(Panels, Panels),
    Rounded(RoundedPanels, RoundedPanels),
}

impl KeysAndValues {
    /// Packs those of `n` tokens, whose first key is at `at`.
    fn pack(qkv: &[f32], at: usize, n: usize, shape: AttentionShape) -> Self {
        let (width, dim) = (shape.heads * shape.dim, shape.dim);
        let rows = if n > 0 {
            (&qkv[at..], &qkv[at + width..])
        } else {
            (&[][..], &[][..])
        };
        if shape.rounds(n) {
            return Self::Rounded(
                RoundedPanels::from_rows_transposed(rows.0, n, dim, 3 * width),
                RoundedPanels::from_rows(rows.1, n, dim, 3 * width),
            );
        }
        let (mut keys, mut values) = (Panels::default(), Panels::default());
        keys.pack_transposed(rows.0, n, dim, 3 * width);
        values.pack_rows(rows.1, n, dim, 3 * width);
        Self::Full(keys, values)
    }

    /// `queries K^T` for the panels `panels` of the keys, in rows `line` apart.
    fn scores(
        &self,
        (queries, stride): (&[f32], usize),
        rows: usize,
        panels: Range<usize>,
        scores: &mut [f32],
        line: usize,
    ) {
        match self {
            Self::Full(keys, _) => multiply(queries, stride, rows, keys, panels, scores, line),
            Self::Rounded(keys, _) => {
                keys.multiply(queries, stride, rows, panels, 0..keys.steps(), scores, line);
            }
        }
    }

    /// `scores V`, of scores for the panels `panels` of the keys, in rows `width` apart.
    fn context(
        &self,
        (scores, line): (&[f32], usize),
        rows: usize,
        panels: Range<usize>,
        out: &mut [f32],
        width: usize,
    ) {
        match self {
            Self::Full(_, values) => {
                let panel = Panels::width();
                let depth = panels.start * panel..(panels.end * panel).min(values.depth());
                let all = 0..values.count();
                multiply_within(scores, line, rows, values, all, depth, out, width);
            }
            Self::Rounded(_, values) => {
                let all = 0..values.count();
                values.multiply(scores, line, rows, all, panels, out, width);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_sequences_attend_to_themselves_alone() {
        agrees_with_plain_sums(None, 20, Precision::Float32, 1e-5);
    }

    #[test]
    fn a_window_hides_what_is_farther() {
        for window in [0, 1, 8, 31, 64, 169, 1000] {
            agrees_with_plain_sums(Some(window), 20, Precision::Float32, 1e-5);
        }
    }

    #[test]
    fn rounded_products_are_as_good_as_bf16() {
        for dim in [32, 64] {
            agrees_with_plain_sums(None, dim, Precision::Bfloat16, 2e-2);
            for window in [0, 1, 8, 31, 64, 169, 1000] {
                agrees_with_plain_sums(Some(window), dim, Precision::Bfloat16, 2e-2);
            }
        }
    }

    fn agrees_with_plain_sums(window: Option<usize>, dim: usize, precision: Precision, bound: f64) {
        let shape = AttentionShape {
            heads: 3,
            dim,
            scale: 0.25,
            window,
            precision,
        };
        let width = shape.heads * shape.dim;
        let sequences = [1, 170, 5];
        let tokens: usize = sequences.iter().sum();
        let qkv: Vec<f32> = (0..tokens * 3 * width)
            .map(|i| ((i * 7919 % 1009) as f32 - 500.0) / 400.0)
            .collect();
        let mut context = Vec::new();
        attention(&qkv, &sequences, Wanted::Every, shape, &mut context);
        let mut firsts = Vec::new();
        attention(&qkv, &sequences, Wanted::First, shape, &mut firsts);
        let starts = [0, 1, 171].map(|t| &context[t * width..][..width]);
        assert_eq!(firsts, starts.concat());

        let row = |t: usize, part: usize, head: usize| {
            &qkv[t * 3 * width + part * width + head * shape.dim..][..shape.dim]
        };
        let mut start = 0;
        for n in sequences {
            for q in start..start + n {
                for head in 0..shape.heads {
                    let scores: Vec<f64> = (start..start + n)
                        .map(|k| {
                            let dot: f32 = row(q, 0, head)
                                .iter()
                                .zip(row(k, 1, head))
                                .map(|(a, b)| a * b)
                                .sum();
                            let seen = window.is_none_or(|w| q.abs_diff(k) <= w);
                            if seen {
                                f64::from(dot * shape.scale).exp()
                            } else {
                                0.0
                            }
                        })
                        .collect();
                    let total: f64 = scores.iter().sum();
                    for d in 0..shape.dim {
                        let exact: f64 = (0..n)
                            .map(|k| scores[k] / total * f64::from(row(start + k, 2, head)[d]))
                            .sum();
                        let got = f64::from(context[q * width + head * shape.dim + d]);
                        assert!((got - exact).abs() < bound, "{got} {exact}");
                    }
                }
            }
            start += n;
        }
    }
}
