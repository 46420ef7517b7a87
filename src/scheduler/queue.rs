//! The queue itself: who waits, in which order, who is let in. Plain data under one lock; every
//! method is short and none blocks.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::cost::CostModel;
use super::stages::Stages;
use super::{Job, JobResult, Refusal, SchedulerConfig, WindowOutcome};
use crate::encoder::PackedBatch;
use crate::engine::{HeadSet, ModelId};

/// Width of a slot of the plan of due times.
const BUCKET: Duration = Duration::from_millis(32);

type JobId = u64;
type EntryId = u64;

/// All state of a scheduler.
pub(super) struct Queue {
    config: SchedulerConfig,
    models: Vec<ModelQueue>,
    /// Models with waiting windows, in round-robin order.
    ring: VecDeque<usize>,
    jobs: HashMap<JobId, JobState>,
    entries: HashMap<EntryId, Entry>,
    /// Windows waiting or running, by content, so that equal ones run once.
    same: HashMap<SameWindow, EntryId>,
    next_id: u64,
    queued_tokens: usize,
    /// Predicted seconds waiting, by when they are due.
    due: BTreeMap<u64, f64>,
    /// Where the due times count from.
    base: Instant,
    running_until: Option<Instant>,
    /// Batches handed to the worker and not completed.
    in_flight: usize,
    closed: bool,
}

/// Windows of one model that wait.
struct ModelQueue {
    cost: CostModel,
    short: BTreeSet<(Instant, EntryId)>,
    long: BTreeSet<(Instant, EntryId)>,
    /// Seconds of device time this model may still take in this round.
    deficit: f64,
}

/// A distinct window, waited for by one job or several.
struct Entry {
    same: SameWindow,
    waiters: Vec<(JobId, usize)>,
    /// Predicted seconds on the device, before correction.
    seconds: f64,
    /// Predicted seconds it takes up in the plan: corrected, with its part of a batch's fixed time.
    planned: f64,
    arrival: Instant,
    deadline: Instant,
    short: bool,
    running: bool,
}

/// What makes two windows equal.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SameWindow {
    tenant: Arc<str>,
    model: ModelId,
    heads: HeadSet,
    ids: Arc<[u32]>,
}

struct JobState {
    deadline: Instant,
    submitted: Instant,
    started: Option<Instant>,
    ended: Option<Instant>,
    outcomes: Vec<Option<WindowOutcome>>,
    entries: Vec<EntryId>,
    missing: usize,
    short: bool,
    done: Option<oneshot::Sender<()>>,
    stages: Stages,
}

/// A batch handed to the worker.
pub(super) struct Batch {
    pub(super) model: ModelId,
    pub(super) heads: HeadSet,
    pub(super) packed: PackedBatch,
    /// Longest wait of its windows.
    pub(super) waited: Duration,
    /// What it will take.
    pub(super) predicted: Duration,
    seconds: f64,
    entries: Vec<EntryId>,
}

