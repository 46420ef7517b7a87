//! A chart as SVG that stands by itself: no script, no font, no file beside it.

use std::fmt::Write;

use super::axis::tick;
use super::{Chart, Mark};

const WIDTH: f64 = 560.0;
/// Without the legend, which stands below.
const HEIGHT: f64 = 360.0;
const LEGEND: f64 = 16.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 48.0;

/// Told apart by people who see colours differently, too (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];

/// Draws `chart`.
#[must_use]
pub fn svg(chart: &Chart) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = draw(&mut out, chart);
    out
}

fn draw(out: &mut String, chart: &Chart) -> std::fmt::Result {
    let (xs, ys) = chart.ranges();
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let height = HEIGHT + LEGEND * chart.series.len() as f64;
    let x = |v: f64| LEFT + chart.x.scale.place(v, xs) * (right - LEFT);
    let y = |v: f64| bottom - chart.y.scale.place(v, ys) * (bottom - TOP);
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="{}" y="18" text-anchor="middle" font-size="13" font-weight="bold">{}</text>"##,
        WIDTH / 2.0,
        escape(&chart.title)
    )?;
    for value in chart.x.ticks(xs) {
        writeln!(
            out,
            r##"<path d="M{0:.1} {TOP}V{bottom}" stroke="#e4e4e4"/><text x="{0:.1}" y="{1}" text-anchor="middle">{2}</text>"##,
            x(value),
            bottom + 16.0,
            tick(value)
        )?;
    }
    for value in chart.y.ticks(ys) {
        writeln!(
            out,
            r##"<path d="M{LEFT} {0:.1}H{right}" stroke="#e4e4e4"/><text x="{1}" y="{2:.1}" text-anchor="end">{3}</text>"##,
            y(value),
            LEFT - 6.0,
            y(value) + 4.0,
            tick(value)
        )?;
    }
    writeln!(
        out,
        r##"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#444"/>
<text x="{0}" y="{1}" text-anchor="middle">{2}</text>
<text transform="translate(14 {3}) rotate(-90)" text-anchor="middle">{4}</text>"##,
        (LEFT + right) / 2.0,
        HEIGHT - 12.0,
        escape(&chart.x.label),
        (TOP + bottom) / 2.0,
        escape(&chart.y.label)
    )?;
    for (i, series) in chart.series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let points: Vec<(f64, f64)> = chart.points(series).collect();
        match series.mark {
            Mark::Bars(width) => {
                for (px, py) in points {
                    let (left, top) = (x(px - width / 2.0), y(py));
                    writeln!(
                        out,
                        r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" fill="{colour}" fill-opacity="0.5"/>"#,
                        x(px + width / 2.0) - left,
                        bottom - top
                    )?;
                }
            }
            mark => {
                let dash = if mark == Mark::Dashed {
                    r#" stroke-dasharray="4 4" stroke-width="1""#
                } else {
                    r#" stroke-width="2""#
                };
                write!(
                    out,
                    r#"<polyline fill="none" stroke="{colour}"{dash} points=""#
                )?;
                for (px, py) in &points {
                    write!(out, "{:.1},{:.1} ", x(*px), y(*py))?;
                }
                writeln!(out, r#""/>"#)?;
                for (px, py) in points.iter().filter(|_| mark == Mark::Dots) {
                    writeln!(
                        out,
                        r#"<circle cx="{:.1}" cy="{:.1}" r="3.5" fill="{colour}"><title>{} {}</title></circle>"#,
                        x(*px),
                        y(*py),
                        tick(*px),
                        tick(*py)
                    )?;
                }
            }
        }
        let line = HEIGHT + 5.0 + LEGEND * i as f64;
        writeln!(
            out,
            r##"<rect x="{}" y="{}" width="10" height="10" fill="{colour}"/><text x="{}" y="{line}">{}</text>"##,
            LEFT,
            line - 9.0,
            LEFT + 16.0,
            escape(&series.name)
        )?;
    }
    writeln!(out, "</svg>")
}

/// `text` as HTML and XML show it.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
