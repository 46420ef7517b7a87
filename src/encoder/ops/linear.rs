//! Linear layers: `y = x W^T + b`, packed at load, split over the threads of the current pool.

use rayon::prelude::*;

use super::gemm::{Panels, multiply};
use super::vector::Activation;

/// Up to this many rows, threads share the work by columns: each then reads only its part of the
/// weights, which is what small batches wait for.
const FEW_ROWS: usize = 48;
/// Most rows of a unit of work otherwise: enough to reuse a panel, few enough to stay in the cache.
const BLOCK_ROWS: usize = 48;

/// Rows of a unit of work, so that every thread of the current pool gets an equal number of units.
pub(super) fn block_rows(rows: usize) -> usize {
    let units = 2 * rayon::current_num_threads();
    rows.div_ceil(units).clamp(4, BLOCK_ROWS)
}

/// A linear layer with weights `[out, in]`.
#[derive(Debug)]
pub struct Linear {
    panels: Panels,
    bias: Vec<f32>,
}

impl Linear {
    /// Packs `weight` (`[out, in]`, row-major); an empty `bias` stands for zeros.
    #[must_use]
    pub fn new(weight: &[f32], bias: Vec<f32>, inputs: usize, outputs: usize) -> Self {
        assert_eq!(weight.len(), inputs * outputs);
        let bias = if bias.is_empty() {
            vec![0.0; outputs]
        } else {
            bias
        };
        assert_eq!(bias.len(), outputs);
        Self {
            panels: Panels::from_rows_transposed(weight, outputs, inputs, inputs),
            bias,
        }
    }

    /// Columns of the input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.panels.depth()
    }

    /// Columns of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.panels.columns()
    }

    /// The weights `[out, in]`, row-major.
    #[must_use]
    pub fn weight(&self) -> Vec<f32> {
        self.panels.to_rows_transposed()
    }

    /// The bias `[out]`.
    #[must_use]
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// `y = activation(x W^T + b)` for `x` of `[rows, in]`; `y` becomes `[rows, out]`.
    pub fn forward(&self, x: &[f32], y: &mut Vec<f32>, activation: Activation) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let rows = x.len() / inputs;
        debug_assert_eq!(x.len(), rows * inputs);
        y.resize(rows * outputs, 0.0);
        let threads = rayon::current_num_threads();
        if threads > 1 && rows <= FEW_ROWS && self.panels.count() >= 2 * threads {
            self.by_columns(x, rows, y, activation, threads);
        } else {
            let block = block_rows(rows);
            y.par_chunks_mut(block * outputs)
                .zip(x.par_chunks(block * inputs))
                .for_each(|(y, x)| {
                    let all = 0..self.panels.count();
                    multiply(x, inputs, x.len() / inputs, &self.panels, all, y, outputs);
                    activation.apply(y, &self.bias);
                });
        }
    }

    fn by_columns(
        &self,
        x: &[f32],
        rows: usize,
        y: &mut [f32],
        activation: Activation,
        threads: usize,
    ) {
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let count = self.panels.count();
        let parts = threads * 2;
        let blocks: Vec<(usize, Vec<f32>)> = (0..parts)
            .into_par_iter()
            .map(|part| {
                let panels = part * count / parts..(part + 1) * count / parts;
                let first = panels.start * Panels::width();
                let width = (panels.end * Panels::width()).min(outputs) - first;
                let mut block = vec![0.0; rows * width];
                multiply(x, inputs, rows, &self.panels, panels, &mut block, width);
                activation.apply(&mut block, &self.bias[first..][..width]);
                (first, block)
            })
            .collect();
        for (first, block) in blocks {
            let width = block.len() / rows;
            for (to, from) in y.chunks_exact_mut(outputs).zip(block.chunks_exact(width)) {
                to[first..][..width].copy_from_slice(from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_and_many_rows_give_the_same_bits() {
        let (inputs, outputs) = (96, 200);
        let value = |i: usize| ((i * 7919 % 1013) as f32 - 500.0) / 1000.0;
        let weight: Vec<f32> = (0..inputs * outputs).map(value).collect();
        let bias: Vec<f32> = (0..outputs).map(value).collect();
        let layer = Linear::new(&weight, bias, inputs, outputs);
        let x: Vec<f32> = (0..100 * inputs).map(|i| value(i + 3)).collect();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        let (mut many, mut few) = (Vec::new(), Vec::new());
        pool.install(|| {
            layer.forward(&x, &mut many, Activation::GeluErf);
            layer.forward(&x[..5 * inputs], &mut few, Activation::GeluErf);
        });
        assert_eq!(few, many[..5 * outputs]);
    }
}
