//! Disentangled attention over packed sequences (DeBERTa, He et al., arXiv:2006.03654):
//! `S[i,j] = (q_i . k_j + q_i . Kr[s] + k_j . Qr[s]) * scale`, where `s` is the slot of the distance
//! of `i` and `j`, and `Kr` and `Qr` are projections of the relative embeddings, made at load.

use rayon::prelude::*;

use super::gemm::{Panels, multiply};
use super::linear::{Linear, block_rows};
use super::vector::{Activation, softmax_rows};
use super::{AttentionShape, simd};

/// Slots of relative distances, numbered so that they never fall as `j - i` grows: a row of scores
/// then reads a row of products from left to right.
#[derive(Debug)]
pub struct Slots {
    /// Slot of `j - i`, from `1 - longest` on.
    of: Vec<u32>,
    longest: usize,
    /// `|j - i|` up to this has slots one after the other.
    even: usize,
}

impl Slots {
    /// `2 * span` slots for sequences of up to `longest` tokens. Distances up to half of `buckets`
    /// have a slot each and farther ones, up to `farthest`, share slots of growing width; with
    /// `buckets` 0 each distance has its own.
    #[must_use]
    pub fn new(span: usize, buckets: usize, farthest: usize, longest: usize) -> Self {
        let bucket = |distance: i64| -> i64 {
            if buckets == 0 || farthest == 0 {
                return distance;
            }
            let mid = (buckets / 2) as i64;
            if distance.abs() <= mid {
                return distance;
            }
            // In f32 and in this order, as transformers computes it.
            let far = (((farthest as i64 - 1) as f32) / mid as f32).ln();
            let log = (distance.abs() as f32 / mid as f32).ln() / far;
            ((log * (mid - 1) as f32).ceil() as i64 + mid) * distance.signum()
        };
        let (low, high) = (0, 2 * span as i64 - 1);
        let of = (1 - longest as i64..longest as i64)
            .map(|ahead| {
                let slot = (bucket(-ahead) + span as i64).clamp(low, high);
                u32::try_from(high - slot).unwrap_or(0)
            })
            .collect();
        Self {
            of,
            longest,
            even: if buckets == 0 {
                span - 1
            } else {
                (buckets / 2).min(span - 1)
            },
        }
    }

    /// Rows of the model's table (`[2 * span, width]`) in the order of slots.
    #[must_use]
    pub fn in_order(rows: &[f32], width: usize) -> Vec<f32> {
        rows.chunks_exact(width).rev().flatten().copied().collect()
    }

    /// Slot of each distance `i - j`, from `1 - longest` to `longest - 1`.
    #[must_use]
    pub fn by_distance(&self) -> Vec<u32> {
        self.of.iter().rev().copied().collect()
    }

    /// Slots of the keys `0..n` for the query at `i`.
    fn row(&self, i: usize, n: usize) -> &[u32] {
        &self.of[self.longest - 1 - i..][..n]
    }

    /// First and last slot for queries `first..first + rows` of a sequence of `n`.
    fn range(&self, first: usize, rows: usize, n: usize) -> (usize, usize) {
        let low = self.row(first + rows - 1, n)[0];
        let high = self.row(first, n)[n - 1];
        (low as usize, high as usize)
    }
}

/// A layer's projections of the relative embeddings, by head.
#[derive(Debug)]
pub struct RelativeTerms {
    /// `Kr`: `[heads]` of `[dim, 2 * span]`; empty where content does not look at positions.
    keys: Vec<Panels>,
    /// `Qr`: the same; empty where positions do not look at content.
    queries: Vec<Panels>,
}

impl RelativeTerms {
    /// Projects `embeddings` (`[2 * span, hidden]`, in the order of slots).
    #[must_use]
    pub fn new(
        embeddings: &[f32],
        shape: AttentionShape,
        keys: Option<&Linear>,
        queries: Option<&Linear>,
    ) -> Self {
        let width = shape.heads * shape.dim;
        let by_head = |projection: Option<&Linear>| -> Vec<Panels> {
            let Some(projection) = projection else {
                return Vec::new();
            };
            let mut rows = Vec::new();
            projection.forward(embeddings, &mut rows, Activation::None);
            let slots = rows.len() / width;
            (0..shape.heads)
                .map(|head| {
                    let rows = &rows[head * shape.dim..];
                    Panels::from_rows_transposed(rows, slots, shape.dim, width)
                })
                .collect()
        };
        Self {
            keys: by_head(keys),
            queries: by_head(queries),
        }
    }

