//! One check from request to verdict: choose, read, tokenise, scan, fold, decide.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tracing::{Instrument, trace_span};

use super::choose::Chosen;
use super::gather::{Evidence, PatternHit};
use super::parts::{self, Part};
use super::policy::{DEFAULT, Policies};
use super::{
    Check, CheckError, Limits, Policy, PolicyError, PolicyStore, Redactor, RestoreError, Restorer,
    Selection, Timings, Verdict,
};
use crate::aside::aside;
use crate::detect::patterns::{Family, PatternSet};
use crate::detect::{Catalog, Source};
use crate::engine::HeadSet;
use crate::scheduler::Scheduler;
use crate::text::normalise::Normaliser;
use crate::text::{TokenizePool, least_tokens};

/// Windows that are folded in well under a millisecond.
const QUICK_WINDOWS: usize = 16;
/// Bytes of text that are read and matched in well under a millisecond.
const QUICK_BYTES: usize = 16 << 10;
/// Longer folds at once.
const LONG_FOLDS: usize = 4;

/// Everything a check needs; shared by all requests.
pub struct Guard {
    catalog: Catalog,
    policies: Arc<PolicyStore>,
    /// What explicit detectors follow where the default policy has no rule for them.
    built_in: Policy,
    normaliser: Normaliser,
    tokenizers: TokenizePool,
    scheduler: Scheduler,
    limits: Limits,
    redactor: Redactor,
    restorer: Restorer,
    /// One a core, so that long texts wait for one another and not all others for them.
    long_reads: Semaphore,
    long_folds: Semaphore,
}

/// The parts of a [`Guard`].
pub struct GuardParts {
    /// The detectors.
    pub catalog: Catalog,
    /// The policies.
    pub policies: Arc<PolicyStore>,
    /// What undoes disguises before detectors read.
    pub normaliser: Normaliser,
    /// Threads that tokenise.
    pub tokenizers: TokenizePool,
    /// The device's queue.
    pub scheduler: Scheduler,
    /// Sizes a check may have.
    pub limits: Limits,
    /// What replaces spans.
    pub redactor: Redactor,
    /// What brings them back.
    pub restorer: Restorer,
}

