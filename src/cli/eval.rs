//! `portcullis eval`: detection quality on labelled data, through the path that requests take.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::{Client, Done, Result, progress, report, runtime};
use crate::api::pb::v1::{CheckRequest, CheckResponse, DetectorState, Role, Segment};
use crate::quality::{Binary, Row, Span, SpanCounts, Task, Truth, read};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Labelled data: JSON lines, gzipped or not.
    file: PathBuf,
    /// What the data is labelled for, and so which format it has (docs/guide.md).
    #[arg(long, value_enum)]
    task: Task,
    /// Detector to measure [default: the one of the task's name].
    #[arg(long, value_name = "NAME")]
    detector: Option<String>,
    /// Class to measure in detail [default: INJECTION or toxic].
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Measure only this many rows, taken evenly from the file.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print the measures as JSON.
    #[arg(long)]
    json: bool,
    /// Write a report with charts to this file (HTML).
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    target: super::Target,
}

/// Requests in flight.
const CONCURRENCY: usize = 32;
/// Time for one text.
const TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn run(args: &Args) -> Result<Done> {
    let mut rows = read(&args.file, args.task)?;
    if let Some(limit) = args.limit.filter(|&l| l > 0 && l < rows.len()) {
        let step = rows.len() as f64 / limit as f64;
        rows = (0..limit)
            .map(|i| rows[(i as f64 * step) as usize].clone())
            .collect();
    }
    let detector = args.detector.as_deref().unwrap_or(args.task.detector());
    let (answers, thresholds) = runtime()?.block_on(async {
        let client = args.target.connect().await?;
        let thresholds = client.thresholds(detector).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((
            ask_all(&client, &rows, detector).await?,
            thresholds,
        ))
    })?;
    let main = args.label.as_deref().unwrap_or(match args.task {
        Task::Injection => "INJECTION",
        Task::Toxicity => "toxic",
        Task::Pii => "spans",
    });
    let measures = match args.task {
        Task::Injection | Task::Toxicity => classes(&rows, &answers, main, &thresholds),
        Task::Pii => entities(&rows, &answers, &thresholds),
    };
    if let Some(file) = &args.report {
        let title = format!("{detector}: {main} on {}", args.file.display());
        let scored = scored_by_source(&rows, &answers, main);
        std::fs::write(file, report::html(&title, &measures, &scored))
            .map_err(|e| format!("{}: {e}", file.display()))?;
    }
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&measures)?)?;
    } else {
        print(&mut out, &measures)?;
    }
    Ok(Done::Fine)
}

/// One answer a row, in order. An answer that is not complete is an error: it would measure nothing.
async fn ask_all(client: &Client, rows: &[Row], detector: &str) -> Result<Vec<CheckResponse>> {
    let start = Instant::now();
    let bar = progress::steps(rows.len() as u64);
    let mut answers = Vec::with_capacity(rows.len());
    let mut asked = stream::iter(rows.iter().enumerate())
        .map(|(i, row)| async move {
            let request = CheckRequest {
                segments: vec![Segment {
                    role: Role::User.into(),
                    text: row.text.clone(),
                    ..Segment::default()
                }],
                detectors: vec![detector.to_owned()],
                include_scores: true,
                ..CheckRequest::default()
            };
            let answer = client.check(request, TIMEOUT).await;
            let answer = answer.map_err(|e| format!("row {}: {e}", i + 1))?;
            let result = answer.detectors.first();
            match result.map(|d| (d.state(), &d.reason)) {
                Some((DetectorState::Scored, _)) => Ok(answer),
                other => Err(format!("row {}: not scored: {other:?}", i + 1)),
            }
        })
        .buffered(CONCURRENCY);
    while let Some(answer) = asked.try_next().await? {
        answers.push(answer);
        bar.inc(1);
    }
    progress::clear(&bar);
    if progress::is_shown() {
        eprintln!(
            "{} texts in {:.1} s",
            rows.len(),
            start.elapsed().as_secs_f64()
        );
    }
    Ok(answers)
}

// === classes of a text ===

fn score_of(answer: &CheckResponse, label: &str) -> Option<f64> {
    let scores = &answer.detectors.first()?.scores;
    scores
        .iter()
        .find(|s| s.label == label)
        .map(|s| f64::from(s.score))
}

