//! SIGTERM under load loses no accepted request.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis::api::pb::v1::CheckStreamRequest;
use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{golden, user, wait_ready};

/// The real program, on a free port.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--metrics",
                "off",
                "--log-format",
                "json",
            ])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines
                .next()
                .expect("the program says where it listens")
                .unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if let Some(address) = event["fields"]["address"].as_str() {
                break address.parse().unwrap();
            }
        };
        // Keep reading, or the program would block on its log.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    async fn channel(&self) -> Channel {
        let url = format!("http://{}", self.address);
        let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        wait_ready(&channel).await;
        channel
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_are_answered_and_the_program_ends_with_zero() {
    let package = golden("bert-sequence");
    let mut program = Program::start(&["--package", package.to_str().unwrap()]);
    let terminated = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let channel = program.channel().await;
        let terminated = terminated.clone();
        tasks.spawn(async move {
            let mut client = GuardServiceClient::new(channel);
            let (mut before, mut after) = (0, 0);
            for i in 0.. {
                let sent_before = !terminated.load(Ordering::SeqCst);
                let text = format!("{worker} {i} {}", "word ".repeat(60));
                match client.check(user(text)).await {
                    Ok(_) if sent_before => before += 1,
                    Ok(_) => after += 1,
                    // Sent after the signal: refused, not lost.
                    Err(_) if !sent_before => break,
                    Err(status) => panic!("lost: {status:?}"),
                }
            }
            (before, after)
        });
    }
    // A stream with requests under way as well.
    let mut client = GuardServiceClient::new(program.channel().await);
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let mut answers = client
        .check_stream(ReceiverStream::new(receiver))
        .await
        .unwrap()
        .into_inner();
    for i in 0..16 {
        let request = CheckStreamRequest {
            id: i.to_string(),
            request: Some(user(format!("stream {i} {}", "word ".repeat(60)))),
            timeout: None,
        };
        sender.send(request).await.unwrap();
    }
    let mut answered = 0;
    answers.message().await.unwrap().unwrap();
    answered += 1;

    tokio::time::sleep(Duration::from_millis(500)).await;
    terminated.store(true, Ordering::SeqCst);
    program.terminate();
    let start = Instant::now();

    let ended = loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                assert!(answer.result.is_some());
                answered += 1;
            }
            Ok(None) => panic!("the stream ended as if the client had ended it"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (answered, ended.code()),
        (16, Code::Unavailable),
        "{ended:?}"
    );
    let mut total = 0;
    while let Some(counts) = tasks.join_next().await {
        let (before, after) = counts.unwrap();
        total += before + after;
    }
    assert!(total > 50, "too little load to mean anything: {total}");
    let status = program.child.wait().unwrap();
    println!(
        "{total} requests answered, stopped after {:?}",
        start.elapsed()
    );
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_health_watch_does_not_hold_up_the_end() {
    let package = golden("bert-sequence");
    let mut program = Program::start(&["--package", package.to_str().unwrap()]);
    let channel = program.channel().await;
    let mut health = HealthClient::new(channel);
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let serving = watch.message().await.unwrap().unwrap();
    assert_eq!(serving.status, 1);
    let start = Instant::now();
    program.terminate();
    let told = watch.message().await.unwrap().unwrap();
    assert_eq!(told.status, 2, "NOT_SERVING before the end");
    assert_eq!(program.child.wait().unwrap().code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_taken_until_balancers_have_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portcullis.toml");
    std::fs::write(&file, "[server]\nshutdown_delay_ms = 3000\n").unwrap();
    let package = golden("bert-sequence");
    let args = ["--config", file.to_str().unwrap()];
    let mut program =
        Program::start(&[&args[..], &["--package", package.to_str().unwrap()]].concat());
    let mut health = HealthClient::new(program.channel().await);
    let start = Instant::now();
    program.terminate();
    let told = async {
        while ready(&mut health).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), told)
        .await
        .expect("NOT_SERVING at once");
    // A new connection is still taken, and served.
    let url = format!("http://{}", program.address);
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut client = GuardServiceClient::new(channel);
    client.check(user("x")).await.unwrap();
    assert_eq!(program.child.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() > Duration::from_secs(3));
}

async fn ready(health: &mut HealthClient<Channel>) -> bool {
    let answer = health.check(HealthCheckRequest::default()).await;
    answer.unwrap().into_inner().status == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_load_its_package_says_why_and_ends_with_two() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["serve", "--listen", "127.0.0.1:0", "--metrics", "off"])
        .args(["--package", "/nonexistent/package"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
    assert_eq!(status.code(), Some(2), "{text}");
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("error: /nonexistent/package: no such directory"),
        "{text}"
    );
}
