//! `guard.toml`: what a package says of itself beyond the hub's own files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::PackageError;
use crate::text::{TagScheme, TagSet};

/// The description a package is served by, from `guard.toml` or derived from `config.json`.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Name, as in metrics and answers.
    pub name: String,
    /// Version, as in answers.
    pub version: String,
    /// Tokens of a window, special tokens included.
    pub max_length: usize,
    /// Text tokens shared by neighbouring windows.
    pub stride: usize,
    /// What the trunk's output is used for, in the order of results.
    pub heads: Vec<HeadSpec>,
    /// Texts whose scores must come out as expected before the package serves.
    pub probes: Vec<Probe>,
    /// SHA-256 of each file, lower-case hex; empty where none are listed.
    pub checksums: BTreeMap<String, String>,
}

/// One classifier on the trunk.
#[derive(Debug, Clone)]
pub struct HeadSpec {
    /// Name, unique in the package.
    pub name: String,
    /// The capability it gives: `injection`, `toxicity`, `pii`, ...
    pub detector: String,
    /// One verdict a text, or one a token.
    pub task: Task,
    /// From logits to scores.
    pub activation: Activation,
    /// Outputs in order: class labels, or tags of a token head.
    pub labels: Vec<String>,
    /// Score from which a label is a finding. A label that is absent never is.
    pub thresholds: BTreeMap<String, f32>,
    /// Where its tensors are.
    pub weights: HeadWeights,
}

/// What a head scores.
#[derive(Debug, Clone)]
pub enum Task {
    /// One row of scores a window.
    Sequence,
    /// One row of scores a token, decoded into spans by these tags.
    Token(TagSet),
}

/// From logits to scores in 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// One label of several: scores sum to 1.
    Softmax,
    /// Each label for itself.
    Sigmoid,
    /// The output itself, cut to 0 to 1: a regression.
    Identity,
}

/// How a head's tensors are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadWeights {
    /// `heads.<name>.dense` (optional, then tanh) and `heads.<name>.out`.
    Named(String),
    /// The hub's own layout for the architecture in `config.json`.
    Hub,
}

/// A text with known scores.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Which head.
    pub head: String,
    /// The text.
    pub text: String,
    /// Expected score of labels, for a sequence head.
    #[serde(default)]
    pub scores: BTreeMap<String, f32>,
    /// Expected findings, for a token head.
    #[serde(default)]
    pub spans: Vec<ExpectedSpan>,
    /// How far a score may be off.
    #[serde(default = "default_tolerance")]
    pub tolerance: f32,
}

/// A span that a probe expects, in characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedSpan {
    /// First character.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// Entity label.
    pub label: String,
}

fn default_tolerance() -> f32 {
    0.02
}

// === the file ===

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    package: PackageTable,
    #[serde(default)]
    window: WindowTable,
    #[serde(default)]
    heads: Vec<HeadTable>,
    #[serde(default)]
    probes: Vec<Probe>,
    #[serde(default)]
    checksums: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "licence and description are for people")]
