//! Trunks with learned absolute positions and post-norm layers: BERT and its kin.

use super::ops::{Activation, AttentionShape, LayerNorm, Wanted, attention};
use super::post_norm::{PostNormLayer, Scratch};
use super::{AttentionPlan, Encoder, Numbering, PackedBatch, Plan, Positions, Residual};

/// A loaded trunk.
#[derive(Debug)]
pub(super) struct LearnedPositions {
    pub(super) hidden: usize,
    pub(super) vocabulary: usize,
    /// `[vocabulary, hidden]`.
    pub(super) words: Vec<f32>,
    /// `[rows, hidden]`: the position's embedding, and that of token type 0, which every single
    /// text has.
    pub(super) places: Vec<f32>,
    pub(super) numbering: Numbering,
    pub(super) norm: LayerNorm,
    pub(super) attention: AttentionShape,
    pub(super) activation: Activation,
    pub(super) layers: Vec<PostNormLayer>,
}

impl LearnedPositions {
    fn run(&self, batch: &PackedBatch, x: &mut Vec<f32>, wanted: Wanted) {
        let h = self.hidden;
        x.clear();
        x.reserve(batch.tokens() * h);
        for rows in batch.rows() {
            let ids = &batch.ids()[rows];
            for (&id, row) in ids.iter().zip(self.numbering.rows(ids)) {
                let word = &self.words[id as usize * h..][..h];
                let place = &self.places[row as usize * h..][..h];
                x.extend(word.iter().zip(place).map(|(w, p)| w + p));
            }
        }
        self.norm.forward(x);
        let mut scratch = Scratch::default();
        for (i, layer) in self.layers.iter().enumerate() {
            let wanted = if i + 1 == self.layers.len() {
                wanted
            } else {
                Wanted::Every
            };
            layer.forward(x, self.activation, &mut scratch, |qkv, context, x| {
                attention(qkv, batch.lengths(), wanted, self.attention, context);
                if wanted == Wanted::First {
                    batch.keep_first_rows(x);
                }
            });
        }
    }
}

impl Encoder for LearnedPositions {
    fn forward(&self, batch: &PackedBatch, hidden: &mut Vec<f32>) {
        self.run(batch, hidden, Wanted::Every);
    }

    fn forward_first(&self, batch: &PackedBatch, hidden: &mut Vec<f32>) {
        self.run(batch, hidden, Wanted::First);
    }

    fn hidden_size(&self) -> usize {
        self.hidden
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn max_length(&self) -> usize {
        self.numbering.longest(self.places.len() / self.hidden)
    }
    fn plan(&self) -> Option<Plan<'_>> {
        let attention = || AttentionPlan {
            scale: self.attention.scale,
            window: None,
            positions: Positions::None,
        };
        Some(Plan {
            hidden: self.hidden,
            heads: self.attention.heads,
            max_length: self.max_length(),
            words: (&self.words).into(),
            places: (&self.places).into(),
            numbering: self.numbering,
            norm: &self.norm,
            residual: Residual::Normalised,
            layers: self
                .layers
                .iter()
                .map(|layer| layer.plan(self.activation, attention()))
                .collect(),
        })
    }
}