impl Queue {
    pub(super) fn new(costs: Vec<CostModel>, config: SchedulerConfig) -> Self {
        let models = costs
            .into_iter()
            .map(|cost| ModelQueue {
                cost,
                short: BTreeSet::new(),
                long: BTreeSet::new(),
                deficit: 0.0,
            })
            .collect();
        Self {
            config,
            models,
            ring: VecDeque::new(),
            jobs: HashMap::new(),
            entries: HashMap::new(),
            same: HashMap::new(),
            next_id: 0,
            queued_tokens: 0,
            due: BTreeMap::new(),
            base: Instant::now(),
            running_until: None,
            in_flight: 0,
            closed: false,
        }
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    // === admission ===

    /// As [`Self::admit`], for a request known by its approximate size only.
    pub(super) fn admits_estimate(
        &self,
        model: ModelId,
        tokens: usize,
        window: usize,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(queue) = self.models.get(model.0) else {
            return Err(Refusal::Closed);
        };
        let full = (tokens / window) as f64 * queue.cost.sequence(window);
        let seconds = full + queue.cost.sequence(tokens % window);
        self.admit(model, seconds, tokens, deadline, now)
    }

    /// Lets work of `seconds` (before correction) in if it will be done in time and no promise made
    /// before is broken: all that is due earlier and the work itself must fit before its deadline,
    /// and for each later deadline in the queue all that is due by then and the work must fit.
    ///
    /// What is due earlier may fill half of the time, whatever the newcomer's size: were only the sum
    /// looked at, short texts would fill every gap and long ones never get in. With more packages it
    /// is their share: round robin then keeps the promise of each.
    fn admit(
        &self,
        model: ModelId,
        seconds: f64,
        tokens: usize,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.closed {
            return Err(Refusal::Closed);
        }
        let cost = &self.models[model.0].cost;
        let own = cost.batches(seconds, self.config.batch_target.as_secs_f64());
        let left = deadline.saturating_duration_since(now).as_secs_f64();
        let usable = left * self.config.deadline_share;
        let running = self.running(now);
        let idle = running == 0.0 && self.due.is_empty();
        // On an idle device a moment's slowness must not shut out what would show that it is over.
        let own = if idle {
            own / cost.correction.max(1.0)
        } else {
            own
        };
        if own > usable {
            return Err(Refusal::Unmeetable {
                needs: seconds_to_duration(own / self.config.deadline_share),
                left: seconds_to_duration(left),
            });
        }
        let bucket = self.bucket(deadline);
        let mut by_then = running + self.due.range(..=bucket).map(|(_, s)| s).sum::<f64>();
        let share = usable / self.models.len().max(2) as f64;
        let mut excess = (by_then + own - usable).max(by_then - share);
        for (&due, seconds) in self.due.range(bucket + 1..) {
            by_then += seconds;
            let time = (self.base + BUCKET * due as u32).saturating_duration_since(now);
            excess = excess.max(by_then + own - time.as_secs_f64());
        }
        let full = self.jobs.len() >= self.config.max_jobs
            || (self.queued_tokens > 0
                && self.queued_tokens + tokens > self.config.max_queued_tokens);
        if excess <= 0.0 && !full {
            return Ok(());
        }
        Err(Refusal::Overloaded {
            waiting: seconds_to_duration(by_then),
            retry_after: seconds_to_duration(if full { by_then / 2.0 } else { excess })
                .max(Duration::from_millis(1)),
        })
    }

    /// Predicted seconds until the batches that are running are done.
    fn running(&self, now: Instant) -> f64 {
        self.running_until
            .map_or(0.0, |t| t.saturating_duration_since(now).as_secs_f64())
    }

    /// The slot of the plan that a deadline falls into.
    fn bucket(&self, deadline: Instant) -> u64 {
        let since = deadline.saturating_duration_since(self.base);
        (since.as_millis() / BUCKET.as_millis()) as u64
    }

    /// Puts `planned` seconds due at `deadline` into the plan, or takes them out.
    fn plan(&mut self, deadline: Instant, planned: f64) {
        let bucket = self.bucket(deadline);
        let seconds = self.due.entry(bucket).or_default();
        *seconds += planned;
        if *seconds < 1e-9 {
            self.due.remove(&bucket);
        }
    }

    // === jobs ===

    pub(super) fn submit(
        &mut self,
        job: Job,
        now: Instant,
    ) -> Result<(JobId, oneshot::Receiver<()>), Refusal> {
        let Some(cost) = self.models.get(job.model.0).map(|m| m.cost) else {
            return Err(Refusal::Closed);
        };
        let tokens: usize = job.windows.iter().map(|w| w.ids.len()).sum();
        let seconds = job.windows.iter().map(|w| cost.sequence(w.ids.len())).sum();
        self.admit(job.model, seconds, tokens, job.deadline, now)?;

        let (done, receiver) = oneshot::channel();
        let id = self.fresh_id();
        let short = tokens <= self.config.short_tokens;
        let count = job.windows.len();
        let mut entries = Vec::with_capacity(count);
        for (index, window) in job.windows.into_iter().enumerate() {
            let same = SameWindow {
                tenant: job.tenant.clone(),
                model: job.model,
                heads: window.heads,
                ids: window.ids,
            };
            entries.push(self.join_or_enqueue(same, (id, index), job.deadline, short, now));
        }
        let mut state = JobState {
            deadline: job.deadline,
            submitted: now,
            started: None,
            ended: None,
            outcomes: vec![None; count],
            entries,
            missing: count,
            short,
            done: Some(done),
            stages: Stages::queue(count, tokens),
        };
        if count == 0 {
            state.finish();
        }
        self.jobs.insert(id, state);
        Ok((id, receiver))
    }

    fn join_or_enqueue(
        &mut self,
        same: SameWindow,
        waiter: (JobId, usize),
        deadline: Instant,
        short: bool,
        now: Instant,
    ) -> EntryId {
        if let Some(&id) = self.same.get(&same)
            && let Some(entry) = self.entries.get_mut(&id)
        {
            entry.waiters.push(waiter);
            if !entry.running {
                let (deadline, short) = (entry.deadline.min(deadline), entry.short || short);
                self.reorder(id, deadline, short);
            }
            return id;
        }
        let id = self.fresh_id();
        let model = &mut self.models[same.model.0];
        let seconds = model.cost.sequence(same.ids.len());
        let planned = model
            .cost
            .part(seconds, self.config.batch_target.as_secs_f64());
        if model.is_empty() {
            self.ring.push_back(same.model.0);
        }
        model.lane(short).insert((deadline, id));
        self.plan(deadline, planned);
        self.queued_tokens += same.ids.len();
        self.same.insert(same.clone(), id);
        self.entries.insert(
            id,
            Entry {
                same,
                waiters: vec![waiter],
                seconds,
                planned,
                arrival: now,
                deadline,
                short,
                running: false,
            },
        );
        id
    }

    /// Moves a waiting window to another place in the order.
    fn reorder(&mut self, id: EntryId, deadline: Instant, short: bool) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let model = &mut self.models[entry.same.model.0];
            let (before, planned) = (entry.deadline, entry.planned);
            model.lane(entry.short).remove(&(before, id));
            (entry.deadline, entry.short) = (deadline, short);
            model.lane(short).insert((deadline, id));
            self.plan(before, -planned);
            self.plan(deadline, planned);
        }
    }

    /// Takes a job's outcomes; what has none is withdrawn and counts as expired.
    pub(super) fn take(&mut self, id: JobId, now: Instant) -> JobResult {
        let Some(mut job) = self.remove(id) else {
            return JobResult {
                windows: Vec::new(),
                queue: Duration::ZERO,
                engine: Duration::ZERO,
            };
        };
        let started = job.started.unwrap_or(now);
        let unfinished = job.outcomes.iter().filter(|o| o.is_none()).count();
        metrics::counter!("portcullis_windows_expired_total").increment(unfinished as u64);
        JobResult {
            windows: job
                .outcomes
                .drain(..)
                .map(|o| o.unwrap_or(WindowOutcome::Expired))
                .collect(),
            queue: started.saturating_duration_since(job.submitted),
            engine: job.ended.unwrap_or(now).saturating_duration_since(started),
        }
    }

    /// Forgets a job; windows that nobody else waits for leave the queue.
    pub(super) fn withdraw(&mut self, id: JobId) {
        self.remove(id);
    }

    fn remove(&mut self, id: JobId) -> Option<JobState> {
        let job = self.jobs.remove(&id)?;
        // A text that repeats itself waits for one window many times.
        let mut entries = job.entries.clone();
        entries.sort_unstable();
        entries.dedup();
        for entry_id in entries {
            let Some(entry) = self.entries.get_mut(&entry_id) else {
                continue;
            };
            entry.waiters.retain(|&(waiter, _)| waiter != id);
            if entry.running {
                continue;
            }
            if entry.waiters.is_empty() {
                self.forget(entry_id);
            } else {
                self.follow_waiters(entry_id);
            }
        }
        Some(job)
    }

    /// A waiting window takes the earliest deadline of those who still wait for it.
    fn follow_waiters(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let jobs = entry.waiters.iter().filter_map(|(j, _)| self.jobs.get(j));
        let (deadline, short) = jobs.fold((None, false), |(deadline, short), job| {
            let earliest = deadline.map_or(job.deadline, |d: Instant| d.min(job.deadline));
            (Some(earliest), short || job.short)
        });
        if let Some(deadline) = deadline {
            self.reorder(id, deadline, short);
        }
    }

    /// Removes a window that waits, from everywhere.
    fn forget(&mut self, id: EntryId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.same.remove(&entry.same);
        if !entry.running {
            self.unqueue(&entry, id);
        }
        Some(entry)
    }

    /// Takes a window out of its lane and off the books.
    fn unqueue(&mut self, entry: &Entry, id: EntryId) {
        let index = entry.same.model.0;
        self.plan(entry.deadline, -entry.planned);
        self.queued_tokens -= entry.same.ids.len();
        let model = &mut self.models[index];
        model.lane(entry.short).remove(&(entry.deadline, id));
        if model.is_empty() {
            model.deficit = model.deficit.min(0.0); // credit lapses, debt does not
            self.ring.retain(|&m| m != index);
        }
    }

    // === batches ===

    /// Forms the next batch from what waits now, or `None` when nothing does.
    pub(super) fn next_batch(&mut self, now: Instant) -> Option<Batch> {
        self.expire(now);
        let index = self.next_model()?;
        let (target, max_tokens, max_sequences, age) = (
            self.config.batch_target.as_secs_f64(),
            self.config.max_batch_tokens,
            self.config.max_batch_sequences,
            self.config.long_lane_age,
        );
        let mut batch = Batch {
            model: ModelId(index),
            heads: HeadSet::EMPTY,
            packed: PackedBatch::new(),
            waited: Duration::ZERO,
            predicted: Duration::ZERO,
            seconds: 0.0,
            entries: Vec::new(),
        };
        while let Some(id) = self.models[index].front(&self.entries, now, age) {
            let Some(entry) = self.entries.get_mut(&id) else {
                break;
            };
            let cost = &self.models[index].cost;
            let full = batch.packed.tokens() + entry.same.ids.len() > max_tokens
                || batch.entries.len() >= max_sequences
                || (cost.fixed + batch.seconds + entry.seconds) * cost.correction > target;
            if full && !batch.entries.is_empty() {
                break;
            }
            batch.packed.push(&entry.same.ids);
            batch.heads = batch.heads.union(entry.same.heads);
            batch.seconds += entry.seconds;
            batch.waited = batch
                .waited
                .max(now.saturating_duration_since(entry.arrival));
            batch.entries.push(id);
            for (job, _) in &entry.waiters {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.start(now);
                }
            }
            if let Some(mut entry) = self.entries.remove(&id) {
                self.unqueue(&entry, id);
                entry.running = true;
                self.entries.insert(id, entry);
            }
        }
        if batch.entries.is_empty() {
            return None;
        }
        let model = &mut self.models[index];
        let predicted = (model.cost.fixed + batch.seconds) * model.cost.correction;
        model.deficit -= predicted;
        batch.predicted = seconds_to_duration(predicted);
        let free = self.running_until.map_or(now, |until| until.max(now));
        self.running_until = Some(free + batch.predicted);
        self.in_flight += 1;
        Some(batch)
    }

    /// The model whose turn it is: the first in the ring with time left in this round; each model
    /// that is passed gets the time of one batch more.
    fn next_model(&mut self) -> Option<usize> {
        let quantum = self.config.batch_target.as_secs_f64();
        // A batch may overdraw by more than a quantum (one long window); skip the rounds it owes.
        let owed = self
            .ring
            .iter()
            .map(|&m| -self.models[m].deficit)
            .fold(f64::INFINITY, f64::min);
        if owed.is_finite() && owed > 0.0 {
            let rounds = (owed / quantum).floor();
            for &m in &self.ring {
                self.models[m].deficit += rounds * quantum;
            }
        }
        for _ in 0..=self.ring.len() * 2 {
            let &index = self.ring.front()?;
            let model = &mut self.models[index];
            if model.deficit > 0.0 {
                return Some(index);
            }
            model.deficit += quantum;
            self.ring.rotate_left(1);
        }
        self.ring.front().copied()
    }

    /// Tells those whose deadline has passed, and drops windows nobody waits for any more.
    fn expire(&mut self, now: Instant) {
        let mut late = Vec::new();
        for model in &self.models {
            for lane in [&model.short, &model.long] {
                late.extend(
                    lane.iter()
                        .take_while(|(d, _)| *d <= now)
                        .map(|(_, id)| *id),
                );
            }
        }
        for id in late {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            let jobs = &mut self.jobs;
            entry
                .waiters
                .retain(|&(job, window)| match jobs.get_mut(&job) {
                    Some(job) if job.deadline <= now => {
                        job.settle(window, WindowOutcome::Expired, now);
                        metrics::counter!("portcullis_windows_expired_total").increment(1);
                        false
                    }
                    Some(_) => true,
                    None => false,
                });
            if entry.waiters.is_empty() {
                self.forget(id);
            } else {
                self.follow_waiters(id);
            }
        }
    }

    /// Hands out a batch's results and learns from its time.
    pub(super) fn complete(&mut self, batch: &Batch, outcomes: Vec<WindowOutcome>, took: Duration) {
        let now = Instant::now();
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.in_flight == 0 {
            self.running_until = None;
        }
        if let Some(model) = self.models.get_mut(batch.model.0) {
            model.cost.observe(batch.seconds, took.as_secs_f64());
        }
        for (&id, outcome) in batch.entries.iter().zip(outcomes) {
            let Some(entry) = self.forget(id) else {
                continue;
            };
            for (job, window) in entry.waiters {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.start(now);
                    job.settle(window, outcome.clone(), now);
                }
            }
        }
    }
}

