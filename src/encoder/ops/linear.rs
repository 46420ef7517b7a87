//! Linear layers: `y = x W^T + b`, packed at load, split over the threads of the current pool.

use std::cell::Cell;

use rayon::prelude::*;

use super::Precision;
use super::gemm::{Panels, multiply};
use super::simd::amx;
use super::split::{SplitPanels, SplitRows};
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

/// Layers with fewer outputs than this, which classifiers are, are not split: they cost nothing.
const FEW_OUTPUTS: usize = 64;

/// A linear layer with weights `[out, in]`.
#[derive(Debug)]
pub struct Linear {
    weight: Weight,
    /// Filled up with zeros to whole panels.
    bias: Vec<f32>,
}

#[derive(Debug)]
enum Weight {
    Full(Panels),
    Split(SplitPanels),
}

thread_local! {
    /// Memory for the split rows of a layer's input and output.
    static ROWS: Cell<(SplitRows, SplitRows)> = Cell::default();
}

impl Linear {
    /// Packs `weight` (`[out, in]`, row-major); an empty `bias` stands for zeros. Without AMX, and of few
    /// outputs, the layer is one of f32 values.
    #[must_use]
    pub fn new(
        weight: &[f32],
        bias: Vec<f32>,
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> Self {
        let split = (amx::available() && outputs >= FEW_OUTPUTS).then_some(precision);
        Self::with(split, weight, bias, inputs, outputs)
    }

    fn with(
        split: Option<Precision>,
        weight: &[f32],
        mut bias: Vec<f32>,
        inputs: usize,
        outputs: usize,
    ) -> Self {
        assert_eq!(weight.len(), inputs * outputs);
        assert!(bias.is_empty() || bias.len() == outputs);
        let weight = match split {
            Some(precision) => Weight::Split(SplitPanels::from_rows_transposed(
                weight, outputs, inputs, precision,
            )),
            None => Weight::Full(Panels::from_rows_transposed(
                weight, outputs, inputs, inputs,
            )),
        };
        bias.resize(outputs.next_multiple_of(amx::COLUMNS), 0.0);
        Self { weight, bias }
    }

    /// Columns of the input.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match &self.weight {
            Weight::Full(panels) => panels.depth(),
            Weight::Split(panels) => panels.depth(),
        }
    }

    /// Columns of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match &self.weight {
            Weight::Full(panels) => panels.columns(),
            Weight::Split(panels) => panels.columns(),
        }
    }

    /// The weights `[out, in]`, row-major, as they were rounded.
    #[must_use]
    pub fn weight(&self) -> Vec<f32> {
        match &self.weight {
            Weight::Full(panels) => panels.to_rows_transposed(),
            Weight::Split(panels) => panels.to_rows_transposed(),
        }
    }

    /// The bias `[out]`.
    #[must_use]
    pub fn bias(&self) -> &[f32] {
        &self.bias[..self.outputs()]
    }

    /// `y = activation(x W^T + b)` for `x` of `[rows, in]`; `y` becomes `[rows, out]`.
    pub fn forward(&self, x: &[f32], y: &mut Vec<f32>, activation: Activation) {
        let inputs = self.inputs();
        let rows = x.len() / inputs;
        debug_assert_eq!(x.len(), rows * inputs);
        y.resize(rows * self.outputs(), 0.0);
        match &self.weight {
            Weight::Full(panels) => self.forward_full(panels, x, y, activation),
            Weight::Split(panels) => {
                let mut scratch = ROWS.take();
                scratch.0.fill(x, panels);
                panels.multiply(&scratch.0, &self.bias, activation, y);
                ROWS.set(scratch);
            }
        }
    }

    /// `y = next(activation(x W^T + b))`; `between` is memory for what is in between.
    pub fn forward_then(
        &self,
        activation: Activation,
        next: &Self,
        x: &[f32],
        between: &mut Vec<f32>,
        y: &mut Vec<f32>,
    ) {
        let (Weight::Split(first), Weight::Split(second)) = (&self.weight, &next.weight) else {
            self.forward(x, between, activation);
            next.forward(between, y, Activation::None);
            return;
        };
        y.resize(x.len() / self.inputs() * next.outputs(), 0.0);
        let mut scratch = ROWS.take();
        let (rows, between) = &mut scratch;
        rows.fill(x, first);
        first.multiply_split(rows, &self.bias, activation, second, between);
        second.multiply(between, &next.bias, Activation::None, y);
        ROWS.set(scratch);
    }

    fn forward_full(&self, panels: &Panels, x: &[f32], y: &mut [f32], activation: Activation) {
        let (inputs, outputs) = (panels.depth(), panels.columns());
        let rows = x.len() / inputs;
        let threads = rayon::current_num_threads();
        if threads > 1 && rows <= FEW_ROWS && panels.count() >= 2 * threads {
            self.by_columns(panels, x, rows, y, activation, threads);
        } else {
            let block = block_rows(rows);
            y.par_chunks_mut(block * outputs)
                .zip(x.par_chunks(block * inputs))
                .for_each(|(y, x)| {
                    let all = 0..panels.count();
                    multiply(x, inputs, x.len() / inputs, panels, all, y, outputs);
                    activation.apply(y, self.bias());
                });
        }
    }

    fn by_columns(
        &self,
        panels: &Panels,
        x: &[f32],
        rows: usize,
        y: &mut [f32],
        activation: Activation,
        threads: usize,
    ) {
        let (inputs, outputs) = (panels.depth(), panels.columns());
        let count = panels.count();
        let parts = threads * 2;
        let blocks: Vec<(usize, Vec<f32>)> = (0..parts)
            .into_par_iter()
            .map(|part| {
                let taken = part * count / parts..(part + 1) * count / parts;
                let first = taken.start * Panels::width();
                let width = (taken.end * Panels::width()).min(outputs) - first;
                let mut block = vec![0.0; rows * width];
                multiply(x, inputs, rows, panels, taken, &mut block, width);
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

    /// Not split, and split in every precision where the machine can.
    fn kinds() -> Vec<Option<Precision>> {
        if amx::available() {
            return vec![None, Some(Precision::Float32), Some(Precision::Bfloat16)];
        }
        eprintln!("skipped: split products, which need AMX");
        vec![None]
    }

    /// Values in -0.5..0.5 that need `parts` bf16 values each.
    fn values(count: usize, seed: u32, parts: usize) -> Vec<f32> {
        let digits = [8, 11, 24][parts - 1];
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let unit = f64::from(1 << digits);
                let signed = f64::from(state >> 8) / f64::from(1 << 24) - 0.5;
                ((signed * unit).round() / unit) as f32
            })
            .collect()
    }

    #[test]
    fn few_rows_and_many_rows_give_the_same_bits() {
        let (inputs, outputs) = (96, 200);
        let bias = values(outputs, 1, 3);
        let x = values(100 * inputs, 2, 3);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        for (split, parts) in kinds().into_iter().flat_map(|k| [(k, 1), (k, 2), (k, 3)]) {
            let weight = values(inputs * outputs, 3, parts);
            let layer = Linear::with(split, &weight, bias.clone(), inputs, outputs);
            let (mut many, mut few) = (Vec::new(), Vec::new());
            pool.install(|| {
                layer.forward(&x, &mut many, Activation::GeluErf);
                for rows in [1, 5, 16, 17, 33, 70] {
                    layer.forward(&x[..rows * inputs], &mut few, Activation::GeluErf);
                    assert_eq!(few, many[..rows * outputs], "{rows} rows, split {split:?}");
                }
            });
        }
    }

    #[test]
    fn a_nan_spoils_its_own_row_alone() {
        for split in kinds() {
            let layer = Linear::with(split, &[0.5; 70 * 64], Vec::new(), 70, 64);
            let mut x = vec![1.0; 3 * 70];
            x[70 + 69] = f32::NAN;
            let mut y = Vec::new();
            layer.forward(&x, &mut y, Activation::GeluErf);
            for (row, values) in y.chunks_exact(64).enumerate() {
                assert!(values.iter().all(|v| v.is_nan() == (row == 1)));
            }
        }
    }

    /// `activation(x W^T + bias)` in f64, and the size of the terms of each sum.
    fn exact(x: &[f64], weight: &[f32], bias: &[f32], inputs: usize) -> Vec<(f64, f64)> {
        let lines = x.chunks_exact(inputs);
        lines
            .flat_map(|x| {
                let columns = weight.chunks_exact(inputs).enumerate();
                columns.map(move |(j, w)| {
                    let terms = || x.iter().zip(w).map(|(x, w)| x * f64::from(*w));
                    let bias = bias.get(j).map_or(0.0, |b| f64::from(*b));
                    (
                        terms().sum::<f64>() + bias,
                        terms().map(f64::abs).sum::<f64>() + 1.0,
                    )
                })
            })
            .collect()
    }

    #[test]
    fn products_are_as_good_as_their_precision() {
        let shapes = [(1, 1, 1), (40, 77, 130), (3, 384, 64), (65, 33, 31)];
        let cases = shapes.into_iter().flat_map(|s| [(s, 1), (s, 2), (s, 3)]);
        for (((rows, inputs, outputs), parts), split) in
            cases.flat_map(|c| kinds().into_iter().map(move |k| (c, k)))
        {
            let weight = values(inputs * outputs, 5, parts);
            let bias = values(outputs, 6, 3);
            let x = values(rows * inputs, 7, 3);
            let layer = Linear::with(split, &weight, bias.clone(), inputs, outputs);
            let rounded = split == Some(Precision::Bfloat16);
            if !rounded || parts == 1 {
                assert_eq!(layer.weight(), weight);
            }
            let back = values(outputs * outputs, 8, parts);
            let after = Linear::with(split, &back, Vec::new(), outputs, outputs);
            let (mut y, mut between, mut z) = (Vec::new(), Vec::new(), Vec::new());
            layer.forward(&x, &mut y, Activation::None);
            layer.forward_then(Activation::Relu, &after, &x, &mut between, &mut z);

            let x: Vec<f64> = x.into_iter().map(f64::from).collect();
            let middle = exact(&x, &weight, &bias, inputs);
            let relu: Vec<f64> = middle.iter().map(|(value, _)| value.max(0.0)).collect();
            let end = exact(&relu, &back, &[], outputs);
            // Two values of eight digits are multiplied, each off by a 512th at most.
            let bound = if rounded { 1.0 / 256.0 + 1e-5 } else { 1e-6 };
            for (got, wanted, bound) in [(&y, &middle, bound), (&z, &end, 2.0 * bound)] {
                for (got, (wanted, size)) in got.iter().zip(wanted) {
                    let error = (f64::from(*got) - wanted).abs();
                    assert!(
                        error < bound * size,
                        "{error}: split {split:?}, {parts} parts"
                    );
                }
            }
        }
    }
}
