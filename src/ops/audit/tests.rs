use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use ring::hmac;
use serde_json::{Value, json};

use super::book::Book;
use super::chain::{Keys, Line};
use super::files::parts;
use super::record::{self, Record};
use super::{Audit, AuditConfig, OnError, Verdicts, WAITING_BYTES, largest_record, verify};
use crate::guard::{
    Action, DetectorReport, DetectorState, Finding, Limits, Outcome, Role, Segment, Timings,
    Verdict,
};
use crate::text::Position;

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

/// One record.
fn one(i: u64) -> impl Iterator<Item = Record> {
    std::iter::once(record::event("test", json!({ "i": i })))
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
    file.write_all(b"{\"seq\":4,\"pr").unwrap();
    let whole = verify(&config.file, config.key_file.as_deref(), None).unwrap();
    assert_eq!((whole.records, whole.unfinished), (4, true));
    write(&config, 2);
    assert_eq!(
        check(&config),
        Ok(8),
        "with a \"stopped\" each, and a \"torn\""
    );
    // As file systems leave what was not written.
    file.write_all(&[0; 100]).unwrap();
    write(&config, 0);
    assert_eq!(check(&config), Ok(10));
    // A first line, and one that was never written.
    for torn in [&b"{\"seq\":0,\"previous\":\"\",\"time"[..], &[0; 5000]] {
        std::fs::write(&config.file, torn).unwrap();
        write(&config, 0);
        assert_eq!(check(&config), Ok(2));
    }
}

#[test]
fn a_file_of_zeros_behind_one_that_was_put_aside_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut first = book(&config);
    first.write(one(0)).unwrap();
    first.put_aside().unwrap();
    drop(first);
    std::fs::write(&config.file, [0; 100]).unwrap();
    write(&config, 0);
    assert_eq!(check(&config), Ok(3), "with a \"torn\" and a \"stopped\"");
}

#[test]
fn a_line_that_is_too_long_is_none_that_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    write(&config, 1);
    let mut file = OpenOptions::new().append(true).open(&config.file).unwrap();
    file.write_all(&vec![b'{'; 65 << 20]).unwrap();
    let error = check(&config).unwrap_err();
    assert!(error.contains("line 3 is longer"), "{error}");
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
        small.write(one(i)).unwrap();
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
    next.write(one(0)).unwrap();
    drop(next);
    assert_eq!(check(&config), Ok(11));

    // The oldest is taken away: what follows is known by the code it ended with.
    let first = std::fs::read_to_string(&aside[0]).unwrap();
    let keys = Keys::read(config.key_file.as_deref()).unwrap();
    let last = Line::read(first.lines().last().unwrap(), &keys.lines).unwrap();
    let (taken, code) = (last.place.seq + 1, last.mac);
    let after = |code: &str| verify(&config.file, config.key_file.as_deref(), Some(code));
    assert_eq!(after(&code).unwrap().records, 11 - taken);
    std::fs::remove_file(&aside[0]).unwrap();
    assert!(check(&config).is_err());
    let rest = after(&code).unwrap();
    assert_eq!(rest.records, 11 - taken);
    assert_eq!(after(&rest.last).unwrap().records, 0);
    let upper = after(&rest.last.to_ascii_uppercase()).unwrap();
    assert_eq!(upper.records, 0);
    assert!(after(&"0".repeat(64)).is_err());
    std::fs::remove_file(&aside[1]).unwrap();
    assert!(after(&code).is_err(), "not what follows");
}

#[test]
fn a_file_that_cannot_be_put_aside_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut book = book(&config);
    book.write(one(0)).unwrap();
    book.most = 1;
    let in_the_way = dir.path().join("audit.jsonl.new");
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(book.write(one(0)).is_err());
    std::fs::remove_dir(&in_the_way).unwrap();
    book.write(one(0)).unwrap();
    // Nothing that is there is overwritten.
    std::fs::write(dir.path().join(format!("audit.jsonl.{:020}", 1)), "").unwrap();
    assert!(book.write(one(0)).is_err());
    drop(book);
    std::fs::remove_file(dir.path().join(format!("audit.jsonl.{:020}", 1))).unwrap();
    assert_eq!(check(&config), Ok(2));
}

