//! What signals do to a server: while it loads, while it serves, and while it ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::program::Program;
use crate::support::golden;

fn pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// A server of this configuration, from when its log says so.
fn start(config: &Path, says: &str) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["serve", "--listen", "127.0.0.1:0", "--metrics", "off"])
        .args(["--package", golden("bert-sequence").to_str().unwrap()])
        .args(["--config", config.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let found = lines.by_ref().any(|line| line.unwrap().contains(says));
    assert!(found, "the log says nothing of {says}");
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    Command::new("kill").args([name, &id]).status().unwrap();
}

/// How it ends, if it does in time.
fn ended(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < within {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_server_that_loads_outlives_a_hangup_and_ends_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    pipe(&dir.path().join("secret"));
    let config = dir.path().join("portcullis.toml");
    // Whom nobody writes to.
    std::fs::write(&config, "[redaction]\nkey_file = \"secret\"\n").unwrap();
    let mut child = start(&config, "loading packages");
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "-HUP");
    assert_eq!(ended(&mut child, Duration::from_millis(500)), None);
    signal(&child, "-TERM");
    let ended = ended(&mut child, SOON);
    let _ = child.kill();
    assert_eq!(ended.expect("in time").code(), Some(0));
}

#[test]
fn a_server_ends_while_a_file_system_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("blocked.toml");
    std::fs::write(&blocked, "tenants = []\n").unwrap();
    let config = dir.path().join("portcullis.toml");
    std::fs::write(&config, "[server]\nblock_list = \"blocked.toml\"\n").unwrap();
    let mut child = start(&config, "serving");
    std::fs::remove_file(&blocked).unwrap();
    pipe(&blocked);
    std::thread::sleep(Duration::from_millis(2100)); // looked at each second
    signal(&child, "-TERM");
    let ended = ended(&mut child, SOON);
    let _ = child.kill();
    assert_eq!(ended.expect("in time").code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("portcullis.toml");
    std::fs::write(&config, "[server]\nshutdown_delay_ms = 60000\n").unwrap();
    let mut child = start(&config, "serving");
    signal(&child, "-TERM");
    assert_eq!(ended(&mut child, Duration::from_millis(500)), None);
    signal(&child, "-INT");
    let ended = ended(&mut child, SOON);
    let _ = child.kill();
    assert_eq!(ended.expect("in time").code(), Some(130));
}

/// A file whose change does not show, as on some file systems.
#[test]
fn a_hangup_has_files_read_again_that_look_as_they_did() {
    let dir = tempfile::tempdir().unwrap();
    let policies = dir.path().join("policies.toml");
    std::fs::write(&policies, "[house.detectors.secrets]\n").unwrap();
    let config = dir.path().join("portcullis.toml");
    std::fs::write(&config, "policies_file = \"policies.toml\"\n").unwrap();
    let package = golden("bert-sequence");
    let server = Program::serve(&package, &["--config", config.to_str().unwrap()]);
    let read = |result| server.metric("portcullis_policy_reloads_total", result);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!((read("ok"), read("failed")), (0.0, 0.0));
    let looked_at = server.metric("portcullis_file_looked_at_seconds", "policies.toml");
    assert!(looked_at > 1e9, "{looked_at}");
    for (text, expected) in [
        ("[house.detectors.secrets]\n", (1.0, 0.0)),
        ("[house.detectors.secretz]\n", (1.0, 1.0)),
    ] {
        std::fs::write(&policies, text).unwrap();
        std::thread::sleep(Duration::from_millis(10));
        server.signal("-HUP");
        let start = Instant::now();
        while (read("ok"), read("failed")) != expected {
            assert!(start.elapsed() < SOON, "{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    server.stop();
}
