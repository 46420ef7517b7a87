//! Files that a server is told of.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// What is wrong with a file. Repeats no value that stands in it, which may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct FileError {
    file: PathBuf,
    problem: String,
}

impl FileError {
    pub(crate) fn new(file: &Path, problem: impl Display) -> Self {
        Self {
            file: file.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// A file's bytes.
pub(crate) fn bytes(file: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(file).map_err(|e| FileError::new(file, e))
}

/// A file's text.
pub(crate) fn text(file: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(file).map_err(|e| FileError::new(file, e))
}

/// What a TOML file says.
pub(crate) fn toml<T: DeserializeOwned>(file: &Path) -> Result<T, FileError> {
    let text = text(file)?;
    toml::from_str(&text).map_err(|e| {
        let before = e.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
        let message = without_value(e.message());
        FileError::new(file, line.unwrap_or_default() + &message)
    })
}

/// What a JSON file says.
pub(crate) fn json<T: DeserializeOwned>(file: &Path) -> Result<T, FileError> {
    let read = serde_json::from_str(&text(file)?);
    read.map_err(|e| FileError::new(file, without_value(&e.to_string())))
}

/// Serde's message on a value of a wrong type repeats it where it is a string.
fn without_value(message: &str) -> String {
    let (begin, end) = ("string \"", "\", expected ");
    match (message.find(begin), message.rfind(end)) {
        (Some(from), Some(to)) => format!("{}string{}", &message[..from], &message[to + 1..]),
        _ => message.to_owned(),
    }
}

/// The content of a file that is a secret: 32 to 4096 bytes.
pub(crate) fn secret(file: &Path) -> Result<Vec<u8>, FileError> {
    let secret = bytes(file)?;
    if (32..=4096).contains(&secret.len()) {
        return Ok(secret);
    }
    let problem = format!(
        "has {} bytes; a secret of 32 to 4096 is needed",
        secret.len()
    );
    Err(FileError::new(file, problem))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_error_says_the_line_and_nothing_of_what_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        for text in [
            "[keys]\na = \"pk_secret\n",
            "[keys]\na = pk_secret\n",
            "# keys\nkeys = \"pk_secret \\\", expected\"\n",
        ] {
            std::fs::write(&file, text).unwrap();
            let read = toml::<BTreeMap<String, BTreeMap<String, u32>>>(&file);
            let error = read.unwrap_err().to_string();
            assert!(error.contains("line 2: "), "{error}");
            assert!(!error.contains("pk_"), "{error}");
        }
        std::fs::write(&file, "{\n\"keys\": \"pk_secret\"}").unwrap();
        let error = json::<BTreeMap<String, u32>>(&file)
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2 "), "{error}");
        assert!(!error.contains("pk_"), "{error}");
    }
}
