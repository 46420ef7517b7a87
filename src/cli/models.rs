//! `portcullis models`.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Done, Result};
use crate::config::Config;
use crate::detect::{Catalog, PackageSource};
use crate::engine::CpuEngine;
use crate::package::{Package, Task};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the packages that would be served.
    List {
        /// Configuration file.
        #[arg(long, value_name = "FILE", env = "PORTCULLIS_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Show what a package holds: heads, labels, thresholds, windows, checksums.
    Show {
        /// Directory of the package, or hf://owner/name[@revision] [default: the bundled one].
        package: Option<PathBuf>,
    },
    /// Check a package: its signature, files against checksums, tensors against the configuration,
    /// probes against their scores.
    Verify {
        /// Directory of the package, or hf://owner/name[@revision] [default: the bundled one].
        package: Option<PathBuf>,
        /// Public key of minisign, of which one must have signed it; may be repeated [default: none].
        #[arg(long = "trusted-key", value_name = "KEY")]
        trusted_keys: Vec<String>,
    },
}

pub(super) fn run(args: &Args) -> Result<Done> {
    match &args.command {
        Command::List { config } => list(config.as_deref()),
        Command::Show { package } => show(&directory(package.as_deref())?),
        Command::Verify {
            package,
            trusted_keys,
        } => verify(PackageSource {
            trusted_keys: trusted_keys.clone().try_into()?,
            ..directory(package.as_deref())?.into()
        }),
    }
}

fn directory(named: Option<&Path>) -> Result<PathBuf> {
    match named {
        Some(dir) => Ok(dir.to_owned()),
        None => Ok(Config::default().packages()?.remove(0).path),
    }
}

fn list(config: Option<&Path>) -> Result<Done> {
    let config = match config {
        Some(file) => Config::read(file)?,
        None => Config::default(),
    };
    let mut out = std::io::stdout().lock();
    for source in config.packages()? {
        let manifest = Package::open_trusted(&source.path, &source.trusted_keys)?.manifest;
        let detectors: Vec<&str> = manifest.heads.iter().map(|h| h.detector.as_str()).collect();
        writeln!(
            out,
            "{} {}  {}  {}",
            manifest.name,
            manifest.version,
            detectors.join(", "),
            source.path.display()
        )?;
    }
    Ok(Done::Fine)
}

fn show(dir: &Path) -> Result<Done> {
    let package = Package::open(dir)?;
    let manifest = &package.manifest;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {}", manifest.name, manifest.version)?;
    writeln!(out, "  directory  {}", package.dir.display())?;
    let model_type = package.config["model_type"].as_str().unwrap_or("unknown");
    writeln!(out, "  model      {model_type}")?;
    writeln!(
        out,
        "  windows    {} tokens, {} shared by neighbours",
        manifest.max_length, manifest.stride
    )?;
    for head in &manifest.heads {
        let kind = match head.task {
            Task::Sequence => "classes of a text",
            Task::Token(_) => "spans",
        };
        writeln!(out, "  detector   {} ({kind})", head.detector)?;
        for label in head.finding_labels() {
            match head.thresholds.get(label) {
                Some(threshold) => writeln!(out, "    {label}  from {threshold}")?,
                None => writeln!(out, "    {label}  no finding")?,
            }
        }
    }
    writeln!(out, "  probes     {}", manifest.probes.len())?;
    for (file, digest) in &package.digests {
        let listed = if manifest.checksums.contains_key(file) {
            "as listed"
        } else {
            "not listed"
        };
        writeln!(out, "  {digest}  {file} ({listed})")?;
    }
    Ok(Done::Fine)
}

fn verify(source: PackageSource) -> Result<Done> {
    let mut engine = CpuEngine::new(Config::default().engine.engine_threads())?;
    let manifest = Package::open_trusted(&source.path, &source.trusted_keys)?.manifest;
    let signed = match source.trusted_keys.is_empty() {
        true => "",
        false => "signed by a trusted key, ",
    };
    let (catalog, _) = Catalog::load(&[source], &mut engine)?;
    let mut out = std::io::stdout().lock();
    for package in &catalog.packages {
        writeln!(
            out,
            "{} {}: {signed}{} of {} files match their checksums, {} probes score as expected",
            package.name,
            package.version,
            manifest.checksums.len(),
            package
                .digests
                .keys()
                .filter(|f| !f.starts_with("guard.toml"))
                .count(),
            manifest.probes.len()
        )?;
    }
    Ok(Done::Fine)
}