impl Guard {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: GuardParts) -> Self {
        Self {
            built_in: Policy::built_in(&parts.catalog.detectors),
            catalog: parts.catalog,
            policies: parts.policies,
            normaliser: parts.normaliser,
            tokenizers: parts.tokenizers,
            scheduler: parts.scheduler,
            limits: parts.limits,
            redactor: parts.redactor,
            restorer: parts.restorer,
            long_reads: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            long_folds: Semaphore::new(LONG_FOLDS),
        }
    }

    /// The detectors there are.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> &Arc<PolicyStore> {
        &self.policies
    }

    /// The policy of this name as it is now; the default one where empty.
    pub fn policy(&self, name: &str) -> Result<Policy, PolicyError> {
        let name = match name {
            "" => DEFAULT,
            name => name,
        };
        let policies = self.policies.current();
        let policy = policies.get(name).cloned();
        policy.ok_or_else(|| PolicyError::Unknown {
            name: name.to_owned(),
            known: policies.keys().cloned().collect(),
        })
    }

    /// The device's queue.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    pub(super) fn tokenizers(&self) -> &TokenizePool {
        &self.tokenizers
    }

    /// Sizes a check may have.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The sizes that a check of this selection may have.
    pub fn limits_of(&self, selection: &Selection) -> Result<Limits, CheckError> {
        let policies = self.policies.current();
        let (policy, _) = self.choose(&policies, selection)?;
        Ok(policy.limits(&self.limits))
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(super) fn built_in(&self) -> &Policy {
        &self.built_in
    }

    /// Checks one request.
    pub async fn check(&self, check: &Check) -> Result<Verdict, CheckError> {
        let (mut verdict, limits) = self.check_by(&self.policies.current(), check).await?;
        verdict.list_at_most(limits.max_findings);
        Ok(verdict)
    }

    /// Checks one request by these policies; the verdict lists all findings, whatever the limits, which
    /// come with it.
    pub(super) async fn check_by(
        &self,
        policies: &Policies,
        check: &Check,
    ) -> Result<(Verdict, Limits), CheckError> {
        let start = Instant::now();
        let (policy, chosen) = self.choose(policies, &check.selection)?;
        let limits = policy.limits(&self.limits);
        check.validate(&limits)?;
        if check.deadline <= start {
            return Err(CheckError::Deadline);
        }
        self.refuse_early(check, &chosen)?;

        let bytes: usize = check.segments.iter().map(|s| s.text.len()).sum();
        let quick = bytes <= QUICK_BYTES;
        let place = match quick {
            true => None,
            false => Some(self.place_to_read(check).await?),
        };
        let (parts, readings) = aside(quick, || {
            let _reading = trace_span!("normalise").entered();
            parts::read(&check.segments, policy.context_turns, &self.normaliser)
        });
        drop(place);
        let wanted = self.wanted(check, &chosen, &parts);
        let tokens = self.tokenize(check, &parts, &wanted);
        let tokens = tokens.instrument(trace_span!("tokenize")).await?;
        let mut timings = Timings {
            tokenize: start.elapsed(),
            ..Timings::default()
        };
        let submitted = self.submit(check, &wanted, &tokens)?;
        // While the device works.
        let patterns = aside(quick, || {
            let _matching = trace_span!("patterns").entered();
            self.match_patterns(check, policy, &chosen, &parts)
        });
        let scans = self.finish(check, submitted, &mut timings).await;

        let windows: usize = scans
            .iter()
            .flat_map(|s| &s.parts)
            .map(|(_, s)| s.len())
            .sum();
        let evidence = Evidence {
            check,
            policy,
            chosen: &chosen,
            parts: &parts,
            readings: &readings,
            scans: &scans,
            patterns: &patterns,
        };
        let mut verdict = if windows <= QUICK_WINDOWS {
            self.fold(&evidence)
        } else {
            // A long text's decoding needs memory.
            let _place = by_deadline(check, self.long_folds.acquire()).await?;
            aside(false, || self.fold(&evidence))
        };
        timings.total = start.elapsed();
        verdict.timings = timings;
        Ok((verdict, limits))
    }

    /// A token with which `tenant` can restore what the pseudonyms of a verdict stand for; none where
    /// there are no pseudonyms.
    pub fn seal(&self, tenant: &str, verdict: &Verdict) -> Result<Option<Vec<u8>>, RestoreError> {
        if verdict.pseudonyms.is_empty() {
            return Ok(None);
        }
        self.restorer.seal(tenant, &verdict.pseudonyms).map(Some)
    }

    /// `text` with the pseudonyms that `token` knows replaced by what they stand for, and how many were.
    pub fn restore(
        &self,
        tenant: &str,
        token: &[u8],
        text: &str,
    ) -> Result<(String, usize), RestoreError> {
        self.restorer.restore(tenant, token, text)
    }

    /// A place to read a long text, which takes a core for some milliseconds a hundred KiB.
    async fn place_to_read(&self, check: &Check) -> Result<SemaphorePermit<'_>, CheckError> {
        by_deadline(check, self.long_reads.acquire()).await
    }

    /// The heads wanted of each package for each part: `[package][part]`.
    fn wanted(&self, check: &Check, chosen: &[Chosen<'_>], parts: &[Part]) -> Vec<Vec<HeadSet>> {
        let mut wanted = vec![vec![HeadSet::EMPTY; parts.len()]; self.catalog.packages.len()];
        for choice in chosen {
            let Source::Head { package, head } = choice.detector.source else {
                continue;
            };
            for (heads, part) in wanted[package].iter_mut().zip(parts) {
                // Spans are looked for in texts alone, classes in every reading.
                let reads = part.is_text() || !choice.detector.finds_spans;
                if reads && choice.covers(check.segments[part.segment].role) {
                    *heads = heads.union(HeadSet::one(head));
                }
            }
        }
        wanted
    }

    /// Every pattern that is asked for over every text.
    fn match_patterns(
        &self,
        check: &Check,
        policy: &Policy,
        chosen: &[Chosen<'_>],
        parts: &[Part],
    ) -> Vec<PatternHit> {
        let mut hits = Vec::new();
        let mut scan = |family: Option<Family>, part: usize, set: &PatternSet| {
            hits.extend(
                set.scan(&parts[part].text)
                    .into_iter()
                    .map(|found| PatternHit {
                        family,
                        part,
                        found,
                    }),
            );
        };
        for (index, part) in parts.iter().enumerate() {
            for choice in chosen {
                if let Source::Patterns(family) = choice.detector.source
                    && part.is_text()
                    && choice.covers(check.segments[part.segment].role)
                {
                    scan(Some(family), index, self.catalog.patterns(family));
                }
            }
            if let Some(deny) = &policy.deny
                && part.with.is_empty()
            {
                scan(None, index, deny);
            }
        }
        hits
    }

    /// Refuses what even the least number of tokens its texts can have would make too late, before
    /// they are tokenised: under overload, saying no must cost almost nothing.
    fn refuse_early(&self, check: &Check, chosen: &[Chosen<'_>]) -> Result<(), CheckError> {
        let mut refusal = None;
        for (index, package) in self.catalog.packages.iter().enumerate() {
            let reads = |choice: &&Chosen<'_>| matches!(choice.detector.source, Source::Head { package, .. } if package == index);
            let tokens: usize = check
                .segments
                .iter()
                .filter(|s| chosen.iter().filter(reads).any(|c| c.covers(s.role)))
                .map(|segment| least_tokens(&segment.text).max(1))
                .sum();
            if tokens == 0 {
                continue;
            }
            let window = package.windows.content();
            match self
                .scheduler
                .admits(package.model, tokens, window, check.deadline)
            {
                Ok(()) => return Ok(()), // another package may be scanned yet
                Err(refused) => refusal = Some(refused),
            }
        }
        refusal.map_or(Ok(()), |refused| Err(refused.into()))
    }
}

/// A place, if one gets free before the check's deadline.
async fn by_deadline<'s>(
    check: &Check,
    place: impl Future<Output = Result<SemaphorePermit<'s>, AcquireError>>,
) -> Result<SemaphorePermit<'s>, CheckError> {
    let place = tokio::time::timeout_at(check.deadline.into(), place).await;
    place
        .map_err(|_| CheckError::Deadline)?
        .map_err(|e| CheckError::Internal(e.to_string()))
}
