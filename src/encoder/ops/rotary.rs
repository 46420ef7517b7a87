//! Rotary positions (Su et al., arXiv:2104.09864): queries and keys turned by their position.

use rayon::prelude::*;

use super::AttentionShape;

/// Sines and cosines of every position.
#[derive(Debug)]
pub struct Rotary {
    /// `[positions, dim / 2]`.
    cosines: Vec<f32>,
    /// `[positions, dim / 2]`.
    sines: Vec<f32>,
    half: usize,
}

impl Rotary {
    /// Tables for `positions` positions and heads of `dim` values (even), base `theta`.
    #[must_use]
    pub fn new(positions: usize, dim: usize, theta: f64) -> Self {
        let half = dim / 2;
        // In f32, as the models were trained: at thousands of positions the rounding shows.
        let frequencies: Vec<f32> = (0..half)
            .map(|i| 1.0 / theta.powf(f64::from((2 * i) as f32 / dim as f32)) as f32)
            .collect();
        let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f32 * f));
        let (sines, cosines) = angles.map(f32::sin_cos).unzip();
        Self {
            cosines,
            sines,
            half,
        }
    }

    /// Cosines of the angles, `[positions, dim / 2]`.
    #[must_use]
    pub fn cosines(&self) -> &[f32] {
        &self.cosines
    }

    /// Sines of the angles, `[positions, dim / 2]`.
    #[must_use]
    pub fn sines(&self) -> &[f32] {
        &self.sines
    }

    /// Turns the queries and keys in `qkv` (`[tokens, 3 * heads * dim]`), sequence by sequence.
    pub fn apply(&self, qkv: &mut [f32], sequences: &[usize], shape: AttentionShape) {
        let width = shape.heads * shape.dim;
        let mut rows = Vec::with_capacity(sequences.len());
        let mut rest = qkv;
        for &n in sequences {
            let (own, after) = rest.split_at_mut(n * 3 * width);
            rest = after;
            rows.push(own);
        }
        rows.into_par_iter().for_each(|rows| {
            rows.par_chunks_mut(3 * width)
                .with_min_len(16)
                .enumerate()
                .for_each(|(position, row)| {
                    let cosines = &self.cosines[position * self.half..][..self.half];
                    let sines = &self.sines[position * self.half..][..self.half];
                    for head in row[..2 * width].chunks_exact_mut(shape.dim) {
                        let (a, b) = head.split_at_mut(self.half);
                        for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cosines).zip(sines) {
                            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                        }
                    }
                });
        });
    }
}
