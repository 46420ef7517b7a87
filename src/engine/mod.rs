//! Where a packed batch runs. Knows models and devices; no request, no queue.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod failover;
mod simulated;
mod start;

use std::sync::Arc;

pub use cpu::CpuEngine;
#[cfg(feature = "cuda")]
pub use cuda::{CudaEngine, CudaSettings};
pub use failover::Failover;
pub use simulated::{SimulatedCost, SimulatedEngine};
pub use start::{DeviceChoice, DeviceLoss, EngineSettings, start};

pub use crate::encoder::ops::Precision;
use crate::encoder::{HeadOutput, Model, PackedBatch};

/// Which of an engine's loaded models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub usize);

/// Which heads of a model are wanted; a model has at most 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HeadSet(u32);

impl HeadSet {
    /// No head.
    pub const EMPTY: Self = Self(0);

    /// The set of one head.
    #[must_use]
    pub fn one(head: usize) -> Self {
        assert!(head < 32, "a model has at most 32 heads");
        Self(1 << head)
    }

    /// The heads of both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `head` is wanted.
    #[must_use]
    pub fn contains(self, head: usize) -> bool {
        head < 32 && self.0 >> head & 1 == 1
    }

    /// Whether no head is wanted.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Scores of one sequence: one entry a head, `None` where it was not wanted.
pub type SequenceScores = Vec<Option<HeadOutput>>;

/// A batch that a device has been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchId(pub u64);

/// What has become of a batch by the time [`Engine::begin`] returns.
#[derive(Debug)]
pub enum Begun {
    /// It is done.
    Done(Vec<SequenceScores>),
    /// The device works on it; [`Engine::finish`] waits for its scores.
    Running(BatchId),
}

/// A device that runs models.
pub trait Engine: Send + 'static {
    /// What answers say ran them: `cpu (avx512, 2 threads)`, `cuda:0 (NVIDIA H200)`.
    fn device(&self) -> String;

    /// In what the products of the models are that [`Self::load`] is given.
    fn precision(&self) -> Precision {
        Precision::Float32
    }

    /// Makes a model ready to run; its id is the number of models loaded before it.
    fn load(&mut self, model: Arc<Model>) -> Result<ModelId, EngineError>;

    /// Puts a loaded model into a number format of wider range, because its scores were not finite;
    /// false where there is none.
    fn widen(&mut self, _model: ModelId) -> Result<bool, EngineError> {
        Ok(false)
    }

    /// Starts one batch, as [`Self::run`] runs it, and returns while the device works: a batch that is begun
    /// before another one is finished follows it without a gap. Engines that do not work by themselves run
    /// it.
    fn begin(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Begun, EngineError> {
        self.run(model, batch, heads).map(Begun::Done)
    }

    /// Whether [`Self::finish`] would return at once.
    fn is_done(&self, _batch: BatchId) -> bool {
        true
    }

    /// Waits for a batch that was begun. Batches are finished in the order in which they were begun; one
    /// that is passed over is forgotten.
    fn finish(&mut self, _batch: BatchId) -> Result<Vec<SequenceScores>, EngineError> {
        Err(EngineError::Batch("no such batch is in flight".into()))
    }

    /// Runs one batch: the trunk once, and every head of `heads` on it. One entry a sequence.
    fn run(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Vec<SequenceScores>, EngineError>;
}

/// Why an engine could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum EngineError {
    /// No model of this id was loaded.
    #[error("no model {0:?} is loaded")]
    UnknownModel(ModelId),
    /// The batch does not fit the model.
    #[error("{0}")]
    Batch(String),
    /// The engine could not be started.
    #[error("cannot start the engine: {0}")]
    Start(String),
    /// The device does not run such a network.
    #[error("not supported by the device: {0} (device = \"cpu\" runs it)")]
    Unsupported(String),
    /// The device's memory does not do.
    #[error("device memory: {0}")]
    Memory(String),
    /// The device failed in a way that no later call survives.
    #[error("the device is lost: {0}")]
    DeviceLost(String),
    /// The device was lost; the batch is too, and the CPU runs what comes.
    #[error("the device was lost and the CPU has taken over: {0}")]
    TakenOver(String),
    /// The engine panicked; the batch is lost, the engine goes on.
    #[error("the engine panicked")]
    Panic,
}
