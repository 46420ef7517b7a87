//! The CUDA engine: a static executor. Weights and workspace are allocated once; every size of batch
//! has a graph, captured at load; a batch is one copy in, one graph launch, one copy out.
//!
//! Knows the driver, the kernels and how a network is described; no request and no queue.

#![allow(
    unsafe_code,
    reason = "kernel launches and driver calls; every block states why it is sound"
)]

mod bucket;
mod device;
mod element;
mod error;
mod executor;
mod heads;
mod image;
mod kernels;
mod matmul;
mod network;
mod room;
mod staging;
#[cfg(test)]
mod tests;
mod timing;
mod workspace;

pub use executor::{CudaEngine, CudaSettings};
