//! The parts of a check through the packages: tokenised, cut into windows, queued, awaited.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::parts::Part;
use super::{Check, CheckError, Guard, Timings};
use crate::detect::SegmentScan;
use crate::engine::HeadSet;
use crate::scheduler::{Job, Refusal, Ticket, WindowOutcome};
use crate::text::{TextTokenizer, TokenizePoolError, TokenizedText};

/// One package's part of a check.
pub(super) struct PackageScan {
    pub(super) package: usize,
    /// The parts it scans: their index and their windows.
    pub(super) parts: Vec<(usize, SegmentScan)>,
    pub(super) result: Result<Vec<WindowOutcome>, Refusal>,
}

/// Tokens of each part for each package: `[package][part]`.
pub(super) type Tokens = Vec<Vec<Option<Arc<TokenizedText>>>>;

impl Guard {
    /// Tokenises each part once for each distinct tokenizer that needs it: `[package][part]`.
    pub(super) async fn tokenize(
        &self,
        check: &Check,
        parts: &[Part],
        wanted: &[Vec<HeadSet>],
    ) -> Result<Tokens, CheckError> {
        let same = |a: &Arc<TextTokenizer>, b: &Arc<TextTokenizer>| Arc::ptr_eq(a, b);
        let packages = &self.catalog().packages;
        let mut todo: Vec<(usize, usize)> = Vec::new(); // first package with this tokenizer, part
        for (p, heads) in wanted.iter().enumerate() {
            let owner = (0..=p)
                .find(|&q| same(&packages[q].tokenizer, &packages[p].tokenizer))
                .unwrap_or(p);
            for (s, heads) in heads.iter().enumerate() {
                if !heads.is_empty() && !todo.contains(&(owner, s)) {
                    todo.push((owner, s));
                }
            }
        }
        let done = try_join_all(todo.iter().map(|&(p, s)| {
            let tokenizer = packages[p].tokenizer.clone();
            let text = parts[s].text.clone();
            self.tokenizers().tokenize(tokenizer, text, check.deadline)
        }));
        let done = tokio::time::timeout_at(check.deadline.into(), done)
            .await
            .map_err(|_| CheckError::Deadline)?
            .map_err(|error| match error {
                TokenizePoolError::Full { .. } => CheckError::Backlog(error.to_string()),
                other => CheckError::Internal(other.to_string()),
            })?;
        let done: Vec<Arc<TokenizedText>> = done.into_iter().map(Arc::new).collect();
        Ok(wanted
            .iter()
            .enumerate()
            .map(|(p, heads)| {
                (0..heads.len())
                    .map(|s| {
                        if heads[s].is_empty() {
                            return None;
                        }
                        let at = todo.iter().position(|&(q, t)| {
                            t == s && same(&packages[q].tokenizer, &packages[p].tokenizer)
                        })?;
                        Some(done[at].clone())
                    })
                    .collect()
            })
            .collect())
    }

    /// Submits one job a package.
    pub(super) fn submit(
        &self,
        check: &Check,
        wanted: &[Vec<HeadSet>],
        tokens: &Tokens,
    ) -> Result<Vec<Submitted>, CheckError> {
        let mut submitted: Vec<Submitted> = Vec::new();
        for (p, package) in self.catalog().packages.iter().enumerate() {
            let parts: Vec<(usize, SegmentScan)> = tokens[p]
                .iter()
                .enumerate()
                .filter_map(|(s, tokens)| {
                    let tokens = tokens.clone()?;
                    Some((s, SegmentScan::new(package, tokens, wanted[p][s])))
                })
                .collect();
            if parts.is_empty() {
                continue;
            }
            let windows: Vec<_> = parts
                .iter()
                .flat_map(|(_, scan)| scan.windows(package))
                .collect();
            metrics::histogram!("portcullis_windows_per_request").record(windows.len() as f64);
            let ticket = self.scheduler().submit(Job {
                model: package.model,
                tenant: check.tenant.clone(),
                windows,
                deadline: check.deadline,
            });
            let (ticket, result) = match ticket {
                Ok(ticket) => (Some(ticket), Ok(Vec::new())),
                Err(refusal) => (None, Err(refusal)),
            };
            let scan = PackageScan {
                package: p,
                parts,
                result,
            };
            submitted.push((scan, ticket));
        }
        // All refused: the caller gets the refusal itself, with its hint when to come again.
        if !submitted.is_empty() && submitted.iter().all(|(_, ticket)| ticket.is_none()) {
            for (scan, _) in submitted {
                scan.result?;
            }
            return Ok(Vec::new());
        }
        Ok(submitted)
    }

    /// Waits for what was submitted, until a little before the deadline.
    pub(super) async fn finish(
        &self,
        check: &Check,
        submitted: Vec<Submitted>,
        timings: &mut Timings,
    ) -> Vec<PackageScan> {
        let until = answer_by(check.deadline);
        let mut scans = Vec::with_capacity(submitted.len());
        for (mut scan, ticket) in submitted {
            if let Some(ticket) = ticket {
                let result = ticket.finish(until).await;
                timings.queue = timings.queue.max(result.queue);
                timings.engine = timings.engine.max(result.engine);
                scan.result = Ok(result.windows);
            }
            scans.push(scan);
        }
        scans
    }
}

/// A package's part of a check, and the ticket for it unless it was refused.
pub(super) type Submitted = (PackageScan, Option<Ticket>);

/// When the verdict is put together at the latest: a little before the deadline, so that a partial
/// one still reaches the caller.
fn answer_by(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    let margin = (left / 20).clamp(Duration::from_millis(1), Duration::from_millis(50));
    deadline.checked_sub(margin).unwrap_or(deadline)
}
