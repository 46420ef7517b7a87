//! The device worker: one thread that forms a batch, runs it, hands out the results.
//!
//! On a device that works by itself the next batch follows the one that runs without a gap: it is formed and
//! begun just before the device will be idle, and its copies overlap.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::queue::{Batch, Queue};
use super::{Shared, WindowOutcome};
use crate::engine::{BatchId, Begun, Engine, EngineError, SequenceScores};

/// How long before the predicted end of a batch the next one is formed: what forming, writing and copying it
/// take. What arrives later waits for the batch after it.
const LEAD: Duration = Duration::from_micros(300);

/// How long the worker sleeps at a time while the device has much to do.
const NAP: Duration = Duration::from_micros(100);

/// A batch that the device works on.
struct Running {
    batch: Batch,
    id: BatchId,
    start: Instant,
}

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
    let engine = engine.as_mut();
    let mut running: Option<Running> = None;
    loop {
        let next = match &running {
            Some(running) => batch_to_follow(shared, engine, running),
            None => match next_batch(shared) {
                Some(batch) => Some(batch),
                None => return,
            },
        };
        let start = Instant::now();
        let mut free = start;
        let begun = next.map(|batch| {
            let begun = guarded(|| engine.begin(batch.model, &batch.packed, batch.heads));
            (batch, begun)
        });
        if let Some(Running { batch, id, start }) = running.take() {
            let scores = guarded(|| engine.finish(id));
            free = Instant::now();
            hand_out(shared, engine, &batch, scores, start);
        }
        match begun {
            None => {}
            Some((batch, Ok(Begun::Running(id)))) => {
                // The device works on it since it has been done with the one before.
                running = Some(Running {
                    batch,
                    id,
                    start: free,
                });
            }
            Some((batch, Ok(Begun::Done(scores)))) => {
                hand_out(shared, engine, &batch, Ok(scores), start);
            }
            Some((batch, Err(error))) => hand_out(shared, engine, &batch, Err(error), start),
        }
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

/// The batch that follows `running`, formed shortly before the device is done with that; `None` when it is
/// done before, or nothing waits.
fn batch_to_follow(shared: &Shared, engine: &dyn Engine, running: &Running) -> Option<Batch> {
    let due = running.start + running.batch.predicted.saturating_sub(LEAD);
    loop {
        if engine.is_done(running.id) {
            return None;
        }
        let now = Instant::now();
        match due.saturating_duration_since(now) {
            Duration::ZERO => return shared.queue().next_batch(now),
            left if left > NAP * 5 => std::thread::sleep(NAP),
            _ => std::thread::yield_now(),
        }
    }
}

/// What `work` returns; a panic is an error of its batch and of no other.
fn guarded<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(EngineError::Panic))
}

/// Hands out what became of a batch that the device began at `start`.
fn hand_out(
    shared: &Shared,
    engine: &dyn Engine,
    batch: &Batch,
    scores: Result<Vec<SequenceScores>, EngineError>,
    start: Instant,
) {
    let sequences = batch.packed.lengths().len();
    let scores = scores.and_then(|scores| match scores.len() == sequences {
        true => Ok(scores),
        false => Err(EngineError::Batch(format!(
            "the engine scored {} of {sequences}",
            scores.len()
        ))),
    });
    let outcomes = match scores {
        Ok(scores) => {
            let scored = |s| WindowOutcome::Scored(Arc::new(s));
            scores.into_iter().map(scored).collect()
        }
        Err(error) => {
            after(&error, engine, shared);
            fail(sequences, &error.to_string())
        }
    };
    let took = start.elapsed();
    record(batch, took);
    shared.queue().complete(batch, outcomes, took);
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
