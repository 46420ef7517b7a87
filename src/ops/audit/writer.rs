//! The thread that writes.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use tokio::sync::oneshot;

use super::book::{Book, SYNC_EVERY};
use super::record::Record;

/// Records that may wait for the disk.
pub(super) const WAITING: usize = 4096;

/// A record on its way to the disk.
pub(super) struct Waiting {
    pub(super) record: Record,
    /// Who is told whether it was written.
    pub(super) told: Option<oneshot::Sender<bool>>,
}

/// Counts records that were written, or lost.
pub(super) fn count(written: bool, records: usize) {
    let result = if written { "written" } else { "lost" };
    metrics::counter!("portcullis_audit_records_total", "result" => result)
        .increment(records as u64);
}

/// Something that is done again and again, and said when it begins to fail and when it works again.
struct Said {
    what: &'static str,
    fails: bool,
}

impl Said {
    fn new(what: &'static str) -> Self {
        Self { what, fails: false }
    }

    /// Whether it worked.
    fn say(&mut self, result: &io::Result<()>) -> bool {
        let what = self.what;
        match result {
            Ok(()) if self.fails => tracing::info!("the audit trail is {what} again"),
            Err(error) if !self.fails => {
                tracing::error!(%error, "the audit trail cannot be {what}");
            }
            _ => {}
        }
        self.fails = result.is_err();
        !self.fails
    }
}

/// Writes what comes until nothing more can come; `bytes` is what waits.
pub(super) fn keep(mut book: Book, incoming: &Receiver<Waiting>, bytes: &AtomicUsize) {
    let mut write = Said::new("written");
    let mut force = Said::new("forced to the disk");
    loop {
        let first = match incoming.recv_timeout(SYNC_EVERY) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let more = incoming.try_iter().take(WAITING);
        let (records, told): (Vec<_>, Vec<_>) = first
            .into_iter()
            .chain(more)
            .map(|Waiting { record, told }| (record.size(), record, told))
            .map(|(size, record, told)| (record, (size, told)))
            .unzip();
        if !records.is_empty() {
            let written = write.say(&book.write(records.into_iter()));
            count(written, told.len());
            for (size, told) in told {
                bytes.fetch_sub(size, Ordering::Relaxed);
                if let Some(told) = told {
                    // Who does not wait any more does not hear it.
                    let _ = told.send(written);
                }
            }
        }
        // Who waited for a record does not wait for the disk.
        if book.is_due() {
            force.say(&book.sync());
        }
    }
    if let Err(error) = book.sync() {
        let records = book.unsynced();
        count(false, records);
        tracing::error!(%error, records, "the end of the audit trail may be lost");
    }
    tracing::info!(
        last = book.place.previous,
        records = book.place.seq,
        "the audit trail ends"
    );
}
