//! Verdicts as tensors.

use std::collections::HashMap;

use serde::Serialize;

use super::models::Column;
use super::tensors::{Tensor, Values, metadata as tensor};
use crate::api::pb::inference::model_infer_request::InferRequestedOutputTensor;
use crate::api::pb::inference::model_metadata_response::TensorMetadata;
use crate::api::status::ApiError;
use crate::api::{convert, json};
use crate::guard::{Action, DetectorState, Finding, Verdict};

/// What is said of the texts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// What to do with each text.
    Action,
    /// Of each label for each text; not a number where nothing was scored.
    Scores,
    /// The labels, as the scores have them.
    Labels,
    /// The findings of each text, as JSON.
    Spans,
    /// The whole verdict on each text, `portcullis.v1.CheckResponse` as JSON.
    Verdict,
}

const ALL: [(&str, Output); 5] = [
    ("action", Output::Action),
    ("scores", Output::Scores),
    ("labels", Output::Labels),
    ("spans", Output::Spans),
    ("verdict", Output::Verdict),
];

/// A finding as `spans` have it. Places are in characters, and in bytes.
#[derive(Serialize)]
struct Span<'f> {
    start: usize,
    end: usize,
    start_byte: usize,
    end_byte: usize,
    detector: &'f str,
    label: &'f str,
    score: Option<f32>,
    action: Action,
}

impl<'f> From<&'f Finding> for Span<'f> {
    fn from(finding: &'f Finding) -> Self {
        Self {
            start: finding.start.char,
            end: finding.end.char,
            start_byte: finding.start.byte,
            end_byte: finding.end.byte,
            detector: &finding.detector,
            label: &finding.label,
            score: finding.score,
            action: finding.action,
        }
    }
}

/// The outputs of a model with so many labels.
pub(super) fn metadata(labels: usize) -> Vec<TensorMetadata> {
    let labels = labels as i64;
    let of = |(name, output)| match output {
        Output::Action | Output::Spans | Output::Verdict => tensor(name, "BYTES", &[-1]),
        Output::Scores => tensor(name, "FP32", &[-1, labels]),
        Output::Labels => tensor(name, "BYTES", &[labels]),
    };
    ALL.into_iter().map(of).collect()
}

/// The outputs that a request names, or all.
pub(super) fn wanted(
    asked: &[InferRequestedOutputTensor],
) -> Result<Vec<(&'static str, Output)>, ApiError> {
    let mut wanted = Vec::new();
    for (i, InferRequestedOutputTensor { name, .. }) in asked.iter().enumerate() {
        let field = format!("outputs[{i}].name");
        let known = ALL.into_iter().find(|(known, _)| known == name);
        let known = known.ok_or_else(|| {
            let names = ALL.map(|(name, _)| name).join(", ");
            ApiError::invalid(&field, format!("{name:?} is no output; {names} are"))
        })?;
        if wanted.contains(&known) {
            return Err(ApiError::invalid(&field, "is given twice"));
        }
        wanted.push(known);
    }
    Ok(if wanted.is_empty() {
        ALL.into()
    } else {
        wanted
    })
}

/// The tensors that are wanted of these verdicts, one a text.
pub(super) fn tensors(
    wanted: &[(&'static str, Output)],
    columns: &[Column<'_>],
    verdicts: Vec<Verdict>,
) -> Result<Vec<Tensor>, ApiError> {
    let (count, width) = (verdicts.len() as i64, columns.len() as i64);
    let mut tensors = Vec::new();
    for &(name, output) in wanted {
        let (shape, values) = match output {
            Output::Action => {
                let actions = verdicts.iter().map(|v| v.action.name().to_uppercase());
                (vec![count], Values::Texts(actions.collect()))
            }
            Output::Scores => {
                let rows = verdicts.iter().flat_map(|v| scores(v, columns));
                (vec![count, width], Values::Floats(rows.collect()))
            }
            Output::Labels => {
                let labels = columns.iter().map(Column::name);
                (vec![width], Values::Texts(labels.collect()))
            }
            Output::Spans => {
                let spans = verdicts.iter().map(spans).collect::<Result<_, _>>()?;
                (vec![count], Values::Texts(spans))
            }
            // Made from the verdicts below: it takes them.
            Output::Verdict => (vec![count], Values::Texts(Vec::new())),
        };
        tensors.push(Tensor {
            name,
            shape,
            values,
        });
    }
    if let Some(at) = wanted.iter().position(|(_, o)| *o == Output::Verdict) {
        let all = verdicts.into_iter().map(|verdict| {
            let message = convert::verdict(verdict, Vec::new(), false);
            let bytes = json::to_vec("portcullis.v1.CheckResponse", &message)?;
            String::from_utf8(bytes).map_err(ApiError::internal)
        });
        tensors[at].values = Values::Texts(all.collect::<Result<_, ApiError>>()?);
    }
    Ok(tensors)
}

/// A row of scores: of classes what the detector says, of spans the highest that was found.
fn scores(verdict: &Verdict, columns: &[Column<'_>]) -> Vec<f32> {
    let mut known: HashMap<(&str, &str), f32> = HashMap::new();
    let mut of_classes = Vec::new();
    for report in &verdict.detectors {
        if report.windows == 0 && report.state != DetectorState::Scored {
            continue;
        }
        of_classes.push(report.name.as_str());
        for score in &report.scores {
            known.insert((&report.name, &score.label), score.score);
        }
    }
    for Finding {
        detector,
        label,
        score,
        ..
    } in &verdict.findings
    {
        let best = known.entry((detector, label)).or_insert(0.0);
        *best = best.max(score.unwrap_or(1.0));
    }
    columns
        .iter()
        .map(|column| {
            let score = known.get(&(column.detector, column.label)).copied();
            let ran = of_classes.contains(&column.detector);
            score.unwrap_or(if ran { 0.0 } else { f32::NAN })
        })
        .collect()
}

fn spans(verdict: &Verdict) -> Result<String, ApiError> {
    let all: Vec<Span<'_>> = verdict.findings.iter().map(Span::from).collect();
    serde_json::to_string(&all).map_err(ApiError::internal)
}
