//! Texts to send or scan: JSON lines, plain lines, or a directory of documents.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;

/// Most bytes of a line or document that are read. What is longer cannot be sent anyway.
const MOST_BYTES: u64 = 64 << 20;

/// A text, or why there is none.
#[derive(Debug)]
pub(super) struct Row {
    /// The row's own `id`, or the document's path below the directory.
    pub(super) id: Option<Value>,
    pub(super) text: Result<String, String>,
}

/// The rows of an input, in an order that is the same each time.
pub(super) enum Rows {
    Lines {
        lines: Box<dyn BufRead>,
        json: bool,
    },
    Documents {
        root: PathBuf,
        files: VecDeque<PathBuf>,
    },
}

#[derive(Deserialize)]
struct Line {
    id: Option<Value>,
    text: String,
}

impl Rows {
    /// Opens `path`: a directory (every file below it, by name), JSON lines with a `text` each
    /// (`.jsonl`, `.json`), or one text a line; files may be gzipped (`.gz`).
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            let mut files = Vec::new();
            collect(path, &mut files)?;
            files.sort_unstable();
            return Ok(Self::Documents {
                root: path.to_owned(),
                files: files.into(),
            });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let file = BufReader::new(File::open(path)?);
        let lines: Box<dyn BufRead> = if plain.len() < name.len() {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        Ok(Self::Lines {
            lines,
            json: plain.ends_with(".jsonl") || plain.ends_with(".json"),
        })
    }

    /// How many rows there are. Reads the input once.
    pub(super) fn count(path: &Path) -> io::Result<u64> {
        match Self::open(path)? {
            Self::Documents { files, .. } => Ok(files.len() as u64),
            mut rows => rows.try_fold(0, |n, row| row.map(|_| n + 1)),
        }
    }
}

impl Iterator for Rows {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Lines { lines, json } => loop {
                let mut bytes = Vec::new();
                match read_line(lines, &mut bytes) {
                    Err(error) => return Some(Err(error)),
                    Ok(0) => return None,
                    Ok(_) if bytes.trim_ascii().is_empty() => {}
                    Ok(_) => return Some(Ok(row(bytes, *json))),
                }
            },
            Self::Documents { root, files } => {
                let file = files.pop_front()?;
                let name = file.strip_prefix(root).unwrap_or(&file);
                Some(document(&file, name.to_string_lossy().into_owned()))
            }
        }
    }
}

/// Reads up to and with the next line end; of a line that is too long, only its beginning is kept.
fn read_line(lines: &mut Box<dyn BufRead>, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let n = lines.by_ref().take(MOST_BYTES).read_until(b'\n', bytes)?;
    if n as u64 == MOST_BYTES && bytes.last() != Some(&b'\n') {
        lines.skip_until(b'\n')?;
    }
    Ok(n)
}

fn row(mut bytes: Vec<u8>, json: bool) -> Row {
    let is_cut = bytes.len() as u64 >= MOST_BYTES;
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    let (id, text) = if is_cut {
        (
            None,
            Err(format!("the line is longer than {MOST_BYTES} bytes")),
        )
    } else if json {
        match serde_json::from_slice::<Line>(&bytes) {
            Ok(line) => (line.id, Ok(line.text)),
            Err(error) => (None, Err(error.to_string())),
        }
    } else {
        (None, String::from_utf8(bytes).map_err(|e| e.to_string()))
    };
    Row { id, text }
}

fn document(file: &Path, name: String) -> io::Result<Row> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let text = if bytes.len() as u64 >= MOST_BYTES {
        Err(format!("the document is longer than {MOST_BYTES} bytes"))
    } else {
        String::from_utf8(bytes).map_err(|e| e.to_string())
    };
    Ok(Row {
        id: Some(name.into()),
        text,
    })
}

/// Files below `dir`. Symbolic links to directories are not followed: they may lead in circles.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.symlink_metadata()?.is_dir() {
                todo.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_documents_and_what_is_no_text_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let jsonl = write(
            "in.jsonl",
            b"{\"text\":\"a\",\"id\":7}\n\n{\"txt\":1}\n{\"text\":\"b\"}",
        );
        let rows: Vec<Row> = Rows::open(&jsonl).unwrap().map(|r| r.unwrap()).collect();
        assert_eq!(rows.len() as u64, Rows::count(&jsonl).unwrap());
        assert_eq!(rows[0].text.as_deref(), Ok("a"));
        assert_eq!(rows[0].id, Some(7.into()));
        assert!(rows[1].text.as_ref().unwrap_err().contains("text"));
        assert_eq!(rows[2].text.as_deref(), Ok("b"));

        write("docs/b/2.txt", b"two\nlines\n");
        write("docs/a.md", b"one");
        write("docs/c", b"\xff");
        let docs = dir.path().join("docs");
        let rows: Vec<Row> = Rows::open(&docs).unwrap().map(|r| r.unwrap()).collect();
        let ids: Vec<&str> = rows
            .iter()
            .map(|r| r.id.as_ref().unwrap().as_str().unwrap())
            .collect();
        assert_eq!(ids, ["a.md", "b/2.txt", "c"]);
        assert_eq!(rows[1].text.as_deref(), Ok("two\nlines\n"));
        assert!(rows[2].text.is_err());

        let lines = write("in.txt", b"one\r\ntwo\n");
        let texts: Vec<String> = Rows::open(&lines)
            .unwrap()
            .map(|r| r.unwrap().text.unwrap())
            .collect();
        assert_eq!(texts, ["one", "two"]);
    }
}
