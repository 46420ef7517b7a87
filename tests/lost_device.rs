//! A device that is lost: what it ran fails, and then the server ends with an error, or the CPU takes
//! over, as configured.

use std::sync::Arc;

use portcullis::api::ServeError;
use portcullis::api::pb::v1::{DetectorState, ListDetectorsRequest, Outcome};
use portcullis::cli::assemble_on;
use portcullis::encoder::{Model, PackedBatch};
use portcullis::engine::{
    BatchId, Begun, CpuEngine, Engine, EngineError, Failover, HeadSet, ModelId, SequenceScores,
};

use crate::support::{TestServer, tiny, user};

/// Runs on the CPU until a batch holds a sequence of this many tokens. As with a GPU, whoever waits for a
/// batch that was begun learns of it.
const FATAL: usize = 42;

struct Fragile {
    cpu: CpuEngine,
    lost: bool,
    begun: Option<Vec<SequenceScores>>,
}

impl Fragile {
    fn boxed() -> Box<dyn Engine> {
        Box::new(Self {
            cpu: CpuEngine::new(1).unwrap(),
            lost: false,
            begun: None,
        })
    }
}

impl Engine for Fragile {
    fn device(&self) -> String {
        "fragile".into()
    }

    fn load(&mut self, model: Arc<Model>) -> Result<ModelId, EngineError> {
        self.cpu.load(model)
    }

    fn run(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Vec<SequenceScores>, EngineError> {
        self.lost |= batch.lengths().contains(&FATAL);
        if self.lost {
            return Err(EngineError::DeviceLost("illegal address".into()));
        }
        self.cpu.run(model, batch, heads)
    }

    fn begin(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Begun, EngineError> {
        self.begun = self.run(model, batch, heads).ok();
        Ok(Begun::Running(BatchId(0)))
    }

    fn finish(&mut self, _: BatchId) -> Result<Vec<SequenceScores>, EngineError> {
        let lost = || EngineError::DeviceLost("illegal address".into());
        self.begun.take().ok_or_else(lost)
    }
}

/// The tiny tokenizer makes one token a letter, and two special ones.
fn fatal() -> String {
    "a".repeat(FATAL - 2)
}

/// The device that ListDetectors gives for the package's detector.
async fn offered(server: &TestServer) -> String {
    let mut client = server.client().await;
    let offers = client.list_detectors(ListDetectorsRequest {}).await;
    let detectors = offers.unwrap().into_inner().detectors;
    let of_package = detectors.into_iter().find(|d| d.package != "built-in");
    of_package.unwrap().device
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_ends_with_an_error_to_be_restarted() {
    let config = tiny();
    let of_load = config.clone();
    let server =
        TestServer::start_with(config, move || assemble_on(&of_load, Fragile::boxed())).await;
    let mut client = server.client().await;
    let verdict = client.check(user("bcd")).await.unwrap().into_inner();
    assert_eq!(verdict.outcome(), Outcome::Complete);
    let verdict = client.check(user(fatal())).await.unwrap().into_inner();
    assert_eq!(verdict.detectors[0].state(), DetectorState::Failed);
    let ended = server.running.await.unwrap();
    assert!(matches!(ended, Err(ServeError::DeviceLost(_))), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cpu_takes_over_and_answers_say_so() {
    let config = tiny();
    let of_load = config.clone();
    let server = TestServer::start_with(config, move || {
        assemble_on(&of_load, Box::new(Failover::new(Fragile::boxed(), 1)))
    })
    .await;
    let mut client = server.client().await;
    let before = client.check(user("bcd")).await.unwrap().into_inner();
    assert_eq!(before.detectors[0].device, "fragile");
    assert_eq!(offered(&server).await, "fragile");
    let verdict = client.check(user(fatal())).await.unwrap().into_inner();
    assert_eq!(verdict.detectors[0].state(), DetectorState::Failed);
    let after = client.check(user("bcd")).await.unwrap().into_inner();
    assert_eq!(after.outcome(), Outcome::Complete);
    assert!(after.detectors[0].device.starts_with("cpu"));
    assert_eq!(offered(&server).await, after.detectors[0].device);
    let scores = |v: &portcullis::api::pb::v1::CheckResponse| v.detectors[0].scores.clone();
    assert_eq!(scores(&before), scores(&after));
    // The length that was fatal is a text like any other now.
    let verdict = client.check(user(fatal())).await.unwrap().into_inner();
    assert_eq!(verdict.outcome(), Outcome::Complete);
    server.stop().await;
}
