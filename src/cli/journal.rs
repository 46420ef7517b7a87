//! An output of one JSON line a row that outlives a kill: it is its own journal.
//!
//! Rows are written in the order of the input, each with its number and a digest of its text. What is
//! there is therefore known from the file alone: on resuming, a last line without its end is cut off,
//! and every line is compared with the input's row of its number.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Result;
use super::input::Row;
use crate::package::hex;

/// How often what was written is forced to the disk.
const SYNC: Duration = Duration::from_secs(1);

/// What tells a row from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    /// From 1.
    pub(super) row: u64,
    /// The first half of the SHA-256 of its text, or of the reason why there is none.
    pub(super) digest: String,
}

impl Key {
    pub(super) fn new(row: u64, input: &Row) -> Self {
        let text = match &input.text {
            Ok(text) | Err(text) => text,
        };
        let digest = hex(&Sha256::digest(text.as_bytes())[..16]);
        Self { row, digest }
    }
}

/// An output file that is held by this process alone.
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    synced: Instant,
}

impl Journal {
    /// Opens or creates `path`, and goes through the rows that it holds already: `input` is advanced
    /// past them. Fails if they are not this input's, or if another process writes the file.
    pub(super) fn resume(
        path: &Path,
        input: &mut impl Iterator<Item = io::Result<Row>>,
    ) -> Result<(Self, u64)> {
        let error = |e: io::Error| format!("{}: {e}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(error)?;
        file.try_lock()
            .map_err(|_| format!("{}: another process is writing it", path.display()))?;
        let (mut rows, mut length) = (0, 0);
        let mut lines = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line).map_err(error)?;
            if line.last() != Some(&b'\n') {
                break; // the end, or a line that was being written
            }
            let there: Option<Key> = serde_json::from_slice(&line).ok();
            let expected = match input.next() {
                Some(row) => Some(Key::new(rows + 1, &row?)),
                None => None,
            };
            if there.is_none() || there != expected {
                return Err(format!(
                    "{}:{}: is not the result of the input's row; was the input changed? Name \
                     another --out",
                    path.display(),
                    rows + 1
                )
                .into());
            }
            rows += 1;
            length += read as u64;
        }
        drop(lines);
        let mut journal = Self {
            file,
            path: path.to_owned(),
            synced: Instant::now(),
        };
        journal.file.set_len(length).map_err(error)?;
        journal.file.seek(SeekFrom::Start(length)).map_err(error)?;
        Ok((journal, rows))
    }

    /// Appends a line, end included, in one write.
    pub(super) fn append(&mut self, line: &[u8]) -> Result<()> {
        let error = |e: io::Error| format!("{}: {e}", self.path.display());
        self.file.write_all(line).map_err(error)?;
        if self.synced.elapsed() >= SYNC {
            self.file.sync_data().map_err(error)?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    /// Forces all that was written to the disk.
    pub(super) fn finish(self) -> Result<()> {
        let synced = self.file.sync_all();
        Ok(synced.map_err(|e| format!("{}: {e}", self.path.display()))?)
    }
}
