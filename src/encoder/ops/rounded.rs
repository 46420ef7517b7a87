//! Softmax attention of a head in bf16, on AMX.
//!
//! Scores stay in blocks of 32 x 32 as the tiles leave them; their exponentials are rounded straight into
//! the tiles that the values are multiplied with, and what comes out is divided by their sum.

use std::cell::Cell;
use std::ops::Range;
use std::slice;

use super::simd::amx::{self, Block, COLUMNS, DEPTH, SIDE, Tile, Tiles, split_rows};

/// Most queries of a pass.
pub(super) const QUERIES: usize = 2 * SIDE;
/// Keys of a panel.
pub(super) const KEYS: usize = COLUMNS;

/// Keys and values of a head, rounded to bf16: the dimension in whole steps of 32, the keys filled up with
/// zeros to panels of 32.
pub(super) struct RoundedHead {
    dim: usize,
    /// `[panels of 32 keys, dim / 32, 2]`.
    keys: Vec<Tile>,
    /// `[dim / 32, panels of 32 keys, 2]`.
    values: Vec<Tile>,
}

/// Memory of a pass.
#[derive(Default)]
struct Scratch {
    /// The queries, `[row tiles, dim / 32]`.
    queries: Vec<Tile>,
    scores: Vec<Block>,
    /// `[row tiles, panels]`.
    weights: Vec<Tile>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

impl RoundedHead {
    /// Packs `keys` and `values`, each `count` rows of `dim` values, `stride` apart.
    pub(super) fn pack(
        keys: &[f32],
        values: &[f32],
        count: usize,
        dim: usize,
        stride: usize,
    ) -> Self {
        let (steps, panels) = (dim / DEPTH, count.div_ceil(COLUMNS));
        let taken = |first: usize| count.saturating_sub(first).min(SIDE);
        let mut head = Self {
            dim,
            keys: vec![Tile::ZERO; panels * steps * 2],
            values: vec![Tile::ZERO; panels * steps * 2],
        };
        for (i, tile) in head.keys.iter_mut().enumerate() {
            let (panel, step, half) = (i / 2 / steps, i / 2 % steps, i % 2);
            let first = panel * COLUMNS + half * SIDE;
            *tile = rounded(keys, first, step * DEPTH, stride, taken(first)).pairs_transposed();
        }
        for (i, tiles) in head.values.chunks_exact_mut(2).enumerate() {
            let (step, panel) = (i / panels, i % panels);
            let [upper, lower] = [0, SIDE].map(|half| {
                let first = panel * COLUMNS + half;
                rounded(values, first, step * DEPTH, stride, taken(first))
            });
            for (half, tile) in tiles.iter_mut().enumerate() {
                *tile = Tile::paired(&upper, &lower, half * SIDE);
            }
        }
        head
    }

    /// `out = softmax(queries keys^T * scale) values` for up to [`QUERIES`] queries over the keys of `panels`;
    /// `seen` says which of these a query looks at, one at least. Queries and contexts come with the distance
    /// of their rows.
    #[allow(
        clippy::too_many_arguments,
        reason = "queries, contexts, and what is seen"
    )]
    pub(super) fn attend(
        &self,
        tiles: &Tiles,
        (queries, stride): (&[f32], usize),
        rows: usize,
        scale: f32,
        panels: Range<usize>,
        seen: impl Fn(usize) -> Range<usize>,
        (out, width): (&mut [f32], usize),
    ) {
        let steps = self.dim / DEPTH;
        let high = rows.div_ceil(SIDE);
        let mut scratch = SCRATCH.take();
        scratch.queries.resize(high * steps, Tile::ZERO);
        scratch.weights.resize(high * panels.len(), Tile::ZERO);
        scratch.scores.resize_with(panels.len(), Block::default);

        for (i, tile) in scratch.queries.iter_mut().enumerate() {
            let (first, step) = (i / steps * SIDE, i % steps);
            let taken = (rows - first).min(SIDE);
            let values = &queries[first * stride + step * DEPTH..];
            split_rows(values, stride, taken, slice::from_mut(tile));
        }
        let keys = self.keys.chunks_exact(steps * 2).skip(panels.start);
        for (keys, block) in keys.zip(&mut scratch.scores) {
            tiles.product(&scratch.queries, keys, (1, 1), block);
        }
        let mut sums = [1.0; QUERIES];
        for (row, sum) in sums[..rows].iter_mut().enumerate() {
            let weights = &mut scratch.weights[row / SIDE * panels.len()..][..panels.len()];
            *sum = amx::exponentials(&scratch.scores, row, seen(row), scale, weights);
        }
        let mut block = Block::default();
        for step in 0..steps {
            let values = &self.values[(step * self.values.len() / steps) + panels.start * 2..];
            let values = &values[..panels.len() * 2];
            tiles.product(&scratch.weights, values, (1, 1), &mut block);
            let lines = block.0.chunks_exact(COLUMNS).zip(&sums[..rows]);
            for ((line, sum), out) in lines.zip(out.chunks_mut(width)) {
                let inverse = 1.0 / sum;
                for (to, x) in out[step * DEPTH..][..DEPTH].iter_mut().zip(line) {
                    *to = x * inverse;
                }
            }
        }
        SCRATCH.set(scratch);
    }
}

/// 32 values from `column` on of each of `taken` rows from `first` on, zeros below.
fn rounded(rows: &[f32], first: usize, column: usize, stride: usize, taken: usize) -> Tile {
    let mut tile = Tile::ZERO;
    if taken > 0 {
        let values = &rows[first * stride + column..];
        split_rows(values, stride, taken, slice::from_mut(&mut tile));
    }
    tile
}
