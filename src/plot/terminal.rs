//! A chart in characters.

use super::axis::tick;
use super::{Chart, Mark};

const COLUMNS: usize = 64;
const ROWS: usize = 18;
/// One for each series.
const MARKS: [char; 6] = ['o', 'x', '+', '*', '#', '@'];

/// Draws `chart` in lines of at most 80 characters.
#[must_use]
pub fn terminal(chart: &Chart) -> String {
    let (xs, ys) = chart.ranges();
    let mut grid = vec![[' '; COLUMNS]; ROWS];
    let column = |v: f64| (chart.x.scale.place(v, xs) * (COLUMNS - 1) as f64).round() as usize;
    let row =
        |v: f64| (ROWS - 1) - (chart.y.scale.place(v, ys) * (ROWS - 1) as f64).round() as usize;
    for (series, mark) in chart.series.iter().zip(MARKS.iter().cycle()) {
        let points: Vec<(usize, usize)> = chart
            .points(series)
            .map(|(x, y)| (column(x), row(y)))
            .collect();
        if !matches!(series.mark, Mark::Bars(_)) {
            for pair in points.windows(2) {
                join(&mut grid, pair[0], pair[1]);
            }
        }
        for (x, y) in points {
            grid[y][x] = *mark;
        }
    }

    let ticks = chart.y.ticks(ys);
    let mut out = format!("{}\n\n", chart.title);
    for (i, line) in grid.iter().enumerate() {
        let label = ticks.iter().find(|t| row(**t) == i);
        let label = label.map(|t| tick(*t)).unwrap_or_default();
        let line: String = line.iter().collect();
        out.push_str(&format!("{label:>9} |{}\n", line.trim_end()));
    }
    let mut below = vec![' '; COLUMNS + 8];
    for value in chart.x.ticks(xs) {
        let text = tick(value);
        let at = column(value).saturating_sub(text.len() / 2);
        let free = below[at.saturating_sub(1)..].iter().take(text.len() + 2);
        if free.clone().all(|c| *c == ' ') {
            below
                .iter_mut()
                .skip(at)
                .zip(text.chars())
                .for_each(|(b, c)| *b = c);
        }
    }
    let below: String = below.into_iter().collect();
    out.push_str(&format!("{:>9} +{}\n", "", "-".repeat(COLUMNS)));
    out.push_str(&format!("{:>9}  {}\n", "", below.trim_end()));
    let names = chart.series.iter().zip(MARKS.iter().cycle());
    let names: Vec<String> = names.map(|(s, m)| format!("{m} {}", s.name)).collect();
    out.push_str(&format!(
        "{:>9}  {} over {}: {}\n",
        "",
        chart.y.label,
        chart.x.label,
        names.join("  ")
    ));
    out
}

/// Dots from one point to another, where nothing else is.
fn join(grid: &mut [[char; COLUMNS]], from: (usize, usize), to: (usize, usize)) {
    let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
    for i in 1..steps {
        let share = i as f64 / steps as f64;
        let between =
            |a: usize, b: usize| (a as f64 + (b as f64 - a as f64) * share).round() as usize;
        let (x, y) = (between(from.0, to.0), between(from.1, to.1));
        if grid[y][x] == ' ' {
            grid[y][x] = '.';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Scale, Series, svg};
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "a <title>".into(),
            x: Axis::fitted("load", Scale::Linear),
            y: Axis::fitted("ms", Scale::Log),
            series: vec![Series {
                name: "p99".into(),
                mark: Mark::Dots,
                points,
            }],
        }
    }

    #[test]
    fn points_stand_where_the_axes_say() {
        let drawn = terminal(&chart(vec![(0.0, 1.0), (100.0, 1000.0)]));
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(
            lines[2].ends_with('o') && lines[2].trim_start().starts_with("1000 |"),
            "{drawn}"
        );
        assert!(lines[2 + ROWS - 1].contains("1 |o"), "{drawn}");
        assert!(lines.iter().all(|l| l.len() <= 80), "{drawn}");
    }

    #[test]
    fn nothing_and_nonsense_are_drawn_without_a_panic() {
        for points in [
            vec![],
            vec![(1.0, 0.0)],
            vec![(f64::NAN, 1.0), (5.0, f64::INFINITY)],
            vec![(0.0, 1e-300), (1e300, 1e300)],
        ] {
            let chart = chart(points);
            assert!(terminal(&chart).contains("p99"));
            let svg = svg(&chart);
            assert!(
                svg.contains("a &lt;title&gt;") && !svg.contains("NaN"),
                "{svg}"
            );
        }
    }
}
