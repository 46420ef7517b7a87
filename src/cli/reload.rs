//! Policies read again while the server runs: on SIGHUP, and when their file changes.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::Error;
use crate::config::Config;
use crate::guard::PolicyStore;
use crate::ops::watched::{EVERY, Watch};

/// Watches the policies file, if there is one, for as long as the server runs.
pub(super) async fn watch(config: Config, policies: Arc<PolicyStore>) {
    // Also where there is nothing to read again: the signal must not end the server.
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return;
    };
    let Some(file) = config.policies_file.clone() else {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: no policies_file to read again");
        }
        return;
    };
    let mut watch = Watch::new(&file);
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let read = watch.look(asked, || {
            policies.replace(&config.all_policies()?)?;
            Ok::<_, Error>(())
        });
        if let Some(read) = read {
            let result = if read { "ok" } else { "failed" };
            metrics::counter!("portcullis_policy_reloads_total", "result" => result).increment(1);
        }
    }
}
