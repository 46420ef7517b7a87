//! How the latest scores of a class are spread, and how far otherwise than before.

use std::collections::VecDeque;

/// Upper ends of the bins but the last; most scores lie near 0 or 1.
const EDGES: [f64; 9] = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99];
pub(super) const BINS: usize = EDGES.len() + 1;

/// Shares of scores in each bin.
pub(super) type Shares = [f64; BINS];

/// The latest scores of a class.
pub(super) struct Class {
    window: usize,
    bins: VecDeque<u8>,
    counts: [usize; BINS],
    baseline: Option<Shares>,
    since: usize,
}

/// What a score shows.
pub(super) enum Seen {
    Nothing,
    /// The baseline of a class that had none.
    Learned(Shares),
    /// The index.
    Drift(f64),
}

impl Class {
    pub(super) fn new(window: usize, baseline: Option<Shares>) -> Self {
        Self {
            window,
            bins: VecDeque::with_capacity(window),
            counts: [0; BINS],
            baseline,
            since: 0,
        }
    }

    pub(super) fn see(&mut self, score: f64) -> Seen {
        self.add(score);
        if self.bins.len() < self.window {
            return Seen::Nothing;
        }
        match self.baseline {
            None => {
                let shares = self.shares();
                self.baseline = Some(shares);
                Seen::Learned(shares)
            }
            // A tenth of the window makes a difference.
            Some(baseline) if self.since >= self.window.div_ceil(10) => {
                self.since = 0;
                Seen::Drift(index(&self.shares(), &baseline, self.window))
            }
            Some(_) => Seen::Nothing,
        }
    }

    fn add(&mut self, score: f64) {
        if self.bins.len() == self.window
            && let Some(oldest) = self.bins.pop_front()
        {
            self.counts[usize::from(oldest)] -= 1;
        }
        let bin = EDGES.partition_point(|edge| *edge <= score);
        self.bins.push_back(bin as u8);
        self.counts[bin] += 1;
        self.since += 1;
    }

    fn shares(&self) -> Shares {
        self.counts
            .map(|count| count as f64 / self.bins.len().max(1) as f64)
    }
}

/// The population stability index; a bin that holds nothing counts as half a score.
fn index(now: &Shares, before: &Shares, window: usize) -> f64 {
    let least = 0.5 / window as f64;
    let pairs = now
        .iter()
        .zip(before)
        .map(|(now, before)| (now.max(least), before.max(least)));
    pairs
        .map(|(now, before)| (now - before) * (now / before).ln())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(counts: [usize; BINS]) -> Shares {
        let all: usize = counts.iter().sum();
        counts.map(|count| count as f64 / all as f64)
    }

    #[test]
    fn the_index_is_nothing_for_the_same_spread_and_large_for_another() {
        let usual = shares([800, 100, 40, 10, 10, 10, 5, 5, 10, 10]);
        let alike = shares([790, 105, 42, 11, 10, 10, 6, 5, 11, 10]);
        let attack = shares([600, 80, 30, 10, 10, 10, 10, 10, 40, 200]);
        assert_eq!(index(&usual, &usual, 1000), 0.0);
        assert!(index(&alike, &usual, 1000) < 0.01);
        assert!(index(&attack, &usual, 1000) > 0.25);
    }

    #[test]
    fn a_window_holds_the_latest_scores() {
        let mut class = Class::new(4, None);
        for score in [0.0, 0.0005, 0.5, 1.0, 1.0, 1.0] {
            class.add(score);
        }
        assert_eq!(class.counts, [0, 0, 0, 0, 0, 0, 1, 0, 0, 3]);
    }
}
