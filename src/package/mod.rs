//! What is on disk: a model package, verified and described, before any network is built from it.
//!
//! A package is a directory in the hub's own layout (`config.json`, `tokenizer.json`,
//! `*.safetensors`), which an optional `guard.toml` describes further. Only safetensors are read.

mod download;
mod error;
mod hub;
mod manifest;
mod signature;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use download::HubModel;
pub use download::HubOptions;
pub use error::PackageError;
pub use manifest::{Activation, ExpectedSpan, HeadSpec, HeadWeights, Manifest, Probe, Task};
pub use signature::TrustedKeys;
pub use weights::Weights;

use crate::text::{TextTokenizer, WindowPlan};

/// Largest `config.json`, `guard.toml` or shard index that is read, in bytes.
const MAX_TEXT_FILE: u64 = 16 << 20;
/// Largest `tokenizer.json` that is read, in bytes.
const MAX_TOKENIZER: u64 = 256 << 20;

/// A package whose files were read, checked against their checksums and understood.
#[derive(Debug)]
pub struct Package {
    /// Where it was read from.
    pub dir: PathBuf,
    /// What it says of itself: name, version, heads, windows, probes.
    pub manifest: Manifest,
    /// `config.json` as it stands.
    pub config: serde_json::Value,
    /// Its tokenizer.
    pub tokenizer: Arc<TextTokenizer>,
    /// How long texts are cut for it.
    pub windows: WindowPlan,
    /// Its tensors.
    pub weights: Weights,
    /// SHA-256 of every file read, lower-case hex.
    pub digests: BTreeMap<String, String>,
}

impl Package {
    /// Reads and verifies the package at `path`: a directory, or `hf://owner/name[@revision]`, which
    /// is fetched first, as the environment says (see [`HubOptions::from_env`]).
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        Self::open_trusted(path, &TrustedKeys::default())
    }

    /// As [`Self::open`], if one of these keys signed it.
    pub fn open_trusted(path: &Path, keys: &TrustedKeys) -> Result<Self, PackageError> {
        Self::open_with(path, keys, &HubOptions::from_env())
    }

    /// As [`Self::open_trusted`], with these options for hubs.
    pub fn open_with(
        path: &Path,
        keys: &TrustedKeys,
        options: &HubOptions,
    ) -> Result<Self, PackageError> {
        let Some(model) = HubModel::parse(path) else {
            return Self::open_dir(path, keys, None);
        };
        let model = model?;
        let fetched = model.fetch(options)?;
        let origin = (model.repository.as_str(), fetched.commit.as_str());
        Self::open_dir(&fetched.dir, keys, Some(origin))
    }

    /// `origin` is the repository and commit of a package without a description of its own.
    fn open_dir(
        dir: &Path,
        keys: &TrustedKeys,
        origin: Option<(&str, &str)>,
    ) -> Result<Self, PackageError> {
        let mut files = Files::new(dir)?;
        let written = files.read_optional("guard.toml", MAX_TEXT_FILE)?;
        // Before anything is made of it.
        if !keys.is_empty() {
            let missing = || {
                let problem =
                    "is missing: a signed package has one, with checksums of all its files";
                PackageError::file(dir, "guard.toml", problem)
            };
            let manifest = written.as_ref().ok_or_else(missing)?;
            let signature = files.read_optional(signature::FILE, MAX_TEXT_FILE)?;
            let unsigned = "is missing: a trusted key must have signed guard.toml (trusted_keys)";
            let unsigned = || PackageError::file(dir, signature::FILE, unsigned);
            let signature = signature.ok_or_else(unsigned)?;
            keys.verify(dir, manifest, &signature)?;
        }
        let config_bytes = files.read("config.json", MAX_TEXT_FILE)?;
        let config: serde_json::Value = serde_json::from_slice(&config_bytes)
            .map_err(|e| PackageError::field(dir, "config.json", "(json)", e))?;
        let (file, field) = match written {
            Some(_) => ("guard.toml", "window"),
            None => ("config.json", "max_position_embeddings"),
        };
        let manifest = match written {
            Some(bytes) => Manifest::parse(dir, &bytes, &config)?,
            None => hub::describe(dir, &config, origin)?,
        };
        if !manifest.checksums.is_empty() || !keys.is_empty() {
            files.expected = Some(manifest.checksums.clone());
            files.verify("config.json")?;
        }

        let tokenizer_bytes = files.read("tokenizer.json", MAX_TOKENIZER)?;
        let tokenizer = TextTokenizer::from_bytes(&tokenizer_bytes)
            .map_err(|e| PackageError::field(dir, "tokenizer.json", "(whole file)", e))?;
        let weights = Weights::open(&mut files)?;
        files.all_listed_were_read()?;

        let special = tokenizer.prefix().len() + tokenizer.suffix().len();
        let windows = WindowPlan::new(manifest.max_length, special, manifest.stride)
            .map_err(|e| PackageError::field(dir, file, field, e))?;
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            config,
            tokenizer: Arc::new(tokenizer),
            windows,
            weights,
            digests: files.digests,
        })
    }
}

/// Reads files of one package, each at most once, hashing what it reads.
pub(crate) struct Files {
    dir: PathBuf,
    expected: Option<BTreeMap<String, String>>,
    digests: BTreeMap<String, String>,
}

impl Files {
    fn new(dir: &Path) -> Result<Self, PackageError> {
        if !dir.is_dir() {
            return Err(PackageError::NoDirectory {
                dir: dir.to_owned(),
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            expected: None,
            digests: BTreeMap::new(),
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bytes of `name`, which must not be larger than `limit` and must match its checksum.
    pub(crate) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, PackageError> {
        let path = self.dir.join(name);
        let error = |problem: &dyn std::fmt::Display| PackageError::file(&self.dir, name, problem);
        // A pipe or a device could block or never end.
        if !std::fs::metadata(&path).map_err(|e| error(&e))?.is_file() {
            return Err(error(&"is not a file"));
        }
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(|e| error(&e))?;
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        if read.map_err(|e| error(&e))? as u64 > limit {
            return Err(error(&format!("has more than {limit} bytes")));
        }
        let digest = hex(&Sha256::digest(&bytes));
        self.digests.insert(name.to_owned(), digest);
        self.verify(name)?;
        Ok(bytes)
    }

    pub(crate) fn read_optional(
        &mut self,
        name: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, PackageError> {
        if self.dir.join(name).exists() {
            self.read(name, limit).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Compares a file that was read with the checksum the manifest lists for it.
    fn verify(&self, name: &str) -> Result<(), PackageError> {
        let Some(expected) = &self.expected else {
            return Ok(());
        };
        let actual = self.digests.get(name).cloned().unwrap_or_default();
        match expected.get(name) {
            None => Err(PackageError::field(
                &self.dir,
                "guard.toml",
                "checksums",
                format!("{name} is used but has no checksum"),
            )),
            Some(listed) if *listed != actual => Err(PackageError::Checksum {
                file: self.dir.join(name),
                expected: listed.clone(),
                actual,
            }),
            Some(_) => Ok(()),
        }
    }

    fn all_listed_were_read(&self) -> Result<(), PackageError> {
        let listed: BTreeSet<&String> = self.expected.iter().flat_map(BTreeMap::keys).collect();
        match listed.iter().find(|f| !self.digests.contains_key(**f)) {
            None => Ok(()),
            Some(name) => Err(PackageError::field(
                &self.dir,
                "guard.toml",
                "checksums",
                format!("{name} is listed but is not a file this package uses"),
            )),
        }
    }
}

/// `bytes` in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
