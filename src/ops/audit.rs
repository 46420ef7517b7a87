//! The audit trail: a line of JSON for each verdict and whatever else must be accounted for, in an order that
//! shows what is missing or was changed.
//!
//! Each line carries the code of the line before it (`previous`) and its own (`mac`): HMAC-SHA256 of the line
//! as it stands, up to the code. With a key that whoever writes to the disk does not have, no line can be
//! changed, left out or put in without a trace; only lines off the end can be cut, which the newest code,
//! kept elsewhere, shows.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;

use crate::guard::{Action, Outcome, Segment, Verdict};
use crate::package::hex;

/// Records that may wait for the disk, and bytes of them.
const WAITING: usize = 4096;
const WAITING_BYTES: usize = 64 << 20;
/// Bytes that a finding takes while it waits, and what a record has without any: about so many.
const FINDING: usize = 1 << 10;
/// How long a record may wait before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often what was written is forced to the disk.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Longest line that is read back, in bytes.
const MAX_LINE: u64 = 64 << 20;
/// Largest texts, in bytes, that fit a line however they are escaped.
pub const MAX_TEXTS: usize = 8 << 20;
/// What stands before a line's code.
const MAC: &str = ",\"mac\":\"";
/// The `previous` of the first line.
const NONE: &str = "";

/// `[server.audit]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// Where records go.
    pub file: PathBuf,
    /// File whose content (32 to 4096 bytes) is the key of the lines' codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Which verdicts are recorded.
    #[serde(default)]
    pub verdicts: Verdicts,
    /// Whether the texts are recorded with them.
    #[serde(default)]
    pub texts: bool,
    /// What becomes of a check whose record finds no place.
    #[serde(default)]
    pub on_error: OnError,
    /// MiB after which a file is put aside and another one begun; 0: never.
    #[serde(default = "gibibyte")]
    pub max_file_mib: u64,
}

fn gibibyte() -> u64 {
    1024
}

/// Which verdicts are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdicts {
    /// Every one.
    #[default]
    All,
    /// Those with another action than to allow, and those that are not complete.
    Flagged,
}

/// What becomes of a check whose record finds no place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It fails: nothing is answered that is not recorded.
    #[default]
    Closed,
    /// It is answered all the same, and counted.
    Open,
}

/// Why there is no trail.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct AuditError {
    file: PathBuf,
    problem: String,
}

