//! Trunks with learned absolute positions and post-norm layers: BERT and its kin.

use super::ops::{Activation, AttentionShape, LayerNorm, attention};
use super::post_norm::{PostNormLayer, Scratch};
use super::{Encoder, PackedBatch};

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

/// Which row of the position table a token gets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Numbering {
    /// Its index in the sequence.
    FromZero,
    /// As RoBERTa counts: padding has its own id's row, and other tokens follow from the next one on.
    AfterPadding(u32),
}

impl Numbering {
    /// Sequences that fit a table of `rows`.
    fn longest(self, rows: usize) -> usize {
        match self {
            Self::FromZero => rows,
            Self::AfterPadding(padding) => rows.saturating_sub(padding as usize + 1),
        }
    }

    /// The row of each token of a sequence.
    fn rows(self, ids: &[u32]) -> impl Iterator<Item = usize> + '_ {
        let mut seen = 0;
        ids.iter().enumerate().map(move |(i, &id)| match self {
            Self::FromZero => i,
            Self::AfterPadding(padding) if id == padding => padding as usize,
            Self::AfterPadding(padding) => {
                seen += 1;
                padding as usize + seen
            }
        })
    }
}

impl Encoder for LearnedPositions {
    fn forward(&self, batch: &PackedBatch, x: &mut Vec<f32>) {
        let h = self.hidden;
        x.clear();
        x.reserve(batch.tokens() * h);
        for rows in batch.rows() {
            let ids = &batch.ids()[rows];
            for (&id, row) in ids.iter().zip(self.numbering.rows(ids)) {
                let word = &self.words[id as usize * h..][..h];
                let place = &self.places[row * h..][..h];
                x.extend(word.iter().zip(place).map(|(w, p)| w + p));
            }
        }
        self.norm.forward(x);
        let mut scratch = Scratch::default();
        for layer in &self.layers {
            layer.forward(x, self.activation, &mut scratch, |qkv, context| {
                attention(qkv, batch.lengths(), self.attention, context);
            });
        }
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
}
