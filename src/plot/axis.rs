//! Axes: ranges, scales, ticks.

/// An axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Beside the axis; with the unit.
    pub label: String,
    /// How values are spread.
    pub scale: Scale,
    /// From and to; what the points need where there is none.
    pub range: Option<(f64, f64)>,
}

/// How values are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; only positive values can be shown.
    Log,
}

impl Scale {
    pub(super) fn shows(self, value: f64) -> bool {
        value.is_finite() && (self == Self::Linear || value > 0.0)
    }

    /// Where `value` lies between the ends of `range`: 0 to 1.
    pub(super) fn place(self, value: f64, (from, to): (f64, f64)) -> f64 {
        let of = |v: f64| if self == Self::Log { v.ln() } else { v };
        ((of(value) - of(from)) / (of(to) - of(from))).clamp(0.0, 1.0)
    }
}

impl Axis {
    /// An axis from 0 to 1.
    #[must_use]
    pub fn share(label: &str) -> Self {
        Self {
            label: label.into(),
            scale: Scale::Linear,
            range: Some((0.0, 1.0)),
        }
    }

    /// An axis as long as its points need.
    #[must_use]
    pub fn fitted(label: &str, scale: Scale) -> Self {
        Self {
            label: label.into(),
            scale,
            range: None,
        }
    }

    /// The range: never empty, from 0 where it is linear, whole powers of ten where it is not.
    pub(super) fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        if let Some(range) = self.range {
            return range;
        }
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        if low > high {
            return match self.scale {
                Scale::Linear => (0.0, 1.0),
                Scale::Log => (1.0, 10.0),
            };
        }
        match self.scale {
            Scale::Linear => {
                let step = step(high.max(1e-9));
                (0.0, (high / step).ceil().max(1.0) * step)
            }
            Scale::Log => {
                let low = low.log10().floor();
                let high = high.log10().ceil().max(low + 1.0);
                (10f64.powf(low), 10f64.powf(high))
            }
        }
    }

    /// Values to write beside the axis.
    pub(super) fn ticks(&self, (from, to): (f64, f64)) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(to - from);
                let count = ((to - from) / step).round().clamp(1.0, 20.0) as usize;
                (0..=count).map(|i| from + i as f64 * step).collect()
            }
            Scale::Log => {
                let decades = (to / from).log10().round().clamp(1.0, 20.0) as usize;
                let parts: &[f64] = if decades <= 2 {
                    &[1.0, 2.0, 5.0]
                } else {
                    &[1.0]
                };
                (0..=decades)
                    .flat_map(|d| parts.iter().map(move |p| from * 10f64.powi(d as i32) * p))
                    .filter(|v| *v <= to * 1.000_001)
                    .collect()
            }
        }
    }
}

/// A round step of which about five make up `length`.
fn step(length: f64) -> f64 {
    let rough = length / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let digits = rough / power;
    let round = [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .find(|r| digits <= *r + 1e-9);
    round.unwrap_or(10.0) * power
}

/// A tick's value, as short as it can be.
pub(super) fn tick(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 1.0 => 2,
        v => (2.0 - v.log10().floor()) as usize,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_span_the_range() {
        let linear = Axis::fitted("x", Scale::Linear);
        let range = linear.range([3.0, 437.0].into_iter());
        assert_eq!(range, (0.0, 500.0));
        assert_eq!(
            linear.ticks(range),
            [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]
        );
        let log = Axis::fitted("y", Scale::Log);
        let range = log.range([3.0, 437.0].into_iter());
        assert_eq!(range, (1.0, 1000.0));
        assert_eq!(log.ticks(range).len(), 4);
        assert_eq!(linear.range([].into_iter()), (0.0, 1.0));
        assert!(linear.range([0.0].into_iter()).1 > 0.0);
        for (value, text) in [
            (0.0, "0"),
            (0.2, "0.2"),
            (2.5, "2.5"),
            (1000.0, "1000"),
            (0.005, "0.005"),
        ] {
            assert_eq!(tick(value), text);
        }
    }
}