struct PackageTable {
    name: String,
    version: String,
    #[serde(default)]
    license: String,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WindowTable {
    max_length: Option<usize>,
    stride: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadTable {
    name: String,
    detector: String,
    task: TaskName,
    scheme: Option<SchemeName>,
    activation: Activation,
    labels: Vec<String>,
    #[serde(default)]
    thresholds: BTreeMap<String, f32>,
    #[serde(default)]
    formats: BTreeMap<String, String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum TaskName {
    Sequence,
    Token,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum SchemeName {
    Bio,
    Bioes,
    Inside,
}

const FILE: &str = "guard.toml";

/// Tokens shared by neighbouring windows where a manifest does not say.
pub(super) const DEFAULT_STRIDE: usize = 64;
/// Longest window that is used where a manifest does not say.
pub(super) const DEFAULT_MAX_LENGTH: usize = 512;

impl Manifest {
    /// Reads `guard.toml`; `config` gives what it leaves out.
    pub(super) fn parse(
        dir: &Path,
        bytes: &[u8],
        config: &serde_json::Value,
    ) -> Result<Self, PackageError> {
        let text =
            std::str::from_utf8(bytes).map_err(|e| PackageError::field(dir, FILE, "(utf-8)", e))?;
        let file: File =
            toml::from_str(text).map_err(|e| PackageError::field(dir, FILE, "(toml)", e))?;

        let (max_length, stride) = match file.window.max_length {
            Some(length) => (
                length,
                file.window.stride.unwrap_or(DEFAULT_STRIDE.min(length / 4)),
            ),
            None => {
                let (length, stride) = default_window(config);
                (length, file.window.stride.unwrap_or(stride))
            }
        };
        let mut heads = Vec::new();
        for head in file.heads {
            let name = head.name.clone();
            let head = head.into_spec().map_err(|(field, problem)| {
                PackageError::field(dir, FILE, &format!("heads.{name}.{field}"), problem)
            })?;
            if heads.iter().any(|h: &HeadSpec| h.name == head.name) {
                let field = format!("heads.{name}.name");
                return Err(PackageError::field(dir, FILE, &field, "is given twice"));
            }
            heads.push(head);
        }
        if heads.is_empty() {
            heads.push(super::hub::head(dir, config, &file.package.name)?);
        }
        if heads.len() > MAX_HEADS {
            let problem = format!("{} heads; at most {MAX_HEADS} are served", heads.len());
            return Err(PackageError::field(dir, FILE, "heads", problem));
        }
        for (field, value) in [
            ("package.name", &file.package.name),
            ("package.version", &file.package.version),
        ] {
            if value.is_empty() || value.chars().any(char::is_control) {
                return Err(PackageError::field(
                    dir,
                    FILE,
                    field,
                    "is empty or not printable",
                ));
            }
        }
        for probe in &file.probes {
            if !heads.iter().any(|h| h.name == probe.head) {
                let problem = format!("names the head {:?}, which the package lacks", probe.head);
                return Err(PackageError::field(dir, FILE, "probes", problem));
            }
        }
        Ok(Self {
            name: file.package.name,
            version: file.package.version,
            max_length,
            stride,
            heads,
            probes: file.probes,
            checksums: file.checksums,
        })
    }
}

/// Heads a package may have: as many as a [`crate::engine::HeadSet`] holds.
const MAX_HEADS: usize = 32;

/// The window a `config.json` allows: its positions, at most 512, and a quarter of overlap at most.
pub(super) fn default_window(config: &serde_json::Value) -> (usize, usize) {
    let positions = config["max_position_embeddings"]
        .as_u64()
        .map_or(DEFAULT_MAX_LENGTH, |n| n as usize);
    let length = positions.clamp(1, DEFAULT_MAX_LENGTH);
    (length, DEFAULT_STRIDE.min(length / 4))
}

impl HeadTable {
    fn into_spec(self) -> Result<HeadSpec, (&'static str, String)> {
        if self.labels.is_empty() {
            return Err(("labels", "is empty".into()));
        }
        let labels = self.labels.iter().map(|label| ("labels", label));
        for (field, name) in labels.chain([("name", &self.name), ("detector", &self.detector)]) {
            if name.is_empty() || name.contains(char::is_control) {
                return Err((field, format!("{name:?} is empty or not printable")));
            }
        }
        if let Some(twice) =
            (1..self.labels.len()).find(|&i| self.labels[..i].contains(&self.labels[i]))
        {
            return Err(("labels", format!("{:?} is given twice", self.labels[twice])));
        }
        if self.task == TaskName::Sequence && !self.formats.is_empty() {
            return Err(("formats", "belong to heads of task \"token\"".into()));
        }
        let task = match (self.task, self.scheme) {
            (TaskName::Sequence, None) => Task::Sequence,
            (TaskName::Sequence, Some(_)) => {
                return Err(("scheme", "belongs to heads of task \"token\"".into()));
            }
            (TaskName::Token, scheme) => {
                let scheme = match scheme {
                    None | Some(SchemeName::Bio) => TagScheme::Bio,
                    Some(SchemeName::Bioes) => TagScheme::Bioes,
                    Some(SchemeName::Inside) => TagScheme::InsideOnly,
                };
                if self.activation != Activation::Softmax {
                    return Err(("activation", "a token head needs \"softmax\"".into()));
                }
                let tags = TagSet::new(scheme, &self.labels);
                let tags = tags.map_err(|e| ("labels", e.to_string()))?;
                Task::Token(
                    tags.with_formats(&self.formats)
                        .map_err(|e| ("formats", e))?,
                )
            }
        };
        let known: &[String] = match &task {
            Task::Sequence => &self.labels,
            Task::Token(tags) => tags.labels(),
        };
        for (label, threshold) in &self.thresholds {
            if !known.contains(label) {
                return Err(("thresholds", format!("{label:?} is no label of this head")));
            }
            if !(0.0..=1.0).contains(threshold) {
                return Err((
                    "thresholds",
                    format!("{label} = {threshold}; a threshold lies between 0 and 1"),
                ));
            }
        }
        Ok(HeadSpec {
            weights: HeadWeights::Named(self.name.clone()),
            name: self.name,
            detector: self.detector,
            task,
            activation: self.activation,
            labels: self.labels,
            thresholds: self.thresholds,
        })
    }
}

impl HeadSpec {
    /// The labels findings carry: classes, or entity labels without their prefixes.
    #[must_use]
    pub fn finding_labels(&self) -> &[String] {
        match &self.task {
            Task::Sequence => &self.labels,
            Task::Token(tags) => tags.labels(),
        }
    }
}
