//! Checks are traced to a real OTLP receiver under the caller's trace, without a text; a collector
//! that is away harms nobody.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use portcullis::api::pb::v1::CheckStreamRequest;
use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use serde_json::Value;
use tonic::Request;
use tonic::transport::Channel;

use crate::program::Program;
use crate::support::{bundled, golden, repository, user};
use crate::wire::send;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// `tests/clients/otlp_receiver.py`.
struct Collector {
    child: Child,
    endpoint: String,
    spans: Receiver<Value>,
}

impl Collector {
    fn start() -> Self {
        let python = repository(".cache/venv/bin/python");
        assert!(
            python.exists(),
            "{} is missing: scripts/test.sh installs it",
            python.display()
        );
        let mut child = Command::new(python)
            .arg(repository("tests/clients/otlp_receiver.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap();
        let (say, spans) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = say.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self {
            child,
            endpoint: format!("http://127.0.0.1:{port}"),
            spans,
        }
    }

    /// The next `count` spans.
    fn take(&self, count: usize) -> Vec<Value> {
        let span = |_| {
            self.spans
                .recv_timeout(Duration::from_secs(20))
                .expect("a span")
        };
        (0..count).map(span).collect()
    }

    /// All that has come, once the server has stopped.
    fn rest(&self) -> Vec<Value> {
        std::thread::sleep(Duration::from_millis(200));
        self.spans.try_iter().collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn client(server: &Program) -> GuardServiceClient<Channel> {
    GuardServiceClient::connect(server.url.clone())
        .await
        .unwrap()
}

/// A request of a caller that traces, sampled or not.
fn traced<T>(message: T, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{TRACE}-{CALLER}-{flags}");
    request
        .metadata_mut()
        .insert("traceparent", parent.parse().unwrap());
    request
}

fn nanos(span: &Value, key: &str) -> u64 {
    span[key].as_str().unwrap().parse().unwrap()
}

fn attribute<'s>(span: &'s Value, key: &str) -> &'s Value {
    let all = span["attributes"].as_array().unwrap();
    let found = all.iter().find(|a| a["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key} in {span:#}"))["value"]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stages_of_a_check_lie_under_the_callers_span() {
    let collector = Collector::start();
    let server = Program::serve(&bundled(), &["--otlp-endpoint", &collector.endpoint]);
    let mut client = client(&server).await;
    let text = "Zanzibar maria.marker@example.com";
    client.check(traced(user(text), "01")).await.unwrap();
    let spans = collector.take(8);
    let named = |name: &str| {
        let found = spans.iter().find(|s| s["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
    };
    let check = named("portcullis.v1.GuardService/Check");
    assert_eq!(
        (&check["traceId"], &check["parentSpanId"]),
        (&TRACE.into(), &CALLER.into())
    );
    assert_eq!(check["kind"], "SPAN_KIND_SERVER");
    assert_eq!(attribute(check, "rpc.method")["stringValue"], "Check");
    assert_eq!(attribute(check, "rpc.grpc.status_code")["intValue"], "0");
    assert_eq!(
        attribute(check, "portcullis.outcome")["stringValue"],
        "Complete"
    );
    assert_eq!(
        attribute(check, "portcullis.action")["stringValue"],
        "Redact"
    );
    let service =
        serde_json::json!({"key": "service.name", "value": {"stringValue": "portcullis"}});
    assert!(
        check["resource"]["attributes"]
            .as_array()
            .unwrap()
            .contains(&service),
        "{check:#}"
    );

    let (start, end) = ("startTimeUnixNano", "endTimeUnixNano");
    let stages = ["tokenize", "queue", "engine", "fold", "policy"].map(named);
    for stage in stages {
        assert_eq!(stage["traceId"], TRACE);
        assert_eq!(stage["parentSpanId"], check["spanId"], "{stage:#}");
        assert!(nanos(check, start) <= nanos(stage, start), "{stage:#}");
        assert!(nanos(stage, start) <= nanos(stage, end), "{stage:#}");
        assert!(nanos(stage, end) <= nanos(check, end), "{stage:#}");
    }
    for pair in stages.windows(2) {
        // One after the other, but for the clock's own steps.
        assert!(
            nanos(pair[0], end) <= nanos(pair[1], start) + 100_000,
            "{pair:#?}"
        );
    }
    let engine = nanos(stages[2], end) - nanos(stages[2], start);
    assert!(engine > 100_000, "the model takes its time: {engine} ns");
    let told = serde_json::to_string(&spans).unwrap();
    for secret in ["Zanzibar", "marker", "example.com"] {
        assert!(!told.contains(secret), "{told}");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_over_http_lies_under_the_callers_span() {
    let collector = Collector::start();
    let server = Program::serve(&bundled(), &["--otlp-endpoint", &collector.endpoint]);
    let to = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", parent.as_str()),
    ];
    let body = br#"{"segments":[{"role":"ROLE_USER","text":"Zanzibar"}]}"#;
    let answer = send(to, "POST", "/v1/check", &headers, body).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    let spans = collector.take(8);
    let check = spans.iter().find(|s| s["name"] == "POST /v1/check");
    let check = check.unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!(
        (&check["traceId"], &check["parentSpanId"]),
        (&TRACE.into(), &CALLER.into())
    );
    assert_eq!(attribute(check, "http.route")["stringValue"], "/v1/check");
    let counted = "method=\"POST /v1/check\",code=\"Ok\"";
    assert!(server.metric("portcullis_requests_total", counted) >= 1.0);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_streams_are_traced_and_the_end_loses_no_span() {
    let collector = Collector::start();
    let server = Program::serve(
        &golden("bert-sequence"),
        &["--otlp-endpoint", &collector.endpoint],
    );
    let mut client = client(&server).await;
    client.check(traced(user(""), "01")).await.unwrap_err();
    let messages = (0..3).map(|i| CheckStreamRequest {
        id: i.to_string(),
        request: Some(user(format!("abc {i}"))),
        timeout: None,
    });
    let messages = traced(tokio_stream::iter(messages), "01");
    let mut answers = client.check_stream(messages).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    server.stop();
    let spans = collector.rest();
    let of = |name: &str| {
        spans
            .iter()
            .filter(|s| s["name"] == name)
            .collect::<Vec<_>>()
    };
    let refused = of("portcullis.v1.GuardService/Check");
    assert_eq!(
        attribute(refused[0], "rpc.grpc.status_code")["intValue"],
        "3"
    );
    assert_ne!(
        refused[0]["status"]["code"], "STATUS_CODE_ERROR",
        "the caller's fault"
    );
    let streamed = of("portcullis.v1.GuardService/CheckStream");
    assert_eq!(streamed.len(), 3);
    assert!(streamed.iter().all(|s| s["parentSpanId"] == CALLER));
    assert_eq!(of("engine").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_is_not_traced() {
    let collector = Collector::start();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[telemetry]\nsample_ratio = 0.0\n").unwrap();
    let args = [
        "--otlp-endpoint",
        &collector.endpoint,
        "--config",
        config.to_str().unwrap(),
    ];
    let server = Program::serve(&golden("bert-sequence"), &args);
    let mut client = client(&server).await;
    client.check(traced(user("abc"), "00")).await.unwrap();
    client.check(user("abc")).await.unwrap();
    let mut broken = Request::new(user("abc"));
    broken
        .metadata_mut()
        .insert("traceparent", "00-zz".parse().unwrap());
    client.check(broken).await.unwrap();
    client.check(traced(user("abc"), "01")).await.unwrap();
    server.stop();
    let spans = collector.rest();
    let checks = spans
        .iter()
        .filter(|s| s["name"] == "portcullis.v1.GuardService/Check");
    assert_eq!(
        checks.count(),
        1,
        "only what the caller samples: {spans:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_hangs_harms_no_check() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap(); // accepts and never answers
    let hanging = format!("http://{}", hanging.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:1", &hanging] {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.toml");
        std::fs::write(&config, "[telemetry]\nmax_queued_spans = 64\n").unwrap();
        let args = [
            "--otlp-endpoint",
            endpoint,
            "--config",
            config.to_str().unwrap(),
        ];
        let server = Program::serve(&golden("bert-sequence"), &args);
        let mut client = client(&server).await;
        let mut slowest = Duration::ZERO;
        for i in 0..2000 {
            let start = Instant::now();
            client
                .check(traced(user(format!("abc {i}")), "01"))
                .await
                .unwrap();
            slowest = slowest.max(start.elapsed());
        }
        println!("{endpoint}: slowest of 2,000 checks {slowest:?}");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        let start = Instant::now();
        server.stop();
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "{:?}",
            start.elapsed()
        );
    }
}
