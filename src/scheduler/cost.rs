//! What a batch will take: `fixed + a T + b sum(n^2)`, measured at warm-up and corrected as it goes.

use std::time::Instant;

use crate::encoder::PackedBatch;
use crate::engine::{Engine, EngineError, HeadSet, ModelId};

/// Predicts the time of batches of one model on one device, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct CostModel {
    /// Seconds a batch.
    pub fixed: f64,
    /// Seconds a token.
    pub a: f64,
    /// Seconds a squared token of a sequence.
    pub b: f64,
    /// Moving average of actual over predicted time.
    pub correction: f64,
}

/// Weight of the newest batch in the moving average.
const NEWEST: f64 = 0.1;
/// A single odd measurement moves the average no further than by this factor.
const OUTLIER: f64 = 4.0;

impl CostModel {
    /// A model with these constants.
    #[must_use]
    pub fn new(fixed: f64, a: f64, b: f64) -> Self {
        Self {
            fixed,
            a,
            b,
            correction: 1.0,
        }
    }

    /// Seconds a sequence of `tokens` adds to a batch, before correction.
    pub(super) fn sequence(&self, tokens: usize) -> f64 {
        let n = tokens as f64;
        self.a * n + self.b * n * n
    }

    /// Seconds that sequences of `sequences` seconds (before correction) take in batches of about
    /// `target` seconds.
    pub(super) fn batches(&self, sequences: f64, target: f64) -> f64 {
        let seconds = sequences * self.correction;
        let batches = (seconds / target).ceil().max(1.0);
        seconds + batches * self.fixed * self.correction
    }

    /// Seconds that a sequence of `seconds` (before correction) adds to the device's time, its part of
    /// the fixed time of batches of about `target` seconds included.
    pub(super) fn part(&self, seconds: f64, target: f64) -> f64 {
        let corrected = seconds * self.correction;
        corrected + self.fixed * self.correction * (corrected / target).min(1.0)
    }

    /// Learns from a batch of `sequences` seconds (before correction) that took `actual` seconds.
    pub(super) fn observe(&mut self, sequences: f64, actual: f64) {
        let predicted = self.fixed + sequences;
        if predicted > 0.0 {
            let ratio = (actual / predicted)
                .clamp(self.correction / OUTLIER, self.correction * OUTLIER)
                .clamp(1e-3, 1e3);
            self.correction += NEWEST * (ratio - self.correction);
        }
    }
}

/// Measures a model on an engine with windows of up to `max_length` tokens; also warms both up.
pub fn calibrate(
    engine: &mut dyn Engine,
    model: ModelId,
    max_length: usize,
    heads: HeadSet,
) -> Result<CostModel, EngineError> {
    let long = max_length.max(8);
    let shapes = [
        (1, 8),
        (1, (long / 4).max(8)),
        (1, long),
        (8, 8),
        (4, (long / 4).max(8)),
    ];
    let mut points = Vec::with_capacity(shapes.len());
    for (sequences, tokens) in shapes {
        let ids = vec![1u32; tokens];
        let batch: PackedBatch = (0..sequences).map(|_| ids.as_slice()).collect();
        let mut best = f64::INFINITY;
        for _ in 0..2 {
            let start = Instant::now();
            engine.run(model, &batch, heads)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        points.push((batch.tokens() as f64, batch.squares() as f64, best));
    }
    Ok(fit(&points))
}

/// Least squares of the relative error over non-negative constants, by coordinate descent.
fn fit(points: &[(f64, f64, f64)]) -> CostModel {
    let rows: Vec<[f64; 3]> = points
        .iter()
        .map(|&(tokens, squares, t)| [1.0 / t, tokens / t, squares / t])
        .collect();
    let mut x = [0.0f64; 3];
    for _ in 0..20_000 {
        for j in 0..3 {
            let (mut top, mut bottom) = (0.0, 0.0);
            for row in &rows {
                let rest: f64 = (0..3).filter(|&i| i != j).map(|i| row[i] * x[i]).sum();
                top += row[j] * (1.0 - rest);
                bottom += row[j] * row[j];
            }
            x[j] = (top / bottom).max(0.0);
        }
    }
    CostModel::new(x[0], x[1], x[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_finds_the_constants_of_exact_points() {
        let (fixed, a, b) = (2e-3, 1.5e-4, 2e-7);
        let points: Vec<_> = [
            (8.0, 64.0),
            (64.0, 4096.0),
            (256.0, 65536.0),
            (64.0, 512.0),
            (512.0, 32768.0),
        ]
        .into_iter()
        .map(|(t, s)| (t, s, fixed + a * t + b * s))
        .collect();
        let model = fit(&points);
        for (t, s, time) in points {
            let predicted = model.fixed + model.a * t + model.b * s;
            assert!((predicted / time - 1.0).abs() < 0.01, "{predicted} {time}");
        }
    }

    #[test]
    fn one_odd_batch_moves_the_correction_little_and_a_lasting_change_is_followed() {
        let mut model = CostModel::new(0.0, 1e-3, 0.0);
        model.observe(0.01, 1.0);
        assert!(model.correction < 1.4);
        for _ in 0..100 {
            model.observe(0.01, 0.02);
        }
        assert!((model.correction - 2.0).abs() < 0.01);
    }
}
