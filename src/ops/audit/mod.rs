//! The audit trail: a line of JSON for each verdict and whatever else must be accounted for, in an order that
//! shows what is missing or was changed.
//!
//! Each line carries the code of the line before it (`previous`) and its own (`mac`): HMAC-SHA256 of the line
//! as it stands, up to the code. With a key that whoever writes to the disk does not have, no line can be
//! changed, left out or put in without a trace; only lines off the end can be cut, which the newest code,
//! kept elsewhere, shows.

mod book;
mod chain;
mod config;
mod files;
mod record;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use book::Book;
use chain::Keys;
pub use config::{AuditConfig, OnError, Verdicts};
use record::Record;
pub use record::largest_record;
pub use verify::{Whole, verify};
use writer::{WAITING, Waiting, count};

use super::file::FileError;
use crate::guard::{Action, Outcome, Segment, Verdict};

/// Bytes of records that may wait for the disk, one of them at least: no line is longer.
pub const WAITING_BYTES: usize = files::MAX_LINE as usize;
/// How long a record may wait before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long one is waited for whatever the deadline: a verdict may come just before it.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
/// For how long the end of the trail is waited for.
const END: Duration = Duration::from_secs(5);

/// A record that found no place, where none may be missing.
#[derive(Debug, thiserror::Error)]
#[error("the audit trail cannot be written")]
pub struct Unrecorded;

/// The trail, or none.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Trail>>);

struct Trail {
    config: AuditConfig,
    records: Mutex<Option<SyncSender<Waiting>>>,
    /// Of what waits.
    bytes: Arc<AtomicUsize>,
    /// Nothing comes on it; it is closed when the writer has ended.
    writer: Mutex<Option<Receiver<()>>>,
    /// Of the digests by which texts are told apart.
    texts: hmac::Key,
}

impl Audit {
    /// Opens the trail where the file ends, or begins it.
    pub fn start(config: &AuditConfig) -> Result<Self, FileError> {
        let keys = Keys::read(config.key_file.as_deref())?;
        let book = Book::open(config, keys.lines)?;
        Self::go_on(config, book, keys.texts)
    }

    fn go_on(config: &AuditConfig, book: Book, texts: hmac::Key) -> Result<Self, FileError> {
        let torn = book.torn;
        let (records, incoming) = sync_channel(WAITING);
        let bytes = Arc::new(AtomicUsize::new(0));
        let waiting = bytes.clone();
        let (running, writer) = channel();
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || {
                let _running = running;
                writer::keep(book, &incoming, &waiting);
            })
            .map_err(|e| FileError::new(&config.file, e))?;
        let audit = Self(Some(Arc::new(Trail {
            config: config.clone(),
            records: Mutex::new(Some(records)),
            bytes,
            writer: Mutex::new(Some(writer)),
            texts,
        })));
        if torn > 0 {
            audit.note("torn", json!({ "bytes": torn }));
        }
        Ok(audit)
    }

    /// Records a verdict on these texts, which somebody may wait for until `deadline`; a streamed text comes
    /// without.
    ///
    /// # Errors
    ///
    /// Where it found no place in time, and `on_error` is `closed`.
    pub async fn verdict(
        &self,
        tenant: &str,
        segments: &[Segment],
        verdict: &Verdict,
        deadline: Option<Instant>,
    ) -> Result<(), Unrecorded> {
        let Some(trail) = &self.0 else {
            return Ok(());
        };
        let plain = verdict.action == Action::Allow && verdict.outcome == Outcome::Complete;
        if plain && trail.config.verdicts == Verdicts::Flagged {
            return Ok(());
        }
        let texts = (&trail.texts, trail.config.texts);
        let record = record::verdict(tenant, segments, verdict, texts);
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let patience = left.map_or(PATIENCE, |left| left.clamp(LEAST_PATIENCE, PATIENCE));
        trail.record(record, patience).await
    }

    /// Records something else that happened.
    ///
    /// # Errors
    ///
    /// As of a verdict.
    pub async fn event(&self, event: &'static str, details: Value) -> Result<(), Unrecorded> {
        match &self.0 {
            None => Ok(()),
            Some(trail) => trail.record(record::event(event, details), PATIENCE).await,
        }
    }

    /// Records something where nobody can wait for it.
    pub fn note(&self, event: &'static str, details: Value) {
        if let Some(trail) = &self.0 {
            trail.send(Waiting {
                record: record::event(event, details),
                told: None,
            });
        }
    }

    /// Writes what waits, and ends the trail, which blocks the thread while the disk takes it, for seconds at most.
    /// What comes later is not recorded.
    pub fn stop(&self) {
        if let Some(trail) = &self.0 {
            self.note("stopped", Value::Null);
            trail.end();
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.end();
    }
}

impl Trail {
    fn end(&self) {
        let lock = self.records.lock();
        lock.unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock();
        let writer = writer.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.recv_timeout(END) == Err(RecvTimeoutError::Timeout)
        {
            tracing::error!("the disk takes too long: the end of the audit trail may be lost");
        }
    }

    /// Waits until the record is written, where nothing is to be answered that is not.
    async fn record(&self, record: Record, patience: Duration) -> Result<(), Unrecorded> {
        let closed = self.config.on_error == OnError::Closed;
        let (told, written) = match closed {
            true => Some(oneshot::channel()).unzip(),
            false => (None, None),
        };
        let sent = self.send(Waiting { record, told });
        let Some(written) = written else {
            return Ok(());
        };
        let written = async { sent && written.await == Ok(true) };
        match tokio::time::timeout(patience, written).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Unrecorded),
            Err(_) => {
                count(false, 1);
                Err(Unrecorded)
            }
        }
    }

    /// Whether there is a place for it.
    fn send(&self, waiting: Waiting) -> bool {
        let bytes = waiting.record.size();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = before + bytes <= WAITING_BYTES && {
            let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = records.as_ref().map(|records| records.try_send(waiting));
            matches!(sent, Some(Ok(())))
        };
        if !sent {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            count(false, 1);
        }
        sent
    }
}
