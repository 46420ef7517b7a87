//! Labelled data: JSON lines, gzipped or not, one format a task.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use super::Span;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Task {
    /// `{"text", "label": 0|1, "kind", "source"}`
    Injection,
    /// `{"text", "labels": {label: 0|1}, "source"}`; a missing label is unknown.
    Toxicity,
    /// `{"text", "spans": [{"start", "end", "label"}], "covered": [label], "source"}`, in characters;
    /// labels that are not covered are unknown.
    Pii,
}

impl Task {
    /// The detector of this capability.
    #[must_use]
    pub fn detector(self) -> &'static str {
        match self {
            Self::Injection => "injection",
            Self::Toxicity => "toxicity",
            Self::Pii => "pii",
        }
    }
}

/// A labelled text.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The text.
    pub text: String,
    /// Where it comes from.
    pub source: String,
    /// What kind of text it is, where the data says.
    pub kind: String,
    /// What is true of it.
    pub truth: Truth,
}

/// What is true of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// Known labels of the text.
    Classes(BTreeMap<String, bool>),
    /// Spans, and the labels that were annotated (all, where there is no list).
    Spans {
        /// In characters.
        spans: Vec<Span>,
        /// The labels annotated.
        covered: Option<BTreeSet<String>>,
    },
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", file.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
pub struct DataError {
    file: PathBuf,
    line: Option<usize>,
    problem: String,
}

#[derive(Deserialize)]
struct Line {
    text: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    kind: String,
    label: Option<u8>,
    labels: Option<BTreeMap<String, u8>>,
    spans: Option<Vec<Span>>,
    covered: Option<BTreeSet<String>>,
}

/// Reads all rows of `file` for `task`. The binary label of injection is called `INJECTION`.
pub fn read(file: &Path, task: Task) -> Result<Vec<Row>, DataError> {
    let error = |line, problem: String| DataError {
        file: file.to_owned(),
        line,
        problem,
    };
    let open = File::open(file).map_err(|e| error(None, e.to_string()))?;
    let bytes: Box<dyn Read> = if file.extension().is_some_and(|e| e == "gz") {
        Box::new(MultiGzDecoder::new(open))
    } else {
        Box::new(open)
    };
    let mut rows = Vec::new();
    for (i, line) in BufReader::new(bytes).lines().enumerate() {
        let at = Some(i + 1);
        let line = line.map_err(|e| error(at, e.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&line).map_err(|e| error(at, e.to_string()))?;
        let missing = |field: &str| error(at, format!("{field} is missing for this task"));
        let truth = match task {
            Task::Injection => {
                let label = line.label.ok_or_else(|| missing("label"))?;
                Truth::Classes([("INJECTION".to_owned(), label != 0)].into())
            }
            Task::Toxicity => {
                let labels = line.labels.ok_or_else(|| missing("labels"))?;
                Truth::Classes(labels.into_iter().map(|(l, v)| (l, v != 0)).collect())
            }
            Task::Pii => Truth::Spans {
                spans: line.spans.ok_or_else(|| missing("spans"))?,
                covered: line.covered,
            },
        };
        rows.push(Row {
            text: line.text,
            source: line.source,
            kind: line.kind,
            truth,
        });
    }
    if rows.is_empty() {
        return Err(error(None, "has no row".into()));
    }
    Ok(rows)
}
