//! Matrices as AMX reads them: tiles of values that are sums of up to three bf16 values.

use std::ops::Range;

use rayon::prelude::*;

use super::simd::amx::{self, Block, COLUMNS, DEPTH, SIDE, Split, Tile, with_tiles};
use super::vector::Activation;

/// Up to this many row tiles, splitting is not worth another thread.
const FEW_TILES: usize = 4;
/// Bytes of a matrix that stay in the L2 cache of a core while rows pass.
const RESIDENT: usize = 1 << 20;

/// Rows, the panels they meet, and the lines that take the results.
type Unit<'a, T> = (&'a [Split], Range<usize>, Vec<&'a mut [T]>);

/// The left matrix of a product: `[row tiles, depth / 32]`, the last rows and steps filled up.
#[derive(Debug, Default)]
pub(super) struct SplitRows {
    rows: usize,
    steps: usize,
    tiles: Vec<Split>,
}

impl SplitRows {
    /// Makes room for `rows` rows of `depth` values; what is in them is not defined.
    fn reset(&mut self, rows: usize, depth: usize) {
        self.rows = rows;
        self.steps = depth.div_ceil(DEPTH);
        self.tiles
            .resize(rows.div_ceil(SIDE) * self.steps, Split::ZERO);
    }

    /// Splits `x`, rows of `depth` values.
    pub(super) fn fill(&mut self, x: &[f32], depth: usize) {
        self.reset(x.len() / depth, depth);
        let whole = depth / DEPTH;
        let work = |(tiles, x): (&mut [Split], &[f32])| {
            let rows = x.len() / depth;
            for (k, tile) in tiles.iter_mut().enumerate() {
                if k < whole {
                    tile.set_rows(&x[k * DEPTH..], depth, rows);
                } else {
                    let mut values = [0.0; SIDE * DEPTH];
                    for (to, x) in values.chunks_exact_mut(DEPTH).zip(x.chunks_exact(depth)) {
                        to[..depth - k * DEPTH].copy_from_slice(&x[k * DEPTH..]);
                    }
                    tile.set_rows(&values, DEPTH, rows);
                }
            }
        };
        if self.tiles.len() <= FEW_TILES * self.steps {
            let tiles = self.tiles.chunks_mut(self.steps);
            tiles.zip(x.chunks(SIDE * depth)).for_each(work);
        } else {
            let tiles = self.tiles.par_chunks_mut(self.steps);
            tiles.zip(x.par_chunks(SIDE * depth)).for_each(work);
        }
    }
}

/// The right matrix of a product, `[depth, columns]`: panels of 32 columns, each `[depth / 32, 2]`
/// splits of 16 columns, the last ones filled up with zeros.
#[derive(Debug)]
pub(super) struct SplitPanels {
    depth: usize,
    columns: usize,
    /// Tiles of a split: as many as its values need to be exact.
    parts: usize,
    tiles: Vec<Tile>,
}

impl SplitPanels {
    /// Splits the transpose of `rows`, `[columns, depth]`.
    pub(super) fn from_rows_transposed(rows: &[f32], columns: usize, depth: usize) -> Self {
        let parts = rows.iter().map(|v| amx::parts(*v)).max().unwrap_or(1);
        let count = columns.div_ceil(COLUMNS) * depth.div_ceil(DEPTH) * 2;
        let mut panels = Self {
            depth,
            columns,
            parts,
            tiles: vec![Tile::ZERO; count * parts],
        };
        for (j, row) in rows.chunks_exact(depth).enumerate() {
            for (k, &value) in row.iter().enumerate() {
                let (first, index) = panels.place(j, k);
                let mut rest = value;
                for tile in &mut panels.tiles[first..][..parts] {
                    rest = tile.set(index, rest);
                }
            }
        }
        panels
    }

    /// The matrix that was split, `[columns, depth]`.
    pub(super) fn to_rows_transposed(&self) -> Vec<f32> {
        let value = |j, k| {
            let (first, index) = self.place(j, k);
            let tiles = self.tiles[first..][..self.parts].iter();
            tiles.rev().fold(0.0, |sum, tile| sum + tile.get(index))
        };
        (0..self.columns)
            .flat_map(|j| (0..self.depth).map(move |k| (j, k)))
            .map(|(j, k)| value(j, k))
            .collect()
    }

    /// First tile of the split of column `j` and step `k`, and the place in it.
    fn place(&self, j: usize, k: usize) -> (usize, usize) {
        let split = (j / COLUMNS * self.steps() + k / DEPTH) * 2 + j % COLUMNS / SIDE;
        (
            split * self.parts,
            k % DEPTH / 2 * DEPTH + j % SIDE * 2 + k % 2,
        )
    }

