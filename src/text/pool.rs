//! The tokenisation pool: own threads, a bounded backlog, and no work for callers who left.
//!
//! Tokenisation is CPU work of microseconds to seconds; on the async runtime's threads it would delay
//! every other connection, and on the engine's threads it would contend with the matrix products. Long
//! texts never hold all threads, so that short ones pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::{TextTokenizer, TokenizedText};

/// Texts above this many bytes are long.
const LONG_TEXT: usize = 32 << 10;
/// Bytes a second that a thread is taken to tokenise until it was measured.
const FIRST_GUESS: u64 = 1 << 20;

/// Threads that tokenise, with a bound on the bytes waiting for them.
#[derive(Clone)]
pub struct TokenizePool {
    threads: Arc<rayon::ThreadPool>,
    /// Places for long texts: one fewer than threads.
    long: Arc<Semaphore>,
    backlog: Arc<Backlog>,
    max_waiting: usize,
}

/// What waits, and how fast it is worked off.
struct Backlog {
    bytes: AtomicUsize,
    /// Bytes a second of one thread, a moving average over long texts.
    rate: AtomicU64,
}

/// Why a text was not tokenised.
#[derive(Debug, thiserror::Error)]
pub enum TokenizePoolError {
    /// The backlog is full, or would take too long; nothing was started.
    #[error("{waiting} bytes wait for tokenisation, about {takes:?} of work")]
    Full {
        /// Bytes waiting.
        waiting: usize,
        /// Predicted time to work them off.
        takes: Duration,
    },
    /// The tokenizer itself failed or panicked on this text.
    #[error("tokenisation failed: {0}")]
    Failed(String),
    /// The pool's threads could not be started.
    #[error("cannot start the tokenisation threads: {0}")]
    Start(#[from] rayon::ThreadPoolBuildError),
}

impl TokenizePool {
    /// Starts `threads` threads (at least two, so that a long text does not stop short ones) that
    /// accept at most `max_waiting` bytes of waiting text.
    pub fn new(threads: usize, max_waiting: usize) -> Result<Self, TokenizePoolError> {
        let count = threads.max(2);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|i| format!("tokenize-{i}"))
            .build()?;
        Ok(Self {
            threads: Arc::new(threads),
            long: Arc::new(Semaphore::new(count - 1)),
            backlog: Arc::new(Backlog {
                bytes: AtomicUsize::new(0),
                rate: AtomicU64::new(FIRST_GUESS),
            }),
            max_waiting,
        })
    }

    /// Tokenises `text`, or refuses at once when what waits is too much or would, with the text
    /// itself, take more than half of the time until `deadline`. Dropping the future before a thread
    /// has begun drops the work.
    pub async fn tokenize(
        &self,
        tokenizer: Arc<TextTokenizer>,
        text: Arc<str>,
        deadline: Instant,
    ) -> Result<TokenizedText, TokenizePoolError> {
        let reserved = self.backlog.clone().reserve(text.len());
        let is_long = text.len() > LONG_TEXT;
        let waiting = reserved.ahead;
        let takes = self.time(waiting + text.len(), is_long);
        let left = deadline.saturating_duration_since(Instant::now());
        // One text is always let in, whatever its size: the bound is on what piles up.
        let too_much = waiting + text.len() > self.max_waiting || takes > left / 2;
        if waiting > 0 && too_much {
            return Err(TokenizePoolError::Full { waiting, takes });
        }
        let place = match is_long {
            true => self.long.clone().acquire_owned().await.ok(),
            false => None,
        };
        let (answer, answered) = oneshot::channel();
        self.threads.spawn_fifo(move || {
            let _held = (&reserved, place);
            if answer.is_closed() {
                return;
            }
            let start = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| tokenizer.tokenize(&text)))
                .map_err(|_| TokenizePoolError::Failed("the tokenizer panicked".into()))
                .and_then(|r| r.map_err(|e| TokenizePoolError::Failed(e.to_string())));
            if is_long {
                reserved.backlog.observe(text.len(), start.elapsed());
            }
            let _ = answer.send(result);
        });
        answered
            .await
            .unwrap_or_else(|_| Err(TokenizePoolError::Failed("the pool stopped".into())))
    }

    /// Predicted time to tokenise `bytes`.
    fn time(&self, bytes: usize, is_long: bool) -> Duration {
        let threads = self.threads.current_num_threads() - usize::from(is_long);
        let rate = self.backlog.rate.load(Ordering::Relaxed).max(1) * threads as u64;
        Duration::from_secs_f64(bytes as f64 / rate as f64)
    }
}

impl Backlog {
    fn reserve(self: Arc<Self>, bytes: usize) -> Reserved {
        Reserved {
            ahead: self.bytes.fetch_add(bytes, Ordering::Relaxed),
            backlog: self,
            bytes,
        }
    }

    fn observe(&self, bytes: usize, took: Duration) {
        let newest = bytes as f64 / took.as_secs_f64().max(1e-6);
        let average = self.rate.load(Ordering::Relaxed) as f64;
        self.rate
            .store((0.8 * average + 0.2 * newest) as u64, Ordering::Relaxed);
    }
}

/// Bytes counted as waiting until dropped.
struct Reserved {
    backlog: Arc<Backlog>,
    bytes: usize,
    /// Bytes that waited before.
    ahead: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.backlog.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