impl AuditError {
    fn new(file: &Path, problem: impl std::fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// A record that found no place, where none may be missing.
#[derive(Debug, thiserror::Error)]
#[error("the audit trail cannot be written")]
pub struct Unrecorded;

/// The trail, or none.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Trail>>);

struct Trail {
    config: AuditConfig,
    records: Mutex<Option<SyncSender<Waiting>>>,
    /// Bytes of texts that wait.
    bytes: Arc<AtomicUsize>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Of the digests by which texts are told apart.
    texts: hmac::Key,
}

/// A record on its way to the disk.
struct Waiting {
    record: Value,
    bytes: usize,
    /// Who is told whether it was written.
    told: Option<oneshot::Sender<bool>>,
}

impl Audit {
    /// Opens the trail where the file ends, or begins it.
    pub fn start(config: &AuditConfig) -> Result<Self, AuditError> {
        let keys = Keys::read(config.key_file.as_deref())?;
        let book = Book::open(config, keys.lines)?;
        let torn = book.torn;
        let (records, incoming) = sync_channel(WAITING);
        let bytes = Arc::new(AtomicUsize::new(0));
        let waiting = bytes.clone();
        let writer = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || keep(book, &incoming, &waiting))
            .map_err(|e| AuditError::new(&config.file, e))?;
        let audit = Self(Some(Arc::new(Trail {
            config: config.clone(),
            records: Mutex::new(Some(records)),
            bytes,
            writer: Mutex::new(Some(writer)),
            texts: keys.texts,
        })));
        if torn > 0 {
            audit.note("torn", json!({ "bytes": torn }));
        }
        Ok(audit)
    }

    /// Records a verdict on these texts; a streamed text comes without.
    pub async fn verdict(
        &self,
        tenant: &str,
        segments: &[Segment],
        verdict: &Verdict,
    ) -> Result<(), Unrecorded> {
        let Some(trail) = &self.0 else {
            return Ok(());
        };
        let plain = verdict.action == Action::Allow && verdict.outcome == Outcome::Complete;
        if plain && trail.config.verdicts == Verdicts::Flagged {
            return Ok(());
        }
        let texts: usize = segments.iter().map(|s| s.text.len()).sum();
        let texts = if trail.config.texts { texts } else { 0 };
        let bytes = texts + FINDING * (1 + verdict.findings.len());
        let record = trail.verdict(tenant, segments, verdict);
        trail.record(record, bytes).await
    }

    /// Records something else that happened.
    pub async fn event(&self, event: &'static str, details: Value) -> Result<(), Unrecorded> {
        match &self.0 {
            None => Ok(()),
            Some(trail) => {
                trail
                    .record(json!({"event": event, "details": details}), 0)
                    .await
            }
        }
    }

    /// Records something where nobody can wait for it.
    pub fn note(&self, event: &'static str, details: Value) {
        if let Some(trail) = &self.0 {
            trail.send(Waiting {
                record: json!({"event": event, "details": details}),
                bytes: 0,
                told: None,
            });
        }
    }

    /// Writes what waits, and ends the trail. What comes later is not recorded.
    pub fn stop(&self) {
        if let Some(trail) = &self.0 {
            self.note("stopped", Value::Null);
            trail.end();
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.end();
    }
}

impl Trail {
    fn end(&self) {
        let lock = self.records.lock();
        lock.unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock();
        let writer = writer.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }

    /// Waits until the record is written, where nothing is to be answered that is not.
    async fn record(&self, record: Value, bytes: usize) -> Result<(), Unrecorded> {
        let closed = self.config.on_error == OnError::Closed;
        let (told, written) = match closed {
            true => Some(oneshot::channel()).unzip(),
            false => (None, None),
        };
        let sent = self.send(Waiting {
            record,
            bytes,
            told,
        });
        let Some(written) = written else {
            return Ok(());
        };
        let written = async { sent && written.await == Ok(true) };
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(true) => Ok(()),
            _ => Err(Unrecorded),
        }
    }

    /// Whether there is a place for it.
    fn send(&self, waiting: Waiting) -> bool {
        let bytes = waiting.bytes;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = before + bytes <= WAITING_BYTES && {
            let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = records.as_ref().map(|records| records.try_send(waiting));
            matches!(sent, Some(Ok(())))
        };
        if !sent {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            count(false, 1);
        }
        sent
    }

    fn verdict(&self, tenant: &str, segments: &[Segment], verdict: &Verdict) -> Value {
        let findings = verdict.findings.iter().map(|finding| {
            json!({
                "segment": finding.segment, "detector": finding.detector, "label": finding.label,
                "rule": finding.rule.as_deref(), "score": finding.score.map(rounded),
                "start": finding.start.byte, "end": finding.end.byte,
            })
        });
        let detectors = verdict.detectors.iter().map(|report| {
            json!({
                "name": report.name, "state": report.state.name(),
                "package": report.package, "version": report.version,
            })
        });
        let texts = segments.iter().map(|segment| {
            let digest = hex(hmac::sign(&self.texts, segment.text.as_bytes()).as_ref());
            let text = self.config.texts.then(|| &*segment.text);
            json!({
                "role": segment.role, "id": segment.id.as_deref(), "bytes": segment.text.len(),
                "digest": digest, "text": text,
            })
        });
        json!({
            "event": "verdict", "tenant": tenant, "request": verdict.id, "policy": &*verdict.policy,
            "policy_version": &*verdict.policy_version, "outcome": verdict.outcome.name(),
            "action": verdict.action.name(), "reason": verdict.reason,
            "findings": findings.collect::<Value>(), "findings_omitted": verdict.findings_omitted,
            "detectors": detectors.collect::<Value>(), "texts": texts.collect::<Value>(),
        })
    }
}

/// A score to four digits.
fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1e4).round() / 1e4
}

