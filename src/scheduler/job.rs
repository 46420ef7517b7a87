//! What goes in and what comes out: jobs, tickets, outcomes, refusals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Shared;
use crate::engine::{HeadSet, ModelId, SequenceScores};

/// One request's windows for one model.
#[derive(Debug, Clone)]
pub struct Job {
    /// The model.
    pub model: ModelId,
    /// Whose request it is: equal windows are shared within a tenant only.
    pub tenant: Arc<str>,
    /// The windows.
    pub windows: Vec<Window>,
    /// When the answer must be there.
    pub deadline: Instant,
}

/// One sequence to run.
#[derive(Debug, Clone)]
pub struct Window {
    /// Token ids, special tokens included; not empty.
    pub ids: Arc<[u32]>,
    /// The heads wanted for it.
    pub heads: HeadSet,
}

/// What became of a window.
#[derive(Debug, Clone)]
pub enum WindowOutcome {
    /// It was scored.
    Scored(Arc<SequenceScores>),
    /// The engine failed on its batch.
    Failed(Arc<str>),
    /// Its deadline passed first.
    Expired,
}

/// What became of a job.
#[derive(Debug, Clone)]
pub struct JobResult {
    /// One outcome a window.
    pub windows: Vec<WindowOutcome>,
    /// From submission until its first window ran (or until now, if none did).
    pub queue: Duration,
    /// From then until its last window was done.
    pub engine: Duration,
}

/// Why a job was not let in. Nothing was queued.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum Refusal {
    /// Its deadline cannot be met behind the work that waits, or the queue is full.
    #[error("overloaded: {waiting:?} of work is waiting; try again in {retry_after:?}")]
    Overloaded {
        /// Predicted time of the work ahead.
        waiting: Duration,
        /// When it could be let in, as things stand.
        retry_after: Duration,
    },
    /// Its deadline could not be met on an idle device.
    #[error("the deadline leaves {left:?} and the scan needs about {needs:?}")]
    Unmeetable {
        /// Predicted time of the job alone.
        needs: Duration,
        /// Time to its deadline.
        left: Duration,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Closed,
}

/// A job in the queue. Dropping it withdraws the job.
pub struct Ticket {
    shared: Arc<Shared>,
    id: u64,
    done: oneshot::Receiver<()>,
}

impl Ticket {
    pub(super) fn new(shared: Arc<Shared>, id: u64, done: oneshot::Receiver<()>) -> Self {
        Self { shared, id, done }
    }

    /// Waits until every window has an outcome or `until` has come, and takes what there is.
    /// Windows without an outcome by then are withdrawn and reported as expired.
    pub async fn finish(mut self, until: Instant) -> JobResult {
        let _ = tokio::time::timeout_at(until.into(), &mut self.done).await;
        self.shared.queue().take(self.id, Instant::now())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.queue().withdraw(self.id);
    }
}
