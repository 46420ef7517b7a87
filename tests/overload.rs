//! More load than the device can take: the goodput stays, the excess is refused at once.

use std::time::{Duration, Instant};

use portcullis::api::pb::v1::Outcome;
use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use portcullis::engine::SimulatedCost;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::support::{TestServer, bundled, config, tiny, user};

/// What became of one request.
enum Fate {
    /// A complete verdict, after this time, on a text of this many bytes.
    Good(Duration, usize),
    /// RESOURCE_EXHAUSTED with a hint, after this time.
    Refused(Duration),
    /// Accepted and not finished in time.
    Late,
}

async fn ask(channel: Channel, text: String, deadline: Duration) -> Fate {
    let start = Instant::now();
    let bytes = text.len();
    let mut request = Request::new(user(text));
    request.set_timeout(deadline);
    match GuardServiceClient::new(channel).check(request).await {
        Ok(answer) if answer.get_ref().outcome() == Outcome::Complete => {
            Fate::Good(start.elapsed(), bytes)
        }
        Ok(_) => Fate::Late,
        Err(status) if status.code() == Code::ResourceExhausted => {
            assert!(
                status.get_details_retry_info().is_some(),
                "no RetryInfo: {status:?}"
            );
            Fate::Refused(start.elapsed())
        }
        Err(status) if status.code() == Code::DeadlineExceeded => Fate::Late,
        Err(status) => panic!("{status:?}"),
    }
}

/// Bytes of text a second that `callers` get through, each asking again as soon as it is answered:
/// requests differ in length, and their number would measure the mix.
async fn peak(
    server: &TestServer,
    text: fn(usize) -> String,
    callers: usize,
    time: Duration,
) -> f64 {
    let end = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let channel = server.channel().await;
        tasks.spawn(async move {
            let mut done = 0;
            let mut i = caller;
            while Instant::now() < end {
                let fate = ask(channel.clone(), text(i), Duration::from_secs(5)).await;
                let Fate::Good(_, bytes) = fate else {
                    panic!("not served without overload");
                };
                done += bytes;
                i += callers;
            }
            done
        });
    }
    let done: usize = tasks.join_all().await.into_iter().sum();
    done as f64 / time.as_secs_f64()
}

struct Report {
    /// Bytes of text a second in complete verdicts.
    goodput: f64,
    good: usize,
    refused: Vec<Duration>,
    slowest_good: Duration,
    late: usize,
}

/// Offers `rate` bytes of text a second, whether or not they are answered.
async fn offer(
    server: &TestServer,
    text: fn(usize) -> String,
    rate: f64,
    time: Duration,
    deadline: Duration,
) -> Report {
    let mut channels = Vec::new();
    for _ in 0..8 {
        channels.push(server.channel().await);
    }
    let mean = (0..1000).map(|i| text(i).len()).sum::<usize>() as f64 / 1000.0;
    let rate = rate / mean;
    let count = (rate * time.as_secs_f64()) as usize;
    let start = tokio::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..count {
        tokio::time::sleep_until(start + Duration::from_secs_f64(i as f64 / rate)).await;
        let channel = channels[i % channels.len()].clone();
        tasks.spawn(ask(channel, text(1_000_000 + i), deadline));
    }
    let mut report = Report {
        goodput: 0.0,
        good: 0,
        refused: Vec::new(),
        slowest_good: Duration::ZERO,
        late: 0,
    };
    let mut good = 0;
    while let Some(fate) = tasks.join_next().await {
        match fate.unwrap() {
            Fate::Good(took, bytes) => {
                good += bytes;
                report.good += 1;
                report.slowest_good = report.slowest_good.max(took);
            }
            Fate::Refused(took) => report.refused.push(took),
            Fate::Late => report.late += 1,
        }
    }
    report.goodput = good as f64 / start.elapsed().as_secs_f64();
    report.refused.sort_unstable();
    report
}

fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

fn check(name: &str, peak: f64, report: &Report, deadline: Duration) {
    let offered = report.refused.len() + report.late;
    let median = report.refused[report.refused.len() / 2];
    println!(
        "{name}: peak {peak:.0} bytes/s, goodput {:.0} bytes/s ({:.0}%), good {}, refused {} (median {median:?}), \
         late {}, slowest good {:?}",
        report.goodput,
        100.0 * report.goodput / peak,
        report.good,
        report.refused.len(),
        report.late,
        report.slowest_good
    );
    assert!(offered > 0);
    assert!(
        report.goodput >= 0.9 * peak,
        "the goodput fell under 90% of the peak"
    );
    assert!(
        median < Duration::from_millis(50),
        "refusals take {median:?}"
    );
    assert!(report.slowest_good <= deadline, "{:?}", report.slowest_good);
    assert!(
        report.late * 100 <= report.good,
        "{} accepted and late",
        report.late
    );
}

/// Each text is another, or equal windows would be run once for many.
fn short_text(i: usize) -> String {
    format!("{i:07} abc def ghi jkl")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_the_load_on_a_simulated_device() {
    let cost = SimulatedCost {
        fixed: 5e-4,
        a: 2e-4,
        b: 1e-6,
    };
    let server = TestServer::simulated(tiny(), cost).await;
    let deadline = Duration::from_millis(500);
    let peak = peak(&server, short_text, 32, Duration::from_secs(3)).await;
    let before = memory();
    let report = offer(
        &server,
        short_text,
        10.0 * peak,
        Duration::from_secs(4),
        deadline,
    )
    .await;
    check("simulated, 10x", peak, &report, deadline);
    let again = offer(
        &server,
        short_text,
        10.0 * peak,
        Duration::from_secs(4),
        deadline,
    )
    .await;
    check("simulated, 10x again", peak, &again, deadline);
    let grown = memory().saturating_sub(before) >> 20;
    println!("memory grew by {grown} MiB");
    assert!(grown < 64, "memory grew by {grown} MiB");
    server.stop().await;
}

/// Lengths as good as random, so that no rhythm of arrivals meets one of lengths.
fn mixed_text(i: usize) -> String {
    let mut mixed = i as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    let words = [5, 12, 30, 8, 90, 20, 6, 45][(mixed >> 61) as usize];
    format!(
        "Question {i:07}: {}",
        "what about the other thing then ".repeat(words / 6 + 1)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn three_times_the_load_on_the_cpu_engine_with_one_thread() {
    let mut one_thread = config(bundled());
    one_thread.engine.threads = 1;
    let server = TestServer::start(one_thread).await;
    let deadline = Duration::from_secs(1);
    let peak = peak(&server, mixed_text, 16, Duration::from_secs(4)).await;
    let report = offer(
        &server,
        mixed_text,
        3.0 * peak,
        Duration::from_secs(5),
        deadline,
    )
    .await;
    check("cpu, 3x", peak, &report, deadline);
    server.stop().await;
}
