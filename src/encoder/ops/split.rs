//! Matrices as AMX reads them: tiles of values that are sums of up to three bf16 values, or rounded to one.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::Precision;
use super::simd::amx::{Block, COLUMNS, DEPTH, SIDE, Tile, Whole, with_tiles};
use super::simd::{self, amx};
use super::vector::Activation;

/// Up to this many row tiles, splitting is not worth another thread.
const FEW_TILES: usize = 4;
/// Bytes of a matrix that stay in the L2 cache of a core while rows pass.
const RESIDENT: usize = 1 << 20;

/// Rows, the panels they meet, and the lines that take the results.
type Unit<'a, T> = (&'a [Tile], Range<usize>, Vec<&'a mut [T]>);

/// The left matrix of a product: `[row tiles, depth / 32, parts]`, the last rows and steps filled up.
#[derive(Debug, Default)]
pub(super) struct SplitRows {
    rows: usize,
    steps: usize,
    parts: usize,
    tiles: Vec<Tile>,
}

impl SplitRows {
    /// Makes room for `rows` rows of `depth` values, as `panels` are multiplied by; what is in them is not
    /// defined.
    fn reset(&mut self, rows: usize, panels: &SplitPanels) {
        self.rows = rows;
        self.steps = panels.steps();
        self.parts = panels.parts().0;
        let count = rows.div_ceil(SIDE) * self.steps * self.parts;
        self.tiles.resize(count, Tile::ZERO);
    }

    /// Splits `x`, rows that are to be multiplied with `panels`.
    pub(super) fn fill(&mut self, x: &[f32], panels: &SplitPanels) {
        let depth = panels.depth;
        self.reset(x.len() / depth, panels);
        let (steps, parts) = (self.steps, self.parts);
        let whole = depth / DEPTH;
        let work = |(tiles, x): (&mut [Tile], &[f32])| {
            let rows = x.len() / depth;
            for (k, tiles) in tiles.chunks_exact_mut(parts).enumerate() {
                if k < whole {
                    amx::split_rows(&x[k * DEPTH..], depth, rows, tiles);
                } else {
                    let mut values = [0.0; SIDE * DEPTH];
                    for (to, x) in values.chunks_exact_mut(DEPTH).zip(x.chunks_exact(depth)) {
                        to[..depth - k * DEPTH].copy_from_slice(&x[k * DEPTH..]);
                    }
                    amx::split_rows(&values, DEPTH, rows, tiles);
                }
            }
        };
        let line = steps * parts;
        if self.tiles.len() <= FEW_TILES * line {
            let tiles = self.tiles.chunks_mut(line);
            tiles.zip(x.chunks(SIDE * depth)).for_each(work);
        } else {
            let tiles = self.tiles.par_chunks_mut(line);
            tiles.zip(x.par_chunks(SIDE * depth)).for_each(work);
        }
    }
}

/// The right matrix of a product, `[depth, columns]`: panels of 32 columns, each `[depth / 32, 2]`
/// tiles of 16 columns, the last ones filled up with zeros.
#[derive(Debug)]
pub(super) struct SplitPanels {
    depth: usize,
    columns: usize,
    precision: Precision,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// Values that are the sums of one or two bf16 values, which f16 values are: split for good.
    Split { parts: usize, tiles: Vec<Tile> },
    /// Others, split when used: that costs less than to wait for half as much memory again.
    Whole(Vec<Whole>),
}

