//! One failure stays one: an engine that fails, panics or yields no numbers.

use std::sync::Arc;

use portcullis::api::pb::v1::{Action, DetectorState, Outcome};
use portcullis::cli::assemble_on;
use portcullis::encoder::{HeadOutput, Model, PackedBatch};
use portcullis::engine::{Engine, EngineError, HeadSet, ModelId, SequenceScores};

use crate::support::{TestServer, tiny, user};

/// Does what the length of a batch's first sequence says.
struct Moody;

const PANIC: usize = 20;
const FAIL: usize = 30;
const NAN: usize = 80;

impl Engine for Moody {
    fn device(&self) -> String {
        "moody".into()
    }

    fn load(&mut self, _model: Arc<Model>) -> Result<ModelId, EngineError> {
        Ok(ModelId(0))
    }

    fn run(
        &mut self,
        _model: ModelId,
        batch: &PackedBatch,
        _heads: HeadSet,
    ) -> Result<Vec<SequenceScores>, EngineError> {
        let any = |length: usize| batch.lengths().iter().any(|&n| n == length + 2);
        if any(PANIC) {
            panic!("moody");
        }
        if any(FAIL) {
            return Err(EngineError::Batch("moody".into()));
        }
        let score = |&n: &usize| {
            let finite = n != NAN + 2;
            let scores = vec![if finite { 0.1 } else { f32::NAN }; 3];
            vec![Some(HeadOutput { scores, finite })]
        };
        Ok(batch.lengths().iter().map(score).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_reported_and_the_next_request_is_served() {
    let config = tiny();
    let of_load = config.clone();
    let server =
        TestServer::start_with(config, move || assemble_on(&of_load, Box::new(Moody))).await;
    let mut client = server.client().await;
    // The tiny tokenizer makes one token a letter.
    for (length, word) in [(PANIC, "panic"), (FAIL, "failed"), (NAN, "finite")] {
        let verdict = client
            .check(user("a".repeat(length)))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            verdict.outcome(),
            Outcome::Partial,
            "{length}: patterns still scan"
        );
        assert_eq!(
            verdict.action(),
            Action::Block,
            "the default policy fails closed"
        );
        assert!(verdict.action_reason.contains("fails closed"));
        let detector = &verdict.detectors[0];
        assert_eq!(detector.state(), DetectorState::Failed);
        assert!(!detector.reason.is_empty(), "{word}");
        let verdict = client.check(user("bcd")).await.unwrap().into_inner();
        assert_eq!(verdict.outcome(), Outcome::Complete);
        assert_eq!(verdict.action(), Action::Allow);
    }
    // A long text whose second window (526 - 446 tokens) yields no numbers: the rest counts, and the
    // verdict says how much that is.
    let verdict = client
        .check(user("a ".repeat(526)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(verdict.outcome(), Outcome::Partial);
    assert_eq!(verdict.action(), Action::Block);
    let detector = &verdict.detectors[0];
    assert_eq!(
        (detector.state(), detector.windows_scanned),
        (DetectorState::Failed, 1)
    );
    assert!(
        detector.coverage > 0.8 && detector.coverage < 1.0,
        "{}",
        detector.coverage
    );
    server.stop().await;
}
