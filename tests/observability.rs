//! Metrics count what happened, and texts reach neither logs nor metrics.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use portcullis::api::pb::v1::CheckRequest;
use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use portcullis::ops::metrics::METRICS;
use tonic::transport::Endpoint;

use crate::support::{bundled, user, wait_ready};

pub(crate) fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut body = String::new();
    stream.read_to_string(&mut body).unwrap();
    body
}

fn value(scraped: &str, series: &str) -> f64 {
    scraped
        .lines()
        .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {series} in\n{scraped}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_and_neither_logs_nor_metrics_hold_a_text() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = free.local_addr().unwrap();
    drop(free);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("portcullis.toml");
    std::fs::write(&config, "[server]\nmax_streams = 1\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
            "--log",
            "trace",
            "--config",
            config.to_str().unwrap(),
        ])
        .args(["--metrics", &metrics.to_string()])
        .args(["--package", bundled().to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Arc::new(Mutex::new(String::new()));
    let (say, heard) = std::sync::mpsc::channel();
    let stderr = child.stderr.take().unwrap();
    let writer = log.clone();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let line = line.unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).expect("JSON lines");
            if let Some(address) = event["fields"]["address"].as_str() {
                let _ = say.send(address.to_owned());
            }
            writer.lock().unwrap().push_str(&line);
        }
    });
    let address = heard.recv_timeout(Duration::from_secs(30)).unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    wait_ready(&channel).await;
    let mut client = GuardServiceClient::new(channel.clone());
    for i in 0..5 {
        let text = format!("Zanzibar{i} maria.marker{i}@example.com");
        client.check(user(text)).await.unwrap();
    }
    client.check(CheckRequest::default()).await.unwrap_err();
    client
        .check(CheckRequest {
            policy_id: "Zanzibar".into(),
            ..user("x")
        })
        .await
        .unwrap_err();

    let streams = client.check_stream(tokio_stream::pending()).await.unwrap();
    client
        .check_stream(tokio_stream::pending())
        .await
        .unwrap_err();
    client
        .guard_output(tokio_stream::pending())
        .await
        .unwrap_err();
    let mut processor = ExternalProcessorClient::new(channel);
    processor
        .process(tokio_stream::pending())
        .await
        .unwrap_err();
    drop(streams);

    let scraped = scrape(metrics);
    for method in [
        "portcullis.v1.GuardService/CheckStream",
        "portcullis.v1.GuardService/GuardOutput",
        "envoy.service.ext_proc.v3.ExternalProcessor/Process",
    ] {
        let refused = format!("method=\"{method}\",code=\"ResourceExhausted\"");
        let series = format!("portcullis_requests_total{{{refused}}}");
        assert_eq!(value(&scraped, &series), 1.0, "{method}");
    }
    let requests = |code| {
        let method = "portcullis.v1.GuardService/Check";
        let series = format!("portcullis_requests_total{{method=\"{method}\",code=\"{code}\"}}");
        value(&scraped, &series)
    };
    assert_eq!(requests("Ok"), 5.0);
    assert_eq!(requests("InvalidArgument"), 1.0);
    assert_eq!(requests("NotFound"), 1.0);
    let scored = "portcullis_detector_results_total{detector=\"pii\",state=\"scored\"}";
    assert_eq!(value(&scraped, scored), 5.0);
    assert_eq!(value(&scraped, "portcullis_windows_per_request_count"), 5.0);
    assert!(value(&scraped, "portcullis_tokens_scanned_total") > 25.0);
    for name in [
        "queue_seconds",
        "engine_seconds",
        "batch_tokens",
        "batch_sequences",
    ] {
        assert!(value(&scraped, &format!("portcullis_{name}_count")) >= 1.0);
    }
    assert!(scraped.contains("portcullis_device_info{device=\"cpu"));
    assert!(scraped.contains("portcullis_score_bucket{detector=\"injection\""));
    for line in scraped
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE portcullis_"))
    {
        let name = line.split(' ').next().unwrap();
        assert!(
            METRICS.iter().any(|m| m.0 == format!("portcullis_{name}")),
            "{name} is not described"
        );
    }
    assert!(!scraped.contains("Zanzibar"));

    Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    reader.join().unwrap();
    let log = log.lock().unwrap();
    assert!(log.contains("checked"), "debug lines are there to look at");
    assert!(
        !log.contains("tokenizers::"),
        "the tokenizer logs letters of texts"
    );
    for secret in ["Zanzibar", "maria.marker", "example.com"] {
        assert!(!log.contains(secret), "the log holds {secret:?}");
    }
}
