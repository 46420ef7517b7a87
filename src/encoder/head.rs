//! Classifiers on the trunk's output.

use super::PackedBatch;
use super::ops::{Activation, LayerNorm, Linear};

/// A classifier: which vectors it looks at, optionally a dense layer, then one output a label.
#[derive(Debug)]
pub struct Head {
    /// The vectors it looks at.
    pub pooling: Pooling,
    /// Applied first, where there is one.
    pub dense: Option<Dense>,
    /// `[labels, hidden]`.
    pub out: Linear,
}

/// The vectors a classifier looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Each token's: one row of logits a token.
    EveryToken,
    /// The first token's: one row of logits a sequence.
    First,
    /// The mean of all tokens: one row of logits a sequence.
    Mean,
}

/// A dense layer, its activation and, in some architectures, a normalisation.
#[derive(Debug)]
pub struct Dense {
    /// `[hidden, hidden]`.
    pub linear: Linear,
    /// What follows it.
    pub activation: Activation,
    /// What follows that.
    pub norm: Option<LayerNorm>,
}

impl Head {
    /// Logits for `hidden` (`[tokens, hidden]`): `[tokens, labels]` or `[sequences, labels]`.
    #[must_use]
    pub fn forward(&self, batch: &PackedBatch, hidden: &[f32]) -> Vec<f32> {
        let width = self.out.inputs();
        match self.pooling {
            Pooling::EveryToken => self.classify(hidden),
            Pooling::First => {
                let pooled: Vec<f32> = batch
                    .rows()
                    .flat_map(|rows| &hidden[rows.start * width..][..width])
                    .copied()
                    .collect();
                self.classify(&pooled)
            }
            Pooling::Mean => {
                let pooled: Vec<f32> = batch
                    .rows()
                    .flat_map(|rows| mean(&hidden[rows.start * width..rows.end * width], width))
                    .collect();
                self.classify(&pooled)
            }
        }
    }

    /// Logits for the vectors that the head looks at, `[rows, hidden]`: `[rows, labels]`.
    pub(super) fn classify(&self, rows: &[f32]) -> Vec<f32> {
        let mut inner = Vec::new();
        let mut x = rows;
        if let Some(dense) = &self.dense {
            dense.linear.forward(x, &mut inner, dense.activation);
            if let Some(norm) = &dense.norm {
                norm.forward(&mut inner);
            }
            x = &inner;
        }
        let mut logits = Vec::new();
        self.out.forward(x, &mut logits, Activation::None);
        logits
    }

    /// Outputs.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.out.outputs()
    }

    /// Whether there is a row of logits for each token.
    #[must_use]
    pub fn every_token(&self) -> bool {
        self.pooling == Pooling::EveryToken
    }
}

/// The mean of the rows of `x`.
fn mean(x: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0f64; width];
    for row in x.chunks_exact(width) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(s, v)| *s += f64::from(*v));
    }
    let rows = (x.len() / width) as f64;
    sums.into_iter().map(|s| (s / rows) as f32).collect()
}
