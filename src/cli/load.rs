//! `portcullis load`: what a server takes, and how fast it answers.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::Serialize;

use super::check::RoleName;
use super::input::Rows;
use super::target::Credentials;
use super::{Done, Result, progress, runtime};
use crate::api::pb::v1::{CheckRequest, Role, Segment};
use crate::load::{Recorder, Report, Search, Sender, closed, highest_rate, open};
use crate::plot::{Axis, Chart, Mark, Scale, Series, svg, terminal};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server: http://HOST:PORT or https://HOST:PORT.
    url: String,
    /// Texts to send: JSON lines with a "text" each, one text a line, or a directory of documents.
    /// Fewer texts than requests in flight measure too well: a server runs equal ones once.
    #[arg(long, value_name = "FILE|DIR")]
    texts: PathBuf,
    /// Keep this many requests in flight (closed loop).
    #[arg(long, value_name = "N", default_value_t = 16)]
    concurrency: usize,
    /// Send this many requests a second at random moments, whatever the answers (open loop).
    #[arg(long, value_name = "N", group = "scenario")]
    rate: Option<f64>,
    /// Find the highest rate at which 99% of all requests get a complete verdict within this time.
    #[arg(long, value_name = "MS", group = "scenario")]
    p99_ms: Option<f64>,
    /// Measure latency at ten rates up to beyond the closed loop's, and plot it.
    #[arg(long, group = "scenario")]
    curve: bool,
    /// Write the curve to this file as SVG, too.
    #[arg(long, value_name = "FILE", requires = "curve")]
    svg: Option<PathBuf>,
    /// Time to measure, in seconds; of each rate, where there are several.
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    duration: f64,
    /// Time to warm up before, in seconds.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    warmup: f64,
    /// Deadline of a request, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    timeout_ms: u64,
    /// Connections to spread the requests over.
    #[arg(long, value_name = "N", default_value_t = 4)]
    connections: usize,
    /// Who speaks.
    #[arg(long, value_enum, default_value = "user")]
    role: RoleName,
    /// Policy to apply [default: the server's default].
    #[arg(long, value_name = "ID", conflicts_with = "detectors")]
    policy: Option<String>,
    /// Detectors to apply instead of a policy's.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    detectors: Vec<String>,
    /// Draws the order of the texts and the moments of the arrivals.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the measures as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

/// What was measured, in a form for programs.
#[derive(Serialize)]
struct Measured {
    scenario: &'static str,
    /// The one run, or the best of a search.
    #[serde(flatten)]
    report: Option<Report>,
    /// All runs of a search or a curve.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<Report>,
}

/// The longest run: a day.
const MOST_SECONDS: f64 = 86_400.0;
/// Shares of the closed loop's rate that a curve is made of.
const CURVE: [f64; 10] = [0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2];

pub(super) fn run(args: &Args) -> Result<Done> {
    args.validate()?;
    let requests = args.requests()?;
    let measured = runtime()?.block_on(args.measure(requests))?;
    let mut out = anstream::stdout().lock();
    let chart = args.curve.then(|| chart(&measured.runs));
    if let (Some(file), Some(chart)) = (&args.svg, &chart) {
        std::fs::write(file, svg(chart)).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&measured)?)?;
        return Ok(Done::Fine);
    }
    if measured.runs.len() > 1 {
        table(&mut out, &measured.runs)?;
    }
    if let Some(chart) = chart {
        writeln!(out, "\n{}", terminal(&chart))?;
    }
    match (&measured.report, args.p99_ms) {
        (Some(report), _) => print(&mut out, measured.scenario, report)?,
        (None, Some(bound)) => writeln!(out, "no rate kept {bound} ms")?,
        (None, None) => {}
    }
    Ok(Done::Fine)
}

