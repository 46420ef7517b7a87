//! A device that works by itself: the next batch is begun before the one that runs is finished.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis::encoder::{HeadOutput, Model, PackedBatch};
use portcullis::engine::{BatchId, Begun, Engine, EngineError, HeadSet, ModelId, SequenceScores};
use portcullis::scheduler::{
    CostModel, Job, JobResult, Scheduler, SchedulerConfig, Window, WindowOutcome,
};

/// What a batch takes.
const PASS: Duration = Duration::from_millis(5);
/// A batch with this token panics when it is begun, or fails when it is finished.
const PANICS: u32 = 1_000_001;
const FAILS: u32 = 1_000_002;

/// Most batches that were in flight at once, and how many were begun while another one ran.
#[derive(Default)]
struct Seen {
    most: AtomicUsize,
    followed: AtomicUsize,
}

/// Scores a sequence by its first token, one batch after the other.
struct Device {
    running: VecDeque<(u64, Instant, Vec<u32>)>,
    count: u64,
    free: Instant,
    seen: Arc<Seen>,
}

impl Engine for Device {
    fn device(&self) -> String {
        "asynchronous".into()
    }

    fn load(&mut self, _: Arc<Model>) -> Result<ModelId, EngineError> {
        Ok(ModelId(0))
    }

    fn begin(&mut self, _: ModelId, batch: &PackedBatch, _: HeadSet) -> Result<Begun, EngineError> {
        let firsts: Vec<u32> = batch.rows().map(|r| batch.ids()[r.start]).collect();
        self.count += 1;
        let now = Instant::now();
        let follows = usize::from(self.free > now);
        self.free = self.free.max(now) + PASS;
        self.running
            .push_back((self.count, self.free, firsts.clone()));
        assert!(!firsts.contains(&PANICS));
        self.seen.followed.fetch_add(follows, Ordering::Relaxed);
        self.seen
            .most
            .fetch_max(self.running.len(), Ordering::Relaxed);
        Ok(Begun::Running(BatchId(self.count)))
    }

    fn is_done(&self, batch: BatchId) -> bool {
        let mut running = self.running.iter();
        running.all(|(id, end, _)| *id != batch.0 || *end <= Instant::now())
    }

    fn finish(&mut self, batch: BatchId) -> Result<Vec<SequenceScores>, EngineError> {
        while let Some((id, end, firsts)) = self.running.pop_front() {
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            if id != batch.0 {
                continue;
            }
            if firsts.contains(&FAILS) {
                return Err(EngineError::Batch("it fails".into()));
            }
            let score = |first: &u32| HeadOutput {
                scores: vec![*first as f32],
                finite: true,
            };
            return Ok(firsts.iter().map(|f| vec![Some(score(f))]).collect());
        }
        Err(EngineError::Batch("not begun".into()))
    }

    fn run(
        &mut self,
        _: ModelId,
        _: &PackedBatch,
        _: HeadSet,
    ) -> Result<Vec<SequenceScores>, EngineError> {
        Err(EngineError::Batch("batches are begun and finished".into()))
    }
}

/// What becomes of texts of these tokens, all there at once, one a batch.
async fn answers(tokens: Vec<u32>) -> (Vec<JobResult>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let device = Device {
        running: VecDeque::new(),
        count: 0,
        free: Instant::now(),
        seen: seen.clone(),
    };
    let config = SchedulerConfig {
        max_batch_sequences: 1,
        ..SchedulerConfig::default()
    };
    let costs = vec![CostModel::new(PASS.as_secs_f64(), 0.0, 0.0)];
    let scheduler = Scheduler::start(Box::new(device), costs, config).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let tickets: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            let window = Window {
                ids: vec![token, 1].into(),
                heads: HeadSet::one(0),
            };
            let job = Job {
                model: ModelId(0),
                tenant: "test".into(),
                windows: vec![window],
                deadline,
            };
            scheduler.submit(job).unwrap()
        })
        .collect();
    let mut results = Vec::new();
    for ticket in tickets {
        results.push(ticket.finish(deadline).await);
    }
    (results, seen)
}

fn score(result: &JobResult) -> Option<f32> {
    match &result.windows[0] {
        WindowOutcome::Scored(scores) => Some(scores[0].as_ref().unwrap().scores[0]),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_follows_the_one_that_runs_and_each_gets_its_own_scores() {
    let (results, seen) = answers((0..40).collect()).await;
    for (token, result) in results.iter().enumerate() {
        assert_eq!(score(result), Some(token as f32));
    }
    assert_eq!(seen.most.load(Ordering::Relaxed), 2);
    let followed = seen.followed.load(Ordering::Relaxed);
    assert!(followed >= 10, "{followed} of 40 were begun in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_in_flight_leaves_its_neighbours_their_scores() {
    let tokens = [1, PANICS, 2, FAILS, 3, FAILS, PANICS, 4];
    let (results, _) = answers(tokens.to_vec()).await;
    for (token, result) in tokens.iter().zip(&results) {
        let expected = (*token < PANICS).then_some(*token as f32);
        assert_eq!(score(result), expected, "{token}");
    }
}
