//! `portcullis keys`.

use std::io::Write;

use super::{Done, Result};
use crate::ops::auth::new_key;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key for TENANT: prints the key, for the caller, and the line for the server's key file,
    /// which holds its hash only.
    New {
        /// Whose key it is: letters, digits, "-" and "_".
        tenant: String,
    },
}

pub(super) fn run(args: &Args) -> Result<Done> {
    let Command::New { tenant } = &args.command;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if tenant.is_empty() || !tenant.chars().all(plain) {
        return Err(format!("tenant {tenant:?}: letters, digits, \"-\" and \"_\" only").into());
    }
    let (key, hash) = new_key();
    let mut out = std::io::stdout().lock();
    writeln!(out, "key, shown only now: {key}")?;
    writeln!(out, "for the key file, under [keys]: {tenant} = \"{hash}\"")?;
    Ok(Done::Fine)
}
