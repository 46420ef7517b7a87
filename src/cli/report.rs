//! `portcullis eval --report`: the measures with charts, in one HTML file that needs no other.

use std::collections::BTreeMap;

use serde_json::Value;

use super::eval::{COLUMNS, SUMMARY, number};
use crate::plot::{Axis, Chart, Mark, Scale, Series, escape, svg};
use crate::quality::{Binary, Point};

/// `(score, is positive)` of every text, by source.
pub(super) type Scored = BTreeMap<String, Vec<(f64, bool)>>;

/// Points of a curve at most: more are not seen.
const POINTS: usize = 500;
/// Bars of a histogram.
const BINS: usize = 40;
/// Sources with a curve of their own: the largest.
const SOURCES: usize = 6;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1180px;padding:0 \
1rem;color:#222}table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem \
.7rem;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}\
figure{display:inline-block;margin:.5rem}";

/// The report on `measures`, as `eval --json` prints them.
pub(super) fn html(title: &str, measures: &Value, scored: &Scored) -> String {
    let title = escape(title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    let summary = SUMMARY.iter().filter(|key| !measures[**key].is_null());
    let rows = summary.map(|key| vec![key.replace('_', " "), number(&measures[*key])]);
    out.push_str(&table(&[], rows));
    for chart in charts(scored, measures["threshold"].as_f64()) {
        out.push_str(&format!("<figure>{}</figure>\n", svg(&chart)));
    }
    if let Some(thresholds) = measures["thresholds"].as_array() {
        let header = ["threshold", "recall", "precision", "false_alarms_per_1000"];
        out.push_str("<h2>What a threshold costs</h2>\n");
        let rows = thresholds
            .iter()
            .map(|t| header.map(|key| number(&t[key])).to_vec());
        out.push_str(&table(&header, rows));
    }
    for (part, name) in [("per_source", "By source"), ("per_label", "By label")] {
        let Some(rows) = measures[part].as_object() else {
            continue;
        };
        let is_there = |column: &&str| rows.values().any(|row| !row[*column].is_null());
        let columns = COLUMNS.into_iter().chain(["false_alarms_per_1000"]);
        let columns: Vec<&str> = columns.filter(is_there).collect();
        let header: Vec<&str> = std::iter::once("").chain(columns.iter().copied()).collect();
        let rows = rows.iter().map(|(name, row)| {
            let values = columns.iter().map(|column| number(&row[*column]));
            std::iter::once(name.clone()).chain(values).collect()
        });
        out.push_str(&format!("<h2>{name}</h2>\n{}", table(&header, rows)));
    }
    out.push_str("</body></html>\n");
    out
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = String::from("<table>");
    if !header.is_empty() {
        let cells = header
            .iter()
            .map(|h| format!("<th>{}</th>", escape(&h.replace('_', " "))));
        out.push_str(&format!("<tr>{}</tr>", cells.collect::<String>()));
    }
    for row in rows {
        let cells = row.iter().map(|cell| format!("<td>{}</td>", escape(cell)));
        out.push_str(&format!("<tr>{}</tr>\n", cells.collect::<String>()));
    }
    out.push_str("</table>\n");
    out
}

/// ROC, precision-recall and histogram of all; ROC of the sources that have both classes.
fn charts(scored: &Scored, threshold: Option<f64>) -> Vec<Chart> {
    let all: Vec<(f64, bool)> = scored.values().flatten().copied().collect();
    if all.is_empty() {
        return Vec::new();
    }
    let binary = Binary::new(all.clone());
    let points = thin(binary.curve());
    let mut roc = vec![curve("all", &points, roc_point)];
    let mut precision = vec![curve("all", &points, |p| {
        (p.true_positive_rate, p.precision)
    })];
    if let Some(threshold) = threshold {
        let at = binary.at(threshold);
        let dot = |point| Series {
            name: format!("at {threshold}"),
            mark: Mark::Dots,
            points: vec![point],
        };
        roc.push(dot((at.false_alarms_per_1000 / 1000.0, at.recall)));
        precision.push(dot((at.recall, at.precision.unwrap_or(f64::NAN))));
    }
    let chance = Series {
        name: "chance".into(),
        mark: Mark::Dashed,
        points: vec![(0.0, 0.0), (1.0, 1.0)],
    };
    let roc_axes = || (Axis::share("false alarms"), Axis::share("recall"));
    let (x, y) = roc_axes();
    let mut charts = Vec::new();
    charts.push(Chart {
        title: format!("ROC, AUC {}", shown(binary.auc())),
        x,
        y,
        series: roc.into_iter().chain([chance]).collect(),
    });
    charts.push(Chart {
        title: format!(
            "Precision and recall, AP {}",
            shown(binary.average_precision())
        ),
        x: Axis::share("recall"),
        y: Axis::share("precision"),
        series: precision,
    });
    charts.push(histogram(&all));
    let (x, y) = roc_axes();
    let mut sources: Vec<(&String, Binary)> = scored
        .iter()
        .map(|(source, pairs)| (source, Binary::new(pairs.clone())))
        .filter(|(_, b)| b.positives() > 0 && b.negatives() > 0)
        .collect();
    sources.sort_by_key(|(_, b)| std::cmp::Reverse(b.positives() + b.negatives()));
    sources.truncate(SOURCES);
    if sources.len() > 1 {
        let series = sources.iter().map(|(source, binary)| {
            let name = format!("{source} {}", shown(binary.auc()));
            curve(&name, &thin(binary.curve()), roc_point)
        });
        charts.push(Chart {
            title: "ROC by source, the largest with both classes".into(),
            x,
            y,
            series: series.collect(),
        });
    }
    charts
}

fn roc_point(point: &Point) -> (f64, f64) {
    (point.false_positive_rate, point.true_positive_rate)
}

fn shown(measure: Option<f64>) -> String {
    measure.map_or_else(|| "-".into(), |m| format!("{m:.4}"))
}

fn curve(name: &str, points: &[Point], of: fn(&Point) -> (f64, f64)) -> Series {
    Series {
        name: name.into(),
        mark: Mark::Line,
        points: points.iter().map(of).collect(),
    }
}

/// Every n-th point, the first and the last included.
fn thin(points: Vec<Point>) -> Vec<Point> {
    let step = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.into_iter().enumerate();
    kept.filter(|(i, _)| i % step == 0 || *i == last)
        .map(|(_, p)| p)
        .collect()
}

/// How the scores of each class are spread, as shares of the class on a logarithmic scale: a guard's
/// mistakes are few.
fn histogram(pairs: &[(f64, bool)]) -> Chart {
    let series = |name: &str, class: bool| {
        let mut bins = [0usize; BINS];
        for (score, _) in pairs.iter().filter(|p| p.1 == class) {
            bins[((score * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        let all = bins.iter().sum::<usize>().max(1) as f64;
        let bar =
            |(i, count): (usize, &usize)| ((i as f64 + 0.5) / BINS as f64, *count as f64 / all);
        Series {
            name: format!("{name} ({all})"),
            mark: Mark::Bars(1.0 / BINS as f64),
            points: bins.iter().enumerate().map(bar).collect(),
        }
    };
    Chart {
        title: "Scores".into(),
        x: Axis::share("score"),
        y: Axis::fitted("share of the class", Scale::Log),
        series: vec![series("negative", false), series("positive", true)],
    }
}
