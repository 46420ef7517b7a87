//! One error for everything that can be wrong with a package: it names the file and the field.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Why a package was refused. Nothing of it is used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The path is not a directory.
    #[error("{}: no such directory (a package is a directory with config.json, tokenizer.json and model.safetensors)", dir.display())]
    NoDirectory {
        /// The path.
        dir: PathBuf,
    },
    /// A file is missing, unreadable or too large.
    #[error("{}: {problem}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A field or tensor is missing, unknown or out of range.
    #[error("{}: {field}: {problem}", file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// The field, tensor or table in it.
        field: String,
        /// What is wrong, and what would be accepted.
        problem: String,
    },
    /// A model of a hub could not be fetched.
    #[error("hf://{model}: {problem}")]
    Hub {
        /// `owner/name` and the revision.
        model: String,
        /// What is wrong.
        problem: String,
    },
    /// A file is not the one that was published.
    #[error("{}: SHA-256 is {actual}, guard.toml lists {expected}", file.display())]
    Checksum {
        /// The file.
        file: PathBuf,
        /// Listed in the manifest.
        expected: String,
        /// Computed.
        actual: String,
    },
}

impl PackageError {
    pub(crate) fn file(dir: &Path, name: &str, problem: impl Display) -> Self {
        Self::File {
            file: dir.join(name),
            problem: problem.to_string(),
        }
    }

    pub(super) fn hub(model: &str, problem: impl Display) -> Self {
        Self::Hub {
            model: model.to_owned(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn field(dir: &Path, name: &str, field: &str, problem: impl Display) -> Self {
        Self::Field {
            file: dir.join(name),
            field: field.to_owned(),
            problem: problem.to_string().trim().to_owned(),
        }
    }
}
