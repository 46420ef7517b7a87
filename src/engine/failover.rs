//! A device whose work the CPU takes over once it is lost.

use std::sync::Arc;

use super::{CpuEngine, Engine, EngineError, HeadSet, ModelId, SequenceScores};
use crate::encoder::{Model, PackedBatch};

/// Runs on `engine` until it is lost, then on the CPU. The batch that finds it lost fails.
pub struct Failover {
    engine: Box<dyn Engine>,
    /// For the CPU, in the order of their ids.
    models: Vec<Arc<Model>>,
    threads: usize,
}

impl Failover {
    /// Guards `engine` with a CPU engine of `threads` threads.
    #[must_use]
    pub fn new(engine: Box<dyn Engine>, threads: usize) -> Self {
        Self {
            engine,
            models: Vec::new(),
            threads,
        }
    }

    fn take_over(&mut self, reason: String) -> EngineError {
        let replace = || -> Result<CpuEngine, EngineError> {
            let mut cpu = CpuEngine::new(self.threads)?;
            for model in &self.models {
                cpu.load(model.clone())?;
            }
            Ok(cpu)
        };
        match replace() {
            Ok(cpu) => {
                tracing::error!(reason, lost = self.engine.device(), "the CPU takes over");
                self.engine = Box::new(cpu);
                EngineError::TakenOver(reason)
            }
            Err(error) => EngineError::DeviceLost(format!("{reason}; nor the CPU: {error}")),
        }
    }
}

impl Engine for Failover {
    fn device(&self) -> String {
        self.engine.device()
    }

    fn load(&mut self, model: Arc<Model>) -> Result<ModelId, EngineError> {
        let id = self.engine.load(model.clone())?;
        self.models.push(model);
        Ok(id)
    }

    fn widen(&mut self, model: ModelId) -> Result<bool, EngineError> {
        self.engine.widen(model)
    }

    fn run(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Vec<SequenceScores>, EngineError> {
        match self.engine.run(model, batch, heads) {
            Err(EngineError::DeviceLost(reason)) => Err(self.take_over(reason)),
            result => result,
        }
    }
}
