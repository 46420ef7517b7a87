//! `portcullis scan` writes a line for every row, once, whatever kills it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Program, portcullis, stdout};
use crate::support::golden;

/// Rows of several lengths, among them rows without a text.
fn input(dir: &Path, rows: usize) -> PathBuf {
    let line = |i: usize| match i % 500 {
        77 => "{\"no\": \"text\"}\n".to_owned(),
        78 => "{\"text\": \"\"}\n".to_owned(),
        _ => {
            let text = format!("{i} {}", "abc def ghi ".repeat(i % 11 + 1));
            serde_json::json!({ "text": text, "id": format!("doc-{i}") }).to_string() + "\n"
        }
    };
    let file = dir.join("in.jsonl");
    std::fs::write(&file, (0..rows).map(line).collect::<String>()).unwrap();
    file
}

/// `portcullis scan` of `input` with the tiny package.
fn arguments(input: &Path) -> Vec<String> {
    let package = golden("bert-sequence");
    let words = ["scan", input.to_str().unwrap(), "--scores", "--package"];
    let words = words.into_iter().chain([package.to_str().unwrap()]);
    words.map(str::to_owned).collect()
}

fn start(input: &Path, out: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments(input))
        .args(["--out", out.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(input: &Path, args: &[&str]) -> std::process::Output {
    let all = arguments(input);
    let all: Vec<&str> = all
        .iter()
        .map(String::as_str)
        .chain(args.iter().copied())
        .collect();
    portcullis(&all)
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |m| m.len())
}

#[test]
fn a_scan_killed_again_and_again_ends_with_every_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let input = input(dir.path(), 20_000);
    let out = dir.path().join("out.jsonl");
    let whole = run(&input, &[]);
    let whole = stdout(&whole);
    assert_eq!(whole.lines().count(), 20_000);

    let mut sizes = vec![0];
    for kill in 1..=4 {
        let aim = (whole.len() * kill / 5) as u64;
        let mut child = start(&input, &out);
        let begin = Instant::now();
        while size(&out) < aim && begin.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        let now = size(&out);
        assert!(
            now > *sizes.last().unwrap() && now < whole.len() as u64,
            "{now}: not in the middle"
        );
        sizes.push(now);
        if kill == 2 {
            // As if the kill had come in the middle of a write.
            let cut = std::fs::OpenOptions::new().write(true).open(&out).unwrap();
            cut.set_len(now - 17).unwrap();
        }
    }
    println!("killed at {sizes:?} of {} bytes", whole.len());
    let end = start(&input, &out).wait_with_output().unwrap();
    assert!(end.status.success());
    let said = String::from_utf8_lossy(&end.stderr);
    assert!(
        said.contains("after the 1") && said.contains("errors"),
        "{said}"
    );
    assert!(
        std::fs::read_to_string(&out).unwrap() == whole,
        "not the same rows"
    );

    // Once more: there is nothing left to do.
    let again = start(&input, &out).wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).starts_with("0 texts"));
    assert!(std::fs::read_to_string(&out).unwrap() == whole);
}

#[test]
fn every_line_says_what_became_of_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let input = input(dir.path(), 100);
    let out = run(&input, &[]);
    let lines: Vec<Value> = stdout(&out)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line["row"], i + 1);
        if i == 77 || i == 78 {
            assert_eq!(line["error"]["code"], "InvalidArgument", "{line}");
            assert!(line.get("verdict").is_none());
        } else {
            assert_eq!(line["id"], format!("doc-{i}"));
            assert_eq!(line["verdict"]["outcome"], "OUTCOME_COMPLETE");
            assert!(line["verdict"].get("timings").is_none());
        }
    }
    let server = Program::serve(&golden("bert-sequence"), &[]);
    let served = portcullis(&[
        "scan",
        input.to_str().unwrap(),
        "--scores",
        "--server",
        &server.url,
    ]);
    let served: Vec<Value> = stdout(&served)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    for (ours, theirs) in lines.iter().zip(&served) {
        assert_eq!(ours["verdict"]["detectors"], theirs["verdict"]["detectors"]);
        assert_eq!(ours["digest"], theirs["digest"]);
    }
    assert_eq!(served.len(), 100);
}

#[test]
fn what_is_not_this_inputs_output_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = input(dir.path(), 50);
    let out = dir.path().join("out.jsonl");
    let to = ["--out", out.to_str().unwrap()];
    stdout(&run(&first, &to));
    let written = std::fs::read(&out).unwrap();

    let other = dir.path().join("other.jsonl");
    std::fs::write(&other, "{\"text\": \"another\"}\n").unwrap();
    let shorter = dir.path().join("shorter.jsonl");
    let lines = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&shorter, lines.lines().next().unwrap()).unwrap();
    for (input, line) in [(&other, ":1:"), (&shorter, ":2:")] {
        let refused = run(input, &to);
        assert_eq!(refused.status.code(), Some(2));
        let error = String::from_utf8_lossy(&refused.stderr);
        assert!(
            error.contains(line) && error.contains("was the input changed?"),
            "{error}"
        );
    }
    let held = std::fs::File::open(&out).unwrap();
    held.try_lock().unwrap();
    let refused = run(&first, &to);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another process is writing it"));
    assert_eq!(std::fs::read(&out).unwrap(), written);
}

#[test]
fn a_directory_is_scanned_file_by_file() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("b/two.txt", &b"abc"[..]),
        ("a.txt", b"def"),
        ("c.bin", b"\xff\xfe"),
    ] {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path)
            .unwrap()
            .write_all(text)
            .unwrap();
    }
    let out = run(dir.path(), &[]);
    let lines: Vec<Value> = stdout(&out)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let ids: Vec<&Value> = lines.iter().map(|l| &l["id"]).collect();
    assert_eq!(ids, ["a.txt", "b/two.txt", "c.bin"]);
    assert!(
        lines[2]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("utf-8")
    );
}
