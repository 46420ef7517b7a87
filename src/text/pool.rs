//! The tokenisation pool: own threads, a bounded backlog, and no work for callers who left.
//!
//! Tokenisation is CPU work of micro- to milliseconds; on the async runtime's threads it would
//! delay every other connection, and on the engine's threads it would contend with the matrix
//! products.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::{TextTokenizer, TokenizedText};

/// Threads that tokenise, with a bound on the bytes waiting for them.
#[derive(Clone)]
pub struct TokenizePool {
    threads: Arc<rayon::ThreadPool>,
    waiting: Arc<AtomicUsize>,
    max_waiting: usize,
}

/// Why a text was not tokenised.
#[derive(Debug, thiserror::Error)]
pub enum TokenizePoolError {
    /// The backlog is full; nothing was started.
    #[error("the tokenisation backlog is full ({waiting} of {max} bytes)")]
    Full {
        /// Bytes waiting.
        waiting: usize,
        /// The bound.
        max: usize,
    },
    /// The tokenizer itself failed or panicked on this text.
    #[error("tokenisation failed: {0}")]
    Failed(String),
    /// The pool's threads could not be started.
    #[error("cannot start the tokenisation threads: {0}")]
    Start(#[from] rayon::ThreadPoolBuildError),
}

impl TokenizePool {
    /// Starts `threads` threads that accept at most `max_waiting` bytes of waiting text.
    pub fn new(threads: usize, max_waiting: usize) -> Result<Self, TokenizePoolError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("tokenize-{i}"))
            .build()?;
        Ok(Self {
            threads: Arc::new(threads),
            waiting: Arc::default(),
            max_waiting,
        })
    }

    /// Tokenises `text`, or refuses at once when the backlog is full. Dropping the future before a
    /// thread has begun drops the work.
    pub async fn tokenize(
        &self,
        tokenizer: Arc<TextTokenizer>,
        text: Arc<str>,
    ) -> Result<TokenizedText, TokenizePoolError> {
        let bytes = text.len();
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let reserved = Reserved {
            waiting: self.waiting.clone(),
            bytes,
        };
        // One text is always let in, whatever its size: the bound is on what piles up.
        if waiting > 0 && waiting + bytes > self.max_waiting {
            return Err(TokenizePoolError::Full {
                waiting,
                max: self.max_waiting,
            });
        }
        let (answer, answered) = oneshot::channel();
        self.threads.spawn(move || {
            let _reserved = reserved;
            if answer.is_closed() {
                return;
            }
            let result = catch_unwind(AssertUnwindSafe(|| tokenizer.tokenize(&text)))
                .map_err(|_| TokenizePoolError::Failed("the tokenizer panicked".into()))
                .and_then(|r| r.map_err(|e| TokenizePoolError::Failed(e.to_string())));
            let _ = answer.send(result);
        });
        answered
            .await
            .unwrap_or_else(|_| Err(TokenizePoolError::Failed("the pool stopped".into())))
    }
}

/// Bytes counted against the bound until dropped.
struct Reserved {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
