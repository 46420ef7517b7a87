//! Whether scores are spread as they were: the population stability index of the latest scores of a class against
//! a baseline. It grows when traffic changes, or an attack tries its luck, or a model was exchanged.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    gauge,
};
use serde::{Deserialize, Serialize};

use super::file::FileError;

/// What is watched, and what is said of it.
const SCORES: &str = "portcullis_score";
const DRIFT: &str = "portcullis_score_drift";
/// Upper ends of the bins but the last; most scores lie near 0 or 1.
const EDGES: [f64; 9] = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99];
const BINS: usize = EDGES.len() + 1;

/// `[drift]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftConfig {
    /// The baseline: shares of scores by detector, label and bin. Where it lacks a class, that is learned from the
    /// class's first scores and added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<PathBuf>,
    /// Scores of a class that are compared with the baseline, the latest ones; as many are learned from.
    pub window: usize,
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self {
            baseline: None,
            window: 5_000,
        }
    }
}

/// Shares of scores in each bin.
type Shares = [f64; BINS];
type Baseline = BTreeMap<String, BTreeMap<String, Shares>>;

/// A recorder of metrics that watches the scores which pass through it.
pub(super) struct Watching<R> {
    inner: R,
    drift: Option<Arc<Drift>>,
}

/// All classes that are watched.
struct Drift {
    file: PathBuf,
    window: usize,
    known: Mutex<Known>,
}

struct Known {
    baseline: Baseline,
    classes: HashMap<Key, Arc<Mutex<Class>>>,
}

/// The latest scores of a class.
struct Class {
    bins: VecDeque<u8>,
    counts: [usize; BINS],
    baseline: Option<Shares>,
    since: usize,
}

/// One class's histogram, on its way to the inner one.
struct Tap {
    inner: Histogram,
    drift: Arc<Drift>,
    class: Arc<Mutex<Class>>,
    key: Key,
}

impl<R> Watching<R> {
    pub(super) fn new(inner: R, config: &DriftConfig) -> Result<Self, FileError> {
        let drift = config.baseline.as_ref().map(|file| {
            Ok(Arc::new(Drift {
                file: file.clone(),
                window: config.window,
                known: Mutex::new(Known {
                    baseline: read(file)?,
                    classes: HashMap::new(),
                }),
            }))
        });
        Ok(Self {
            inner,
            drift: drift.transpose()?,
        })
    }
}

fn read(file: &Path) -> Result<Baseline, FileError> {
    let error = |problem: String| FileError::new(file, problem);
    let text = match std::fs::read_to_string(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Baseline::new()),
        text => text.map_err(|e| error(e.to_string()))?,
    };
    let read: Baseline = serde_json::from_str(&text).map_err(|e| error(e.to_string()))?;
    let sound = |shares: &Shares| {
        shares.iter().all(|s| (0.0..=1.0).contains(s))
            && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-3
    };
    match read.values().flat_map(BTreeMap::values).all(sound) {
        true => Ok(read),
        false => Err(error(
            "shares of a class must lie between 0 and 1 and add up to 1".into(),
        )),
    }
}

impl<R: Recorder> Recorder for Watching<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.inner.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.inner.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let inner = self.inner.register_histogram(key, metadata);
        match &self.drift {
            Some(drift) if key.name() == SCORES => Histogram::from_arc(Arc::new(Tap {
                inner,
                class: drift.class(key),
                drift: drift.clone(),
                key: key.clone(),
            })),
            _ => inner,
        }
    }
}

/// The detector and the label that a series is of.
fn names(key: &Key) -> (String, String) {
    let of = |name| {
        let label = key.labels().find(|l| l.key() == name);
        label.map(|l| l.value().to_owned()).unwrap_or_default()
    };
    (of("detector"), of("label"))
}

impl Drift {
    fn class(&self, key: &Key) -> Arc<Mutex<Class>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(class) = known.classes.get(key) {
            return class.clone();
        }
        let (detector, label) = names(key);
        let labels = known.baseline.get(&detector);
        let class = Arc::new(Mutex::new(Class {
            bins: VecDeque::with_capacity(self.window),
            counts: [0; BINS],
            baseline: labels.and_then(|labels| labels.get(&label)).copied(),
            since: 0,
        }));
        known.classes.insert(key.clone(), class.clone());
        class
    }

    /// Adds a class's shares to the baseline, and writes it, once in a class's life: under the lock, so that one
    /// is written after the other.
    fn learn(&self, key: &Key, shares: Shares) {
        let (detector, label) = names(key);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = known.baseline.entry(detector.clone()).or_default();
        labels.insert(label.clone(), shares);
        let part = self.file.with_extension("part");
        let written = serde_json::to_string_pretty(&known.baseline)
            .map_err(std::io::Error::other)
            .and_then(|text| std::fs::write(&part, text))
            .and_then(|()| std::fs::rename(&part, &self.file));
        match written {
            Ok(()) => tracing::info!(detector, label, "the baseline of its scores is learned"),
            Err(error) => tracing::error!(%error, "the baseline of scores cannot be written"),
        }
    }
}

impl HistogramFn for Tap {
    fn record(&self, score: f64) {
        self.inner.record(score);
        let mut class = self.class.lock().unwrap_or_else(PoisonError::into_inner);
        class.add(score, self.drift.window);
        if class.bins.len() < self.drift.window {
            return;
        }
        match class.baseline {
            None => {
                let shares = class.shares();
                class.baseline = Some(shares);
                drop(class);
                self.drift.learn(&self.key, shares);
            }
            // A tenth of the window makes a difference.
            Some(baseline) if class.since >= self.drift.window.div_ceil(10) => {
                class.since = 0;
                let index = index(&class.shares(), &baseline, self.drift.window);
                drop(class);
                let (detector, label) = names(&self.key);
                gauge!(DRIFT, "detector" => detector, "label" => label).set(index);
            }
            Some(_) => {}
        }
    }
}

impl Class {
    fn add(&mut self, score: f64, window: usize) {
        if self.bins.len() == window
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
        let mut class = Class {
            bins: VecDeque::new(),
            counts: [0; BINS],
            baseline: None,
            since: 0,
        };
        for score in [0.0, 0.0005, 0.5, 1.0, 1.0, 1.0] {
            class.add(score, 4);
        }
        assert_eq!(class.counts, [0, 0, 0, 0, 0, 0, 1, 0, 0, 3]);
    }

    #[test]
    fn a_baseline_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("baseline.json");
        assert!(read(&file).unwrap().is_empty(), "it is learned");
        for text in [
            "[]",
            r#"{"a": {"b": [1]}}"#,
            r#"{"a": {"b": [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]}}"#,
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(read(&file).is_err(), "{text}");
        }
    }
}
