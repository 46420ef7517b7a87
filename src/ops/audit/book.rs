//! The file that is written, and where in the chain it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ring::hmac;

use super::AuditConfig;
use super::chain::{Line, Place};
use super::files::{last_line, open_locked, parts, whole_lines};
use super::record::Record;
use crate::ops::file::FileError;

/// How often what was written is forced to the disk.
pub(super) const SYNC_EVERY: Duration = Duration::from_secs(1);

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
    unsynced: Option<Instant>,
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
            let mut first = [0; 1];
            file.seek(SeekFrom::Start(end)).map_err(|e| error(&e))?;
            file.read_exact(&mut first).map_err(|e| error(&e))?;
            if first != *b"{" {
                return Err(error(&"is no audit trail"));
            }
            tracing::warn!(file = %path.display(), bytes = torn, "a record without its end is cut off");
            file.set_len(end).map_err(|e| error(&e))?;
        }
        file.seek(SeekFrom::End(0)).map_err(|e| error(&e))?;
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
            unsynced: None,
        })
    }

    /// Writes all of these records, or none.
    pub(super) fn write(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        if self.bytes >= self.most {
            self.put_aside()?;
        }
        let here = std::fs::metadata(&self.path).map(|data| data.ino());
        if here.ok() != Some(self.file.metadata()?.ino()) {
            let moved = "it was moved or deleted under the server: put it back, or start anew";
            return Err(io::Error::other(moved));
        }
        let (mut lines, mut place) = (Vec::new(), self.place.clone());
        for record in records {
            place = place.write(record, &self.key, &mut lines);
        }
        // Also where the end of an earlier attempt could not be taken back.
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes))?;
        if let Err(error) = self.file.write_all(&lines) {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        self.place = place;
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Whether something was written a while ago that may not be on the disk yet.
    pub(super) fn is_due(&self) -> bool {
        self.unsynced
            .is_some_and(|since| since.elapsed() >= SYNC_EVERY)
    }

    /// Forces what was written to the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_some() {
            self.file.sync_data()?;
            self.unsynced = None;
        }
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
        self.unsynced = None;
        Ok(())
    }
}