#[test]
fn a_file_that_was_moved_takes_no_more_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut book = book(&config);
    book.write(one(0)).unwrap();
    let moved = dir.path().join("moved");
    std::fs::rename(&config.file, &moved).unwrap();
    assert!(book.write(one(0)).is_err());
    std::fs::write(&config.file, "").unwrap();
    assert!(book.write(one(0)).is_err(), "another file");
    // Nor is it put aside.
    book.most = 1;
    assert!(book.write(one(0)).is_err());
    assert_eq!(parts(&config.file).unwrap(), [] as [PathBuf; 0]);
    assert_eq!(std::fs::read(&config.file).unwrap(), b"");
    book.most = u64::MAX;
    std::fs::rename(&moved, &config.file).unwrap();
    book.write(one(0)).unwrap();
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
        "{\"keys\":[]}",
        "{\"seq\":1}",
        "{ ",
        "\0\0\0x",
    ] {
        std::fs::write(&config.file, text).unwrap();
        assert!(Audit::start(&config).is_err(), "{text}");
        assert_eq!(std::fs::read_to_string(&config.file).unwrap(), text);
    }
}

/// What is missing must not be filled with zeros.
#[test]
fn a_file_that_was_cut_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut book = book(&config);
    book.write(one(0)).unwrap();
    let whole = std::fs::read(&config.file).unwrap();
    book.write(one(1)).unwrap();
    let file = OpenOptions::new().write(true).open(&config.file).unwrap();
    file.set_len(whole.len() as u64).unwrap();
    for most in [u64::MAX, 1] {
        book.most = most;
        assert!(book.write(one(2)).is_err());
        assert_eq!(std::fs::read(&config.file).unwrap(), whole);
    }
    assert_eq!(parts(&config.file).unwrap(), [] as [PathBuf; 0]);
}

/// A disk that fails: what was not forced to it is gone, and the next attempt to force it works.
#[test]
fn what_a_failing_disk_dropped_is_written_again_before_anything_else() {
    static FAILS: Mutex<bool> = Mutex::new(true);
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut book = book(&config);
    book.write(one(0)).unwrap();
    book.sync().unwrap();
    let kept = std::fs::metadata(&config.file).unwrap().len();
    book.write(one(1)).unwrap();
    book.write(one(2)).unwrap();
    book.force = |file: &File| match *FAILS.lock().unwrap() {
        true => {
            let end = file.metadata()?.len();
            file.write_all_at(&vec![0; end as usize], 0)?;
            Err(io::Error::other("EIO"))
        }
        false => Ok(()),
    };
    let whole = std::fs::read(&config.file).unwrap();
    for _ in 0..2 {
        assert!(book.sync().is_err());
        std::fs::write(&config.file, &whole[..kept as usize]).unwrap();
        assert!(!book.is_due(), "not at once again");
        assert!(book.write(one(3)).is_err());
        assert_eq!(book.unsynced(), 2);
        std::thread::sleep(super::book::SYNC_EVERY);
        assert!(book.is_due());
        assert!(book.write(one(3)).is_err(), "the disk fails yet");
        std::fs::write(&config.file, &whole[..kept as usize]).unwrap();
    }
    *FAILS.lock().unwrap() = false;
    book.sync().unwrap();
    assert_eq!(book.unsynced(), 0);
    assert_eq!(std::fs::read(&config.file).unwrap(), whole);
    book.write(one(3)).unwrap();
    assert_eq!(check(&config), Ok(4));
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

/// So many records are counted as lost on this thread.
fn lost(recorder: &PrometheusRecorder) -> usize {
    let rendered = recorder.handle().render();
    let series = "portcullis_audit_records_total{result=\"lost\"} ";
    let value = rendered.lines().find_map(|l| l.strip_prefix(series));
    value.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn a_record_without_a_place_fails_or_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    for (on_error, fails) in [(OnError::Closed, true), (OnError::Open, false)] {
        let recorder = PrometheusBuilder::new().build_recorder();
        let _counting = metrics::set_default_local_recorder(&recorder);
        let config = AuditConfig {
            on_error,
            ..config(dir.path())
        };
        let audit = Audit::start(&config).unwrap();
        assert!(audit.event("in time", Value::Null).await.is_ok());
        audit.stop();
        assert_eq!(lost(&recorder), 0);
        assert_eq!(audit.event("late", Value::Null).await.is_err(), fails);
        assert_eq!(lost(&recorder), 1);
    }
}

/// Neither who waits for a record nor who ends the trail waits for ever.
#[tokio::test]
async fn a_disk_that_hangs_is_waited_for_until_the_deadline() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let dir = tempfile::tempdir().unwrap();
    let audit = hanging(&config(dir.path()));
    let begun = Instant::now();
    let recorded = audit.verdict("a", &[], &verdict(0), Some(begun)).await;
    assert!(recorded.is_err());
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(lost(&recorder), 1);
    audit.stop();
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// A trail on a disk that takes nothing.
fn hanging(config: &AuditConfig) -> Audit {
    let keys = Keys::read(config.key_file.as_deref()).unwrap();
    let mut book = book(config);
    book.write(one(0)).unwrap();
    book.most = 1;
    book.force = |_| {
        std::thread::sleep(Duration::from_secs(60));
        Ok(())
    };
    Audit::go_on(config, book, keys.texts).unwrap()
}

#[test]
fn what_waits_is_bounded_by_all_that_is_in_it() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let dir = tempfile::tempdir().unwrap();
    let audit = hanging(&config(dir.path()));
    let quarter = "x".repeat(WAITING_BYTES / 4);
    for _ in 0..3 {
        audit.note("test", json!(quarter));
    }
    assert_eq!(lost(&recorder), 0);
    audit.note("test", json!(quarter));
    assert_eq!(lost(&recorder), 1, "with what was said of it");
    audit.note("test", json!("short"));
    assert_eq!(lost(&recorder), 1);
}