    /// `Kr` as rows, `[2 * span, heads * dim]`, where there is one.
    #[must_use]
    pub fn key_rows(&self) -> Option<Vec<f32>> {
        rows_of(&self.keys)
    }

    /// `Qr` as rows, `[2 * span, heads * dim]`, where there is one.
    #[must_use]
    pub fn query_rows(&self) -> Option<Vec<f32>> {
        rows_of(&self.queries)
    }

    /// Whether there is no term at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.queries.is_empty()
    }
}

/// The rows that were cut by head: `[slots, heads * dim]`.
fn rows_of(by_head: &[Panels]) -> Option<Vec<f32>> {
    let (slots, dim) = by_head.first().map(|p| (p.columns(), p.depth()))?;
    let heads: Vec<Vec<f32>> = by_head.iter().map(Panels::to_rows_transposed).collect();
    let row = |slot: usize| {
        heads
            .iter()
            .flat_map(move |head| &head[slot * dim..][..dim])
    };
    Some((0..slots).flat_map(row).copied().collect())
}

/// Products of rows with the panels that hold a range of slots.
#[derive(Default)]
struct Band {
    /// `[rows, columns]`.
    values: Vec<f32>,
    columns: usize,
    /// Slot of the first column.
    first: usize,
}

impl Band {
    /// `rows` rows of `a` (`stride` apart) times the slots `low..=high` of `table`.
    fn fill(
        &mut self,
        a: &[f32],
        stride: usize,
        rows: usize,
        table: &Panels,
        (low, high): (usize, usize),
    ) {
        let width = Panels::width();
        let panels = low / width..high / width + 1;
        self.first = panels.start * width;
        // A little more than needed, so that rows do not fall on the same cache sets.
        self.columns = panels.len() * width + width;
        self.values.resize(rows * self.columns, 0.0);
        multiply(
            a,
            stride,
            rows,
            table,
            panels,
            &mut self.values,
            self.columns,
        );
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    keys: Panels,
    values: Panels,
    scores: Vec<f32>,
    from_content: Band,
    from_positions: Band,
}

/// `context = softmax(S) V`, head by head and sequence by sequence. Shapes are those of
/// [`super::attention`].
pub fn disentangled_attention(
    qkv: &[f32],
    sequences: &[usize],
    shape: AttentionShape,
    slots: &Slots,
    terms: &RelativeTerms,
    context: &mut Vec<f32>,
) {
    let width = shape.heads * shape.dim;
    let tokens: usize = sequences.iter().sum();
    assert_eq!(qkv.len(), tokens * 3 * width);
    context.resize(tokens * width, 0.0);

    let mut start = 0;
    let mut units = Vec::with_capacity(sequences.len() * shape.heads);
    for &n in sequences {
        units.extend((0..shape.heads).map(|head| (start, n, head)));
        start += n;
    }
    // Each unit's rows lie side by side: `[n, dim]`.
    let done: Vec<Vec<f32>> = units
        .par_iter()
        .map_init(Scratch::default, |scratch, &(start, n, head)| {
            let rows = &qkv[start * 3 * width + head * shape.dim..];
            one_head(rows, n, head, shape, slots, terms, scratch)
        })
        .collect();
    let mut rest = context.as_mut_slice();
    let sequences: Vec<_> = sequences
        .iter()
        .zip(done.chunks(shape.heads))
        .map(|(n, heads)| {
            let (own, after) = std::mem::take(&mut rest).split_at_mut(n * width);
            rest = after;
            (own, heads)
        })
        .collect();
    sequences.into_par_iter().for_each(|(own, heads)| {
        for (t, row) in own.chunks_exact_mut(width).enumerate() {
            for (to, from) in row.chunks_exact_mut(shape.dim).zip(heads) {
                to.copy_from_slice(&from[t * shape.dim..][..shape.dim]);
            }
        }
    });
}

/// One head of one sequence of `n` tokens; `rows` begins with its first query.
fn one_head(
    rows: &[f32],
    n: usize,
    head: usize,
    shape: AttentionShape,
    slots: &Slots,
    terms: &RelativeTerms,
    scratch: &mut Scratch,
) -> Vec<f32> {
    let dim = shape.dim;
    let width = shape.heads * dim;
    let stride = 3 * width;
    let Scratch {
        keys,
        values,
        scores,
        from_content,
        from_positions,
    } = scratch;
    keys.pack_transposed(&rows[width..], n, dim, stride);
    values.pack_rows(&rows[2 * width..], n, dim, stride);
    if let Some(table) = terms.queries.get(head) {
        from_positions.fill(&rows[width..], stride, n, table, slots.range(0, n, n));
    }
    let most = block_rows(n).max(16);
    // Not a power of two, or a column of scores would fall on one cache set.
    let line = n.next_multiple_of(16) + 16;
    let mut out = vec![0.0; n * dim];
    for (first, out) in (0..n).step_by(most).zip(out.chunks_mut(most * dim)) {
        let count = out.len() / dim;
        scores.resize(count * line, 0.0);
        let queries = &rows[first * stride..];
        multiply(queries, stride, count, keys, 0..keys.count(), scores, line);
        if let Some(table) = terms.keys.get(head) {
            let range = slots.range(first, count, n);
            from_content.fill(queries, stride, count, table, range);
            for (r, scores) in scores.chunks_exact_mut(line).enumerate() {
                let places = slots.row(first + r, n);
                add_places(
                    &mut scores[..n],
                    from_content,
                    r,
                    places,
                    first + r,
                    slots.even,
                );
            }
        }
        if !terms.queries.is_empty() {
            add_transposed(scores, line, first, count, n, slots, from_positions);
        }
        for scores in scores.chunks_exact_mut(line) {
            let scores = &mut scores[..n];
            simd::scale(scores, shape.scale);
            softmax_rows(scores, n);
        }
        multiply(scores, line, count, values, 0..values.count(), out, dim);
    }
    out
}

/// `scores[j] += band[row][slot of (i, j)]` for the query at `i`.
fn add_places(scores: &mut [f32], band: &Band, row: usize, places: &[u32], i: usize, even: usize) {
    let products = band.row(row);
    let near = i.saturating_sub(even)..(i + even + 1).min(scores.len());
    let mut far = |range: std::ops::Range<usize>| {
        for (score, &slot) in scores[range.clone()].iter_mut().zip(&places[range]) {
            *score += products[slot as usize - band.first];
        }
    };
    far(0..near.start);
    far(near.end..places.len());
    let at = places[near.start] as usize - band.first;
    simd::add(&mut scores[near.clone()], &products[at..][..near.len()]);
}

/// `scores[i][j] += band[j][slot of (i, j)]` for `count` queries from `first` on: for each key, a run
/// of neighbouring products.
fn add_transposed(
    scores: &mut [f32],
    line: usize,
    first: usize,
    count: usize,
    n: usize,
    slots: &Slots,
    band: &Band,
) {
    for j in 0..n {
        let products = band.row(j);
        for r in 0..count {
            let slot = slots.of[slots.longest - 1 + j - first - r] as usize;
            scores[r * line + j] += products[slot - band.first];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_formula_and_never_fall() {
        // position_buckets 256, max_relative_positions 512: figures from the formula by hand.
        let slots = Slots::new(256, 256, 512, 512);
        let slot = |i: usize, j: usize| 511 - slots.row(i, 512)[j];
        assert_eq!(slot(5, 5), 256);
        assert_eq!(slot(133, 5), 256 + 128);
        assert_eq!(slot(134, 5), 256 + 129);
        assert_eq!(slot(511, 0), 511);
        assert_eq!(slot(0, 511), 1);
        for i in 0..512 {
            assert!(slots.row(i, 512).is_sorted());
        }
        for n in [1, 2, 64, 128, 512] {
            let (low, high) = slots.range(0, n, n);
            let used = [(1, 1), (2, 3), (64, 127), (128, 255), (512, 511)];
            let (_, expected) = used.into_iter().find(|(m, _)| *m == n).unwrap();
            assert_eq!(high - low + 1, expected, "length {n}");
        }
    }
}