/// The rows where `label` is known, with its score. A text without a token scores nothing: 0.
fn pairs<'r>(
    rows: impl Iterator<Item = (&'r Row, &'r CheckResponse)>,
    label: &str,
) -> Vec<(f64, bool)> {
    rows.filter_map(|(row, answer)| match &row.truth {
        Truth::Classes(known) => {
            let truth = *known.get(label)?;
            Some((score_of(answer, label).unwrap_or(0.0), truth))
        }
        Truth::Spans { .. } => None,
    })
    .collect()
}

/// The scores of `label` with their truth, by source.
fn scored_by_source(rows: &[Row], answers: &[CheckResponse], label: &str) -> report::Scored {
    let of = |source: &str| {
        let here = rows
            .iter()
            .zip(answers)
            .filter(|(row, _)| row.source == source);
        pairs(here, label)
    };
    let sources = sources(rows).into_iter();
    sources
        .map(|source| (source.to_owned(), of(source)))
        .collect()
}

fn classes(
    rows: &[Row],
    answers: &[CheckResponse],
    main: &str,
    thresholds: &BTreeMap<String, f64>,
) -> Value {
    let all = || rows.iter().zip(answers);
    let threshold = |label: &str| thresholds.get(label).copied();
    let shipped = threshold(main).unwrap_or(0.5);
    let overall = Binary::new(pairs(all(), main));
    let measures = |binary: &Binary, threshold: Option<f64>| {
        json!({
            "positives": binary.positives(),
            "negatives": binary.negatives(),
            "auc": binary.auc(),
            "ap": binary.average_precision(),
            "f1": threshold.and_then(|t| binary.f1(t)),
            "recall": threshold.filter(|_| binary.positives() > 0).map(|t| binary.at(t).recall),
            "false_alarms_per_1000": threshold
                .filter(|_| binary.negatives() > 0)
                .map(|t| binary.at(t).false_alarms_per_1000),
            "threshold": threshold,
        })
    };
    let mut labels: Vec<&str> = rows
        .iter()
        .flat_map(|row| match &row.truth {
            Truth::Classes(known) => known.keys().map(String::as_str).collect::<Vec<_>>(),
            Truth::Spans { .. } => Vec::new(),
        })
        .collect();
    labels.sort_unstable();
    labels.dedup();
    let per_label: serde_json::Map<String, Value> = labels
        .into_iter()
        .map(|label| {
            let binary = Binary::new(pairs(all(), label));
            (label.to_owned(), measures(&binary, threshold(label)))
        })
        .collect();
    let per_source: serde_json::Map<String, Value> = sources(rows)
        .into_iter()
        .map(|source| {
            let here = all().filter(|(row, _)| row.source == source);
            let binary = Binary::new(pairs(here, main));
            (source.to_owned(), measures(&binary, Some(shipped)))
        })
        .collect();
    let passed = |wanted: &dyn Fn(&Row) -> bool| {
        let of = Binary::new(pairs(all().filter(|(row, _)| wanted(row)), main));
        (of.negatives() > 0).then(|| 1.0 - of.at(shipped).false_alarms_per_1000 / 1000.0)
    };
    let is_hard = |row: &Row| row.kind == "hard_benign";
    let is_long = |row: &Row| row.text.chars().count() > 1000;
    let table: Vec<_> = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, shipped]
        .into_iter()
        .map(|t| overall.at(t))
        .collect();
    json!({
        "label": main,
        "rows": rows.len(),
        "threshold": shipped,
        "auc": overall.auc(),
        "ap": overall.average_precision(),
        "f1": overall.f1(shipped),
        "recall_at_1pct_fpr": overall.recall_at_false_positive_rate(0.01),
        "recall": overall.at(shipped).recall,
        "hard_benign_accuracy": passed(&is_hard),
        "long_benign_accuracy": passed(&is_long),
        "calibration_error": overall.calibration_error(),
        "thresholds": table,
        "per_label": per_label,
        "per_source": per_source,
    })
}

