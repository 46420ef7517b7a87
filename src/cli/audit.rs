//! `portcullis audit`.

use std::io::Write;
use std::path::PathBuf;

use super::{Done, Result};
use crate::ops::audit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read an audit trail, with the files that were put aside, and fail at the first record that was changed,
    /// is missing or should not be there.
    Verify {
        /// The trail's file, as in server.audit.file.
        file: PathBuf,
        /// Its key, as in server.audit.key_file [default: none].
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// Code of a record that is known from before, as this command prints it: what came before may be
        /// missing, and what follows is counted.
        #[arg(long, value_name = "CODE")]
        after: Option<String>,
    },
}

pub(super) fn run(args: &Args) -> Result<Done> {
    let Command::Verify {
        file,
        key_file,
        after,
    } = &args.command;
    let whole = audit::verify(file, key_file.as_deref(), after.as_deref())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} records, none changed or missing", whole.records)?;
    if whole.unfinished {
        writeln!(out, "another one is being written, or was torn")?;
    }
    writeln!(out, "last {}", whole.last)?;
    Ok(Done::Fine)
}
