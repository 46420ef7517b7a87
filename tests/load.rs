//! `portcullis load` measures what the server itself counts, and its curve is a plot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Program, portcullis, stdout};
use crate::support::golden;

/// Texts of several lengths, each another.
fn texts(dir: &tempfile::TempDir, count: usize) -> PathBuf {
    let line = |i: usize| {
        let text = format!("{i} {}", "abc def ghi ".repeat(i % 7 + 1));
        serde_json::json!({ "text": text }).to_string() + "\n"
    };
    let file = dir.path().join("texts.jsonl");
    std::fs::write(&file, (0..count).map(line).collect::<String>()).unwrap();
    file
}

fn load(server: &Program, texts: &Path, args: &[&str]) -> Value {
    let base = [
        "load",
        &server.url,
        "--json",
        "--texts",
        texts.to_str().unwrap(),
    ];
    let out = portcullis(&[&base, args].concat());
    serde_json::from_str(stdout(&out)).unwrap()
}

const REQUESTS: &str = "portcullis_requests_total";

/// The server's counters over time, looked at by our own clock.
fn watch(
    server: Arc<Program>,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<Vec<(Instant, f64)>> {
    std::thread::spawn(move || {
        let mut samples = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let count = server.metric(REQUESTS, "method=\"portcullis.v1.GuardService/Check\"");
            samples.push((Instant::now(), count));
            std::thread::sleep(Duration::from_millis(5));
        }
        samples
    })
}

#[test]
fn rates_and_codes_agree_with_the_servers_own_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(&dir, 2000);
    let server = Arc::new(Program::serve(&golden("bert-sequence"), &[]));
    for args in [&["--rate", "400"][..], &["--concurrency", "4"]] {
        // The counts must always agree. The clocks are two processes', and the machine may be busy.
        let agree = (0..3).any(|_| {
            let (ours, servers) = measure(&server, &texts, args);
            println!("{args:?}: {ours:.2}/s measured, {servers:.2}/s by the server's metrics");
            (ours / servers - 1.0).abs() < 0.01
        });
        assert!(agree, "{args:?}");
    }
}

/// The rate that `load` reports, and the one by which the server's counter grew.
fn measure(server: &Arc<Program>, texts: &Path, args: &[&str]) -> (f64, f64) {
    let before = server.metric(REQUESTS, "code=\"Ok\"");
    let stop = Arc::new(AtomicBool::new(false));
    let watching = watch(server.clone(), stop.clone());
    let args = [&["--duration", "4", "--warmup", "0"], args].concat();
    let report = load(server, texts, &args);
    stop.store(true, Ordering::Relaxed);
    let samples = watching.join().unwrap();

    let ok = server.metric(REQUESTS, "code=\"Ok\"") - before;
    assert_eq!(report["codes"]["Ok"].as_f64(), Some(ok), "{report}");
    assert_eq!(report["sent"], report["good"]);
    // From the last sample before the first request to the first one after the last.
    let end = samples[samples.len() - 1].1;
    let first = samples.iter().rposition(|s| s.1 == before).unwrap();
    let last = samples.iter().position(|s| s.1 == end).unwrap();
    let seconds = (samples[last].0 - samples[first].0).as_secs_f64();
    (report["rate"].as_f64().unwrap(), ok / seconds)
}

#[test]
fn refusals_are_counted_by_code_and_reason_as_the_server_does() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(&dir, 100);
    let server = Program::serve(&golden("bert-sequence"), &[]);
    let args = ["--duration", "1", "--warmup", "0", "--policy", "none"];
    let report = load(&server, &texts, &args);
    let refused = server.metric(REQUESTS, "code=\"NotFound\"");
    assert!(refused > 0.0);
    assert_eq!(
        report["errors"]["NotFound UNKNOWN_POLICY"].as_f64(),
        Some(refused)
    );
    assert_eq!(report["goodput"], 0.0);
    let out = portcullis(&[
        "load",
        &server.url,
        "--texts",
        texts.to_str().unwrap(),
        "--policy",
        "none",
    ]);
    assert_eq!(
        out.status.code(),
        Some(2),
        "a warm-up without an answer is an error"
    );
    assert!(String::from_utf8_lossy(&out.stderr).contains("UNKNOWN_POLICY"));
    server.stop();
}

#[test]
fn a_rate_that_keeps_the_bound_is_found_and_the_curve_is_plotted() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(&dir, 2000);
    let server = Program::serve(&golden("bert-sequence"), &[]);
    let quick = ["--duration", "0.5", "--warmup", "0.2"];
    let found = load(
        &server,
        &texts,
        &[&quick[..], &["--p99-ms", "500"]].concat(),
    );
    assert!(found["goodput"].as_f64().unwrap() > 0.0, "{found}");
    assert!(found["runs"].as_array().unwrap().len() >= 2);

    let svg = dir.path().join("curve.svg");
    let out = portcullis(&[
        "load",
        &server.url,
        "--texts",
        texts.to_str().unwrap(),
        "--duration",
        "0.3",
        "--curve",
        "--svg",
        svg.to_str().unwrap(),
    ]);
    let plot = stdout(&out);
    assert!(
        plot.contains("latency, ms over requests/s offered: o p50  x p90  + p99"),
        "{plot}"
    );
    let svg = std::fs::read_to_string(svg).unwrap();
    assert_eq!(
        svg.matches("<circle").count(),
        30,
        "ten rates, three quantiles"
    );
    server.stop();
}

#[test]
fn the_key_is_sent_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(&dir, 100);
    let made = portcullis(&["keys", "new", "tester"]);
    let word = |start: &str| stdout(&made).split_whitespace().find(|w| w.contains(start));
    let (key, hash) = (word("pk_").unwrap(), word("sha256:").unwrap());
    let keys = dir.path().join("keys.toml");
    std::fs::write(&keys, format!("[keys]\ntester = {hash}\n")).unwrap();
    let server = Program::serve(
        &golden("bert-sequence"),
        &["--api-keys", keys.to_str().unwrap()],
    );
    let quick = ["--duration", "0.3", "--warmup", "0.1"];
    let report = load(&server, &texts, &[&quick[..], &["--api-key", key]].concat());
    assert!(report["good"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["errors"], serde_json::json!({}));
    let out = portcullis(&["load", &server.url, "--texts", texts.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("Unauthenticated CREDENTIALS"));
    server.stop();
}
