//! The files of a trail: the newest, and those that were put aside.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest line that is read back, in bytes.
pub(super) const MAX_LINE: u64 = 64 << 20;

/// Opens or creates a file that this process alone writes.
pub(super) fn open_locked(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Nobody else's to read.
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    file.try_lock()
        .map_err(|e| io::Error::other(format!("is in use: {e}")))?;
    Ok(file)
}

/// Where the last whole line ends.
pub(super) fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    after_newline(file, length)
}

/// The last of the whole lines that end at `end`.
pub(super) fn last_line(file: &mut File, end: u64) -> io::Result<Option<String>> {
    let Some(newline) = end.checked_sub(1) else {
        return Ok(None);
    };
    let begin = after_newline(file, newline)?;
    file.seek(SeekFrom::Start(begin))?;
    let mut line = String::new();
    file.take((newline - begin).min(MAX_LINE))
        .read_to_string(&mut line)?;
    Ok(Some(line))
}

/// The place after the last newline before `end`; 0 where there is none.
fn after_newline(file: &mut File, mut end: u64) -> io::Result<u64> {
    let mut block = [0; 4096];
    while end > 0 {
        let from = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - from) as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(part)?;
        if let Some(newline) = part.iter().rposition(|b| *b == b'\n') {
            return Ok(from + newline as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// Whether a file begins as `begin` does, as far as it goes.
pub(super) fn begins_with(file: &mut File, begin: &[u8]) -> io::Result<bool> {
    let mut found = Vec::with_capacity(begin.len());
    file.rewind()?;
    file.take(begin.len() as u64).read_to_end(&mut found)?;
    Ok(begin.starts_with(&found))
}

/// Whether a file holds zeros only, as file systems leave what was not written.
pub(super) fn is_zeros(file: &mut File) -> io::Result<bool> {
    let mut block = [0; 4096];
    file.rewind()?;
    loop {
        match file.read(&mut block)? {
            0 => return Ok(true),
            read if block[..read].iter().any(|b| *b != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// Where a file stands.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The files that were put aside, oldest first.
pub(super) fn parts(path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder(path))? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let number = file
            .strip_prefix(&name)
            .and_then(|rest| rest.strip_prefix('.'));
        if number.is_some_and(|n| n.len() == 20 && n.bytes().all(|b| b.is_ascii_digit())) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a trail, oldest first, opened before any is read: a server may put one aside meanwhile.
pub(super) fn open_all(path: &Path) -> io::Result<Vec<(PathBuf, File)>> {
    loop {
        let before = parts(path)?;
        let mut files = Vec::new();
        for part in &before {
            files.push((part.clone(), File::open(part)?));
        }
        match File::open(path) {
            Ok(newest) => files.push((path.to_owned(), newest)),
            // Between two renames, or before a crash that came there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !files.is_empty() => {}
            Err(error) => return Err(error),
        }
        if parts(path)? == before {
            return Ok(files);
        }
    }
}
