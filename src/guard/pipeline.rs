//! One check from request to verdict: choose, tokenise, scan, fold, decide.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::runtime::RuntimeFlavor;
use tokio::sync::Semaphore;

use super::policy::{DEFAULT, OnError};
use super::{
    Action, Check, CheckError, ClassScore, DetectorReport, DetectorState, Finding, Limits, Outcome,
    Policy, PolicyError, RedactedSegment, Role, Rule, Segment, Selection, Timings, Verdict, redact,
};
use crate::detect::{Catalog, Coverage, Detector, SegmentScan};
use crate::engine::HeadSet;
use crate::package::Task;
use crate::scheduler::{Job, Refusal, Scheduler, Ticket, WindowOutcome};
use crate::text::{
    PositionIndex, TextTokenizer, TokenizePool, TokenizePoolError, TokenizedText, least_tokens,
};

/// Windows that are folded in well under a millisecond.
const QUICK_WINDOWS: usize = 16;
/// Longer folds at once.
const LONG_FOLDS: usize = 4;

/// Everything a check needs; shared by all requests.
pub struct Guard {
    catalog: Catalog,
    policies: BTreeMap<String, Policy>,
    /// What explicit detectors follow where the default policy has no rule for them.
    built_in: Policy,
    tokenizers: TokenizePool,
    scheduler: Scheduler,
    limits: Limits,
    long_folds: Semaphore,
}

/// A detector chosen for a check, with the rule it follows.
struct Chosen<'g> {
    detector: &'g Detector,
    rule: &'g Rule,
    /// Applies to every segment, whatever its role.
    every_role: bool,
}

impl Chosen<'_> {
    fn covers(&self, role: Role) -> bool {
        self.every_role || self.rule.roles.contains(&role)
    }
}

/// One package's part of a check.
struct PackageScan {
    package: usize,
    /// The segments it scans: their index and their windows.
    segments: Vec<(usize, SegmentScan)>,
    result: Result<Vec<WindowOutcome>, Refusal>,
}

impl Guard {
    /// Puts the parts together. `policies` are by name; the built-in default is added where none of
    /// that name is given.
    #[must_use]
    pub fn new(
        catalog: Catalog,
        mut policies: BTreeMap<String, Policy>,
        tokenizers: TokenizePool,
        scheduler: Scheduler,
        limits: Limits,
    ) -> Self {
        let built_in = Policy::built_in(&catalog);
        policies
            .entry(DEFAULT.into())
            .or_insert_with(|| built_in.clone());
        Self {
            catalog,
            policies,
            built_in,
            tokenizers,
            scheduler,
            limits,
            long_folds: Semaphore::new(LONG_FOLDS),
        }
    }

    /// The detectors there are.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The policies there are, by name.
    #[must_use]
    pub fn policies(&self) -> &BTreeMap<String, Policy> {
        &self.policies
    }

    /// The device's queue.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Checks one request.
    pub async fn check(&self, check: &Check) -> Result<Verdict, CheckError> {
        let start = Instant::now();
        check.validate(&self.limits)?;
        if check.deadline <= start {
            return Err(CheckError::Deadline);
        }
        let (policy, chosen) = self.choose(&check.selection)?;
        let wanted = self.wanted(check, &chosen);
        self.refuse_early(check, &wanted)?;

        let tokens = self.tokenize(check, &wanted).await?;
        let tokenize = start.elapsed();
        let mut timings = Timings {
            tokenize,
            ..Timings::default()
        };
        let scans = self.scan(check, &wanted, &tokens, &mut timings).await?;
        let mut verdict = self
            .fold_aside(&scans, || self.fold(check, policy, &chosen, &scans))
            .await;
        timings.total = start.elapsed();
        verdict.timings = timings;
        Ok(verdict)
    }

    // === choose ===

