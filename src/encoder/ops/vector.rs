//! Row-wise operations: activations, layer normalisation, softmax.

use rayon::prelude::*;

use super::{Precision, simd};

/// What follows a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing but the bias.
    None,
    /// `x * Phi(x)`: `gelu` in configurations.
    GeluErf,
    /// The tanh approximation: `gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`: `silu`, `swish`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Adds `bias` to each row of `xs` and applies the function.
    pub fn apply(self, xs: &mut [f32], bias: &[f32]) {
        if bias.is_empty() {
            return;
        }
        match self {
            Self::None => simd::add_bias(xs, bias),
            Self::GeluErf => simd::bias_gelu_erf(xs, bias),
            Self::GeluTanh => simd::bias_gelu_tanh(xs, bias),
            Self::Relu => simd::bias_relu(xs, bias),
            Self::Silu => simd::bias_silu(xs, bias),
            Self::Tanh => simd::bias_tanh(xs, bias),
        }
    }

    /// As [`Self::apply`], where the results are the factors of products of `precision`.
    pub(super) fn apply_before(self, precision: Precision, xs: &mut [f32], bias: &[f32]) {
        match (self, precision) {
            (Self::GeluErf, Precision::Bfloat16) => simd::bias_gelu_erf_rounded(xs, bias),
            _ => self.apply(xs, bias),
        }
    }

    /// The function a configuration names, as transformers understands it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" => Self::GeluErf,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Self::GeluTanh,
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            "linear" => Self::None,
            _ => return None,
        })
    }
}

/// Layer normalisation over the last dimension.
#[derive(Debug)]
pub struct LayerNorm {
    /// `[width]`.
    pub weight: Vec<f32>,
    /// `[width]`.
    pub bias: Vec<f32>,
    /// Added to the variance.
    pub eps: f32,
}

/// Rows of a unit of work.
const BLOCK_ROWS: usize = 64;

impl LayerNorm {
    /// `x = LayerNorm(x)` for `x` of `[rows, width]`.
    pub fn forward(&self, x: &mut [f32]) {
        let width = self.weight.len();
        x.par_chunks_mut(BLOCK_ROWS * width)
            .for_each(|x| simd::layer_norm(x, &self.weight, &self.bias, self.eps));
    }

    /// `y = LayerNorm(x)` for `x` of `[rows, width]`.
    pub fn forward_into(&self, x: &[f32], y: &mut Vec<f32>) {
        y.clear();
        y.extend_from_slice(x);
        self.forward(y);
    }

    /// `x = LayerNorm(x + residual)`.
    pub fn forward_residual(&self, x: &mut [f32], residual: &[f32]) {
        let width = self.weight.len();
        x.par_chunks_mut(BLOCK_ROWS * width)
            .zip(residual.par_chunks(BLOCK_ROWS * width))
            .for_each(|(x, residual)| {
                simd::add(x, residual);
                simd::layer_norm(x, &self.weight, &self.bias, self.eps);
            });
    }
}

/// Values of a unit of elementwise work.
const BLOCK: usize = 1 << 14;

/// `x += y`, element by element.
pub fn add(x: &mut [f32], y: &[f32]) {
    x.par_chunks_mut(BLOCK)
        .zip(y.par_chunks(BLOCK))
        .for_each(|(x, y)| simd::add(x, y));
}

/// `x *= y`, element by element.
pub fn gate(x: &mut [f32], y: &[f32]) {
    x.par_chunks_mut(BLOCK)
        .zip(y.par_chunks(BLOCK))
        .for_each(|(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| *x *= y));
}

/// Softmax of each row of `width` values, in place.
pub fn softmax_rows(xs: &mut [f32], width: usize) {
    for row in xs.chunks_exact_mut(width) {
        let mut top = f32::NEG_INFINITY;
        simd::maximum(row, &mut top);
        let mut total = 0.0;
        simd::exp_sum(row, top, &mut total);
        simd::scale(row, 1.0 / total);
    }
}
