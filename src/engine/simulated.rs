//! A device that only takes time: for measuring what the scheduler and the server add, and how they
//! behave under more load than any one machine can offer a real model.

use std::sync::Arc;
use std::time::Duration;

use super::{Engine, EngineError, HeadSet, ModelId, SequenceScores};
use crate::encoder::{HeadOutput, Model, PackedBatch};

/// Time of a batch of `T` tokens in sequences of length `n`: `fixed + a T + b sum(n^2)`, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimulatedCost {
    /// Seconds a batch.
    pub fixed: f64,
    /// Seconds a token.
    pub a: f64,
    /// Seconds a squared token.
    pub b: f64,
}

/// An engine that sleeps and then finds nothing.
pub struct SimulatedEngine {
    cost: SimulatedCost,
    /// Labels of each head, and whether it scores every token.
    heads: Vec<(usize, bool)>,
    models: usize,
}

impl SimulatedEngine {
    /// A device of this speed for models with these heads (labels, every token).
    #[must_use]
    pub fn new(cost: SimulatedCost, heads: Vec<(usize, bool)>) -> Self {
        Self {
            cost,
            heads,
            models: 0,
        }
    }
}

impl Engine for SimulatedEngine {
    fn device(&self) -> String {
        "simulated".into()
    }

    fn load(&mut self, _model: Arc<Model>) -> Result<ModelId, EngineError> {
        self.models += 1;
        Ok(ModelId(self.models - 1))
    }

    fn run(
        &mut self,
        _model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Vec<SequenceScores>, EngineError> {
        let SimulatedCost { fixed, a, b } = self.cost;
        let seconds = fixed + a * batch.tokens() as f64 + b * batch.squares() as f64;
        if seconds > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(seconds));
        }
        // Nothing found: zeros for a text, all mass on the first tag (outside) for tokens.
        let scores = |&(labels, every_token): &(usize, bool), tokens: usize| HeadOutput {
            scores: if every_token {
                (0..tokens * labels)
                    .map(|i| if i % labels == 0 { 1.0 } else { 0.0 })
                    .collect()
            } else {
                vec![0.0; labels]
            },
            finite: true,
        };
        Ok(batch
            .lengths()
            .iter()
            .map(|&tokens| {
                self.heads
                    .iter()
                    .enumerate()
                    .map(|(i, head)| heads.contains(i).then(|| scores(head, tokens)))
                    .collect()
            })
            .collect())
    }
}
