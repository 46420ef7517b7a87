//! Policies read again while the server runs: on SIGHUP, and when their file changes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::guard::PolicyStore;

/// How often the file's time is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Watches the policies file, if there is one, for as long as the server runs.
pub(super) async fn watch(config: Config, policies: Arc<PolicyStore>) {
    let Some(file) = config.policies_file.clone() else {
        return;
    };
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return;
    };
    let modified = || -> Option<SystemTime> { std::fs::metadata(&file).ok()?.modified().ok() };
    let mut seen = modified();
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = tokio::time::sleep(EVERY) => {
                if modified() == seen {
                    continue;
                }
            }
        }
        seen = modified();
        let read = config
            .all_policies()
            .map_err(|e| e.to_string())
            .and_then(|all| policies.replace(&all).map_err(|e| e.to_string()));
        let result = match &read {
            Ok(()) => "ok",
            Err(_) => "failed",
        };
        metrics::counter!("portcullis_policy_reloads_total", "result" => result).increment(1);
        match read {
            Ok(()) => tracing::info!(file = %file.display(), "policies reloaded"),
            Err(problem) => tracing::error!(
                file = %file.display(),
                problem,
                "policies not reloaded: those in force stay"
            ),
        }
    }
}
