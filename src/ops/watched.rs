//! Files that are read again when they change.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;

use super::file::FileError;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);

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

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// It is as it was, or as wrong.
    Same,
    /// What it says now is in force.
    Read,
    /// It is wrong, and was not in this way before.
    Failed,
}

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

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file where it changed, or where `anyway`, and then each time until it could be read.
    pub fn look<E: Display>(
        &mut self,
        anyway: bool,
        read: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Looked {
        let now = state(&self.file);
        if !anyway && now.is_some() && now == self.read {
            return Looked::Same;
        }
        let done = read(&self.file);
        let file = self.file.display().to_string();
        let current = if done.is_ok() { 1.0 } else { 0.0 };
        metrics::gauge!("portcullis_file_current", "file" => file.clone()).set(current);
        match done {
            Ok(()) => {
                tracing::info!(file, "read again");
                (self.read, self.problem) = (now, None);
                Looked::Read
            }
            Err(error) => {
                // It is not what was read last, even where it looks like it.
                self.read = None;
                let problem = Some(error.to_string());
                if !anyway && problem == self.problem {
                    return Looked::Same;
                }
                tracing::error!(%error, "what was read before stays in force");
                self.problem = problem;
                Looked::Failed
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
    file: PathBuf,
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
            file: file.to_owned(),
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
    /// The file.
    fn file(&self) -> &Path;

    /// Looks, and reads the file again where that is due, or `anyway`. Blocks the thread.
    fn look(&self, anyway: bool);
}

impl<T: Send + Sync> Look for Watched<T> {
    fn file(&self) -> &Path {
        &self.file
    }

    fn look(&self, anyway: bool) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.look(anyway, |file| {
            let said = Arc::new((self.read)(file)?);
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

/// Looks at these files for ever, beside what is served: each by itself, since a file system that hangs holds up
/// whoever waits for it. What comes by `now` has them all read again.
pub async fn watch(files: Vec<Arc<dyn Look>>, now: Receiver<()>) {
    let mut watching = JoinSet::new();
    for file in files {
        watching.spawn(watch_one(file, now.clone()));
    }
    while watching.join_next().await.is_some() {}
}

async fn watch_one(file: Arc<dyn Look>, mut now: Receiver<()>) {
    let name = file.file().display().to_string();
    let mut asks = true;
    // When it was read for the first time.
    looked_at(&name);
    loop {
        let anyway = tokio::select! {
            asked = now.changed(), if asks => {
                asks = asked.is_ok();
                asks
            }
            () = tokio::time::sleep(EVERY) => false,
        };
        let looker = file.clone();
        let looked = tokio::task::spawn_blocking(move || looker.look(anyway)).await;
        if looked.is_err() {
            tracing::error!(file = name, "looking at it panicked");
            metrics::gauge!("portcullis_file_current", "file" => name.clone()).set(0.0);
        }
        looked_at(&name);
    }
}

fn looked_at(file: &str) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    metrics::gauge!("portcullis_file_looked_at_seconds", "file" => file.to_owned())
        .set(now.unwrap_or_default().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// A file of this text and age, in seconds, in the place of what is there.
    fn put(file: &Path, text: &str, age: u64) {
        let new = file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        let options = std::fs::File::options().write(true).open(&new).unwrap();
        let age = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
        options.set_modified(age).unwrap();
        std::fs::rename(&new, file).unwrap();
    }

    #[test]
    fn a_change_is_read_once_and_a_broken_file_until_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = reads.clone();
        let number = move |file: &Path| {
            counted.fetch_add(1, Relaxed);
            let text = std::fs::read_to_string(file).map_err(|e| FileError::new(file, e))?;
            text.parse::<u32>().map_err(|e| FileError::new(file, e))
        };
        put(&file, "1", 1);
        let watched = Watched::new(&file, number).unwrap();
        let expect = |said, read, why| {
            for anyway in [false, false] {
                watched.look(anyway);
            }
            assert_eq!(
                (*watched.get(), reads.swap(0, Relaxed)),
                (said, read),
                "{why}"
            );
        };
        expect(1, 1, "at the start");
        put(&file, "2", 2);
        expect(2, 1, "another age");
        put(&file, "3", 2);
        expect(3, 1, "another file of the same age and length");
        put(&file, "x", 3);
        expect(3, 2, "broken, which is looked at each time");
        put(&file, "3", 3);
        expect(3, 1, "whole again");
        std::fs::remove_file(&file).unwrap();
        expect(3, 2, "gone");
        put(&file, "4", 3);
        expect(4, 1, "and back");
        watched.look(true);
        expect(4, 1, "asked for");
    }

    #[test]
    fn there_is_something_to_say_once_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        put(&file, "", 1);
        let mut watch = Watch::new(&file);
        let fails = |_: &Path| Err("broken");
        let works = |_: &Path| Ok::<_, &str>(());
        assert_eq!(watch.look(false, works), Looked::Same);
        put(&file, "", 2);
        assert_eq!(watch.look(false, fails), Looked::Failed);
        assert_eq!(watch.look(false, fails), Looked::Same);
        assert_eq!(watch.look(true, fails), Looked::Failed);
        assert_eq!(
            watch.look(false, works),
            Looked::Read,
            "without another change"
        );
        assert_eq!(watch.look(false, works), Looked::Same);
        assert_eq!(watch.look(true, works), Looked::Read);
    }

    /// A file system that hangs while the lock is held, a reader that panics, and a file that is read.
    struct Kind(&'static str, AtomicUsize, Arc<Mutex<()>>);

    impl Look for Kind {
        fn file(&self) -> &Path {
            Path::new(self.0)
        }

        fn look(&self, anyway: bool) {
            self.1.fetch_add(if anyway { 100 } else { 1 }, Relaxed);
            match self.0 {
                "hangs" => drop(self.2.lock()),
                "panics" => panic!("for a test"),
                _ => {}
            }
        }
    }

    #[tokio::test]
    #[allow(clippy::await_holding_lock, reason = "a thread waits for it")]
    async fn no_file_holds_up_another() {
        let lock = Arc::new(Mutex::new(()));
        let files = ["hangs", "panics", "works"]
            .map(|name| Arc::new(Kind(name, AtomicUsize::new(0), lock.clone())));
        let hang = lock.lock().unwrap();
        let looks: Vec<Arc<dyn Look>> = files.iter().map(|f| f.clone() as _).collect();
        let (ask, now) = tokio::sync::watch::channel(());
        let watching = tokio::spawn(watch(looks, now));
        ask.send_replace(());
        tokio::time::sleep(EVERY / 2).await;
        let asked = files.each_ref().map(|file| file.1.load(Relaxed));
        assert_eq!(asked, [100; 3], "at once");
        drop(ask);
        tokio::time::sleep(EVERY * 5 / 2).await;
        watching.abort();
        let [hangs, panics, works] = files.each_ref().map(|file| file.1.load(Relaxed));
        assert_eq!(hangs, 100);
        assert!(panics >= 102 && works >= 102, "{panics} {works}");
        drop(hang);
    }
}
