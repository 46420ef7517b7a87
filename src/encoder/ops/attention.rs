//! Softmax attention over packed sequences: each sequence attends to itself only.

use std::ops::Range;

use rayon::prelude::*;

use super::Precision;
use super::gemm::{Panels, multiply, multiply_within};
use super::linear::block_rows;
use super::rounded::{KEYS, QUERIES, RoundedHead};
use super::simd;
use super::simd::amx::{Tiles, with_tiles};
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
    /// Whether the products are rounded.
    fn rounds(&self) -> bool {
        self.precision.available() == Precision::Bfloat16 && self.dim.is_multiple_of(32)
    }
}

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
    let most = match shape.rounds() {
        false => block_rows(tokens),
        true => block_rows(tokens).next_multiple_of(16).min(QUERIES),
    };
    for (sequence, &n) in sequences.iter().enumerate() {
        for first in (0..queries(n)).step_by(most) {
            let rows = most.min(queries(n) - first);
            let (block, after) = rest.split_at_mut(rows * width);
            rest = after;
            let queries = Queries {
                values: &qkv[(starts[sequence] + first) * 3 * width..],
                first,
                rows,
                tokens: n,
                reach: shape.window.map_or(n, |w| w.min(n)),
                shape,
            };
            let heads = &packed[sequence * shape.heads..][..shape.heads];
            blocks.push((queries, heads, block));
        }
    }
    blocks
        .into_par_iter()
        .for_each_init(Vec::new, |scores, (queries, heads, block)| {
            if shape.rounds() {
                with_tiles(|tiles| queries.attend_rounded(tiles, heads, block));
            } else {
                queries.attend(heads, scores, block);
            }
        });
}

/// Keys and values of one head of a sequence.
enum KeysAndValues {
    Full(Panels, Panels),
    Rounded(RoundedHead),
}

impl KeysAndValues {
    /// Packs those of `n` tokens, whose first key is at `at`.
    fn pack(qkv: &[f32], at: usize, n: usize, shape: AttentionShape) -> Self {
        let (width, dim) = (shape.heads * shape.dim, shape.dim);
        let (keys, values) = if n > 0 {
            (&qkv[at..], &qkv[at + width..])
        } else {
            (&[][..], &[][..])
        };
        if shape.rounds() {
            return Self::Rounded(RoundedHead::pack(keys, values, n, dim, 3 * width));
        }
        let mut panels = (Panels::default(), Panels::default());
        panels.0.pack_transposed(keys, n, dim, 3 * width);
        panels.1.pack_rows(values, n, dim, 3 * width);
        Self::Full(panels.0, panels.1)
    }
}

/// Some queries of a sequence, one after the other, and what they look at.
struct Queries<'a> {
    /// From the first query of the first head on, `3 * heads * dim` apart.
    values: &'a [f32],
    /// The first one's place in the sequence.
    first: usize,
    rows: usize,
    /// Tokens of the sequence.
    tokens: usize,
    /// Tokens on each side that a query looks at.
    reach: usize,
    shape: AttentionShape,
}

impl Queries<'_> {
    /// The keys that any of these looks at, in whole panels of `width`.
    fn panels(&self, width: usize) -> Range<usize> {
        let end = (self.first + self.rows + self.reach).min(self.tokens);
        self.first.saturating_sub(self.reach) / width..end.div_ceil(width)
    }

    /// The keys that the query `row` looks at, counted from the key `start` on.
    fn seen(&self, row: usize, start: usize) -> Range<usize> {
        let i = self.first + row;
        let low = i.saturating_sub(self.reach).max(start);
        low - start..(i + self.reach + 1).min(self.tokens) - start
    }

    /// The context of every head, `[rows, heads * dim]`; `scores` is memory.
    fn attend(&self, heads: &[KeysAndValues], scores: &mut Vec<f32>, out: &mut [f32]) {
        let AttentionShape { dim, scale, .. } = self.shape;
        let (width, panel) = (heads.len() * dim, Panels::width());
        let panels = self.panels(panel);
        let line = panels.len() * panel;
        scores.clear();
        scores.resize(self.rows * line, 0.0);
        for (head, pair) in heads.iter().enumerate() {
            let KeysAndValues::Full(keys, values) = pair else {
                unreachable!("heads are packed alike")
            };
            let queries = &self.values[head * dim..];
            let seen = panels.clone();
            multiply(queries, 3 * width, self.rows, keys, seen, scores, line);
            simd::scale(scores, scale);
            for (row, scores) in scores.chunks_exact_mut(line).enumerate() {
                let seen = self.seen(row, panels.start * panel);
                scores[..seen.start].fill(0.0);
                scores[seen.end..].fill(0.0);
                softmax_rows(&mut scores[seen.clone()], seen.len());
            }
            let depth = panels.start * panel..(panels.end * panel).min(self.tokens);
            let (all, out) = (0..values.count(), &mut out[head * dim..]);
            multiply_within(scores, line, self.rows, values, all, depth, out, width);
        }
    }

    /// As [`Self::attend`], of rounded heads.
    fn attend_rounded(&self, tiles: &Tiles, heads: &[KeysAndValues], out: &mut [f32]) {
        let AttentionShape { dim, scale, .. } = self.shape;
        let width = heads.len() * dim;
        let panels = self.panels(KEYS);
        for (head, pair) in heads.iter().enumerate() {
            let KeysAndValues::Rounded(pair) = pair else {
                unreachable!("heads are packed alike")
            };
            pair.attend(
                tiles,
                (&self.values[head * dim..], 3 * width),
                self.rows,
                scale,
                panels.clone(),
                |row| self.seen(row, panels.start * KEYS),
                (&mut out[head * dim..], width),
            );
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

    #[test]
    fn a_nan_query_spoils_its_own_context_and_a_nan_value_its_own_sequence() {
        for precision in [Precision::Float32, Precision::Bfloat16] {
            let shape = AttentionShape {
                heads: 2,
                dim: 32,
                scale: 0.2,
                window: None,
                precision,
            };
            let mut qkv = vec![0.5; 170 * 3 * 64];
            qkv[40 * 3 * 64 + 3] = f32::NAN;
            qkv[130 * 3 * 64 + 2 * 64 + 33] = f32::NAN;
            let mut context = Vec::new();
            attention(&qkv, &[120, 50], Wanted::Every, shape, &mut context);
            for (i, x) in context.iter().enumerate() {
                let (token, column) = (i / 64, i % 64);
                let query = token == 40 && column < 32;
                let value = token >= 120 && column == 33;
                assert_eq!(x.is_nan(), query || value, "{precision:?}, {i}");
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