/// So that a configuration can be refused whose records would find no place.
#[test]
fn no_record_is_larger_than_the_largest() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::read(config(dir.path()).key_file.as_deref()).unwrap();
    let limits = Limits {
        max_text_bytes: 10_000,
        max_segments: 1000,
        max_id_bytes: 100,
        max_findings: 1000,
    };
    let segment = Segment {
        role: Role::Assistant,
        text: "\0".repeat(10).as_str().into(),
        id: Some("\"".repeat(100).as_str().into()),
    };
    let segments = vec![segment; 1000];
    let mut verdict = verdict(20);
    verdict.id = "\"".repeat(100);
    let at = Position {
        byte: usize::MAX,
        ..Position::default()
    };
    let finding = Finding {
        segment: usize::MAX,
        segment_id: None,
        detector: "d".repeat(64),
        label: "l".repeat(64),
        rule: Some("r".repeat(256).as_str().into()),
        score: Some(0.1234),
        threshold: None,
        start: at,
        end: at,
        action: Action::Block,
        undone: Vec::new(),
        read_with: Vec::new(),
    };
    verdict.findings = vec![finding; 1000];
    let size = |whole| {
        let record = record::verdict("a", &segments, &verdict, (&keys.texts, whole));
        record.size()
    };
    assert!(size(false) < largest_record(&limits, false));
    assert!(size(true) < largest_record(&limits, true));
    assert!(size(true) > 6 * limits.max_text_bytes);
}

fn verdict(detectors: usize) -> Verdict {
    let detector = DetectorReport {
        name: "injection".into(),
        state: DetectorState::Scored,
        reason: None,
        package: "portcullis-minilm-l6".into(),
        version: "1.2.0".into(),
        device: "cpu".into(),
        windows: 1,
        coverage: 1.0,
        scores: Vec::new(),
    };
    Verdict {
        id: String::new(),
        policy: "default".into(),
        policy_version: "built-in".into(),
        outcome: Outcome::Complete,
        action: Action::Block,
        reason: None,
        findings: Vec::new(),
        findings_omitted: 0,
        segments: Vec::new(),
        detectors: vec![detector; detectors],
        redacted: Vec::new(),
        pseudonyms: BTreeMap::new(),
        timings: Timings::default(),
    }
}
