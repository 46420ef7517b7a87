//! The CPU engine: packed f32 batches on its own threads.

use std::sync::Arc;

use super::{Engine, EngineError, HeadSet, ModelId, SequenceScores};
use crate::encoder::{Model, PackedBatch, ops};

/// Runs models on a pool of CPU threads.
pub struct CpuEngine {
    threads: rayon::ThreadPool,
    models: Vec<Arc<Model>>,
}

impl CpuEngine {
    /// An engine of `threads` threads (at least one).
    pub fn new(threads: usize) -> Result<Self, EngineError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("engine-{i}"))
            .build()
            .map_err(|e| EngineError::Start(e.to_string()))?;
        Ok(Self {
            threads,
            models: Vec::new(),
        })
    }
}

impl Engine for CpuEngine {
    fn device(&self) -> String {
        format!(
            "cpu ({}, {} threads)",
            ops::instruction_set(),
            self.threads.current_num_threads()
        )
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