    fn steps(&self) -> usize {
        self.depth.div_ceil(DEPTH)
    }

    fn count(&self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// `y = activation(x * self + bias)`; `y` has `self.columns()` values a row.
    pub(super) fn multiply(
        &self,
        x: &SplitRows,
        bias: &[f32],
        activation: Activation,
        y: &mut [f32],
    ) {
        let columns = self.columns;
        let ends = |panel: usize| (panel * COLUMNS).min(columns);
        let lines = y.chunks_exact_mut(columns).collect();
        self.units(
            x,
            lines,
            2 * SIDE,
            ends,
            |lines, panels, pair, panel, block| {
                activation.apply(block, &bias[panel * COLUMNS..][..COLUMNS]);
                let first = ends(panel) - ends(panels.start);
                let wide = ends(panel + 1) - ends(panel);
                let lines = lines.iter_mut().skip(pair * 2 * SIDE);
                for (line, values) in lines.zip(block.chunks_exact(COLUMNS)) {
                    line[first..][..wide].copy_from_slice(&values[..wide]);
                }
            },
        );
    }

    /// As [`Self::multiply`], into the left matrix of another product.
    pub(super) fn multiply_split(
        &self,
        x: &SplitRows,
        bias: &[f32],
        activation: Activation,
        y: &mut SplitRows,
    ) {
        y.reset(x.rows, self.columns);
        let lines = y.tiles.chunks_exact_mut(y.steps).collect();
        self.units(
            x,
            lines,
            2,
            |panel| panel,
            |lines, panels, pair, panel, block| {
                activation.apply(block, &bias[panel * COLUMNS..][..COLUMNS]);
                let lines = lines.iter_mut().skip(pair * 2);
                for (line, block) in lines.zip(block.chunks_exact(SIDE * COLUMNS)) {
                    line[panel - panels.start].set_rows(block, DEPTH, SIDE);
                }
            },
        );
    }

    /// Shares the product out over the threads of the current pool.
    ///
    /// `lines` are what is written, `height` of them for 32 rows of `x`; `ends` says where in a line
    /// a panel starts. `sink` gets the part of the lines that is its unit's, the unit's panels, and
    /// a block: its pair of row tiles in the unit, its panel, and its values.
    fn units<T: Send>(
        &self,
        x: &SplitRows,
        lines: Vec<&mut [T]>,
        height: usize,
        ends: impl Fn(usize) -> usize,
        sink: impl Fn(&mut [&mut [T]], &Range<usize>, usize, usize, &mut [f32]) + Sync,
    ) {
        let (steps, parts) = (self.steps(), self.parts);
        let panel_tiles = steps * 2 * parts;
        let pairs = x.rows.div_ceil(2 * SIDE);
        let (shares, step) = self.grid(pairs);
        let ranges: Vec<Range<usize>> = (0..shares)
            .map(|i| i * self.count() / shares..(i + 1) * self.count() / shares)
            .collect();
        let mut units: Vec<Unit<'_, T>> = Vec::new();
        let mut lines = lines.into_iter();
        for x in x.tiles.chunks(2 * step * steps) {
            let at = units.len();
            units.extend(ranges.iter().map(|r| (x, r.clone(), Vec::new())));
            for line in lines.by_ref().take(step * height) {
                let mut rest = line;
                for (_, panels, lines) in &mut units[at..] {
                    let width = ends(panels.end) - ends(panels.start);
                    let (part, after) = rest.split_at_mut(width);
                    lines.push(part);
                    rest = after;
                }
            }
        }
        units
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(x, panels, mut lines)| {
                let mut block = Block([0.0; 2 * SIDE * COLUMNS]);
                with_tiles(|tiles| {
                    for (pair, x) in x.chunks(2 * steps).enumerate() {
                        let height = x.len() / steps * SIDE;
                        for panel in panels.clone() {
                            let right = &self.tiles[panel * panel_tiles..][..panel_tiles];
                            tiles.product(x, right, parts, &mut block);
                            let block = &mut block.0[..height * COLUMNS];
                            sink(&mut lines, &panels, pair, panel, block);
                        }
                    }
                });
            });
    }

    /// Into how many shares the columns are cut, and pairs of row tiles in a unit: every thread reads
    /// a share of the matrix that stays in its cache, and gets as much work as the others.
    fn grid(&self, pairs: usize) -> (usize, usize) {
        let threads = rayon::current_num_threads();
        let size = self.tiles.len() * size_of::<Tile>();
        let shares = if pairs < threads {
            threads
        } else {
            size.div_ceil(RESIDENT).max(threads.min(self.count() / 4))
        };
        let shares = shares.clamp(1, self.count());
        let blocks = (2 * threads).div_ceil(shares);
        (shares, pairs.div_ceil(blocks).max(1))
    }
}
