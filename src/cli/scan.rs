//! `portcullis scan`: many texts, a line of JSON for each, from where it was broken off.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::check::RoleName;
use super::input::{Row, Rows};
use super::journal::{Journal, Key};
use super::{Client, Done, Result, progress, runtime};
use crate::api::json;
use crate::api::pb::v1::{Action, CheckRequest, CheckResponse, Outcome, Role, Segment};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Texts: JSON lines with a "text" (and an "id") each, one text a line, or a directory, of which
    /// every file is a text. Files may be gzipped.
    #[arg(value_name = "FILE|DIR")]
    input: PathBuf,
    /// Where the lines go [default: standard output]. A scan that was broken off goes on from there.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Who speaks.
    #[arg(long, value_enum, default_value = "document")]
    role: RoleName,
    /// Policy to apply [default: the server's default].
    #[arg(long, value_name = "ID", conflicts_with = "detectors")]
    policy: Option<String>,
    /// Detectors to apply instead of a policy's.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    detectors: Vec<String>,
    /// Report the score of every class, too.
    #[arg(long)]
    scores: bool,
    /// Texts in flight.
    #[arg(long, value_name = "N", default_value_t = 64)]
    concurrency: usize,
    #[command(flatten)]
    target: super::Target,
}

/// Time for one text.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How long a server may be away or overloaded before the scan is broken off.
const PATIENCE: Duration = Duration::from_secs(60);

/// A line of the output.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    key: Key,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    /// `portcullis.v1.CheckResponse`, without timings.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// Why a text has no verdict.
#[derive(Serialize)]
struct Problem {
    code: String,
    message: String,
}

/// What the lines say.
#[derive(Default)]
struct Tally {
    flagged: u64,
    unfinished: u64,
    errors: u64,
}

pub(super) fn run(args: &Args) -> Result<Done> {
    let shown = args.input.display();
    let mut rows = Rows::open(&args.input).map_err(|e| format!("{shown}: {e}"))?;
    let (mut journal, done) = match &args.out {
        None => (None, 0),
        Some(file) => {
            let (journal, done) = Journal::resume(file, &mut rows)?;
            (Some(journal), done)
        }
    };
    let bar = if progress::is_shown() {
        let total = Rows::count(&args.input).map_err(|e| format!("{shown}: {e}"))?;
        progress::steps(total - done.min(total))
    } else {
        indicatif::ProgressBar::hidden()
    };
    let start = Instant::now();
    let mut stdout = std::io::stdout().lock();
    let mut tally = Tally::default();
    let scanned = runtime()?.block_on(async {
        let client = args.target.connect().await?;
        for detector in &args.detectors {
            client.thresholds(detector).await?; // one that is not served would fail every row
        }
        let lines = stream::iter((done + 1..).zip(rows))
            .map(|(number, row)| args.line(&client, number, row.map_err(|e| e.to_string())));
        let mut lines = lines.buffered(args.concurrency.clamp(1, 4096));
        let mut scanned = 0;
        while let Some(line) = lines.next().await {
            let (line, counted) = line?;
            let mut line = serde_json::to_vec(&line)?;
            line.push(b'\n');
            match &mut journal {
                Some(journal) => journal.append(&line)?,
                None => stdout.write_all(&line)?,
            }
            scanned += 1;
            tally.add(&counted);
            bar.inc(1);
            bar.set_message(format!(
                "{} flagged, {} errors",
                tally.flagged, tally.errors
            ));
        }
        Ok::<u64, super::Error>(scanned)
    });
    progress::clear(&bar);
    if let Some(journal) = journal {
        journal.finish()?;
    }
    let scanned = scanned?;
    let before = match done {
        0 => String::new(),
        done => format!(" after the {done} there were"),
    };
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{scanned} texts in {seconds:.1} s{before}: {} flagged, {} not scanned completely, {} errors",
        tally.flagged, tally.unfinished, tally.errors
    );
    Ok(Done::Fine)
}

