//! Products of row-major rows with a matrix packed into panels.

use super::simd;

/// A matrix `[depth, columns]` packed for the register kernel: panels of a few columns, each
/// `[depth, panel columns]`, the last one filled up with zeros.
#[derive(Debug, Clone, Default)]
pub struct Panels {
    depth: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Packs the transpose of `rows` (`[columns, depth]`, rows `stride` apart): how linear layers
    /// keep weights (`[out, in]`) and attention keeps keys (`[tokens, dim]`).
    #[must_use]
    pub fn from_rows_transposed(rows: &[f32], columns: usize, depth: usize, stride: usize) -> Self {
        let mut panels = Self::default();
        panels.pack_transposed(rows, columns, depth, stride);
        panels
    }

    /// As [`Self::from_rows_transposed`], into the memory that is already there.
    pub fn pack_transposed(&mut self, rows: &[f32], columns: usize, depth: usize, stride: usize) {
        let width = simd::isa().columns();
        self.reset(depth, columns);
        for (p, panel) in self
            .values
            .chunks_exact_mut((depth * width).max(1))
            .enumerate()
        {
            let first = p * width;
            for j in 0..width.min(columns - first) {
                let row = &rows[(first + j) * stride..][..depth];
                for (k, value) in row.iter().enumerate() {
                    panel[k * width + j] = *value;
                }
            }
        }
    }

    /// The matrix that [`Self::from_rows_transposed`] packed: `[columns, depth]`, row-major.
    #[must_use]
    pub fn to_rows_transposed(&self) -> Vec<f32> {
        let width = simd::isa().columns();
        let mut rows = vec![0.0; self.columns * self.depth];
        for (j, row) in rows.chunks_exact_mut(self.depth.max(1)).enumerate() {
            let panel = &self.values[j / width * width * self.depth..][..self.depth * width];
            for (to, from) in row.iter_mut().zip(panel.chunks_exact(width)) {
                *to = from[j % width];
            }
        }
        rows
    }

    /// Packs `rows` (`[depth, columns]`, rows `stride` apart) into the memory that is already
    /// there: how attention keeps values (`[tokens, dim]`).
    pub fn pack_rows(&mut self, rows: &[f32], depth: usize, columns: usize, stride: usize) {
        let width = simd::isa().columns();
        self.reset(depth, columns);
        for (p, panel) in self
            .values
            .chunks_exact_mut((depth * width).max(1))
            .enumerate()
        {
            let first = p * width;
            let taken = width.min(columns - first);
            for (k, to) in panel.chunks_exact_mut(width).enumerate() {
                to[..taken].copy_from_slice(&rows[k * stride + first..][..taken]);
            }
        }
    }

    fn reset(&mut self, depth: usize, columns: usize) {
        let width = simd::isa().columns();
        self.depth = depth;
        self.columns = columns;
        self.values.clear();
        self.values
            .resize(columns.div_ceil(width) * depth * width, 0.0);
    }

    /// Length of the sums.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of the product.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many panels there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.columns.div_ceil(simd::isa().columns())
    }

    /// Columns of a full panel.
    #[must_use]
    pub fn width() -> usize {
        simd::isa().columns()
    }
}

/// `c = a * b` for panels `panels` of `b`, on the calling thread.
///
/// `a` is `rows` rows of `b.depth()` values, `lda` apart. `c` receives rows `ldc` apart; its first
/// column is the first column of the first panel. Each element is one sum in order of `k`,
/// whatever the number of rows.
pub fn multiply(
    a: &[f32],
    lda: usize,
    rows: usize,
    b: &Panels,
    panels: std::ops::Range<usize>,
    c: &mut [f32],
    ldc: usize,
) {
    multiply_within(a, lda, rows, b, panels, 0..b.depth, c, ldc);
}

/// As [`multiply`], over the rows `depth` of `b` alone: `a` is then `rows` rows of `depth.len()`
/// values.
#[allow(
    clippy::too_many_arguments,
    reason = "a matrix product: three matrices and two ranges"
)]
pub(super) fn multiply_within(
    a: &[f32],
    lda: usize,
    rows: usize,
    b: &Panels,
    panels: std::ops::Range<usize>,
    depth: std::ops::Range<usize>,
    c: &mut [f32],
    ldc: usize,
) {
    let isa = simd::isa();
    let width = isa.columns();
    if rows == 0 {
        return;
    }
    // Tiles of near-equal height: 16 rows are 8 + 8, not 12 + 4.
    let tiles = rows.div_ceil(isa.rows());
    let mut edge = [0f32; 12 * 32];
    for p in panels.clone() {
        let panel = &b.values[p * b.depth * width..][depth.start * width..depth.end * width];
        let column = (p - panels.start) * width;
        let valid = width.min(b.columns - p * width);
        let mut row = 0;
        for t in 0..tiles {
            let height = (rows - row).div_ceil(tiles - t);
            let a = &a[row * lda..];
            let at = row * ldc + column;
            if valid == width {
                simd::tile(isa, height, depth.len(), a, lda, panel, &mut c[at..], ldc);
            } else {
                simd::tile(isa, height, depth.len(), a, lda, panel, &mut edge, width);
                for r in 0..height {
                    c[at + r * ldc..][..valid].copy_from_slice(&edge[r * width..][..valid]);
                }
            }
            row += height;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_agree_with_plain_sums(
            rows in 1usize..40, depth in 1usize..50, columns in 1usize..80, seed in any::<u32>(),
        ) {
            let mut state = seed | 1;
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            };
            let a: Vec<f32> = (0..rows * depth).map(|_| next()).collect();
            let b: Vec<f32> = (0..columns * depth).map(|_| next()).collect();
            let packed = Panels::from_rows_transposed(&b, columns, depth, depth);
            let mut transposed = vec![0.0; b.len()];
            for j in 0..columns {
                for k in 0..depth {
                    transposed[k * columns + j] = b[j * depth + k];
                }
            }
            let mut other = Panels::default();
            other.pack_rows(&transposed, depth, columns, columns);
            prop_assert_eq!(&packed.values, &other.values);
            prop_assert_eq!(&packed.to_rows_transposed(), &b);

            let mut c = vec![f32::NAN; rows * columns];
            multiply(&a, depth, rows, &packed, 0..packed.count(), &mut c, columns);
            for r in 0..rows {
                for j in 0..columns {
                    let exact: f32 = (0..depth).map(|k| a[r * depth + k] * b[j * depth + k]).sum();
                    prop_assert!((c[r * columns + j] - exact).abs() < 1e-4);
                }
            }
        }
    }
}