impl Args {
    fn validate(&self) -> Result<()> {
        let positive = [
            ("--rate", self.rate),
            ("--p99-ms", self.p99_ms),
            ("--duration", Some(self.duration)),
        ];
        for (name, value) in positive {
            if value.is_some_and(|v| !(v > 0.0 && v <= 1e6)) {
                return Err(format!("{name}: must be above 0 and at most 1000000").into());
            }
        }
        for (name, value) in [("--duration", self.duration), ("--warmup", self.warmup)] {
            if !(0.0..=MOST_SECONDS).contains(&value) {
                return Err(format!("{name}: must be at most {MOST_SECONDS} seconds").into());
            }
        }
        for (name, value, most) in [
            ("--concurrency", self.concurrency, 1 << 16),
            ("--connections", self.connections, 1 << 10),
        ] {
            if value == 0 || value > most {
                return Err(format!("{name}: must lie between 1 and {most}").into());
            }
        }
        Ok(())
    }

    /// The texts as requests, in an order drawn from the seed.
    fn requests(&self) -> Result<Vec<CheckRequest>> {
        let file = self.texts.display();
        let mut requests = Vec::new();
        for row in Rows::open(&self.texts).map_err(|e| format!("{file}: {e}"))? {
            let row = row.map_err(|e| format!("{file}: {e}"))?;
            let row_number = requests.len() + 1;
            let text = row
                .text
                .map_err(|e| format!("{file}: row {row_number}: {e}"))?;
            requests.push(CheckRequest {
                segments: vec![Segment {
                    role: Role::from(self.role).into(),
                    text,
                    ..Segment::default()
                }],
                policy_id: self.policy.clone().unwrap_or_default(),
                detectors: self.detectors.clone(),
                ..CheckRequest::default()
            });
        }
        if requests.is_empty() {
            return Err(format!("{file}: has no text").into());
        }
        requests.shuffle(&mut StdRng::seed_from_u64(self.seed));
        Ok(requests)
    }

    async fn measure(&self, requests: Vec<CheckRequest>) -> Result<Measured> {
        let mut channels = Vec::new();
        for _ in 0..self.connections {
            channels.push(self.credentials.connect(&self.url).await?);
        }
        let timeout = Duration::from_millis(self.timeout_ms);
        let sender = Sender::new(channels, self.credentials.key()?, requests, timeout)
            .ok_or("there is nothing to send")?;
        if self.warmup > 0.0 {
            let warmup = Duration::from_secs_f64(self.warmup);
            let warmed = closed(&sender, self.concurrency, warmup, &Recorder::default()).await;
            if warmed.good == 0 {
                let errors: Vec<&str> = warmed.errors.keys().map(String::as_str).collect();
                return Err(format!(
                    "no complete verdict from {}: {}",
                    self.url,
                    errors.join(", ")
                )
                .into());
            }
        }
        let one = |scenario, report| Measured {
            scenario,
            report: Some(report),
            runs: Vec::new(),
        };
        if let Some(rate) = self.rate {
            return Ok(one("open loop", self.at(&sender, rate).await));
        }
        let peak = self.peak(&sender).await;
        if let Some(bound) = self.p99_ms {
            return self.search(&sender, bound, peak).await;
        }
        if !self.curve {
            return Ok(one("closed loop", peak));
        }
        let mut runs = Vec::new();
        for share in CURVE {
            runs.push(self.at(&sender, share * peak.goodput.max(0.1)).await);
        }
        Ok(Measured {
            scenario: "curve",
            report: None,
            runs,
        })
    }

    async fn search(&self, sender: &Sender, bound: f64, peak: Report) -> Result<Measured> {
        let mut runs = Vec::new();
        let search = Search {
            start: 0.7 * peak.goodput.max(0.1),
            precision: 0.03,
            most_probes: 12,
        };
        let bound = Duration::from_secs_f64(bound / 1e3);
        let found = highest_rate(search, async |rate| {
            let report = self.at(sender, rate).await;
            let kept = report.share_within(bound) >= 0.99;
            runs.push(report.clone());
            Ok::<_, super::Error>((kept, report))
        })
        .await?;
        Ok(Measured {
            scenario: "highest rate",
            report: found.map(|(_, report)| report),
            runs,
        })
    }

    async fn peak(&self, sender: &Sender) -> Report {
        let recorder = Recorder::default();
        let name = format!("{} in flight", self.concurrency);
        let work = closed(sender, self.concurrency, self.time(), &recorder);
        self.shown(name, &recorder, work).await
    }

