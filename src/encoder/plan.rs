//! A network as an engine for another device sees it: sizes and weights, and no arithmetic.
//!
//! Post-norm networks (BERT and its kin, DeBERTa) and pre-norm ones (ModernBERT) are the same list of
//! steps. With `input` the layer's normalised input and `stream` what residual sums add to:
//!
//! ```text
//! context = attention(qkv(input))
//! sum     = stream + attention_out(context);  y     = attention_norm(sum)
//! sum'    = ...    + down(f(up(y)) [* gate(y)]);  input = norm(sum')
//! ```
//!
//! Post-norm networks carry the normalised vector on (`stream` is `y`, then `input`), pre-norm ones the
//! sum. Each layer's `norm` gives the next layer's input, and the last one's the network's output; the
//! first layer's input is the embedding.

use std::borrow::Cow;

use super::head::Head;
use super::ops::{Activation, LayerNorm, Linear};
use crate::package;

/// A whole model.
#[derive(Debug)]
pub struct ModelPlan<'m> {
    /// The trunk.
    pub trunk: Plan<'m>,
    /// The heads in order, and how logits become scores.
    pub heads: Vec<(&'m Head, package::Activation)>,
}

/// A trunk.
#[derive(Debug)]
pub struct Plan<'m> {
    /// Width of a hidden vector.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Longest sequence.
    pub max_length: usize,
    /// `[vocabulary, hidden]`.
    pub words: Cow<'m, [f32]>,
    /// Added to the words, `[rows, hidden]`; empty where nothing is.
    pub places: Cow<'m, [f32]>,
    /// Which row of `places` a token gets.
    pub numbering: Numbering,
    /// Normalises the embedding.
    pub norm: &'m LayerNorm,
    /// What a residual sum adds to.
    pub residual: Residual,
    /// The layers, from the embedding up.
    pub layers: Vec<LayerPlan<'m>>,
}

/// Which row of the table of places a token gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// That of its index in the sequence.
    FromZero,
    /// As RoBERTa counts: padding has its own id's row; other tokens follow from the next one on.
    AfterPadding(u32),
    /// The first row.
    Same,
}

impl Numbering {
    /// Sequences that fit a table of `rows`.
    pub(super) fn longest(self, rows: usize) -> usize {
        match self {
            Self::FromZero => rows,
            Self::AfterPadding(padding) => rows.saturating_sub(padding as usize + 1),
            Self::Same => usize::MAX,
        }
    }

    /// The row of each token of a sequence.
    pub fn rows(self, ids: &[u32]) -> impl Iterator<Item = u32> + '_ {
        let mut seen = 0;
        (0u32..).zip(ids).map(move |(i, &id)| match self {
            Self::FromZero => i,
            Self::AfterPadding(padding) if id == padding => padding,
            Self::AfterPadding(padding) => {
                seen += 1;
                padding + seen
            }
            Self::Same => 0,
        })
    }
}

/// What a residual sum adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// The normalised vector: post-norm.
    Normalised,
    /// The sum so far: pre-norm.
    Sum,
}

/// A layer.
#[derive(Debug)]
pub struct LayerPlan<'m> {
    /// `[3 * hidden, hidden]`: query, key and value.
    pub qkv: &'m Linear,
    /// How tokens attend to each other.
    pub attention: AttentionPlan<'m>,
    /// `[hidden, hidden]`.
    pub attention_out: &'m Linear,
    /// After the first residual sum.
    pub attention_norm: &'m LayerNorm,
    /// `[intermediate, hidden]`.
    pub up: &'m Linear,
    /// `[intermediate, hidden]`: multiplies the activated `up`, where there is one.
    pub gate: Option<&'m Linear>,
    /// What follows `up`.
    pub activation: Activation,
    /// `[hidden, intermediate]`.
    pub down: &'m Linear,
    /// After the second residual sum.
    pub norm: &'m LayerNorm,
}

/// How tokens attend to each other.
#[derive(Debug)]
pub struct AttentionPlan<'m> {
    /// Scores are multiplied by this before the softmax.
    pub scale: f32,
    /// How many tokens to either side are seen; `None`: all.
    pub window: Option<usize>,
    /// How positions enter the scores.
    pub positions: Positions<'m>,
}

/// How positions enter the scores of attention.
#[derive(Debug)]
pub enum Positions<'m> {
    /// They do not.
    None,
    /// Queries and keys are turned by angles, `[max_length, head dimension / 2]` each.
    Rotary {
        /// Cosines of the angles.
        cosines: &'m [f32],
        /// Sines of the angles.
        sines: &'m [f32],
    },
    /// Products with relative positions are added: query `i` with row `s` of `keys`, key `j` with row
    /// `s` of `queries`, where `s` is the slot of `i - j`.
    Disentangled {
        /// Projected by the key's layer, `[slots, hidden]`; `None` where the term is absent.
        keys: Option<Vec<f32>>,
        /// Projected by the query's layer, `[slots, hidden]`; `None` where the term is absent.
        queries: Option<Vec<f32>>,
        /// Slot of each distance `i - j` from `-(max_length - 1)` to `max_length - 1`.
        slots: Vec<u16>,
    },
}
