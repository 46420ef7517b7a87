//! The device worker: one thread that forms a batch, runs it, hands out the results.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::queue::{Batch, Queue};
use super::{Shared, WindowOutcome};
use crate::engine::{Engine, EngineError};

/// Runs until the queue is closed and nothing waits any more.
pub(super) fn run(shared: &Arc<Shared>, mut engine: Box<dyn Engine>) {
    /// However the worker ends, nobody waits for it in vain: what comes later is refused.
    struct CloseAtEnd<'s>(&'s Shared);
    impl Drop for CloseAtEnd<'_> {
        fn drop(&mut self) {
            self.0.queue().close();
        }
    }
    let _close = CloseAtEnd(shared);
    while let Some(batch) = next_batch(shared) {
        let start = Instant::now();
        let outcomes = match run_batch(engine.as_mut(), &batch) {
            Ok(outcomes) => outcomes,
            Err(error) => {
                after(&error, engine.as_ref(), shared);
                fail(batch.packed.lengths().len(), &error.to_string())
            }
        };
        let took = start.elapsed();
        record(&batch, took);
        shared.queue().complete(&batch, outcomes, took);
    }
}

/// Waits for work. A batch is formed only now, when the device is free, so that it holds all that
/// has arrived until this moment.
fn next_batch(shared: &Shared) -> Option<Batch> {
    let mut queue = shared.queue();
    loop {
        if let Some(batch) = Queue::next_batch(&mut queue, Instant::now()) {
            return Some(batch);
        }
        if queue.is_closed() {
            return None;
        }
        queue = shared
            .wake
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

/// Runs one batch; an error or a panic fails this batch's windows and no other.
fn run_batch(engine: &mut dyn Engine, batch: &Batch) -> Result<Vec<WindowOutcome>, EngineError> {
    let sequences = batch.packed.lengths().len();
    let scores = catch_unwind(AssertUnwindSafe(|| {
        engine.run(batch.model, &batch.packed, batch.heads)
    }))
    .unwrap_or(Err(EngineError::Panic))?;
    if scores.len() != sequences {
        let problem = format!("the engine scored {} of {sequences}", scores.len());
        return Err(EngineError::Batch(problem));
    }
    let scored = |s| WindowOutcome::Scored(Arc::new(s));
    Ok(scores.into_iter().map(scored).collect())
}

/// What an error means for the batches to come. A lost device takes no more of them; those that wait
/// fail one after the other, each at once.
fn after(error: &EngineError, engine: &dyn Engine, shared: &Shared) {
    match error {
        EngineError::DeviceLost(reason) => {
            shared.queue().close();
            let _ = shared.lost.set(reason.clone());
        }
        EngineError::TakenOver(_) => {
            let mut device = shared.device.lock().unwrap_or_else(PoisonError::into_inner);
            let info = |device: &str| metrics::gauge!("portcullis_device_info", "device" => device.to_owned());
            info(&device).set(0.0);
            *device = engine.device().into();
            info(&device).set(1.0);
        }
        _ => {}
    }
}

fn fail(sequences: usize, reason: &str) -> Vec<WindowOutcome> {
    tracing::error!(sequences, reason, "batch failed");
    metrics::counter!("portcullis_batches_failed_total").increment(1);
    vec![WindowOutcome::Failed(reason.into()); sequences]
}

fn record(batch: &Batch, took: Duration) {
    metrics::histogram!("portcullis_batch_tokens").record(batch.packed.tokens() as f64);
    metrics::histogram!("portcullis_batch_sequences").record(batch.packed.lengths().len() as f64);
    metrics::histogram!("portcullis_engine_seconds").record(took.as_secs_f64());
    metrics::histogram!("portcullis_queue_seconds").record(batch.waited.as_secs_f64());
    metrics::counter!("portcullis_tokens_scanned_total").increment(batch.packed.tokens() as u64);
}
