//! The file that is written, and where in the chain it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ring::hmac;

use super::AuditConfig;
use super::chain::{Line, Place};
use super::files::{begins_with, folder, is_zeros, last_line, open_locked, parts, whole_lines};
use super::record::Record;
use crate::ops::file::FileError;

/// How often what was written is forced to the disk.
pub(super) const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Bytes after which it is, however little time has passed.
const MOST_UNSYNCED: usize = 16 << 20;

/// The file, and where in the chain it is.
pub(super) struct Book {
    path: PathBuf,
    key: hmac::Key,
    file: File,
    bytes: u64,
    /// Bytes that were cut off when it was opened.
    pub(super) torn: u64,
    pub(super) most: u64,
    /// Of the next line.
    pub(super) place: Place,
    unsynced: Unsynced,
    /// Whether the file's name may not be on the disk yet.
    new: bool,
    pub(super) force: fn(&File) -> io::Result<()>,
}

/// What was written and may not be on the disk yet, kept until it is: where forcing it there fails, the system
/// takes the pages for written and would not try them again.
struct Unsynced {
    lines: Vec<u8>,
    records: usize,
    /// When the first of them was written, or forcing them failed last.
    since: Instant,
    failed: bool,
}

impl Book {
    /// Opens the file at its end. A line that was not written to its end, as by a power failure, is cut off.
    pub(super) fn open(config: &AuditConfig, key: hmac::Key) -> Result<Self, FileError> {
        let path = &config.file;
        let error = |e: &dyn std::fmt::Display| FileError::new(path, e);
        let mut file = open_locked(path).map_err(|e| error(&e))?;
        let end = whole_lines(&mut file).map_err(|e| error(&e))?;
        let mut last = last_line(&mut file, end).map_err(|e| error(&e))?;
        if last.is_none()
            && let Some(before) = parts(path).map_err(|e| error(&e))?.pop()
        {
            let mut before = File::open(before).map_err(|e| error(&e))?;
            let end = before.metadata().map_err(|e| error(&e))?.len();
            last = last_line(&mut before, end).map_err(|e| error(&e))?;
        }
        let place = match last {
            None => Place::default(),
            Some(line) => {
                let read = Line::read(&line, &key);
                read.map_err(|e| error(&format!("its last line {e}")))?
                    .next()
            }
        };
        // Only now: what is no trail is left as it is.
        let torn = file.metadata().map_err(|e| error(&e))?.len() - end;
        if torn > 0 {
            // After a whole line of ours whatever follows is what a power failure left.
            let begin = place.begin();
            let ours = end > 0
                || begins_with(&mut file, begin.as_bytes()).map_err(|e| error(&e))?
                || is_zeros(&mut file).map_err(|e| error(&e))?;
            if !ours {
                return Err(error(&"is no audit trail"));
            }
            tracing::warn!(file = %path.display(), bytes = torn, "a record without its end is cut off");
            file.set_len(end).map_err(|e| error(&e))?;
        }
        Ok(Self {
            path: path.clone(),
            key,
            file,
            bytes: end,
            torn,
            most: match config.max_file_mib {
                0 => u64::MAX,
                mib => mib.saturating_mul(1 << 20),
            },
            place,
            unsynced: Unsynced {
                lines: Vec::new(),
                records: 0,
                since: Instant::now(),
                failed: false,
            },
            new: true,
            force: File::sync_data,
        })
    }

    /// Writes all of these records, or none: none while what was written before cannot be forced to the disk.
    pub(super) fn write(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        if self.unsynced.failed {
            if !self.is_due() {
                return Err(io::Error::other("earlier records are not on the disk"));
            }
            self.sync()?;
        }
        self.expect_in_place()?;
        self.expect_at_least(self.bytes)?;
        if self.bytes >= self.most {
            self.put_aside()?;
        }
        let (mut lines, mut place) = (Vec::new(), self.place.clone());
        let mut count = 0;
        for record in records {
            place = place.write(&record, &self.key, &mut lines);
            count += 1;
        }
        // Also where the end of an earlier attempt could not be taken back.
        self.file.set_len(self.bytes)?;
        if let Err(error) = self.file.write_all_at(&lines, self.bytes) {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        self.place = place;
        let unsynced = &mut self.unsynced;
        if unsynced.records == 0 {
            unsynced.since = Instant::now();
            unsynced.lines = lines;
        } else {
            unsynced.lines.append(&mut lines);
        }
        unsynced.records += count;
        Ok(())
    }

    fn expect_in_place(&self) -> io::Result<()> {
        let here = std::fs::metadata(&self.path).map(|data| data.ino());
        if here.ok() == Some(self.file.metadata()?.ino()) {
            return Ok(());
        }
        let moved = "it was moved or deleted under the server: put it back, or start anew";
        Err(io::Error::other(moved))
    }

    /// What is missing would be filled with zeros.
    fn expect_at_least(&self, bytes: u64) -> io::Result<()> {
        if self.file.metadata()?.len() >= bytes {
            return Ok(());
        }
        Err(io::Error::other("it was cut under the server: start anew"))
    }

    /// Whether it is time to force what was written to the disk, or to try it again.
    pub(super) fn is_due(&self) -> bool {
        let unsynced = &self.unsynced;
        let many = unsynced.lines.len() >= MOST_UNSYNCED && !unsynced.failed;
        unsynced.records > 0 && (many || unsynced.since.elapsed() >= SYNC_EVERY)
    }

    /// Records that may not be on the disk.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.records
    }

    /// Forces what was written to the disk; what could not be forced there once is written again before.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let unsynced = &mut self.unsynced;
        if unsynced.records == 0 {
            return Ok(());
        }
        let again = unsynced.failed;
        (unsynced.failed, unsynced.since) = (true, Instant::now());
        if again {
            let written = self.bytes - self.unsynced.lines.len() as u64;
            self.expect_at_least(written)?;
            self.file.write_all_at(&self.unsynced.lines, written)?;
        }
        (self.force)(&self.file)?;
        if self.new {
            File::open(folder(&self.path))?.sync_all()?;
            self.new = false;
        }
        self.unsynced.lines = Vec::new();
        self.unsynced.records = 0;
        self.unsynced.failed = false;
        Ok(())
    }

    /// Names the file after its last record, and begins another one, which is there and ours before the first is
    /// touched. What was put aside before is never overwritten.
    pub(super) fn put_aside(&mut self) -> io::Result<()> {
        self.sync()?;
        let beside = |ending: String| {
            let mut name = self.path.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        let aside = beside(format!(".{:020}", self.place.seq.saturating_sub(1)));
        if aside.exists() {
            return Err(io::Error::other(format!(
                "{} is there already",
                aside.display()
            )));
        }
        let new = beside(".new".into());
        let file = open_locked(&new)?;
        file.set_len(0)?;
        std::fs::rename(&self.path, &aside)?;
        if let Err(error) = std::fs::rename(&new, &self.path) {
            std::fs::rename(&aside, &self.path)?;
            return Err(error);
        }
        self.file = file;
        self.bytes = 0;
        self.new = true;
        Ok(())
    }
}