/// Counts records that were written, or lost.
fn count(written: bool, records: usize) {
    let result = if written { "written" } else { "lost" };
    metrics::counter!("portcullis_audit_records_total", "result" => result)
        .increment(records as u64);
}

/// A key for lines and one for texts: a text's digest must be no line's code, or whoever chooses a text could have
/// a line signed.
struct Keys {
    lines: hmac::Key,
    texts: hmac::Key,
}

impl Keys {
    fn read(file: Option<&Path>) -> Result<Self, AuditError> {
        let secret = match file {
            None => b"portcullis".to_vec(),
            Some(file) => {
                let secret = std::fs::read(file).map_err(|e| AuditError::new(file, e))?;
                if !(32..=4096).contains(&secret.len()) {
                    let problem =
                        format!("has {} bytes; a key of 32 to 4096 is needed", secret.len());
                    return Err(AuditError::new(file, problem));
                }
                secret
            }
        };
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let of = |purpose: &[u8]| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, purpose).as_ref())
        };
        Ok(Self {
            lines: of(b"portcullis audit lines"),
            texts: of(b"portcullis audit texts"),
        })
    }
}

/// The writer's thread.
fn keep(mut book: Book, records: &Receiver<Waiting>, bytes: &AtomicUsize) {
    let mut fails = false;
    let mut said = |result: io::Result<()>| {
        match &result {
            Ok(()) if fails => tracing::info!("the audit trail is written again"),
            Err(error) if !fails => tracing::error!(%error, "the audit trail cannot be written"),
            _ => {}
        }
        fails = result.is_err();
        !fails
    };
    loop {
        let first = match records.recv_timeout(SYNC_EVERY) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let more = records.try_iter().take(WAITING);
        let batch: Vec<Waiting> = first.into_iter().chain(more).collect();
        if !batch.is_empty() {
            let written = said(book.write(batch.iter().map(|waiting| &waiting.record)));
            count(written, batch.len());
            for waiting in batch {
                bytes.fetch_sub(waiting.bytes, Ordering::Relaxed);
                if let Some(told) = waiting.told {
                    // Who does not wait any more does not hear it.
                    let _ = told.send(written);
                }
            }
        }
        // Who waited for a record does not wait for the disk.
        if book
            .unsynced
            .is_some_and(|since| since.elapsed() >= SYNC_EVERY)
        {
            said(book.sync());
        }
    }
    if let Err(error) = book.sync() {
        tracing::error!(%error, "the end of the audit trail may be lost");
    }
    tracing::info!(
        last = book.previous,
        records = book.next,
        "the audit trail ends"
    );
}

/// The file, and where in the chain it is.
struct Book {
    path: PathBuf,
    key: hmac::Key,
    file: File,
    bytes: u64,
    /// Bytes that were cut off when it was opened.
    torn: u64,
    most: u64,
    next: u64,
    previous: String,
    unsynced: Option<Instant>,
}

