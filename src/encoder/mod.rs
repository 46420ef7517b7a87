//! What the network is: configuration, weights and forward pass of each architecture, and the heads
//! on top. Runs on packed batches with f32 arithmetic on the CPU; it is also the reference for other
//! devices. Knows no device policy and no request.

mod architecture;
mod batch;
mod bert;
mod deberta;
mod distilbert;
mod fields;
mod head;
mod learned;
mod model;
mod modernbert;
pub mod ops;
mod plan;
mod post_norm;
mod roberta;
mod tensors;

pub use batch::PackedBatch;
pub use head::{Dense, Head, Pooling};
pub use model::{HeadOutput, Model, ModelError};
pub use plan::{AttentionPlan, LayerPlan, ModelPlan, Numbering, Plan, Positions, Residual};

/// A trunk: from token ids to one hidden vector a token.
pub trait Encoder: Send + Sync + std::fmt::Debug {
    /// Hidden vectors `[tokens, hidden]` of the last layer, written to `hidden`.
    ///
    /// Runs on the threads of the current rayon pool.
    fn forward(&self, batch: &PackedBatch, hidden: &mut Vec<f32>);

    /// Those of each sequence's first token alone, `[sequences, hidden]`, to the bit; what leads to
    /// no other is left out where the architecture allows.
    fn forward_first(&self, batch: &PackedBatch, hidden: &mut Vec<f32>) {
        self.forward(batch, hidden);
        batch.keep_first_rows(hidden);
    }

    /// Width of a hidden vector.
    fn hidden_size(&self) -> usize;

    /// Rows of the token embedding: ids are below it.
    fn vocabulary(&self) -> usize;

    /// Longest sequence, special tokens included.
    fn max_length(&self) -> usize;

    /// Sizes and weights, for engines that run the network elsewhere; `None` where only
    /// [`Self::forward`] can.
    fn plan(&self) -> Option<Plan<'_>>;
}