    async fn at(&self, sender: &Sender, rate: f64) -> Report {
        let recorder = Recorder::default();
        let (sender, seed, time) = (sender.clone(), self.seed, self.time());
        // On a task of its own: sending blocks the thread it runs on.
        let work = tokio::spawn({
            let recorder = recorder.clone();
            async move { open(&sender, rate, time, seed, &recorder).await }
        });
        let start = Instant::now();
        let report = self.shown(format!("{rate:.1}/s"), &recorder, work).await;
        report.unwrap_or_else(|_| recorder.report(start, Some(rate)))
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.duration)
    }

    /// `work`, with its progress shown.
    async fn shown<T>(
        &self,
        name: String,
        recorder: &Recorder,
        work: impl Future<Output = T>,
    ) -> T {
        let bar = progress::time((self.duration * 1e3) as u64);
        bar.set_prefix(name);
        let start = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => {
                    progress::clear(&bar);
                    return result;
                }
                _ = ticks.tick() => {
                    let (answered, good) = recorder.answered();
                    let seconds = start.elapsed().as_secs_f64().max(1e-3);
                    bar.set_position(start.elapsed().as_millis() as u64);
                    bar.set_message(format!(
                        "{:.0}/s, p99 {:.1} ms, {} not complete",
                        answered as f64 / seconds,
                        recorder.p99_ms(),
                        answered - good
                    ));
                }
            }
        }
    }
}

// === for people ===

fn print(out: &mut impl Write, scenario: &str, report: &Report) -> Result<()> {
    let offered = report.offered_rate.map(|r| format!(", {r:.1}/s offered"));
    writeln!(
        out,
        "{scenario}{}, {:.1} s",
        offered.unwrap_or_default(),
        report.seconds
    )?;
    writeln!(
        out,
        "  answers          {:>9}  {:>10.1}/s",
        report.codes.values().sum::<u64>(),
        report.rate
    )?;
    writeln!(
        out,
        "  complete         {:>9}  {:>10.1}/s  {:.0} bytes of text/s",
        report.good, report.goodput, report.text_bytes_per_second
    )?;
    let l = report.latency_ms;
    writeln!(
        out,
        "  latency, ms      mean {:.2}  p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
        l.mean, l.p50, l.p90, l.p99, l.p99_9, l.max
    )?;
    for (error, count) in &report.errors {
        writeln!(out, "  {:>9} {}", count, super::render::printable(error))?;
    }
    if report.send_lag_p99_ms > 0.2 * l.p50 && report.offered_rate.is_some() {
        writeln!(
            out,
            "  this machine sent late (p99 {:.2} ms), which the latencies include",
            report.send_lag_p99_ms
        )?;
    }
    Ok(())
}

fn table(out: &mut impl Write, runs: &[Report]) -> Result<()> {
    writeln!(
        out,
        "{:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8}",
        "offered/s", "complete/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "errors"
    )?;
    for run in runs {
        let l = run.latency_ms;
        writeln!(
            out,
            "{:>10.1} {:>10.1} {:>10.2} {:>10.2} {:>10.2} {:>10.2} {:>8}",
            run.offered_rate.unwrap_or_default(),
            run.goodput,
            l.p50,
            l.p90,
            l.p99,
            l.p99_9,
            run.errors.values().sum::<u64>()
        )?;
    }
    Ok(())
}

/// Latency over goodput, a line for each quantile.
fn chart(runs: &[Report]) -> Chart {
    let series = |name: &str, of: fn(&Report) -> f64| Series {
        name: name.into(),
        mark: Mark::Dots,
        points: runs
            .iter()
            .map(|r| (r.offered_rate.unwrap_or_default(), of(r)))
            .collect(),
    };
    Chart {
        title: "Latency of complete verdicts over offered load".into(),
        x: Axis::fitted("requests/s offered", Scale::Linear),
        y: Axis::fitted("latency, ms", Scale::Log),
        series: vec![
            series("p50", |r| r.latency_ms.p50),
            series("p90", |r| r.latency_ms.p90),
            series("p99", |r| r.latency_ms.p99),
        ],
    }
}
