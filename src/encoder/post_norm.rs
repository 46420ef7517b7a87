//! The transformer layer of Vaswani et al. (arXiv:1706.03762): normalised after each residual sum.
//! BERT, RoBERTa, DistilBERT and DeBERTa have it and differ in how they attend.

use super::ops::{Activation, LayerNorm, Linear};
use super::plan::{AttentionPlan, LayerPlan};
use super::tensors::Tensors;
use crate::package::PackageError;

/// Attention and feed-forward, each followed by a residual sum and a layer normalisation.
#[derive(Debug)]
pub(super) struct PostNormLayer {
    pub(super) qkv: Linear,
    pub(super) attention_out: Linear,
    pub(super) attention_norm: LayerNorm,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) norm: LayerNorm,
}

/// Where a layer's tensors are, below the layer's own name.
pub(super) struct LayerNames {
    pub(super) qkv: [&'static str; 3],
    pub(super) attention_out: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) norm: &'static str,
}

/// Sizes of a layer.
#[derive(Clone, Copy)]
pub(super) struct LayerSizes {
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) eps: f32,
}

/// Memory that the layers of one pass share.
#[derive(Default)]
pub(super) struct Scratch {
    qkv: Vec<f32>,
    context: Vec<f32>,
    y: Vec<f32>,
    up: Vec<f32>,
}

impl PostNormLayer {
    /// Reads the layer called `at`.
    pub(super) fn load(
        tensors: Tensors<'_>,
        at: &str,
        names: &LayerNames,
        sizes: LayerSizes,
    ) -> Result<Self, PackageError> {
        let LayerSizes {
            hidden,
            intermediate,
            eps,
        } = sizes;
        let name = |rest: &str| format!("{at}.{rest}");
        Ok(Self {
            qkv: tensors.joined(&names.qkv.map(name), hidden, hidden, true)?,
            attention_out: tensors.linear(&name(names.attention_out), hidden, hidden, true)?,
            attention_norm: tensors.norm(&name(names.attention_norm), hidden, eps, true)?,
            up: tensors.linear(&name(names.up), hidden, intermediate, true)?,
            down: tensors.linear(&name(names.down), intermediate, hidden, true)?,
            norm: tensors.norm(&name(names.norm), hidden, eps, true)?,
        })
    }

    /// The layer for other devices.
    pub(super) fn plan<'m>(
        &'m self,
        activation: Activation,
        attention: AttentionPlan<'m>,
    ) -> LayerPlan<'m> {
        LayerPlan {
            qkv: &self.qkv,
            attention,
            attention_out: &self.attention_out,
            attention_norm: &self.attention_norm,
            up: &self.up,
            gate: None,
            activation,
            down: &self.down,
            norm: &self.norm,
        }
    }

    /// `x` (`[tokens, hidden]`) through the layer; `attend` turns `[tokens, 3 * hidden]` into the
    /// context of the tokens that are wanted, `[wanted, hidden]`, and leaves their rows in `x`.
    pub(super) fn forward(
        &self,
        x: &mut Vec<f32>,
        activation: Activation,
        scratch: &mut Scratch,
        attend: impl FnOnce(&[f32], &mut Vec<f32>, &mut Vec<f32>),
    ) {
        let Scratch {
            qkv,
            context,
            y,
            up,
        } = scratch;
        self.qkv.forward(x, qkv, Activation::None);
        attend(qkv, context, x);
        self.attention_out.forward(context, y, Activation::None);
        self.attention_norm.forward_residual(y, x);
        self.up.forward_then(activation, &self.down, y, up, x);
        self.norm.forward_residual(x, y);
    }
}
