//! A file that is read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::KeyFileError;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

type Read<T> = Box<dyn Fn(&Path) -> Result<T, KeyFileError> + Send + Sync>;

/// What a file says, as it says it now, or said it when it could be read last.
pub(super) struct Watched<T> {
    file: PathBuf,
    read: Read<T>,
    current: Mutex<Current<T>>,
}

struct Current<T> {
    said: Arc<T>,
    modified: Option<SystemTime>,
    looked: Instant,
}

impl<T> Watched<T> {
    pub(super) fn new(
        file: &Path,
        read: impl Fn(&Path) -> Result<T, KeyFileError> + Send + Sync + 'static,
    ) -> Result<Self, KeyFileError> {
        let modified = modified(file);
        let current = Current {
            said: Arc::new(read(file)?),
            modified,
            looked: Instant::now(),
        };
        Ok(Self {
            file: file.to_owned(),
            read: Box::new(read),
            current: Mutex::new(current),
        })
    }

    pub(super) fn get(&self) -> Arc<T> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= EVERY {
            current.looked = Instant::now();
            let modified = modified(&self.file);
            if modified != current.modified {
                current.modified = modified;
                let file = self.file.display();
                match (self.read)(&self.file) {
                    Ok(said) => {
                        tracing::info!(%file, "read again");
                        current.said = Arc::new(said);
                    }
                    Err(error) => tracing::error!(%error, "what it said before stays in force"),
                }
            }
        }
        current.said.clone()
    }
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}
