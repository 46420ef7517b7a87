//! Between requests and a device: a bounded queue, a batch formed at the last moment, one worker.
//!
//! A request is a [`Job`] of windows for one model. [`Scheduler::submit`] admits it or refuses it at
//! once; the [`Ticket`] it returns yields the scores, and dropping the ticket withdraws whatever the
//! device has not begun. The worker thread forms each batch when the device is free: no timer, no
//! batch closed early.
//!
//! Order: packages share the device by deficit round robin over predicted device time; within a
//! package the earliest deadline goes first, and windows of short texts pass those of long ones
//! until these have waited for [`SchedulerConfig::long_lane_age`].

mod cost;
mod job;
mod queue;
mod stages;
mod worker;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use cost::{CostModel, calibrate};
pub use job::{Job, JobResult, Refusal, Ticket, Window, WindowOutcome};

use tokio::sync::SetOnce;

use crate::engine::Engine;
use queue::Queue;

/// Bounds and aims of a scheduler.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// Most tokens in a batch.
    pub max_batch_tokens: usize,
    /// Most sequences in a batch.
    pub max_batch_sequences: usize,
    /// Predicted time a batch is filled up to; the latency a newcomer may find in its way.
    pub batch_target: Duration,
    /// Most tokens waiting.
    pub max_queued_tokens: usize,
    /// Most requests waiting or running.
    pub max_jobs: usize,
    /// Requests of up to this many tokens take the short lane.
    pub short_tokens: usize,
    /// How long short texts may pass long ones.
    pub long_lane_age: Duration,
    /// Share of the time to a deadline that predictions may use up; half of it may be filled by what
    /// waits already.
    pub deadline_share: f64,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            max_batch_tokens: 4096,
            max_batch_sequences: 256,
            batch_target: Duration::from_millis(25),
            max_queued_tokens: 1 << 20,
            max_jobs: 16_384,
            short_tokens: 128,
            long_lane_age: Duration::from_millis(100),
            deadline_share: 0.8,
        }
    }
}

/// A handle to one device's queue; clones share it. The worker ends when all are gone.
#[derive(Clone)]
pub struct Scheduler {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

/// What handles, tickets and the worker share.
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// What runs the batches now.
    device: Mutex<Arc<str>>,
    /// Why the device cannot be used any more.
    lost: SetOnce<String>,
}

impl Shared {
    /// The queue. A panic while it was held cannot leave it half changed in a way that matters more
    /// than going on, so poisoning is passed over.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the queue when the last handle goes.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.queue().close();
        self.0.wake.notify_all();
    }
}

impl Scheduler {
    /// Starts the worker thread on `engine`, whose models cost what `costs` says (by model id).
    pub fn start(
        engine: Box<dyn Engine>,
        costs: Vec<CostModel>,
        config: SchedulerConfig,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new(costs, config)),
            wake: Condvar::new(),
            device: Mutex::new(engine.device().into()),
            lost: SetOnce::new(),
        });
        let of_worker = shared.clone();
        std::thread::Builder::new()
            .name("device".into())
            .spawn(move || worker::run(&of_worker, engine))?;
        Ok(Self {
            _owner: Arc::new(Owner(shared.clone())),
            shared,
        })
    }

    /// Whether a request of about `tokens` tokens could be met by `deadline` as things stand: asked
    /// before any work is done for it, so that refusing costs nothing.
    pub fn admits(
        &self,
        model: crate::engine::ModelId,
        tokens: usize,
        window: usize,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let queue = self.shared.queue();
        let admitted = queue.admits_estimate(model, tokens, window, deadline, Instant::now());
        drop(queue);
        admitted.inspect_err(count_refusal)
    }

    /// Queues `job`, or refuses it at once.
    pub fn submit(&self, job: Job) -> Result<Ticket, Refusal> {
        let submitted = self.shared.queue().submit(job, Instant::now());
        let (id, done) = submitted.inspect_err(count_refusal)?;
        self.shared.wake.notify_one();
        Ok(Ticket::new(self.shared.clone(), id, done))
    }

    /// What runs the batches now: after a loss it may be another device than before.
    #[must_use]
    pub fn device(&self) -> Arc<str> {
        let device = self.shared.device.lock();
        device.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the device is lost; says why. What waits then fails, and nothing more is taken.
    pub async fn device_lost(&self) -> String {
        self.shared.lost.wait().await.clone()
    }
}

fn count_refusal(refusal: &Refusal) {
    let reason = match refusal {
        Refusal::Overloaded { .. } => "overloaded",
        Refusal::Unmeetable { .. } => "unmeetable",
        Refusal::Closed => "closed",
    };
    metrics::counter!("portcullis_refused_total", "reason" => reason).increment(1);
}
