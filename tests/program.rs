//! The program itself, as a child process that serves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The program with these arguments, from start to end.
pub(crate) fn portcullis(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(args)
        .output()
        .unwrap()
}

/// What a command printed, if it went well.
pub(crate) fn stdout(out: &Output) -> &str {
    let error = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{error}");
    std::str::from_utf8(&out.stdout).unwrap()
}

/// A running `portcullis serve`, killed when dropped.
pub(crate) struct Program {
    child: Child,
    /// Where it serves.
    pub(crate) url: String,
    metrics: SocketAddr,
}

impl Program {
    /// Serves `package` and waits until it is ready.
    pub(crate) fn serve(package: &Path, args: &[&str]) -> Self {
        Self::start(
            Command::new(env!("CARGO_BIN_EXE_portcullis")),
            package,
            args,
        )
    }

    /// The same, where the process may have so many files open.
    pub(crate) fn serve_with_files(files: usize, package: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_portcullis"));
        Self::start(shell, package, &[])
    }

    /// Serves by this command, to which arguments are added.
    pub(crate) fn start(mut program: Command, package: &Path, args: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = free.local_addr().unwrap();
        drop(free);
        let child = program
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(["--metrics", &metrics.to_string()])
            .args(["--package", package.to_str().unwrap()])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut program = Self {
            child,
            url: String::new(),
            metrics,
        };
        let stderr = program.child.stderr.take().unwrap();
        let (say, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        loop {
            let line = heard
                .recv_timeout(Duration::from_secs(60))
                .expect("a line of the log before the server is ready");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            let fields = &event["fields"];
            if let Some(address) = fields["address"].as_str() {
                program.url = format!("http://{address}");
            }
            if fields["message"] == "serving" {
                return program;
            }
        }
    }

    /// The sum of the series of a metric whose labels hold `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        let mut stream = TcpStream::connect(self.metrics).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut body = String::new();
        stream.read_to_string(&mut body).unwrap();
        body.lines()
            .filter(|l| l.starts_with(&format!("{name}{{")) && l.contains(labels))
            .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Processor time that it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = stat.rsplit(')').next().unwrap();
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|t| t.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10) // USER_HZ is 100
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        Command::new("kill").args([name, &id]).status().unwrap();
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
