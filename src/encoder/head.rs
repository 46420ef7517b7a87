//! Classifiers on the trunk's output.

use super::PackedBatch;
use super::ops::{Activation, Linear};

/// A classifier: optionally a dense layer with an activation, then one output a label.
#[derive(Debug)]
pub struct Head {
    /// Applied first, where there is one.
    pub dense: Option<(Linear, Activation)>,
    /// `[labels, hidden]`.
    pub out: Linear,
    /// One row of logits a token, or one a sequence, from its first token.
    pub every_token: bool,
}

impl Head {
    /// Logits for `hidden` (`[tokens, hidden]`): `[tokens, labels]` or `[sequences, labels]`.
    #[must_use]
    pub fn forward(&self, batch: &PackedBatch, hidden: &[f32]) -> Vec<f32> {
        let width = self.out.inputs();
        let first_tokens: Vec<f32>;
        let mut x = hidden;
        if !self.every_token {
            first_tokens = batch
                .rows()
                .flat_map(|rows| &hidden[rows.start * width..][..width])
                .copied()
                .collect();
            x = &first_tokens;
        }
        let mut inner = Vec::new();
        if let Some((dense, activation)) = &self.dense {
            dense.forward(x, &mut inner, *activation);
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
}
