//! Layers read from a package's tensors.

use super::ops::{LayerNorm, Linear, Precision};
use crate::package::{PackageError, Weights};

/// A package's tensors under one prefix. Some publishers leave the prefix out.
#[derive(Clone, Copy)]
pub(super) struct Tensors<'a> {
    weights: &'a Weights,
    prefix: &'static str,
    precision: Precision,
}

impl<'a> Tensors<'a> {
    /// Tensors called `prefix` and more, if `tensor` is there under that name; else without prefix.
    pub(super) fn new(weights: &'a Weights, prefix: &'static str, tensor: &str) -> Self {
        let prefix = if weights.has(&format!("{prefix}{tensor}")) {
            prefix
        } else {
            ""
        };
        Self {
            weights,
            prefix,
            precision: Precision::Float32,
        }
    }

    /// The same tensors for layers that multiply in `precision`.
    pub(super) fn multiplied_in(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// A linear layer of these weights, `[outputs, inputs]`; an empty `bias` stands for zeros.
    pub(super) fn layer(
        &self,
        weight: &[f32],
        bias: Vec<f32>,
        inputs: usize,
        outputs: usize,
    ) -> Linear {
        Linear::new(weight, bias, inputs, outputs, self.precision)
    }

    /// Tensors by their full names, as heads have them.
    pub(super) fn unprefixed(weights: &'a Weights) -> Self {
        Self {
            weights,
            prefix: "",
            precision: Precision::Float32,
        }
    }

    /// Values of shape `shape`, row-major.
    pub(super) fn load(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, PackageError> {
        self.weights.load(&format!("{}{name}", self.prefix), shape)
    }

    /// `at.weight` (`[outputs, inputs]`) and, where there is one, `at.bias`.
    pub(super) fn linear(
        &self,
        at: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, PackageError> {
        self.joined(&[at.to_owned()], inputs, outputs, bias)
    }

    /// Layers over the same input side by side, each of `outputs`: query, key and value as one.
    pub(super) fn joined(
        &self,
        parts: &[String],
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, PackageError> {
        let (mut weight, mut biases) = (Vec::new(), Vec::new());
        for at in parts {
            weight.extend(self.load(&format!("{at}.weight"), &[outputs, inputs])?);
            if bias {
                biases.extend(self.load(&format!("{at}.bias"), &[outputs])?);
            }
        }
        Ok(self.layer(&weight, biases, inputs, outputs * parts.len()))
    }

    /// Layer normalisation `at.weight` and, where there is one, `at.bias`. Files converted from
    /// TensorFlow call them gamma and beta.
    pub(super) fn norm(
        &self,
        at: &str,
        width: usize,
        eps: f32,
        bias: bool,
    ) -> Result<LayerNorm, PackageError> {
        let old = self.weights.has(&format!("{}{at}.gamma", self.prefix));
        let (scale, shift) = if old {
            ("gamma", "beta")
        } else {
            ("weight", "bias")
        };
        Ok(LayerNorm {
            weight: self.load(&format!("{at}.{scale}"), &[width])?,
            bias: if bias {
                self.load(&format!("{at}.{shift}"), &[width])?
            } else {
                vec![0.0; width]
            },
            eps,
        })
    }
}
