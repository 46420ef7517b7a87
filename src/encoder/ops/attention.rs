//! Softmax attention over packed sequences: each sequence attends to itself only.

use rayon::prelude::*;

use super::gemm::{Panels, multiply, multiply_within};
use super::linear::block_rows;
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
    let packed: Vec<(Panels, Panels)> = (0..sequences.len() * shape.heads)
        .into_par_iter()
        .map(|i| {
            let (sequence, head) = (i / shape.heads, i % shape.heads);
            let (start, n) = (starts[sequence], sequences[sequence]);
            let rows = &qkv[start * 3 * width..];
            let mut keys = Panels::default();
            let mut values = Panels::default();
            if n > 0 {
                let at = width + head * shape.dim;
                keys.pack_transposed(&rows[at..], n, shape.dim, 3 * width);
                values.pack_rows(&rows[at + width..], n, shape.dim, 3 * width);
            }
            (keys, values)
        })
        .collect();

    // Units of a few queries bound the scores held at once.
    let most = block_rows(tokens);
    let mut blocks = Vec::new();
    let mut rest = context.as_mut_slice();
    for (sequence, &n) in sequences.iter().enumerate() {
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
            let keys_seen = panels.start * panel..(panels.end * panel).min(n);
            let line = keys_seen.len();
            scores.resize(rows * line, 0.0);
            for head in 0..shape.heads {
                let (keys, values) = &packed[sequence * shape.heads + head];
                let at = (starts[sequence] + first) * 3 * width + head * shape.dim;
                let queries = &qkv[at..];
                multiply(queries, 3 * width, rows, keys, panels.clone(), scores, line);
                super::simd::scale(scores, shape.scale);
                match shape.window {
                    None => softmax_rows(scores, line),
                    Some(_) => {
                        for (r, scores) in scores.chunks_exact_mut(line).enumerate() {
                            let i = first + r;
                            let low = i.saturating_sub(reach).max(keys_seen.start);
                            let high = (i + reach + 1).min(n);
                            let seen = low - keys_seen.start..high - keys_seen.start;
                            scores[..seen.start].fill(0.0);
                            scores[seen.end..].fill(0.0);
                            softmax_rows(&mut scores[seen.clone()], seen.len());
                        }
                    }
                }
                let out = &mut block[head * shape.dim..];
                let all = 0..values.count();
                let depth = keys_seen.clone();
                multiply_within(scores, line, rows, values, all, depth, out, width);
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_sequences_attend_to_themselves_alone() {
        agrees_with_plain_sums(None);
    }

    #[test]
    fn a_window_hides_what_is_farther() {
        for window in [0, 1, 8, 31, 64, 169, 1000] {
            agrees_with_plain_sums(Some(window));
        }
    }

    fn agrees_with_plain_sums(window: Option<usize>) {
        let shape = AttentionShape {
            heads: 3,
            dim: 20,
            scale: 0.25,
            window,
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
                        assert!((got - exact).abs() < 1e-5, "{got} {exact}");
                    }
                }
            }
            start += n;
        }
    }
}