impl Book {
    /// Opens the file at its end. A line that was not written to its end, as by a power failure, is cut off.
    fn open(config: &AuditConfig, key: hmac::Key) -> Result<Self, AuditError> {
        let path = &config.file;
        let error = |e: &dyn std::fmt::Display| AuditError::new(path, e);
        let mut file = open_locked(path).map_err(|e| error(&e))?;
        let end = whole_lines(&mut file).map_err(|e| error(&e))?;
        let mut last = last_line(&mut file, end).map_err(|e| error(&e))?;
        if last.is_none()
            && let Some(before) = parts(path).map_err(|e| error(&e))?.pop()
        {
            let mut before = File::open(before).map_err(|e| error(&e))?;
            let end = before.metadata().map_err(|e| error(&e))?.len();
            last = last_line(&mut before, end).map_err(|e| error(&e))?;
        }
        let (next, previous) = match last {
            None => (0, NONE.to_owned()),
            Some(line) => {
                let read =
                    Line::read(&line, &key).map_err(|e| error(&format!("its last line {e}")))?;
                (read.seq + 1, read.mac)
            }
        };
        // Only now: what is no trail is left as it is.
        let torn = file.metadata().map_err(|e| error(&e))?.len() - end;
        if torn > 0 {
            let mut first = [0; 1];
            file.seek(SeekFrom::Start(end)).map_err(|e| error(&e))?;
            file.read_exact(&mut first).map_err(|e| error(&e))?;
            if first != *b"{" {
                return Err(error(&"is no audit trail"));
            }
            tracing::warn!(file = %path.display(), bytes = torn, "a record without its end is cut off");
            file.set_len(end).map_err(|e| error(&e))?;
        }
        file.seek(SeekFrom::End(0)).map_err(|e| error(&e))?;
        Ok(Self {
            path: path.clone(),
            key,
            file,
            bytes: end,
            torn,
            most: match config.max_file_mib {
                0 => u64::MAX,
                mib => mib.saturating_mul(1 << 20),
            },
            next,
            previous,
            unsynced: None,
        })
    }

