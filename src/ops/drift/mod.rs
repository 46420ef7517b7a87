//! Whether scores are spread as they were: the population stability index of the latest scores of a class against
//! a baseline. It grows when traffic changes, or an attack tries its luck, or a model was exchanged.

mod baseline;
mod spread;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    gauge,
};
use serde::{Deserialize, Serialize};

use baseline::Baseline;
use spread::{Class, Seen};

use super::file::FileError;

/// What is watched, and what is said of it.
const SCORES: &str = "portcullis_score";
const DRIFT: &str = "portcullis_score_drift";

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

/// A recorder of metrics that watches the scores which pass through it.
pub(super) struct Watching<R> {
    inner: R,
    drift: Option<Arc<Drift>>,
}

/// All classes that are watched.
struct Drift {
    window: usize,
    baseline: Baseline,
    classes: Mutex<HashMap<Key, Arc<Mutex<Class>>>>,
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
                window: config.window,
                baseline: Baseline::open(file)?,
                classes: Mutex::default(),
            }))
        });
        Ok(Self {
            inner,
            drift: drift.transpose()?,
        })
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
        let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(class) = classes.get(key) {
            return class.clone();
        }
        let (detector, label) = names(key);
        let baseline = self.baseline.of(&detector, &label);
        let class = Arc::new(Mutex::new(Class::new(self.window, baseline)));
        classes.insert(key.clone(), class.clone());
        class
    }
}

impl HistogramFn for Tap {
    fn record(&self, score: f64) {
        self.inner.record(score);
        let seen = {
            let mut class = self.class.lock().unwrap_or_else(PoisonError::into_inner);
            class.see(score)
        };
        if matches!(seen, Seen::Nothing) {
            return;
        }
        let (detector, label) = names(&self.key);
        match seen {
            Seen::Nothing => {}
            Seen::Learned(shares) => self.drift.baseline.learn(detector, label, shares),
            Seen::Drift(index) => {
                gauge!(DRIFT, "detector" => detector, "label" => label).set(index);
            }
        }
    }
}