/// A panel as it is multiplied.
#[derive(Clone, Copy)]
enum Panel<'a> {
    Split(&'a [Tile]),
    Whole(&'a [Whole]),
}

thread_local! {
    /// Memory for panels that were split just now.
    static SPLIT: Cell<Vec<[Tile; 3]>> = Cell::default();
}

impl SplitPanels {
    /// Packs the transpose of `rows`, `[columns, depth]`.
    pub(super) fn from_rows_transposed(
        rows: &[f32],
        columns: usize,
        depth: usize,
        precision: Precision,
    ) -> Self {
        let parts = match precision {
            Precision::Float32 => rows.iter().map(|v| amx::parts(*v)).max().unwrap_or(1),
            Precision::Bfloat16 => 1,
        };
        let count = columns.div_ceil(COLUMNS) * depth.div_ceil(DEPTH) * 2;
        let values = match parts {
            3 => Values::Whole(vec![Whole::ZERO; count]),
            parts => Values::Split {
                parts,
                tiles: vec![Tile::ZERO; count * parts],
            },
        };
        let mut panels = Self {
            depth,
            columns,
            precision,
            values,
        };
        for (j, row) in rows.chunks_exact(depth).enumerate() {
            for (k, &value) in row.iter().enumerate() {
                panels.set(j, k, value);
            }
        }
        panels
    }

    /// The matrix that was packed, `[columns, depth]`, as it was rounded.
    pub(super) fn to_rows_transposed(&self) -> Vec<f32> {
        (0..self.columns)
            .flat_map(|j| (0..self.depth).map(move |k| (j, k)))
            .map(|(j, k)| self.get(j, k))
            .collect()
    }

    fn set(&mut self, j: usize, k: usize, value: f32) {
        let (tile, row, j, k) = self.place(j, k);
        match &mut self.values {
            Values::Split { parts, tiles } => {
                let mut rest = value;
                for tile in &mut tiles[tile * *parts..][..*parts] {
                    rest = tile.set(row + 2 * j + k, rest);
                }
            }
            Values::Whole(tiles) => tiles[tile].0[row + SIDE * k + j] = value,
        }
    }

    fn get(&self, j: usize, k: usize) -> f32 {
        let (tile, row, j, k) = self.place(j, k);
        match &self.values {
            Values::Split { parts, tiles } => {
                let tiles = tiles[tile * parts..][..*parts].iter().rev();
                tiles.fold(0.0, |sum, tile| sum + tile.get(row + 2 * j + k))
            }
            Values::Whole(tiles) => tiles[tile].0[row + SIDE * k + j],
        }
    }

    /// Of column `j` and step `k`: the tile, where its row begins, the column in the tile, and which of
    /// the row's two steps it is.
    fn place(&self, j: usize, k: usize) -> (usize, usize, usize, usize) {
        let tile = (j / COLUMNS * self.steps() + k / DEPTH) * 2 + j % COLUMNS / SIDE;
        (tile, k % DEPTH / 2 * DEPTH, j % SIDE, k % 2)
    }

    /// Of how many bf16 values a value of the left matrix is the sum, and one of this.
    fn parts(&self) -> (usize, usize) {
        let left = match self.precision {
            Precision::Float32 => 3,
            Precision::Bfloat16 => 1,
        };
        match &self.values {
            Values::Split { parts, .. } => (left, *parts),
            Values::Whole(_) => (left, 3),
        }
    }

    /// Bytes of a panel when it is used.
    fn panel_size(&self) -> usize {
        self.steps() * 2 * self.parts().1 * size_of::<Tile>()
    }

    /// Calls `work` for the panels `panels` with each of `pairs` pairs of row tiles, in an order in which
    /// what is used again is in the cache.
    fn pass(
        &self,
        panels: Range<usize>,
        pairs: usize,
        mut work: impl FnMut(usize, usize, Panel<'_>),
    ) {
        let size = 2 * self.steps();
        match &self.values {
            Values::Split { parts, tiles } => {
                for pair in 0..pairs {
                    for panel in panels.clone() {
                        let tiles = &tiles[panel * size * parts..][..size * parts];
                        work(pair, panel, Panel::Split(tiles));
                    }
                }
            }
            Values::Whole(tiles) if pairs == 1 => {
                for panel in panels {
                    work(0, panel, Panel::Whole(&tiles[panel * size..][..size]));
                }
            }
            Values::Whole(tiles) => {
                let most = (RESIDENT / self.panel_size()).max(1);
                let mut split = SPLIT.take();
                for first in panels.clone().step_by(most) {
                    let run = first..(first + most).min(panels.end);
                    let tiles = &tiles[run.start * size..run.end * size];
                    split.resize(tiles.len(), [Tile::ZERO; 3]);
                    for (tile, split) in tiles.iter().zip(&mut split) {
                        tile.split(split);
                    }
                    for pair in 0..pairs {
                        for (panel, tiles) in run.clone().zip(split.chunks_exact(size)) {
                            work(pair, panel, Panel::Split(tiles.as_flattened()));
                        }
                    }
                }
                SPLIT.set(split);
            }
        }
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
                let mut bias = &bias[panel * COLUMNS..][..COLUMNS];
                if activation != Activation::None {
                    activation.apply(block, bias);
                    bias = &[0.0; COLUMNS];
                }
                let first = ends(panel) - ends(panels.start);
                let wide = ends(panel + 1) - ends(panel);
                simd::biased_lines(block, bias, &mut lines[pair * 2 * SIDE..], first, wide);
            },
        );
    }

    /// As [`Self::multiply`], into the left matrix of the product with `next`.
    pub(super) fn multiply_split(
        &self,
        x: &SplitRows,
        bias: &[f32],
        activation: Activation,
        next: &Self,
        y: &mut SplitRows,
    ) {
        y.reset(x.rows, next);
        let parts = y.parts;
        let lines = y.tiles.chunks_exact_mut(y.steps * parts).collect();
        self.units(
            x,
            lines,
            2,
            |panel| panel * parts,
            |lines, panels, pair, panel, block| {
                activation.apply_before(next.precision, block, &bias[panel * COLUMNS..][..COLUMNS]);
                let lines = lines.iter_mut().skip(pair * 2);
                for (line, block) in lines.zip(block.chunks_exact(SIDE * COLUMNS)) {
                    let tiles = &mut line[(panel - panels.start) * parts..][..parts];
                    amx::split_rows(block, DEPTH, SIDE, tiles);
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
        let parts = self.parts();
        let line = self.steps() * parts.0; // tiles of 16 rows
        let pairs = x.rows.div_ceil(2 * SIDE);
        let (shares, step) = self.grid(pairs);
        let ranges: Vec<Range<usize>> = (0..shares)
            .map(|i| i * self.count() / shares..(i + 1) * self.count() / shares)
            .collect();
        let mut units: Vec<Unit<'_, T>> = Vec::new();
        let mut lines = lines.into_iter();
        for x in x.tiles.chunks(2 * step * line) {
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
                let mut block = Block::default();
                let mut scratch = [[Tile::ZERO; 3]; 4];
                with_tiles(|tiles| {
                    let pairs = x.len().div_ceil(2 * line);
                    self.pass(panels.clone(), pairs, |pair, panel, right| {
                        let x = &x[pair * 2 * line..];
                        let x = &x[..x.len().min(2 * line)];
                        match right {
                            Panel::Split(right) => tiles.product(x, right, parts, &mut block),
                            Panel::Whole(right) => {
                                tiles.product_whole(x, right, &mut scratch, &mut block)
                            }
                        }
                        let block = &mut block.0[..x.len() / line * SIDE * COLUMNS];
                        sink(&mut lines, &panels, pair, panel, block);
                    });
                });
            });
    }

    /// Into how many shares the columns are cut, and pairs of row tiles in a unit: every thread reads
    /// a share of the matrix that stays in its cache, and gets as much work as the others.
    fn grid(&self, pairs: usize) -> (usize, usize) {
        let threads = rayon::current_num_threads();
        let size = self.count() * self.panel_size();
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
