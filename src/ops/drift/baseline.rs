//! The file of the baseline: what it says, and what is learned and added.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::spread::Shares;
use crate::ops::file::{self, FileError};

/// How often a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// By detector and label.
type Known = BTreeMap<String, BTreeMap<String, Shares>>;

/// The baseline of all classes. What is learned is written by a thread of its own: who brings a score does not wait
/// for the disk.
pub(super) struct Baseline {
    known: Arc<Mutex<Known>>,
    changed: SyncSender<()>,
}

impl Baseline {
    /// Reads the file, if it is there.
    pub(super) fn open(file: &Path) -> Result<Self, FileError> {
        Self::with_retry(file, RETRY)
    }

    fn with_retry(file: &Path, retry: Duration) -> Result<Self, FileError> {
        let known = Arc::new(Mutex::new(read(file)?));
        // Of changes that come while one is written, one says all.
        let (changed, changes) = sync_channel(1);
        let (path, writes) = (file.to_owned(), known.clone());
        std::thread::Builder::new()
            .name("drift".into())
            .spawn(move || keep(&path, &writes, &changes, retry))
            .map_err(|e| FileError::new(file, e))?;
        Ok(Self { known, changed })
    }

    /// How the scores of a class were spread, if that is known.
    pub(super) fn of(&self, detector: &str, label: &str) -> Option<Shares> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(detector)?.get(label).copied()
    }

    /// Adds a class.
    pub(super) fn learn(&self, detector: String, label: String, shares: Shares) {
        tracing::info!(detector, label, "the baseline of its scores is learned");
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(detector).or_default().insert(label, shares);
        }
        // Where one waits already, this is written with it.
        let _ = self.changed.try_send(());
    }
}

/// Writes what is known when it changes, until it cannot change any more.
fn keep(file: &Path, known: &Mutex<Known>, changes: &Receiver<()>, retry: Duration) {
    let mut fails = false;
    loop {
        let changed = match fails {
            true => changes.recv_timeout(retry),
            false => changes.recv().map_err(RecvTimeoutError::from),
        };
        if changed == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        let now = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let written = write(file, &now);
        match &written {
            Err(error) if !fails => {
                tracing::error!(%error, "the baseline of scores cannot be written");
            }
            Ok(()) if fails => tracing::info!("the baseline of scores is written again"),
            _ => {}
        }
        fails = written.is_err();
    }
}

fn write(file: &Path, known: &Known) -> io::Result<()> {
    let text = serde_json::to_string_pretty(known).map_err(io::Error::other)?;
    let part = file.with_extension("part");
    let mut new = File::create(&part)?;
    new.write_all(text.as_bytes())?;
    // Or a power failure might leave the name with nothing in it.
    new.sync_all()?;
    std::fs::rename(&part, file)
}

fn read(file: &Path) -> Result<Known, FileError> {
    if !file.try_exists().map_err(|e| FileError::new(file, e))? {
        return Ok(Known::new());
    }
    let read: Known = file::json(file)?;
    let sound = |shares: &Shares| {
        shares.iter().all(|s| (0.0..=1.0).contains(s))
            && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-3
    };
    match read.values().flat_map(BTreeMap::values).all(sound) {
        true => Ok(read),
        false => Err(FileError::new(
            file,
            "shares of a class must lie between 0 and 1 and add up to 1",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::spread::BINS;
    use super::*;

    #[test]
    fn a_baseline_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("baseline.json");
        assert!(read(&file).unwrap().is_empty(), "it is learned");
        for text in [
            "[]",
            r#"{"a": {"b": [1]}}"#,
            r#"{"a": {"b": [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]}}"#,
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(read(&file).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_tried_again_and_waited_for_by_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("later/baseline.json");
        let baseline = Baseline::with_retry(&file, Duration::from_millis(20)).unwrap();
        let mut shares = [0.0; BINS];
        shares[0] = 1.0;
        for label in ["A", "B"] {
            baseline.learn("injection".into(), label.into(), shares);
        }
        std::thread::sleep(Duration::from_millis(50));
        std::fs::create_dir(dir.path().join("later")).unwrap();
        let start = Instant::now();
        while !file.exists() {
            assert!(start.elapsed() < Duration::from_secs(5));
            std::thread::sleep(Duration::from_millis(5));
        }
        let written = Baseline::open(&file).unwrap();
        assert_eq!(written.of("injection", "B"), Some(shares));
        // A pipe that nobody reads holds up the thread, and not who learns.
        std::fs::remove_file(&file).unwrap();
        let part = dir.path().join("later/baseline.part");
        let made = std::process::Command::new("mkfifo").arg(part).status();
        assert!(made.unwrap().success());
        let start = Instant::now();
        for label in ["C", "D", "E"] {
            baseline.learn("injection".into(), label.into(), shares);
        }
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
