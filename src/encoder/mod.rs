//! What the network is: configuration, weights and forward pass of each architecture, and the heads
//! on top. Runs on packed batches with f32 arithmetic on the CPU; it is also the reference for other
//! devices. Knows no device policy and no request.

mod batch;
mod bert;
mod head;
mod model;
pub mod ops;
mod plan;

pub use batch::PackedBatch;
pub use head::Head;
pub use model::{HeadOutput, Model, ModelError};
pub use plan::{AttentionPlan, LayerPlan, ModelPlan, Numbering, Plan, Positions, Residual};

use crate::package::{PackageError, Weights};

/// A trunk: from token ids to one hidden vector a token.
pub trait Encoder: Send + Sync + std::fmt::Debug {
    /// Hidden vectors `[tokens, hidden]` of the last layer, written to `hidden`.
    ///
    /// Runs on the threads of the current rayon pool.
    fn forward(&self, batch: &PackedBatch, hidden: &mut Vec<f32>);

    /// Width of a hidden vector.
    fn hidden_size(&self) -> usize;

    /// Rows of the token embedding: ids are below it.
    fn vocabulary(&self) -> usize;

    /// Longest sequence, special tokens included.
    fn max_length(&self) -> usize;

    /// Sizes and weights, for engines that run the network elsewhere; `None` where only
    /// [`Self::forward`] can.
    fn plan(&self) -> Option<Plan<'_>> {
        None
    }

    /// The classifier that the hub's class for this architecture puts on the trunk, with `labels`
    /// outputs, on the first token or on every token.
    fn hub_head(
        &self,
        weights: &Weights,
        labels: usize,
        every_token: bool,
    ) -> Result<Head, PackageError>;
}

type Build = fn(&serde_json::Value, &Weights) -> Result<Box<dyn Encoder>, PackageError>;

/// The architectures, by `model_type` of `config.json`. A new one is a file and a line here.
const ARCHITECTURES: &[(&str, Build)] = &[("bert", bert::build)];

/// Builds the trunk that `config` describes.
fn build(config: &serde_json::Value, weights: &Weights) -> Result<Box<dyn Encoder>, PackageError> {
    let model_type = config["model_type"].as_str().unwrap_or("(missing)");
    match ARCHITECTURES.iter().find(|(name, _)| *name == model_type) {
        Some((_, build)) => build(config, weights),
        None => {
            let known: Vec<&str> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
            Err(weights.config_error(
                "model_type",
                format!("{model_type:?} is not supported; {} is", known.join(", ")),
            ))
        }
    }
}
