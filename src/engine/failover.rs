//! A device whose work the CPU takes over once it is lost.

use std::sync::Arc;

use super::{BatchId, Begun, CpuEngine, Engine, EngineError, HeadSet, ModelId, SequenceScores};
use crate::encoder::{Model, PackedBatch};

/// Runs on `engine` until it is lost, then on the CPU. What is in flight then fails.
pub struct Failover {
    engine: Box<dyn Engine>,
    /// For the CPU, in the order of their ids.
    models: Vec<Arc<Model>>,
    threads: usize,
    /// Why the device was lost, once it is.
    lost: Option<String>,
}

impl Failover {
    /// Guards `engine` with a CPU engine of `threads` threads.
    #[must_use]
    pub fn new(engine: Box<dyn Engine>, threads: usize) -> Self {
        Self {
            engine,
            models: Vec::new(),
            threads,
            lost: None,
        }
    }

    /// Takes over when the device is lost.
    fn watch<T>(&mut self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        match result {
            Err(EngineError::DeviceLost(reason)) => Err(self.take_over(reason)),
            result => result,
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
                self.lost = Some(reason.clone());
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
        let result = self.engine.run(model, batch, heads);
        self.watch(result)
    }

    fn begin(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Begun, EngineError> {
        let result = self.engine.begin(model, batch, heads);
        self.watch(result)
    }

    fn is_done(&self, batch: BatchId) -> bool {
        self.engine.is_done(batch)
    }

    fn finish(&mut self, batch: BatchId) -> Result<Vec<SequenceScores>, EngineError> {
        // The CPU has begun none: what was in flight is lost with the device.
        if let Some(reason) = &self.lost {
            return Err(EngineError::TakenOver(reason.clone()));
        }
        let result = self.engine.finish(batch);
        self.watch(result)
    }
}