    fn choose(&self, selection: &Selection) -> Result<(&Policy, Vec<Chosen<'_>>), CheckError> {
        let (name, names) = match selection {
            Selection::Policy(name) if name.is_empty() => (DEFAULT, None),
            Selection::Policy(name) => (name.as_str(), None),
            Selection::Detectors(names) => (DEFAULT, Some(names)),
        };
        let policy = self
            .policies
            .get(name)
            .ok_or_else(|| PolicyError::Unknown {
                name: name.to_owned(),
                known: self.policies.keys().cloned().collect(),
            })?;
        let mut chosen = Vec::new();
        match names {
            None => {
                for (name, rule) in &policy.rules {
                    if let Some(detector) = self.catalog.detector(name) {
                        chosen.push(Chosen {
                            detector,
                            rule,
                            every_role: false,
                        });
                    }
                }
            }
            Some(names) => {
                for (i, name) in names.iter().enumerate() {
                    let field = format!("detectors[{i}]");
                    let rule = policy
                        .rules
                        .get(name)
                        .or_else(|| self.built_in.rules.get(name));
                    let (Some(detector), Some(rule)) = (self.catalog.detector(name), rule) else {
                        let known = self.catalog.detectors.iter().map(|d| d.name.as_str());
                        let known = known.collect::<Vec<_>>().join(", ");
                        let problem = format!("{name:?} is not served; {known} are");
                        return Err(CheckError::invalid(field, problem));
                    };
                    if names[..i].contains(name) {
                        return Err(CheckError::invalid(field, "is given twice"));
                    }
                    chosen.push(Chosen {
                        detector,
                        rule,
                        every_role: true,
                    });
                }
            }
        }
        Ok((policy, chosen))
    }

