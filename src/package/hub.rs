//! A hub directory without `guard.toml`: the description is derived from `config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::manifest::default_window;
use super::{Activation, HeadSpec, HeadWeights, Manifest, PackageError, Task};
use crate::text::{TagScheme, TagSet};

const FILE: &str = "config.json";

/// Score from which a label is a finding, where a package does not say.
const DEFAULT_THRESHOLD: f32 = 0.5;

/// Names of labels that say "nothing found", compared in lower case without punctuation.
const BENIGN: [&str; 12] = [
    "safe", "benign", "legit", "normal", "neutral", "clean", "ok", "negative", "nontoxic",
    "notoxic", "none", "label0",
];

/// Describes the package in `dir` by its `config.json` alone.
/// `origin` is the repository and the commit it came from, where they are known.
pub(super) fn describe(
    dir: &Path,
    config: &Value,
    origin: Option<(&str, &str)>,
) -> Result<Manifest, PackageError> {
    let name = match origin {
        Some((repository, _)) => repository
            .rsplit('/')
            .next()
            .unwrap_or(repository)
            .to_owned(),
        None => dir
            .file_name()
            .map_or_else(|| "model".to_owned(), |n| n.to_string_lossy().into_owned()),
    };
    let (max_length, stride) = default_window(config);
    Ok(Manifest {
        heads: vec![head(dir, config, &name)?],
        version: origin
            .map(|(_, commit)| commit)
            .or(config["_commit_hash"].as_str())
            .unwrap_or("unversioned")
            .to_owned(),
        name,
        max_length,
        stride,
        probes: Vec::new(),
        checksums: BTreeMap::new(),
    })
}

/// The single head that `architectures` names.
pub(super) fn head(dir: &Path, config: &Value, name: &str) -> Result<HeadSpec, PackageError> {
    let error = |field: &str, problem: String| PackageError::field(dir, FILE, field, problem);
    let class = config["architectures"][0].as_str().ok_or_else(|| {
        error(
            "architectures",
            "is missing; it names the model's class".into(),
        )
    })?;
    let labels = labels(config).map_err(|problem| error("id2label", problem))?;
    let (task, activation, thresholds) = if class.ends_with("ForTokenClassification") {
        let scheme = scheme_of(&labels);
        let tags = TagSet::new(scheme, &labels).map_err(|e| error("id2label", e.to_string()))?;
        let thresholds = tags
            .labels()
            .iter()
            .map(|l| (l.clone(), DEFAULT_THRESHOLD))
            .collect();
        (Task::Token(tags), Activation::Softmax, thresholds)
    } else if class.ends_with("ForSequenceClassification") || class == "PIGuard" {
        let activation = activation(config, labels.len()).map_err(|p| error("problem_type", p))?;
        (
            Task::Sequence,
            activation,
            sequence_thresholds(&labels, activation),
        )
    } else {
        return Err(error(
            "architectures",
            format!(
                "{class:?} has no classifier; a *ForSequenceClassification or \
                 *ForTokenClassification model is needed, or guard.toml with [[heads]]"
            ),
        ));
    };
    Ok(HeadSpec {
        name: "classifier".into(),
        detector: name.to_owned(),
        task,
        activation,
        labels,
        thresholds,
        weights: HeadWeights::Hub,
    })
}

/// `id2label` in the order of its ids, or `LABEL_0...` for `num_labels`, as transformers does.
fn labels(config: &Value) -> Result<Vec<String>, String> {
    let Some(map) = config["id2label"].as_object() else {
        let count = config["num_labels"].as_u64().unwrap_or(2) as usize;
        if !(1..=10_000).contains(&count) {
            return Err(format!("is missing, and num_labels is {count}"));
        }
        return Ok((0..count).map(|i| format!("LABEL_{i}")).collect());
    };
    if map.is_empty() {
        return Err("is empty".into());
    }
    (0..map.len())
        .map(|id| {
            map.get(&id.to_string())
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(|| format!("has {} entries but none for id {id}", map.len()))
        })
        .collect()
}

fn scheme_of(labels: &[String]) -> TagScheme {
    let any = |prefix: &str| labels.iter().any(|l| l.starts_with(prefix));
    if any("E-") || any("S-") || any("L-") || any("U-") {
        TagScheme::Bioes
    } else if any("B-") {
        TagScheme::Bio
    } else {
        TagScheme::InsideOnly
    }
}

fn activation(config: &Value, labels: usize) -> Result<Activation, String> {
    match config["problem_type"].as_str() {
        Some("multi_label_classification") => Ok(Activation::Sigmoid),
        Some("single_label_classification") => Ok(Activation::Softmax),
        None if labels > 1 => Ok(Activation::Softmax),
        // One output: transformers' pipeline applies the sigmoid.
        None if labels == 1 => Ok(Activation::Sigmoid),
        Some("regression") if labels == 1 => Ok(Activation::Identity),
        other => Err(format!(
            "{other:?} with {labels} labels is not supported; \
             single_label_classification, multi_label_classification or a regression of one label is"
        )),
    }
}

/// Every label that does not say "nothing found" is a finding from 0.5 on. Where one of several
/// exclusive labels must be the benign one and none is named so, it is the first.
fn sequence_thresholds(labels: &[String], activation: Activation) -> BTreeMap<String, f32> {
    let benign = |label: &String| {
        let plain: String = label
            .chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect();
        BENIGN.contains(&plain.as_str())
    };
    let none_named = activation == Activation::Softmax && !labels.iter().any(benign);
    labels
        .iter()
        .enumerate()
        .filter(|(i, label)| !(benign(label) || (none_named && *i == 0)))
        .map(|(_, label)| (label.clone(), DEFAULT_THRESHOLD))
        .collect()
}