fn sources(rows: &[Row]) -> Vec<&str> {
    let mut sources: Vec<&str> = rows.iter().map(|r| r.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

// === entities ===

fn found(answer: &CheckResponse) -> Vec<Span> {
    let span = |f: &crate::api::pb::v1::Finding| {
        let span = f.span.unwrap_or_default();
        Span {
            start: span.start_char as usize,
            end: span.end_char as usize,
            label: f.label.clone(),
        }
    };
    answer.findings.iter().map(span).collect()
}

/// Counts the labels that the detector has.
fn entities(rows: &[Row], answers: &[CheckResponse], thresholds: &BTreeMap<String, f64>) -> Value {
    let count = |wanted: &dyn Fn(&Row) -> bool| {
        let mut counts = SpanCounts::default();
        for (row, answer) in rows.iter().zip(answers).filter(|(row, _)| wanted(row)) {
            if let Truth::Spans { spans, covered } = &row.truth {
                let annotated =
                    |label: &&String| covered.as_ref().is_none_or(|c| c.contains(*label));
                let known = thresholds.keys().filter(annotated).cloned().collect();
                counts.count(spans, &found(answer), Some(&known));
            }
        }
        counts
    };
    let measures = |c: &crate::quality::LabelCounts| {
        let share = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
        json!({
            "truth": c.truth,
            "found": c.found,
            "f1": c.exact_f1(),
            "precision": share(c.exact, c.found),
            "recall": share(c.exact, c.truth),
            "overlap_f1": c.overlap_f1(),
        })
    };
    let overall = count(&|_| true);
    let per_label: serde_json::Map<String, Value> = overall
        .0
        .iter()
        .map(|(label, c)| (label.clone(), measures(c)))
        .collect();
    let per_source: serde_json::Map<String, Value> = sources(rows)
        .into_iter()
        .map(|source| {
            (
                source.to_owned(),
                measures(&count(&|r| r.source == source).total()),
            )
        })
        .collect();
    let total = overall.total();
    json!({
        "label": "spans",
        "rows": rows.len(),
        "auc": null,
        "ap": null,
        "f1": total.exact_f1(),
        "overlap_f1": total.overlap_f1(),
        "recall_at_1pct_fpr": null,
        "hard_benign_accuracy": null,
        "per_label": per_label,
        "per_source": per_source,
    })
}

// === for people ===

/// The measures of the whole, in the order they are shown.
pub(super) const SUMMARY: [&str; 11] = [
    "rows",
    "threshold",
    "auc",
    "ap",
    "f1",
    "overlap_f1",
    "recall",
    "recall_at_1pct_fpr",
    "hard_benign_accuracy",
    "long_benign_accuracy",
    "calibration_error",
];
/// The measures of a part.
pub(super) const COLUMNS: [&str; 10] = [
    "truth",
    "found",
    "positives",
    "negatives",
    "auc",
    "ap",
    "f1",
    "overlap_f1",
    "precision",
    "recall",
];

fn print(out: &mut impl Write, report: &Value) -> Result<()> {
    writeln!(out, "{}", report["label"].as_str().unwrap_or_default())?;
    for key in SUMMARY {
        if !report[key].is_null() {
            writeln!(out, "  {key:<22} {}", number(&report[key]))?;
        }
    }
    if let Some(rows) = report["thresholds"].as_array() {
        writeln!(
            out,
            "\n  threshold  recall  precision  false alarms per 1,000"
        )?;
        for row in rows {
            writeln!(
                out,
                "  {:>9}  {:>6}  {:>9}  {:>8}",
                number(&row["threshold"]),
                number(&row["recall"]),
                number(&row["precision"]),
                number(&row["false_alarms_per_1000"])
            )?;
        }
    }
    for part in ["per_label", "per_source"] {
        let Some(rows) = report[part].as_object() else {
            continue;
        };
        let shown: Vec<&str> = COLUMNS
            .into_iter()
            .filter(|c| rows.values().any(|row| !row[*c].is_null()))
            .collect();
        write!(out, "\n  {part:<44}")?;
        for column in &shown {
            write!(out, "{column:>11}")?;
        }
        writeln!(out)?;
        for (name, row) in rows {
            let name: String = name.chars().take(42).collect();
            write!(out, "  {name:<44}")?;
            for column in &shown {
                write!(out, "{:>11}", number(&row[*column]))?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

pub(super) fn number(value: &Value) -> String {
    match value {
        Value::Number(n) if n.is_f64() => format!("{:.4}", n.as_f64().unwrap_or_default()),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}