    /// The heads wanted of each package for each segment: `[package][segment]`.
    fn wanted(&self, check: &Check, chosen: &[Chosen<'_>]) -> Vec<Vec<HeadSet>> {
        let mut wanted =
            vec![vec![HeadSet::EMPTY; check.segments.len()]; self.catalog.packages.len()];
        for choice in chosen {
            for (i, segment) in check.segments.iter().enumerate() {
                if choice.covers(segment.role) {
                    let heads = &mut wanted[choice.detector.package][i];
                    *heads = heads.union(HeadSet::one(choice.detector.head));
                }
            }
        }
        wanted
    }

    /// Refuses what even the least number of tokens its texts can have would make too late, before
    /// they are tokenised: under overload, saying no must cost almost nothing.
    fn refuse_early(&self, check: &Check, wanted: &[Vec<HeadSet>]) -> Result<(), CheckError> {
        let mut refusal = None;
        for (package, heads) in self.catalog.packages.iter().zip(wanted) {
            if heads.iter().all(|heads| heads.is_empty()) {
                continue;
            }
            let tokens: usize = check
                .segments
                .iter()
                .zip(heads)
                .filter(|(_, heads)| !heads.is_empty())
                .map(|(segment, _)| least_tokens(&segment.text))
                .sum();
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

    // === tokenise ===

    /// Tokenises each segment once for each distinct tokenizer that needs it: `[package][segment]`.
    async fn tokenize(
        &self,
        check: &Check,
        wanted: &[Vec<HeadSet>],
    ) -> Result<Vec<Vec<Option<Arc<TokenizedText>>>>, CheckError> {
        let same = |a: &Arc<TextTokenizer>, b: &Arc<TextTokenizer>| Arc::ptr_eq(a, b);
        let packages = &self.catalog.packages;
        let mut todo: Vec<(usize, usize)> = Vec::new(); // first package with this tokenizer, segment
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
            let text = check.segments[s].text.clone();
            self.tokenizers.tokenize(tokenizer, text, check.deadline)
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

    // === scan ===

    /// Submits one job a package and waits for all of them.
    async fn scan(
        &self,
        check: &Check,
        wanted: &[Vec<HeadSet>],
        tokens: &[Vec<Option<Arc<TokenizedText>>>],
        timings: &mut Timings,
    ) -> Result<Vec<PackageScan>, CheckError> {
        let mut submitted: Vec<(PackageScan, Option<Ticket>)> = Vec::new();
        for (p, package) in self.catalog.packages.iter().enumerate() {
            let segments: Vec<(usize, SegmentScan)> = tokens[p]
                .iter()
                .enumerate()
                .filter_map(|(s, tokens)| {
                    let tokens = tokens.clone()?;
                    Some((s, SegmentScan::new(package, tokens, wanted[p][s])))
                })
                .collect();
            if segments.is_empty() {
                continue;
            }
            let windows: Vec<_> = segments
                .iter()
                .flat_map(|(_, scan)| scan.windows(package))
                .collect();
            metrics::histogram!("portcullis_windows_per_request").record(windows.len() as f64);
            let ticket = self.scheduler.submit(Job {
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
                segments,
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
        Ok(scans)
    }

    // === fold and decide ===

    /// Folds here if that is quick; else away from the threads that serve connections, and only a few
    /// at a time, because a long text's decoding needs memory.
    async fn fold_aside(&self, scans: &[PackageScan], fold: impl FnOnce() -> Verdict) -> Verdict {
        let windows: usize = scans
            .iter()
            .flat_map(|s| &s.segments)
            .map(|(_, s)| s.len())
            .sum();
        let threads = tokio::runtime::Handle::current().runtime_flavor();
        if windows <= QUICK_WINDOWS || threads == RuntimeFlavor::CurrentThread {
            return fold();
        }
        let _place = self.long_folds.acquire().await;
        tokio::task::block_in_place(fold)
    }

    fn fold(
        &self,
        check: &Check,
        policy: &Policy,
        chosen: &[Chosen<'_>],
        scans: &[PackageScan],
    ) -> Verdict {
        let indexes: Vec<PositionIndex<'_>> = check
            .segments
            .iter()
            .map(|s| PositionIndex::new(&s.text))
            .collect();
        let mut findings = Vec::new();
        let mut detectors = Vec::new();
        for choice in chosen {
            let scan = scans.iter().find(|s| s.package == choice.detector.package);
            let report = self.fold_detector(check, choice, scan, &indexes, &mut findings);
            metrics::counter!(
                "portcullis_detector_results_total",
                "detector" => report.name.clone(), "state" => report.state.name()
            )
            .increment(1);
            detectors.push(report);
        }
        findings.sort_by_key(|f: &Finding| (f.segment, f.start.byte, f.end.byte));

        let outcome = outcome(&detectors);
        let mut action = findings.iter().map(|f| f.action).max().unwrap_or_default();
        let mut reason = None;
        if outcome != Outcome::Complete && policy.on_error == OnError::Closed {
            action = Action::Block;
            let unfinished = detectors
                .iter()
                .filter(|d| !matches!(d.state, DetectorState::Scored | DetectorState::Skipped))
                .map(|d| format!("{} ({})", d.name, d.state.name()));
            reason = Some(format!(
                "not everything was scanned and the policy fails closed: {}",
                unfinished.collect::<Vec<_>>().join(", ")
            ));
        }
        Verdict {
            id: check.id.clone(),
            policy: policy.id.clone(),
            policy_version: policy.version.clone(),
            outcome,
            action,
            reason,
            redacted: redactions(check, &findings),
            findings_omitted: findings.len().saturating_sub(self.limits.max_findings),
            findings: {
                findings.truncate(self.limits.max_findings);
                findings
            },
            detectors,
            timings: Timings::default(),
        }
    }

    fn fold_detector(
        &self,
        check: &Check,
        choice: &Chosen<'_>,
        scan: Option<&PackageScan>,
        indexes: &[PositionIndex<'_>],
        findings: &mut Vec<Finding>,
    ) -> DetectorReport {
        let package = &self.catalog.packages[choice.detector.package];
        let head = choice.detector.head;
        let labels = package.heads[head].finding_labels();
        let is_class = matches!(package.heads[head].task, Task::Sequence);
        let mut report = DetectorReport {
            name: choice.detector.name.clone(),
            state: DetectorState::Skipped,
            reason: None,
            package: package.name.clone(),
            version: package.version.clone(),
            device: self.scheduler.device(),
            windows: 0,
            coverage: 0.0,
            scores: Vec::new(),
        };
        let Some(scan) = scan.filter(|s| s.segments.iter().any(|(_, s)| s.heads().contains(head)))
        else {
            report.reason = Some("the policy applies it to none of these roles".into());
            return report;
        };
        let outcomes = match &scan.result {
            Ok(outcomes) => outcomes,
            Err(refusal) => {
                report.state = DetectorState::Shed;
                report.reason = Some(refusal.to_string());
                return report;
            }
        };
        let mut all = Coverage::default();
        let mut at = 0;
        for (segment, scan) in &scan.segments {
            let outcomes = &outcomes[at..at + scan.len()];
            at += scan.len();
            if !scan.heads().contains(head) {
                continue;
            }
            let text = &check.segments[*segment].text;
            let (evidence, coverage) = scan.fold(package, head, text, outcomes);
            all.windows += coverage.windows;
            all.tokens += coverage.tokens;
            all.of_tokens += coverage.of_tokens;
            all.unread += coverage.unread;
            all.expired += coverage.expired;
            all.failed += coverage.failed;
            for found in evidence {
                let label = &labels[found.label];
                metrics::histogram!(
                    "portcullis_score",
                    "detector" => report.name.clone(), "label" => label.clone()
                )
                .record(f64::from(found.score));
                if check.include_scores && is_class {
                    report.scores.push(ClassScore {
                        segment: *segment,
                        label: label.clone(),
                        score: found.score,
                    });
                }
                let Some(&threshold) = choice.rule.thresholds.get(label) else {
                    continue;
                };
                if found.score >= threshold {
                    findings.push(Finding {
                        segment: *segment,
                        detector: report.name.clone(),
                        label: label.clone(),
                        score: Some(found.score),
                        threshold: Some(threshold),
                        start: indexes[*segment].at(found.span.start),
                        end: indexes[*segment].at(found.span.end),
                        action: choice.rule.action,
                    });
                }
            }
        }
        report.windows = all.windows;
        let all_text = all.of_tokens + all.unread;
        report.coverage = if all_text == 0 {
            1.0
        } else {
            all.tokens as f64 / all_text as f64
        };
        (report.state, report.reason) = if all.failed > 0 {
            let reason = format!("{} windows failed or scored no finite number", all.failed);
            (DetectorState::Failed, Some(reason))
        } else if all.expired > 0 {
            let reason = format!("the deadline passed before {} windows ran", all.expired);
            (DetectorState::Deadline, Some(reason))
        } else if all.unread > 0 {
            let reason = format!("{} characters mean nothing to this model", all.unread);
            (DetectorState::Scored, Some(reason))
        } else {
            (DetectorState::Scored, None)
        };
        report
    }
}

/// When the verdict is put together at the latest: a little before the deadline, so that a partial
/// one still reaches the caller.
fn answer_by(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    let margin = (left / 20).clamp(Duration::from_millis(1), Duration::from_millis(50));
    deadline.checked_sub(margin).unwrap_or(deadline)
}

fn outcome(detectors: &[DetectorReport]) -> Outcome {
    let finished =
        |d: &&DetectorReport| matches!(d.state, DetectorState::Scored | DetectorState::Skipped);
    if detectors.iter().all(|d| finished(&d)) {
        return Outcome::Complete;
    }
    let some = detectors
        .iter()
        .any(|d| d.state == DetectorState::Scored || d.windows > 0);
    if some {
        Outcome::Partial
    } else {
        Outcome::Failed
    }
}

/// The segments with a finding to redact, redacted.
fn redactions(check: &Check, findings: &[Finding]) -> Vec<RedactedSegment> {
    check
        .segments
        .iter()
        .enumerate()
        .filter_map(|(segment, Segment { text, .. })| {
            let spans: Vec<_> = findings
                .iter()
                .filter(|f| f.segment == segment && f.action == Action::Redact)
                .map(|f| (f.start.byte..f.end.byte, f.label.as_str()))
                .collect();
            (!spans.is_empty()).then(|| RedactedSegment {
                segment,
                text: redact(text, &spans),
            })
        })
        .collect()
}
