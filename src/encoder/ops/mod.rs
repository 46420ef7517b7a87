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
mod simd;
mod split;
mod vector;

pub use attention::{AttentionShape, Wanted, attention};
pub use disentangled::{RelativeTerms, Slots, disentangled_attention};
pub use gemm::{Panels, multiply};
pub use linear::Linear;
pub use rotary::Rotary;
pub use vector::{Activation, LayerNorm, add, gate, softmax_rows};

/// The instruction set in use: `amx`, `avx512`, `avx2` or `portable`.
#[must_use]
pub fn instruction_set() -> &'static str {
    if simd::amx::available() {
        "amx"
    } else {
        simd::isa().name()
    }
}
