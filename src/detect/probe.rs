//! Golden probes: texts a package ships with known results. A model that scores them otherwise (a
//! wrong weight file, a wrong tokenizer, a wrong kernel) does not serve.

use std::sync::Arc;

use super::{Evidence, LoadedPackage, SegmentScan};
use crate::encoder::PackedBatch;
use crate::engine::{Engine, EngineError, HeadSet};
use crate::package::{ExpectedSpan, Probe, Task};
use crate::scheduler::WindowOutcome;
use crate::text::PositionIndex;

/// Why a package failed its probes.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A score is off.
    #[error(
        "probe {text:?} on head {head}: {label} scores {actual:.4}, expected {expected:.4} within {tolerance}"
    )]
    Score {
        /// The probe.
        text: String,
        /// The head.
        head: String,
        /// The label.
        label: String,
        /// The score.
        actual: f32,
        /// The package's own.
        expected: f32,
        /// Allowed difference.
        tolerance: f32,
    },
    /// The spans are others.
    #[error("probe {text:?} on head {head}: found {actual:?}, expected {expected:?}")]
    Spans {
        /// The probe.
        text: String,
        /// The head.
        head: String,
        /// What was found.
        actual: Vec<ExpectedSpan>,
        /// The package's own.
        expected: Vec<ExpectedSpan>,
    },
    /// A score is infinite or not a number.
    #[error("probe {text:?}: the scores are not finite")]
    NotFinite {
        /// The probe.
        text: String,
    },
    /// The probe could not be run.
    #[error("probe {text:?}: {problem}")]
    Run {
        /// The probe.
        text: String,
        /// What went wrong.
        problem: String,
    },
}

/// Runs every probe of `package` on `engine`.
pub(super) fn check(
    package: &LoadedPackage,
    probes: &[Probe],
    engine: &mut dyn Engine,
) -> Result<(), ProbeError> {
    for probe in probes {
        let head = package
            .heads
            .iter()
            .position(|h| h.name == probe.head)
            .ok_or_else(|| failed(probe, "names no head of the package"))?;
        let evidence = run(package, probe, head, engine)?;
        match &package.heads[head].task {
            Task::Sequence => check_scores(package, probe, head, &evidence)?,
            Task::Token(_) => check_spans(package, probe, head, &evidence)?,
        }
    }
    Ok(())
}

fn run(
    package: &LoadedPackage,
    probe: &Probe,
    head: usize,
    engine: &mut dyn Engine,
) -> Result<Vec<Evidence>, ProbeError> {
    let tokens = package
        .tokenizer
        .tokenize(&probe.text)
        .map_err(|e| failed(probe, e))?;
    let scan = SegmentScan::new(package, Arc::new(tokens), HeadSet::one(head));
    let windows: Vec<_> = scan.windows(package).collect();
    let batch: PackedBatch = windows.iter().map(|w| w.ids.as_ref()).collect();
    let scores = engine
        .run(package.model, &batch, HeadSet::one(head))
        .map_err(|e: EngineError| failed(probe, e))?;
    let outcomes: Vec<_> = scores
        .into_iter()
        .map(|s| WindowOutcome::Scored(Arc::new(s)))
        .collect();
    let (evidence, coverage) = scan.fold(package, head, &probe.text, &outcomes);
    if coverage.failed > 0 {
        return Err(ProbeError::NotFinite {
            text: probe.text.clone(),
        });
    }
    Ok(evidence)
}

fn check_scores(
    package: &LoadedPackage,
    probe: &Probe,
    head: usize,
    evidence: &[Evidence],
) -> Result<(), ProbeError> {
    let labels = package.heads[head].finding_labels();
    for (label, &expected) in &probe.scores {
        let actual = evidence
            .iter()
            .find(|e| &labels[e.label] == label)
            .map(|e| e.score)
            .ok_or_else(|| failed(probe, format!("the head has no label {label:?}")))?;
        let close = (actual - expected).abs() <= probe.tolerance; // false where anything is no number
        if !close {
            return Err(ProbeError::Score {
                text: probe.text.clone(),
                head: probe.head.clone(),
                label: label.clone(),
                actual,
                expected,
                tolerance: probe.tolerance,
            });
        }
    }
    Ok(())
}

fn check_spans(
    package: &LoadedPackage,
    probe: &Probe,
    head: usize,
    evidence: &[Evidence],
) -> Result<(), ProbeError> {
    let spec = &package.heads[head];
    let index = PositionIndex::new(&probe.text);
    let actual: Vec<ExpectedSpan> = evidence
        .iter()
        .filter(|e| {
            let threshold = spec.thresholds.get(&spec.finding_labels()[e.label]);
            threshold.is_some_and(|t| e.score >= *t)
        })
        .map(|e| ExpectedSpan {
            start: index.at(e.span.start).char,
            end: index.at(e.span.end).char,
            label: spec.finding_labels()[e.label].clone(),
        })
        .collect();
    if actual == probe.spans {
        Ok(())
    } else {
        Err(ProbeError::Spans {
            text: probe.text.clone(),
            head: probe.head.clone(),
            actual,
            expected: probe.spans.clone(),
        })
    }
}

fn failed(probe: &Probe, problem: impl std::fmt::Display) -> ProbeError {
    ProbeError::Run {
        text: probe.text.clone(),
        problem: problem.to_string(),
    }
}
