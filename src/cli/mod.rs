//! The commands. Exit codes: 0 all is well (`check`: allowed), 1 `check` found something, 2 error.

mod assemble;
mod audit;
mod check;
mod eval;
mod input;
mod journal;
mod keys;
mod load;
mod models;
mod progress;
mod reload;
mod render;
mod report;
mod scan;
mod serve;
mod target;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use assemble::{AssembleError, assemble, assemble_on};
use target::{Client, Target};

/// Guards LLM traffic: finds prompt injection, toxicity and personal data in texts.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve verdicts over gRPC.
    ///
    /// Without any option it serves the bundled package on the CPU at 127.0.0.1:50051 and metrics at
    /// 127.0.0.1:9464. Each option can be given as a PORTCULLIS_* variable or in the file of
    /// --config; an option overrides its variable, which overrides the file.
    Serve(serve::Args),
    /// Check one text and print the verdict.
    ///
    /// Exits with 0 if the text is allowed, 1 if something was found, 2 on an error.
    Check(check::Args),
    /// Measure a detector on labelled data.
    Eval(eval::Args),
    /// Check many texts and write a line for each.
    Scan(scan::Args),
    /// Put load on a server and measure rates and latencies.
    Load(load::Args),
    /// Look at model packages.
    Models(models::Args),
    /// Make API keys.
    Keys(keys::Args),
    /// Look at audit trails.
    Audit(audit::Args),
}

/// What a command ends with if all goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Fine,
    Flagged,
}

/// An error as the user sees it: one line on standard error.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Audit(args) => audit::run(&args),
    };
    match done {
        Ok(Done::Fine) => ExitCode::SUCCESS,
        Ok(Done::Flagged) => ExitCode::from(1),
        Err(error) => {
            // A reader that has had enough (`portcullis ... | head`) is no error.
            if is_closed_pipe(error.as_ref()) {
                return ExitCode::SUCCESS;
            }
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("error: {error}\n"));
            ExitCode::from(2)
        }
    }
}

/// Whether writing failed because the reader has gone.
fn is_closed_pipe(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// The runtime of a command that talks to the network.
fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.enable_all().build()?)
}
