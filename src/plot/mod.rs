//! Charts, as SVG and as characters. A leaf: knows axes and points, not what they mean.

mod axis;
mod svg;
mod terminal;

pub use axis::{Axis, Scale};
pub use svg::{escape, svg};
pub use terminal::terminal;

/// A chart of one or more series over common axes.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Above the chart.
    pub title: String,
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    /// What is drawn, in this order.
    pub series: Vec<Series>,
}

/// One set of points.
#[derive(Debug, Clone)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// How the points are drawn.
    pub mark: Mark,
    /// `(x, y)`; those that are not finite, or that a logarithmic axis cannot show, are left out.
    pub points: Vec<(f64, f64)>,
}

/// How points are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    /// Joined by lines.
    Line,
    /// Joined by lines, each with a dot.
    Dots,
    /// Bars of this width around each `x`, down to the axis.
    Bars(f64),
    /// A thin dashed line: a reference.
    Dashed,
}

impl Chart {
    /// The points of `series` that both axes can show.
    fn points<'c>(&'c self, series: &'c Series) -> impl Iterator<Item = (f64, f64)> + 'c {
        let shown = |&&(x, y): &&(f64, f64)| self.x.scale.shows(x) && self.y.scale.shows(y);
        series.points.iter().filter(shown).copied()
    }

    /// The axes' ranges: as given, or what the points need.
    fn ranges(&self) -> ((f64, f64), (f64, f64)) {
        let all = || self.series.iter().flat_map(|s| self.points(s));
        (
            self.x.range(all().map(|p| p.0)),
            self.y.range(all().map(|p| p.1)),
        )
    }
}
