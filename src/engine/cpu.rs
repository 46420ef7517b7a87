//! The CPU engine: packed batches on its own threads.

use std::sync::Arc;

use super::{Engine, EngineError, HeadSet, ModelId, Precision, SequenceScores};
use crate::encoder::{Model, PackedBatch, ops};

/// Runs models on a pool of CPU threads.
pub struct CpuEngine {
    threads: rayon::ThreadPool,
    precision: Precision,
    models: Vec<Arc<Model>>,
}

impl CpuEngine {
    /// An engine of `threads` threads (at least one), for models of f32 products.
    pub fn new(threads: usize) -> Result<Self, EngineError> {
        Self::of_precision(threads, Precision::Float32)
    }

    /// As [`Self::new`], for models whose products are in `precision`, where this machine has it.
    pub fn of_precision(threads: usize, precision: Precision) -> Result<Self, EngineError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("engine-{i}"))
            .build()
            .map_err(|e| EngineError::Start(e.to_string()))?;
        Ok(Self {
            threads,
            precision: precision.available(),
            models: Vec::new(),
        })
    }
}

impl Engine for CpuEngine {
    fn device(&self) -> String {
        let products = match self.precision {
            Precision::Float32 => "",
            Precision::Bfloat16 => " bf16",
        };
        format!(
            "cpu ({}{products}, {} threads)",
            ops::instruction_set(),
            self.threads.current_num_threads()
        )
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn load(&mut self, model: Arc<Model>) -> Result<ModelId, EngineError> {
        self.models.push(model);
        Ok(ModelId(self.models.len() - 1))
    }

    fn run(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Vec<SequenceScores>, EngineError> {
        let model = self
            .models
            .get(model.0)
            .ok_or(EngineError::UnknownModel(model))?;
        self.threads
            .install(|| model.scores(batch, |head| heads.contains(head)))
            .map_err(|e| EngineError::Batch(e.to_string()))
    }
}