    /// Writes all of these records, or none.
    fn write<'r>(&mut self, records: impl Iterator<Item = &'r Value>) -> io::Result<()> {
        let (mut lines, mut next, mut previous) = (Vec::new(), self.next, self.previous.clone());
        for record in records {
            previous = line(record, next, &previous, &self.key, &mut lines);
            next += 1;
        }
        if !lines.is_empty() {
            if self.bytes >= self.most {
                self.put_aside()?;
            }
            let here = std::fs::metadata(&self.path).map(|data| data.ino());
            if here.ok() != Some(self.file.metadata()?.ino()) {
                let moved = "it was moved or deleted under the server: put it back, or start anew";
                return Err(io::Error::other(moved));
            }
            // Also where the end of an earlier attempt could not be taken back.
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            if let Err(error) = self.file.write_all(&lines) {
                self.file.set_len(self.bytes)?;
                return Err(error);
            }
            self.bytes += lines.len() as u64;
            (self.next, self.previous) = (next, previous);
            self.unsynced.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Forces what was written to the disk.
    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_some() {
            self.file.sync_data()?;
            self.unsynced = None;
        }
        Ok(())
    }

    /// Names the file after its last record, and begins another one, which is there and ours before the first is
    /// touched. What was put aside before is never overwritten.
    fn put_aside(&mut self) -> io::Result<()> {
        self.sync()?;
        let beside = |ending: String| {
            let mut name = self.path.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        let aside = beside(format!(".{:020}", self.next.saturating_sub(1)));
        if aside.exists() {
            return Err(io::Error::other(format!(
                "{} is there already",
                aside.display()
            )));
        }
        let new = beside(".new".into());
        let file = open_locked(&new)?;
        file.set_len(0)?;
        std::fs::rename(&self.path, &aside)?;
        if let Err(error) = std::fs::rename(&new, &self.path) {
            std::fs::rename(&aside, &self.path)?;
            return Err(error);
        }
        self.file = file;
        self.bytes = 0;
        self.unsynced = None;
        Ok(())
    }
}

fn open_locked(path: &Path) -> io::Result<File> {
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
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
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

/// The last of the whole lines that end at `end`.
fn last_line(file: &mut File, end: u64) -> io::Result<Option<String>> {
    if end == 0 {
        return Ok(None);
    }
    let mut begin = end - 1;
    let mut block = [0; 4096];
    while begin > 0 {
        let from = begin.saturating_sub(block.len() as u64);
        let part = &mut block[..(begin - from) as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(part)?;
        if let Some(newline) = part.iter().rposition(|b| *b == b'\n') {
            begin = from + newline as u64 + 1;
            break;
        }
        begin = from;
    }
    file.seek(SeekFrom::Start(begin))?;
    let mut line = String::new();
    file.take((end - begin - 1).min(MAX_LINE))
        .read_to_string(&mut line)?;
    Ok(Some(line))
}

/// The files that were put aside, oldest first.
fn parts(path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let dir = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
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
fn open_all(path: &Path) -> io::Result<Vec<(PathBuf, File)>> {
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

/// Appends a record as a line; gives its code.
fn line(record: &Value, seq: u64, previous: &str, key: &hmac::Key, out: &mut Vec<u8>) -> String {
    let time = prost_types::Timestamp::from(SystemTime::now()).to_string();
    let mut line = json!({"seq": seq, "time": time, "previous": previous});
    if let (Some(line), Some(record)) = (line.as_object_mut(), record.as_object()) {
        line.extend(record.clone());
    }
    let mut body = line.to_string();
    body.pop(); // the last brace comes after the code
    let mac = hex(hmac::sign(key, body.as_bytes()).as_ref());
    out.extend_from_slice(body.as_bytes());
    out.extend_from_slice(format!("{MAC}{mac}\"}}\n").as_bytes());
    mac
}

/// A line that was read back, and whose code is right.
struct Line {
    seq: u64,
    previous: String,
    mac: String,
}

impl Line {
    fn read(line: &str, key: &hmac::Key) -> Result<Self, &'static str> {
        let (body, rest) = line.rsplit_once(MAC).ok_or("is no record")?;
        let mac = rest.strip_suffix("\"}").ok_or("is no record")?;
        let code = hex(hmac::sign(key, body.as_bytes()).as_ref());
        if !bool::from(code.as_bytes().ct_eq(mac.as_bytes())) {
            return Err("was changed, or written with another key (is the key file the server's?)");
        }
        let read: Value = serde_json::from_str(&format!("{body}}}")).map_err(|_| "is no record")?;
        let seq = read["seq"].as_u64().ok_or("is no record")?;
        let previous = read["previous"].as_str().ok_or("is no record")?.to_owned();
        Ok(Self {
            seq,
            previous,
            mac: mac.to_owned(),
        })
    }
}

/// What a trail that is whole holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// How many records, those before `after` left out.
    pub records: u64,
    /// The code of the last one.
    pub last: String,
    /// Whether there is a beginning of another one, as while a server writes it.
    pub unfinished: bool,
}

/// Reads a trail from its first record to the last, in the files put aside and then the newest, and fails at the
/// first line that was changed, is missing or should not be there. With `after`, a code that is known from
/// before, the trail may begin anywhere up to that record, as where older files were taken away, and must hold it
/// or follow it.
pub fn verify(
    file: &Path,
    key_file: Option<&Path>,
    after: Option<&str>,
) -> Result<Whole, AuditError> {
    if let Some(code) = after
        && !(code.len() == 64 && code.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        let problem = format!("{code:?} is no code of a record: 64 hexadecimal digits");
        return Err(AuditError::new(file, problem));
    }
    let key = Keys::read(key_file)?.lines;
    let error = |path: &Path, e: &dyn std::fmt::Display| AuditError::new(path, e);
    let files = open_all(file).map_err(|e| error(file, &e))?;
    // The number and the `previous` of the next line, once they are known.
    let mut expected = after.is_none().then(|| (0, NONE.to_owned()));
    let mut whole = Whole {
        records: 0,
        last: after.unwrap_or(NONE).to_owned(),
        unfinished: false,
    };
    let newest = files.len();
    let mut found = after.is_none();
    for (place, (path, file)) in files.into_iter().enumerate() {
        let mut lines = BufReader::new(file);
        for number in 1u64.. {
            let at =
                |problem: &dyn std::fmt::Display| error(&path, &format!("line {number} {problem}"));
            let mut line = String::new();
            let read = lines.by_ref().take(MAX_LINE).read_line(&mut line);
            if read.map_err(|e| at(&e))? == 0 {
                break;
            }
            let Some(line) = line.strip_suffix('\n') else {
                if place + 1 < newest {
                    return Err(at(&"was not written to its end"));
                }
                whole.unfinished = true;
                break;
            };
            let read = Line::read(line, &key).map_err(|e| at(&e))?;
            if let Some((seq, previous)) = &expected
                && (read.seq, &read.previous) != (*seq, previous)
            {
                return Err(at(&format!("is record {}; {seq} should be here", read.seq)));
            }
            found |= after == Some(read.previous.as_str());
            if found {
                whole.records += 1;
                whole.last.clone_from(&read.mac);
            }
            expected = Some((read.seq + 1, read.mac));
        }
    }
    // The record itself may be the last one.
    let ends_with = expected.is_some_and(|(_, last)| after == Some(last.as_str()));
    match found || ends_with {
        true => Ok(whole),
        false => Err(error(
            file,
            &"holds no record of that code, and does not follow it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> AuditConfig {
        let file = dir.join("audit.jsonl");
        let key_file = dir.join("key");
        std::fs::write(&key_file, [7; 32]).unwrap();
        AuditConfig {
            file,
            key_file: Some(key_file),
            verdicts: Verdicts::All,
            texts: false,
            on_error: OnError::Closed,
            max_file_mib: 0,
        }
    }

    fn write(config: &AuditConfig, events: usize) {
        let audit = Audit::start(config).unwrap();
        for i in 0..events {
            audit.note("test", json!({ "i": i }));
        }
        audit.stop();
    }

    fn book(config: &AuditConfig) -> Book {
        let keys = Keys::read(config.key_file.as_deref()).unwrap();
        Book::open(config, keys.lines).unwrap()
    }

    fn check(config: &AuditConfig) -> Result<u64, String> {
        let whole = verify(&config.file, config.key_file.as_deref(), None);
        whole.map(|w| w.records).map_err(|e| e.to_string())
    }

    #[test]
    fn the_chain_goes_on_after_a_restart_and_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        write(&config, 3);
        let mut file = OpenOptions::new().append(true).open(&config.file).unwrap();
        file.write_all(b"{\"seq\":4,\"ti").unwrap();
        let whole = verify(&config.file, config.key_file.as_deref(), None).unwrap();
        assert_eq!((whole.records, whole.unfinished), (4, true));
        write(&config, 2);
        assert_eq!(
            check(&config),
            Ok(8),
            "with a \"stopped\" each, and a \"torn\""
        );
    }

    #[test]
    fn what_was_changed_left_out_or_put_in_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        write(&config, 5);
        let whole = std::fs::read_to_string(&config.file).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        let changed = whole.replace("\"i\":2", "\"i\":9");
        let left_out = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
        let twice = [&lines[..3], &lines[2..]].concat().join("\n") + "\n";
        let swapped = [lines[0], lines[2], lines[1]].join("\n") + "\n";
        let first_gone = lines[1..].join("\n") + "\n";
        for (text, line) in [
            (changed, 3),
            (left_out, 3),
            (twice, 4),
            (swapped, 2),
            (first_gone, 1),
        ] {
            std::fs::write(&config.file, text).unwrap();
            let error = check(&config).unwrap_err();
            assert!(error.contains(&format!("line {line} ")), "{error}");
        }
        std::fs::write(&config.file, &whole).unwrap();
        assert_eq!(check(&config), Ok(6));
        std::fs::write(config.key_file.as_ref().unwrap(), [8; 32]).unwrap();
        assert!(check(&config).is_err(), "another key");
        assert!(
            Audit::start(&config).is_err(),
            "and it does not go on with one"
        );
    }

    #[test]
    fn files_are_put_aside_and_the_chain_spans_them() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let mut small = book(&config);
        small.most = 400;
        for i in 0..10 {
            small.write([&json!({ "i": i })].into_iter()).unwrap();
        }
        let aside = parts(&config.file).unwrap();
        assert!(aside.len() > 2);
        drop(small);
        assert_eq!(check(&config), Ok(10));
        // Also where the newest is empty.
        let mut empty = book(&config);
        empty.put_aside().unwrap();
        drop(empty);
        let mut next = book(&config);
        next.write([&json!({})].into_iter()).unwrap();
        drop(next);
        assert_eq!(check(&config), Ok(11));

        // The oldest is taken away: what follows is known by the code it ended with.
        let first = std::fs::read_to_string(&aside[0]).unwrap();
        let keys = Keys::read(config.key_file.as_deref()).unwrap();
        let last = Line::read(first.lines().last().unwrap(), &keys.lines).unwrap();
        let (taken, code) = (last.seq + 1, last.mac);
        let after = |code: &str| verify(&config.file, config.key_file.as_deref(), Some(code));
        assert_eq!(after(&code).unwrap().records, 11 - taken);
        std::fs::remove_file(&aside[0]).unwrap();
        assert!(check(&config).is_err());
        let rest = after(&code).unwrap();
        assert_eq!(rest.records, 11 - taken);
        assert_eq!(after(&rest.last).unwrap().records, 0);
        assert!(after(&"0".repeat(64)).is_err());
        std::fs::remove_file(&aside[1]).unwrap();
        assert!(after(&code).is_err(), "not what follows");
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let mut book = book(&config);
        book.write([&json!({})].into_iter()).unwrap();
        book.most = 1;
        let in_the_way = dir.path().join("audit.jsonl.new");
        std::fs::create_dir(&in_the_way).unwrap();
        assert!(book.write([&json!({})].into_iter()).is_err());
        std::fs::remove_dir(&in_the_way).unwrap();
        book.write([&json!({})].into_iter()).unwrap();
        // Nothing that is there is overwritten.
        std::fs::write(dir.path().join(format!("audit.jsonl.{:020}", 1)), "").unwrap();
        assert!(book.write([&json!({})].into_iter()).is_err());
        drop(book);
        std::fs::remove_file(dir.path().join(format!("audit.jsonl.{:020}", 1))).unwrap();
        assert_eq!(check(&config), Ok(2));
    }

    #[test]
    fn a_file_that_was_moved_takes_no_more_until_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let mut book = book(&config);
        book.write([&json!({})].into_iter()).unwrap();
        let moved = dir.path().join("moved");
        std::fs::rename(&config.file, &moved).unwrap();
        assert!(book.write([&json!({})].into_iter()).is_err());
        std::fs::write(&config.file, "").unwrap();
        assert!(
            book.write([&json!({})].into_iter()).is_err(),
            "another file"
        );
        std::fs::rename(&moved, &config.file).unwrap();
        book.write([&json!({})].into_iter()).unwrap();
        drop(book);
        assert_eq!(check(&config), Ok(2));
    }

    /// Who chooses a text must not have a line signed by it.
    #[test]
    fn a_text_s_digest_is_no_line_s_code() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::read(config(dir.path()).key_file.as_deref()).unwrap();
        let body = br#"{"event":"verdict","seq":0"#;
        let (line, text) = (hmac::sign(&keys.lines, body), hmac::sign(&keys.texts, body));
        assert_ne!(line.as_ref(), text.as_ref());
    }

    #[test]
    fn what_is_no_trail_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        for text in [
            "a key without a newline",
            "[house]\nversion = 1\nend",
            "[house]\n",
        ] {
            std::fs::write(&config.file, text).unwrap();
            assert!(Audit::start(&config).is_err(), "{text}");
            assert_eq!(std::fs::read_to_string(&config.file).unwrap(), text);
        }
    }

    #[test]
    fn a_trail_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let first = Audit::start(&config).unwrap();
        let second = Audit::start(&config).err().unwrap().to_string();
        assert!(second.contains("is in use"), "{second}");
        first.stop();
        Audit::start(&config).unwrap().stop();
    }

    #[tokio::test]
    async fn a_record_without_a_place_fails_or_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        for (on_error, fails) in [(OnError::Closed, true), (OnError::Open, false)] {
            let config = AuditConfig {
                on_error,
                ..config(dir.path())
            };
            let audit = Audit::start(&config).unwrap();
            assert!(audit.event("in time", Value::Null).await.is_ok());
            audit.stop();
            assert_eq!(audit.event("late", Value::Null).await.is_err(), fails);
        }
    }
}
