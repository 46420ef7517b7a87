//! The file of policies, read again while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Error;
use crate::config::Config;
use crate::guard::PolicyStore;
use crate::ops::watched::{Look, Looked, Watch};

/// The policies in force, and the file that they were read from.
pub(super) struct Policies {
    file: PathBuf,
    config: Config,
    store: Arc<PolicyStore>,
    watch: Mutex<Watch>,
}

impl Policies {
    /// Of a watch that began before they were read into `store`.
    pub(super) fn new(watch: Watch, config: Config, store: Arc<PolicyStore>) -> Self {
        Self {
            file: watch.file().to_owned(),
            config,
            store,
            watch: Mutex::new(watch),
        }
    }
}

impl Look for Policies {
    fn file(&self) -> &Path {
        &self.file
    }

    fn look(&self, anyway: bool) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = watch.look(anyway, |_| {
            self.store.replace(&self.config.all_policies()?)?;
            Ok::<_, Error>(())
        });
        let result = match looked {
            Looked::Same => return,
            Looked::Read => "ok",
            Looked::Failed => "failed",
        };
        metrics::counter!("portcullis_policy_reloads_total", "result" => result).increment(1);
    }
}
