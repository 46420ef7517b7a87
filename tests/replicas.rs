//! Three replicas behind the real Envoy: what one of them goes through, its callers do not notice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::envoy::Envoy;
use crate::program::Program;
use crate::support::{golden, user};

/// Callers at once.
const CALLERS: usize = 12;

/// Callers that ask again and again until told to stop: how often they were answered, and what failed.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: Vec<tokio::task::JoinHandle<Vec<Status>>>,
}

impl Load {
    async fn start(at: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
        let channel: Channel = endpoint.connect().await.unwrap();
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let callers = (0..CALLERS).map(|_| {
            let mut client = GuardServiceClient::new(channel.clone());
            let (stop, answered) = (stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match client.check(user("what is the time there")).await {
                        Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        Err(status) => failed.push(status),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                failed
            })
        });
        Self {
            callers: callers.collect(),
            stop,
            answered,
        }
    }

    /// Goes on for a while, in which hundreds are answered.
    async fn goes_on(&self) {
        let (start, before) = (Instant::now(), self.answered.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs(3)).await;
        while self.answered.load(Ordering::Relaxed) < before + 300 {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) -> Vec<Status> {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        for caller in self.callers {
            failed.extend(caller.await.unwrap());
        }
        failed
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_killed_and_one_drained_and_no_caller_notices() {
    let replica = || {
        let program = Program::serve(&golden("bert-sequence"), &[]);
        let address: SocketAddr = program.url["http://".len()..].parse().unwrap();
        (program, address)
    };
    let [(killed, a), (drained, b), (_stays, c)] = [replica(), replica(), replica()];
    let ports = [(50051, a), (50052, b), (50053, c)];
    let envoy = Envoy::start("replicas.yaml", 10_001, &ports, |text| text).await;
    let start = Instant::now();
    while envoy
        .admin("GET", "/clusters")
        .await
        .matches("health_flags::healthy")
        .count()
        < 3
    {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "not all are healthy"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let load = Load::start(envoy.address).await;
    load.goes_on().await;
    for replica in [&killed, &drained] {
        assert!(replica.metric("portcullis_requests_total", "Ok") > 0.0);
    }
    drop(killed); // SIGKILL
    load.goes_on().await;
    tokio::task::spawn_blocking(|| drained.stop())
        .await
        .unwrap(); // SIGTERM
    load.goes_on().await;
    let stats = envoy.admin("GET", "/stats?filter=cluster.replicas").await;
    let stat = |name: &str| -> u64 {
        let line = stats
            .lines()
            .find(|l| l.starts_with(&format!("cluster.replicas.{name}: ")));
        line.and_then(|l| l.rsplit(' ').next()?.parse().ok())
            .unwrap()
    };
    let failed = load.end().await;
    // As many as were in flight on the one that was killed may fail, and only if they could not be asked
    // again; with so few callers all could be.
    assert!(
        failed.is_empty(),
        "{} failed: {:?}",
        failed.len(),
        failed[0]
    );
    assert!(
        stat("upstream_rq_retry_limit_exceeded") == 0,
        "{}",
        stat("upstream_rq_retry_success")
    );
}
