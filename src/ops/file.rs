//! Files that a server is told of.

use std::path::{Path, PathBuf};

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct FileError {
    file: PathBuf,
    problem: String,
}

impl FileError {
    pub(crate) fn new(file: &Path, problem: impl std::fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// The content of a file that is a secret: 32 to 4096 bytes.
pub(crate) fn secret(file: &Path) -> Result<Vec<u8>, FileError> {
    let secret = std::fs::read(file).map_err(|e| FileError::new(file, e))?;
    if (32..=4096).contains(&secret.len()) {
        return Ok(secret);
    }
    let problem = format!(
        "has {} bytes; a secret of 32 to 4096 is needed",
        secret.len()
    );
    Err(FileError::new(file, problem))
}
