//! Measures of a score against a binary truth. Definitions are scikit-learn's.

use serde::Serialize;

/// Scores with their truth.
#[derive(Debug, Clone, Default)]
pub struct Binary {
    /// `(score, is positive)`, by falling score.
    pairs: Vec<(f64, bool)>,
    positives: usize,
}

/// A point of the ROC and precision-recall curves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Scores from this on count.
    pub threshold: f64,
    /// False alarms over negatives.
    pub false_positive_rate: f64,
    /// Found over positives: recall.
    pub true_positive_rate: f64,
    /// Found over flagged.
    pub precision: f64,
}

/// What a threshold costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ThresholdRow {
    /// Scores from this on count.
    pub threshold: f64,
    /// Found over positives.
    pub recall: f64,
    /// Found over flagged; none where nothing is flagged.
    pub precision: Option<f64>,
    /// Harmless texts flagged, of 1,000.
    pub false_alarms_per_1000: f64,
}

impl Binary {
    /// Takes `(score, is positive)` pairs; scores that are no numbers count as lowest.
    #[must_use]
    pub fn new(mut pairs: Vec<(f64, bool)>) -> Self {
        for (score, _) in &mut pairs {
            if score.is_nan() {
                *score = f64::NEG_INFINITY;
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let positives = pairs.iter().filter(|p| p.1).count();
        Self { pairs, positives }
    }

    /// Positive texts.
    #[must_use]
    pub fn positives(&self) -> usize {
        self.positives
    }

    /// Negative texts.
    #[must_use]
    pub fn negatives(&self) -> usize {
        self.pairs.len() - self.positives
    }

    /// One point for each distinct score, from the highest.
    #[must_use]
    pub fn curve(&self) -> Vec<Point> {
        let mut points = Vec::new();
        let mut found = 0;
        for (i, &(score, positive)) in self.pairs.iter().enumerate() {
            found += usize::from(positive);
            if self.pairs.get(i + 1).is_some_and(|next| next.0 == score) {
                continue;
            }
            let flagged = i + 1;
            points.push(Point {
                threshold: score,
                false_positive_rate: (flagged - found) as f64 / self.negatives().max(1) as f64,
                true_positive_rate: found as f64 / self.positives.max(1) as f64,
                precision: found as f64 / flagged as f64,
            });
        }
        points
    }

    /// Area under the ROC curve; none where a class is missing.
    #[must_use]
    pub fn auc(&self) -> Option<f64> {
        if self.positives == 0 || self.negatives() == 0 {
            return None;
        }
        let (mut x, mut y, mut area) = (0.0, 0.0, 0.0);
        for point in self.curve() {
            area += (point.false_positive_rate - x) * (point.true_positive_rate + y) / 2.0;
            (x, y) = (point.false_positive_rate, point.true_positive_rate);
        }
        Some(area)
    }

    /// Average precision: the sum over thresholds of precision times the gain in recall.
    #[must_use]
    pub fn average_precision(&self) -> Option<f64> {
        if self.positives == 0 {
            return None;
        }
        let mut recall = 0.0;
        let mut sum = 0.0;
        for point in self.curve() {
            sum += (point.true_positive_rate - recall) * point.precision;
            recall = point.true_positive_rate;
        }
        Some(sum)
    }

    /// The highest recall at which at most this share of the negatives is flagged.
    #[must_use]
    pub fn recall_at_false_positive_rate(&self, rate: f64) -> Option<f64> {
        if self.positives == 0 || self.negatives() == 0 {
            return None;
        }
        let allowed = self
            .curve()
            .into_iter()
            .filter(|p| p.false_positive_rate <= rate);
        Some(allowed.map(|p| p.true_positive_rate).fold(0.0, f64::max))
    }

    /// Recall, precision and false alarms from this threshold on.
    #[must_use]
    pub fn at(&self, threshold: f64) -> ThresholdRow {
        let flagged = self.pairs.iter().take_while(|p| p.0 >= threshold);
        let (found, flagged) = flagged.fold((0, 0), |(found, all), p| {
            (found + usize::from(p.1), all + 1)
        });
        ThresholdRow {
            threshold,
            recall: found as f64 / self.positives.max(1) as f64,
            precision: (flagged > 0).then(|| found as f64 / f64::from(flagged)),
            false_alarms_per_1000: 1000.0 * (f64::from(flagged) - found as f64)
                / self.negatives().max(1) as f64,
        }
    }

    /// F1 from this threshold on; none where there is no positive.
    #[must_use]
    pub fn f1(&self, threshold: f64) -> Option<f64> {
        if self.positives == 0 {
            return None;
        }
        let row = self.at(threshold);
        let precision = row.precision.unwrap_or(0.0);
        let sum = precision + row.recall;
        Some(if sum > 0.0 {
            2.0 * precision * row.recall / sum
        } else {
            0.0
        })
    }

    /// Expected calibration error over ten equal bins: how far scores are from being probabilities.
    #[must_use]
    pub fn calibration_error(&self) -> f64 {
        let mut bins = [(0usize, 0.0f64, 0usize); 10];
        for &(score, positive) in &self.pairs {
            let bin = &mut bins[((score * 10.0) as usize).min(9)];
            bin.0 += 1;
            bin.1 += score;
            bin.2 += usize::from(positive);
        }
        let distance =
            |&(_, scores, positives): &(usize, f64, usize)| (scores - positives as f64).abs();
        bins.iter().map(distance).sum::<f64>() / self.pairs.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfect_useless_and_tied_scores_measure_as_they_should() {
        let perfect = Binary::new(vec![(0.9, true), (0.8, true), (0.2, false), (0.1, false)]);
        assert_eq!(perfect.auc(), Some(1.0));
        assert_eq!(perfect.average_precision(), Some(1.0));
        assert_eq!(perfect.recall_at_false_positive_rate(0.01), Some(1.0));
        assert_eq!(perfect.f1(0.5), Some(1.0));
        let tied = Binary::new(vec![(0.5, true), (0.5, false), (0.5, true), (0.5, false)]);
        assert_eq!(tied.auc(), Some(0.5));
        assert_eq!(tied.average_precision(), Some(0.5));
        assert_eq!(tied.recall_at_false_positive_rate(0.01), Some(0.0));
        let one_class = Binary::new(vec![(0.5, true)]);
        assert_eq!((one_class.auc(), one_class.at(0.6).precision), (None, None));
    }
}
