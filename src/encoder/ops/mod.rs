//! The arithmetic of the CPU path over packed rows: matrix products, attention, normalisation,
//! activations. Knows no architecture.
//!
//! Rows are tokens of all sequences of a batch, one after the other; nothing is padded. Every
//! output row is computed in an order that does not depend on the other rows, so that a text's
//! scores do not depend on its neighbours.

mod attention;
mod disentangled;
mod gemm;
mod linear;
mod rotary;
mod rounded;
mod simd;
mod split;
mod vector;

use serde::{Deserialize, Serialize};

pub use attention::{AttentionShape, Wanted, attention};
pub use disentangled::{RelativeTerms, Slots, disentangled_attention};
pub use gemm::{Panels, multiply};
pub use linear::Linear;
pub use rotary::Rotary;
pub use vector::{Activation, LayerNorm, add, gate, softmax_rows};

/// In what the values of large products are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 binary digits: what transformers computes with.
    #[default]
    Float32,
    /// 8 digits, summed in f32: faster on processors with AMX, and the same as `Float32` on others.
    Bfloat16,
}

impl Precision {
    /// What this machine makes of it.
    #[must_use]
    pub fn available(self) -> Self {
        if simd::amx::available() {
            self
        } else {
            Self::Float32
        }
    }
}

/// The instruction set in use: `amx`, `avx512`, `avx2` or `portable`.
#[must_use]
pub fn instruction_set() -> &'static str {
    if simd::amx::available() {
        "amx"
    } else {
        simd::isa().name()
    }
}
