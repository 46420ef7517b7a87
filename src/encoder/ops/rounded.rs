//! Products in bf16 of matrices that are new with every batch: attention's queries, keys and values.

use std::cell::Cell;
use std::ops::Range;
use std::slice;

use super::simd::amx::{Block, COLUMNS, DEPTH, SIDE, Tile, copy_line, split_rows, with_tiles};

/// A matrix `[depth, columns]` rounded to bf16: panels of 32 columns, each `[depth / 32, 2]` tiles of 16
/// columns, the last ones filled up with zeros.
#[derive(Debug, Default)]
pub(super) struct RoundedPanels {
    steps: usize,
    columns: usize,
    tiles: Vec<Tile>,
}

thread_local! {
    /// Memory for the left matrix's tiles.
    static LEFT: Cell<Vec<Tile>> = Cell::default();
}

impl RoundedPanels {
    /// Packs the transpose of `rows`, `[columns, depth]` and `stride` apart, `depth` in whole steps of 32:
    /// attention's keys, `[tokens, dim]`.
    pub(super) fn from_rows_transposed(
        rows: &[f32],
        columns: usize,
        depth: usize,
        stride: usize,
    ) -> Self {
        let mut panels = Self::zeros(depth, columns);
        for (i, tile) in panels.tiles.iter_mut().enumerate() {
            let (panel, step, half) = (i / 2 / panels.steps, i / 2 % panels.steps, i % 2);
            let first = panel * COLUMNS + half * SIDE;
            let rows = &rows[(first * stride).min(rows.len())..];
            let taken = columns.saturating_sub(first).min(SIDE);
            *tile = rounded(rows, step * DEPTH, stride, taken).pairs_transposed();
        }
        panels
    }

    /// Packs `rows`, `[depth, columns]` and `stride` apart, `columns` in whole panels: attention's values,
    /// `[tokens, dim]`.
    pub(super) fn from_rows(rows: &[f32], depth: usize, columns: usize, stride: usize) -> Self {
        let mut panels = Self::zeros(depth, columns);
        for (i, tiles) in panels.tiles.chunks_exact_mut(2).enumerate() {
            let (panel, step) = (i / panels.steps, i % panels.steps);
            let [upper, lower] = [0, SIDE].map(|half| {
                let first = step * DEPTH + half;
                let rows = &rows[(first * stride).min(rows.len())..];
                let taken = depth.saturating_sub(first).min(SIDE);
                rounded(rows, panel * COLUMNS, stride, taken)
            });
            for (half, tile) in tiles.iter_mut().enumerate() {
                *tile = Tile::paired(&upper, &lower, half * SIDE);
            }
        }
        panels
    }

    fn zeros(depth: usize, columns: usize) -> Self {
        let steps = depth.div_ceil(DEPTH);
        let count = columns.div_ceil(COLUMNS) * steps * 2;
        Self {
            steps,
            columns,
            tiles: vec![Tile::ZERO; count],
        }
    }

    /// Steps of 32 in the depth.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Panels of 32 columns.
    pub(super) fn count(&self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    /// `c = a * self` for the panels `panels` and the steps `steps`, on the calling thread.
    ///
    /// `a` is `rows` rows of 32 values for each step, `lda` apart; where this matrix is filled up, `a` must
    /// be finite. `c` receives rows `ldc` apart. Each element is one sum in order of the depth.
    #[allow(
        clippy::too_many_arguments,
        reason = "a matrix product: three matrices and two ranges"
    )]
    pub(super) fn multiply(
        &self,
        a: &[f32],
        lda: usize,
        rows: usize,
        panels: Range<usize>,
        steps: Range<usize>,
        c: &mut [f32],
        ldc: usize,
    ) {
        let mut left = LEFT.take();
        let mut block = Block([0.0; 2 * SIDE * COLUMNS]);
        with_tiles(|tiles| {
            for first in (0..rows).step_by(2 * SIDE) {
                let height = (rows - first).min(2 * SIDE);
                left.resize(height.div_ceil(SIDE) * steps.len(), Tile::ZERO);
                for (i, left) in left.chunks_exact_mut(steps.len()).enumerate() {
                    let at = first + i * SIDE;
                    for (k, tile) in left.iter_mut().enumerate() {
                        let values = &a[at * lda + k * DEPTH..];
                        split_rows(values, lda, (rows - at).min(SIDE), slice::from_mut(tile));
                    }
                }
                for panel in panels.clone() {
                    let right = &self.tiles[(panel * self.steps + steps.start) * 2..];
                    tiles.product(&left, &right[..steps.len() * 2], (1, 1), &mut block);
                    let wide = (self.columns - panel * COLUMNS).min(COLUMNS);
                    let column = (panel - panels.start) * COLUMNS;
                    let lines = block.0.chunks_exact(COLUMNS).take(height);
                    for (r, values) in lines.enumerate() {
                        let to = &mut c[(first + r) * ldc + column..][..wide];
                        copy_line(to, values);
                    }
                }
            }
        });
        LEFT.set(left);
    }
}

/// 32 values from `at` on of each of the first `taken` rows, zeros below.
fn rounded(rows: &[f32], at: usize, stride: usize, taken: usize) -> Tile {
    let mut tile = Tile::ZERO;
    if taken > 0 {
        split_rows(&rows[at..], stride, taken, slice::from_mut(&mut tile));
    }
    tile
}