impl ModelQueue {
    fn is_empty(&self) -> bool {
        self.short.is_empty() && self.long.is_empty()
    }

    fn lane(&mut self, short: bool) -> &mut BTreeSet<(Instant, EntryId)> {
        if short {
            &mut self.short
        } else {
            &mut self.long
        }
    }

    /// The window to run next: the short lane's first, unless the long lane's first has waited for
    /// `age` and has the earlier deadline.
    fn front(
        &self,
        entries: &HashMap<EntryId, Entry>,
        now: Instant,
        age: Duration,
    ) -> Option<EntryId> {
        match (self.short.first(), self.long.first()) {
            (Some(&(short_deadline, short)), Some(&(long_deadline, long))) => {
                let aged = entries
                    .get(&long)
                    .is_some_and(|e| now.saturating_duration_since(e.arrival) >= age);
                Some(if aged && long_deadline <= short_deadline {
                    long
                } else {
                    short
                })
            }
            (short, long) => short.or(long).map(|&(_, id)| id),
        }
    }
}

impl JobState {
    fn start(&mut self, now: Instant) {
        if self.started.is_none() {
            self.started = Some(now);
            self.stages.engine();
        }
    }

    fn settle(&mut self, window: usize, outcome: WindowOutcome, now: Instant) {
        if let Some(slot @ None) = self.outcomes.get_mut(window) {
            *slot = Some(outcome);
            self.missing -= 1;
            if self.missing == 0 {
                self.ended = Some(now);
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        self.stages.end();
        if let Some(done) = self.done.take() {
            let _ = done.send(());
        }
    }
}

impl Queue {
    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// Seconds as a duration; what no duration can hold becomes the longest sensible one.
fn seconds_to_duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::from_secs(86_400))
}

#[cfg(test)]
mod tests;
