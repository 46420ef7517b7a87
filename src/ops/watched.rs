//! Files that are read again when they change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use super::file::FileError;

/// How often files are looked at.
pub const EVERY: Duration = Duration::from_secs(1);

/// A file, and what it was like when it was read last.
#[derive(Debug)]
pub struct Watch {
    file: PathBuf,
    read: Option<State>,
    /// What was wrong with it since.
    problem: Option<String>,
}

/// By which a change is noticed, also one to a file of the same age.
type State = (SystemTime, u64, u64);

impl Watch {
    /// Of a file that is about to be read for the first time.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self {
            read: state(file),
            file: file.to_owned(),
            problem: None,
        }
    }

    /// Reads the file where it changed, or where `anyway`, and then each time until it could be read. Says how it
    /// went where there is something new to say.
    pub fn look<E: std::fmt::Display>(
        &mut self,
        anyway: bool,
        read: impl FnOnce() -> Result<(), E>,
    ) -> Option<bool> {
        let now = state(&self.file);
        if !anyway && now.is_some() && now == self.read {
            return None;
        }
        let done = read();
        let file = self.file.display().to_string();
        let current = if done.is_ok() { 1.0 } else { 0.0 };
        metrics::gauge!("portcullis_file_current", "file" => file.clone()).set(current);
        match done {
            Ok(()) => {
                tracing::info!(file, "read again");
                (self.read, self.problem) = (now, None);
                Some(true)
            }
            Err(error) => {
                // It is not what was read last, even where it looks like it.
                self.read = None;
                let problem = Some(error.to_string());
                let new = anyway || problem != self.problem;
                if new {
                    tracing::error!(%error, "what was read before stays in force");
                    self.problem = problem;
                }
                new.then_some(false)
            }
        }
    }
}

fn state(file: &Path) -> Option<State> {
    let data = std::fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len(), data.ino()))
}

/// What a file says, as it said it when it could be read last.
pub struct Watched<T> {
    read: Read<T>,
    watch: Mutex<Watch>,
    said: RwLock<Arc<T>>,
}

type Read<T> = Box<dyn Fn(&Path) -> Result<T, FileError> + Send + Sync>;

impl<T> Watched<T> {
    /// Reads the file.
    pub fn new(
        file: &Path,
        read: impl Fn(&Path) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let watch = Mutex::new(Watch::new(file));
        Ok(Self {
            said: RwLock::new(Arc::new(read(file)?)),
            read: Box::new(read),
            watch,
        })
    }

    /// What it says.
    pub fn get(&self) -> Arc<T> {
        let said = self.said.read().unwrap_or_else(PoisonError::into_inner);
        said.clone()
    }
}

/// Something that looks at a file now and then.
pub trait Look: Send + Sync {
    /// Looks, and reads the file again where that is due.
    fn look(&self);
}

impl<T: Send + Sync> Look for Watched<T> {
    fn look(&self) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let file = watch.file.clone();
        watch.look(false, || {
            let said = Arc::new((self.read)(&file)?);
            *self.said.write().unwrap_or_else(PoisonError::into_inner) = said;
            Ok::<_, FileError>(())
        });
    }
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

/// Looks at these files for ever, beside what is served.
pub async fn watch(files: Vec<Arc<dyn Look>>) {
    if files.is_empty() {
        return;
    }
    let files = Arc::new(files);
    loop {
        tokio::time::sleep(EVERY).await;
        let files = files.clone();
        // A file system that hangs holds nobody up but the next look.
        let looked = tokio::task::spawn_blocking(move || files.iter().for_each(|file| file.look()));
        if looked.await.is_err() {
            tracing::error!("looking at a file panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_once_and_a_broken_file_until_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "1").unwrap();
        let number = |file: &Path| {
            let text = std::fs::read_to_string(file).map_err(|e| FileError::new(file, e))?;
            text.parse::<u32>().map_err(|e| FileError::new(file, e))
        };
        let watched = Watched::new(&file, number).unwrap();
        let mut expected = 1;
        for (text, said) in [("2", 2), ("x", 2), ("2", 2), ("33", 33), ("x", 33)] {
            std::fs::write(&file, text).unwrap();
            watched.look();
            expected = said;
            assert_eq!(*watched.get(), expected, "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        watched.look();
        assert_eq!(*watched.get(), expected);
        // Another file of the same age and length.
        let age = SystemTime::UNIX_EPOCH;
        for text in ["44", "55"] {
            let new = dir.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::File::options()
                .write(true)
                .open(&new)
                .unwrap()
                .set_modified(age)
                .unwrap();
            std::fs::rename(&new, &file).unwrap();
            watched.look();
            assert_eq!(watched.get().to_string(), text);
        }
    }

    #[test]
    fn there_is_something_to_say_once_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let mut watch = Watch::new(&file);
        let fails = || Err("broken");
        let works = || Ok::<_, &str>(());
        assert_eq!(watch.look(false, works), None);
        std::fs::write(&file, "more").unwrap();
        assert_eq!(watch.look(false, fails), Some(false));
        assert_eq!(watch.look(false, fails), None);
        assert_eq!(watch.look(true, fails), Some(false));
        assert_eq!(
            watch.look(false, works),
            Some(true),
            "without another change"
        );
        assert_eq!(watch.look(false, works), None);
        assert_eq!(watch.look(true, works), Some(true));
    }
}