impl Args {
    fn request(&self, number: u64, text: String) -> CheckRequest {
        CheckRequest {
            request_id: number.to_string(),
            segments: vec![Segment {
                role: Role::from(self.role).into(),
                text,
                ..Segment::default()
            }],
            policy_id: self.policy.clone().unwrap_or_default(),
            detectors: self.detectors.clone(),
            include_scores: self.scores,
            ..CheckRequest::default()
        }
    }

    /// The line of a row. An error ends the scan: the rows after it would fare no better.
    async fn line(
        &self,
        client: &Client,
        number: u64,
        row: std::result::Result<Row, String>,
    ) -> Result<(Line, Tally)> {
        let row = row.map_err(|e| format!("{}: row {number}: {e}", self.input.display()))?;
        let key = Key::new(number, &row);
        let answer = match row.text {
            Ok(text) => patient(client, self.request(number, text)).await?,
            Err(problem) => Err(Status::invalid_argument(problem)),
        };
        let tally = Tally::of(&answer);
        let (verdict, error) = match answer {
            Ok(mut answer) => {
                answer.timings = None;
                let verdict = json::to_value("portcullis.v1.CheckResponse", &answer)?;
                (Some(verdict), None)
            }
            Err(status) => {
                let problem = Problem {
                    code: format!("{:?}", status.code()),
                    message: status.message().to_owned(),
                };
                (None, Some(problem))
            }
        };
        let line = Line {
            key,
            id: row.id,
            verdict,
            error,
        };
        Ok((line, tally))
    }
}

impl Tally {
    fn of(answer: &std::result::Result<CheckResponse, Status>) -> Self {
        let mut tally = Self::default();
        match answer {
            Ok(answer) => {
                tally.flagged = u64::from(answer.action() != Action::Allow);
                tally.unfinished = u64::from(answer.outcome() != Outcome::Complete);
            }
            Err(_) => tally.errors = 1,
        }
        tally
    }

    fn add(&mut self, other: &Self) {
        self.flagged += other.flagged;
        self.unfinished += other.unfinished;
        self.errors += other.errors;
    }
}

/// Asks until there is an answer that asking again would not change. The outer error is one that
/// every text would meet.
async fn patient(
    client: &Client,
    request: CheckRequest,
) -> Result<std::result::Result<CheckResponse, Status>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let status = match client.ask(request.clone(), TIMEOUT).await {
            Ok(answer) => return Ok(Ok(answer)),
            Err(status) => status,
        };
        match status.code() {
            _ if may_pass(&status) && start.elapsed() < PATIENCE => {
                let hint = status.get_details_retry_info().and_then(|i| i.retry_delay);
                tokio::time::sleep(hint.unwrap_or(pause).min(Duration::from_secs(10))).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            _ if may_pass(&status) => return Err(client.failed(&status).into()),
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::NotFound => return Err(client.failed(&status).into()),
            _ => return Ok(Err(status)),
        }
    }
}

/// Whether asking again may be answered: the server was full, away, or broke off in the middle, which
/// the transport reports in codes of its own and without the details that the server gives.
fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::ResourceExhausted | Code::Unavailable => true,
        Code::Unknown | Code::Internal | Code::Cancelled => {
            status.get_details_error_info().is_none()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_broken_connection_is_asked_again_and_a_fault_of_the_server_is_not() {
        assert!(may_pass(&Status::unavailable("tcp connect error")));
        assert!(may_pass(&Status::unknown("transport error")));
        assert!(may_pass(&Status::internal("h2 protocol error")));
        let details = ErrorDetails::with_error_info("INTERNAL", "portcullis.dev", []);
        let fault = Status::with_error_details(Code::Internal, "the check panicked", details);
        assert!(!may_pass(&fault));
        assert!(!may_pass(&Status::invalid_argument("text: is empty")));
    }
}
