//! `portcullis check`.

use std::io::{Read, Write};
use std::time::Duration;

use super::{Done, Result, render, runtime};
use crate::api::json;
use crate::api::pb::v1::{Action, CheckRequest, CheckResponse, Outcome, Role, Segment};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The text; "-" reads standard input.
    text: String,
    /// Who speaks.
    #[arg(long, value_enum, default_value = "user")]
    role: RoleName,
    /// Policy to apply [default: the server's default].
    #[arg(long, value_name = "ID", conflicts_with = "detectors")]
    policy: Option<String>,
    /// Detectors to apply instead of a policy's.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    detectors: Vec<String>,
    /// Print the answer as JSON (portcullis.v1.CheckResponse).
    #[arg(long)]
    json: bool,
    /// Time for the check, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    timeout_ms: u64,
    #[command(flatten)]
    target: super::Target,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum RoleName {
    System,
    User,
    Assistant,
    Tool,
    Document,
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::System => Self::System,
            RoleName::User => Self::User,
            RoleName::Assistant => Self::Assistant,
            RoleName::Tool => Self::Tool,
            RoleName::Document => Self::Document,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<Done> {
    let text = match args.text.as_str() {
        "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes)?;
            String::from_utf8(bytes).map_err(|e| format!("standard input is not UTF-8: {e}"))?
        }
        text => text.to_owned(),
    };
    let request = CheckRequest {
        segments: vec![Segment {
            role: Role::from(args.role).into(),
            text: text.clone(),
            ..Segment::default()
        }],
        policy_id: args.policy.clone().unwrap_or_default(),
        detectors: args.detectors.clone(),
        ..CheckRequest::default()
    };
    let timeout = Duration::from_millis(args.timeout_ms);
    let response = runtime()?.block_on(async {
        let client = args.target.connect().await?;
        client.check(request, timeout).await
    })?;
    match write(args, &text, &response) {
        // A reader that has had enough changes nothing about the verdict.
        Err(error) if super::is_closed_pipe(error.as_ref()) => {}
        other => other?,
    }
    match (response.action(), response.outcome()) {
        (Action::Allow, Outcome::Complete) => Ok(Done::Fine),
        (Action::Allow, _) => Err("not everything was scanned, and the policy fails open".into()),
        _ => Ok(Done::Flagged),
    }
}

fn write(args: &Args, text: &str, response: &CheckResponse) -> Result<()> {
    let mut out = anstream::stdout().lock();
    if args.json {
        let json = json::to_string("portcullis.v1.CheckResponse", response)?;
        writeln!(out, "{json}")?;
    } else {
        render::verdict(&mut out, text, response)?;
    }
    Ok(out.flush()?)
}
