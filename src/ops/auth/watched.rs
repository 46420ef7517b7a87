//! A file that is read again when it changes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use super::KeyFileError;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

type Read<T> = Box<dyn Fn(&Path) -> Result<T, KeyFileError> + Send + Sync>;

/// What a file says, as it says it now, or said it when it could be read last.
pub(crate) struct Watched<T> {
    file: PathBuf,
    read: Read<T>,
    said: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
}

/// The file as it was when it was read last.
struct Seen {
    state: Option<State>,
    looked: Instant,
    /// The error that was logged since.
    problem: Option<String>,
}

/// By which a change is noticed: also one to a file of the same age.
type State = (SystemTime, u64, u64);

impl<T> Watched<T> {
    pub(crate) fn new(
        file: &Path,
        read: impl Fn(&Path) -> Result<T, KeyFileError> + Send + Sync + 'static,
    ) -> Result<Self, KeyFileError> {
        let seen = Seen {
            state: state(file),
            looked: Instant::now(),
            problem: None,
        };
        Ok(Self {
            said: RwLock::new(Arc::new(read(file)?)),
            file: file.to_owned(),
            read: Box::new(read),
            seen: Mutex::new(seen),
        })
    }

    pub(crate) fn get(&self) -> Arc<T> {
        // One caller looks; the others do not wait for it.
        if let Ok(mut seen) = self.seen.try_lock()
            && seen.looked.elapsed() >= EVERY
        {
            seen.looked = Instant::now();
            self.look(&mut seen);
        }
        let said = self.said.read().unwrap_or_else(PoisonError::into_inner);
        said.clone()
    }

    /// Reads the file where it changed, and every time until it could be read.
    fn look(&self, seen: &mut Seen) {
        let now = state(&self.file);
        if now.is_some() && now == seen.state {
            return;
        }
        let file = self.file.display();
        let read = (self.read)(&self.file);
        let result = if read.is_ok() { "ok" } else { "failed" };
        metrics::counter!("portcullis_file_reloads_total", "result" => result).increment(1);
        match read {
            Ok(said) => {
                tracing::info!(%file, "read again");
                *self.said.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(said);
                (seen.state, seen.problem) = (now, None);
            }
            Err(error) => {
                let problem = Some(error.to_string());
                if problem != seen.problem {
                    tracing::error!(%error, "what it said before stays in force");
                    seen.problem = problem;
                }
            }
        }
    }
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

fn state(file: &Path) -> Option<State> {
    let data = std::fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len(), data.ino()))
}
