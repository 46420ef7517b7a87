//! Packages named `hf://owner/name[@revision]`: fetched from a model hub into the cache that other
//! tools share, pinned to a commit, and checked against the digests the hub lists.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use indicatif::ProgressBar;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::weights::{INDEX, SINGLE, shards};
use super::{PackageError, hex, signature};

const SCHEME: &str = "hf://";
/// Marks a commit's directory whose files are all there, guard.toml included if there is one.
const COMPLETE: &str = ".portcullis-complete-2";
/// Attempts for a connection that breaks; each goes on where the last one stopped.
const RETRIES: usize = 5;
/// Silence of a hub that is waited for, unless told otherwise.
const SILENCE: Duration = Duration::from_secs(60);

/// Where models come from and are kept.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Base URL of the hub.
    pub endpoint: String,
    /// Directory of the cache, in the hub's own layout.
    pub cache: PathBuf,
    /// For gated and private models.
    pub token: Option<String>,
    /// Use what is cached and never the network.
    pub offline: bool,
    /// How long the hub may be silent.
    pub silence: Duration,
}

impl HubOptions {
    /// From the variables that the hub's other tools read: `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`,
    /// `XDG_CACHE_HOME`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`.
    #[must_use]
    pub fn from_env() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let path = |name: &str| variable(name).map(PathBuf::from);
        let caches = path("XDG_CACHE_HOME").unwrap_or_else(|| {
            let user = path("HOME").unwrap_or_else(std::env::temp_dir);
            user.join(".cache")
        });
        let home = path("HF_HOME").unwrap_or_else(|| caches.join("huggingface"));
        let cache = path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub"));
        let token = variable("HF_TOKEN").or_else(|| {
            let file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            let written = std::fs::read_to_string(file).ok()?;
            Some(written.trim().to_owned()).filter(|t| !t.is_empty())
        });
        Self {
            endpoint: variable("HF_ENDPOINT").map_or_else(
                || "https://huggingface.co".to_owned(),
                |url| url.trim_end_matches('/').to_owned(),
            ),
            cache,
            token,
            offline: variable("HF_HUB_OFFLINE")
                .is_some_and(|v| !["0", "false", "no", "off"].contains(&v.to_lowercase().as_str())),
            silence: SILENCE,
        }
    }
}

/// A model on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubModel {
    /// `owner/name`.
    pub(super) repository: String,
    /// A branch, a tag or a commit.
    revision: String,
}

/// A model in the cache.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The commit's directory.
    pub(super) dir: PathBuf,
    /// The commit.
    pub(super) commit: String,
}

impl HubModel {
    /// Reads `hf://owner/name[@revision]`; `None` where `path` is no such name.
    pub(super) fn parse(path: &Path) -> Option<Result<Self, PackageError>> {
        let name = path.to_str()?.strip_prefix(SCHEME)?;
        let (repository, revision) = name.split_once('@').unwrap_or((name, "main"));
        let plain = |part: &str| {
            !part.is_empty()
                && part.len() <= 96
                && !part.starts_with('.')
                && !part.contains("..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let fits = repository.split('/').count() == 2
            && repository.split('/').all(plain)
            && revision.split('/').all(plain);
        Some(if fits {
            Ok(Self {
                repository: repository.to_owned(),
                revision: revision.to_owned(),
            })
        } else {
            let problem = "is no model of a hub; hf://owner/name or hf://owner/name@revision is";
            Err(PackageError::hub(name, problem))
        })
    }

    /// The model's files that a package has, in the cache and checked.
    pub(super) fn fetch(&self, options: &HubOptions) -> Result<Fetched, PackageError> {
        let fetched = if let Some(cached) = self.complete_in_cache(options) {
            cached
        } else if options.offline {
            let problem = format!(
                "is not complete in {}, and the network is off (HF_HUB_OFFLINE)",
                options.cache.display()
            );
            return Err(self.error(problem));
        } else {
            self.download(options)?
        };
        for name in self.files(&fetched.dir)? {
            self.verify(&fetched.dir.join(&name), &name)?;
        }
        Ok(fetched)
    }

    /// The cached commit, where asking the hub could not change it: a full commit, or no network.
    fn complete_in_cache(&self, options: &HubOptions) -> Option<Fetched> {
        let cache = Cache::new(options.cache.clone()).repo(self.at(&self.revision));
        let commit = if is_commit(&self.revision) {
            self.revision.clone()
        } else if options.offline {
            let folder = self.at(&self.revision).folder_name();
            let reference = options.cache.join(folder).join("refs").join(&self.revision);
            let commit = std::fs::read_to_string(reference).ok()?;
            Some(commit.trim().to_owned()).filter(|c| is_commit(c))?
        } else {
            return None;
        };
        let dir = cache.pointer_path(&commit);
        self.files(&dir).ok()?;
        // Other tools leave guard.toml out: a commit counts as complete if it was fetched by this one.
        if !dir.join(COMPLETE).exists() {
            return None;
        }
        Some(Fetched { dir, commit })
    }

    fn download(&self, options: &HubOptions) -> Result<Fetched, PackageError> {
        let heard = Heard::default();
        let (done, finished) = mpsc::channel();
        let (model, asked, hearing) = (self.clone(), options.clone(), heard.clone());
        // The client may panic on answers that make no sense, and waits for a silent hub for ever: both
        // must stay an error about this model.
        std::thread::Builder::new()
            .name("download".into())
            .spawn(move || done.send(model.download_here(&asked, &hearing)))
            .map_err(|e| self.error(e))?;
        loop {
            let left = options.silence.saturating_sub(heard.ago());
            match finished.recv_timeout(left) {
                Ok(fetched) => return fetched,
                Err(RecvTimeoutError::Timeout) if heard.ago() < options.silence => {}
                Err(RecvTimeoutError::Timeout) => {
                    let (hub, silence) = (&options.endpoint, options.silence);
                    return Err(self.error(format!("{hub} said nothing for {silence:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.error("the hub's answers make no sense"));
                }
            }
        }
    }

    fn download_here(&self, options: &HubOptions, heard: &Heard) -> Result<Fetched, PackageError> {
        let cache = Cache::new(options.cache.clone());
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(options.endpoint.clone())
            .with_token(options.token.clone())
            .with_retries(RETRIES)
            .with_user_agent("portcullis", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| self.error(e))?;
        let listed = api.repo(self.at(&self.revision)).info().map_err(|e| {
            self.error(format!(
                "{e} (from {}; is the name right, and has HF_TOKEN access?)",
                options.endpoint
            ))
        })?;
        heard.now();
        let commit = listed.sha;
        if !is_commit(&commit) {
            return Err(self.error(format!("the hub names {commit:?} as its commit")));
        }
        let pinned = api.repo(self.at(&commit));
        let get = |name: &str| self.get(&cache, &api, &pinned, &commit, name, heard);
        let has = |name: &str| listed.siblings.iter().any(|s| s.rfilename == name);
        for name in ["config.json", "tokenizer.json"] {
            if !has(name) {
                return Err(self.error(format!("has no {name}")));
            }
            get(name)?;
        }
        for name in ["guard.toml", signature::FILE] {
            if has(name) {
                get(name)?;
            }
        }
        if has(SINGLE) {
            get(SINGLE)?;
        } else if has(INDEX) {
            let index = get(INDEX)?;
            for shard in self.shards_of(&index)? {
                if !has(&shard) {
                    return Err(self.error(format!("{INDEX} names {shard}, which is not there")));
                }
                get(&shard)?;
            }
        } else {
            let problem = format!("has no {SINGLE} and no {INDEX}; only safetensors are opened");
            return Err(self.error(problem));
        }
        let dir = cache.repo(self.at(&commit)).pointer_path(&commit);
        std::fs::write(dir.join(COMPLETE), "").map_err(|e| self.error(e))?;
        let cached = cache.repo(self.at(&self.revision));
        // So that other tools, and this one without a network, find the revision.
        cached.create_ref(&commit).map_err(|e| self.error(e))?;
        tracing::info!(
            model = self.repository,
            revision = self.revision,
            commit,
            "fetched"
        );
        Ok(Fetched {
            dir: cached.pointer_path(&commit),
            commit,
        })
    }

    /// Fetches one file. What the hub says of it becomes part of paths, so that is looked at first.
    fn get(
        &self,
        cache: &Cache,
        api: &Api,
        repository: &ApiRepo,
        commit: &str,
        name: &str,
        heard: &Heard,
    ) -> Result<PathBuf, PackageError> {
        if let Some(path) = cache.repo(self.at(commit)).get(name) {
            return Ok(path);
        }
        let listed = api
            .metadata(&repository.url(name))
            .map_err(|e| self.error(format!("{name}: {e}")))?;
        if !is_digest(listed.etag()) || listed.commit_hash() != commit {
            let problem = format!("{name}: the hub gives no digest, or another commit");
            return Err(self.error(problem));
        }
        heard.now();
        let progress = Watched {
            heard: heard.clone(),
            bar: ProgressBar::new(0),
        };
        repository
            .download_with_progress(name, progress)
            .map_err(|e| self.error(format!("{name}: {e}")))
    }

    /// The names of the package's files in `dir`, all of which are there.
    fn files(&self, dir: &Path) -> Result<Vec<String>, PackageError> {
        let mut names = vec!["config.json".to_owned(), "tokenizer.json".to_owned()];
        for name in ["guard.toml", signature::FILE] {
            if dir.join(name).exists() {
                names.push(name.into());
            }
        }
        if dir.join(SINGLE).exists() {
            names.push(SINGLE.into());
        } else {
            names.push(INDEX.into());
            names.extend(self.shards_of(&dir.join(INDEX))?);
        }
        match names.iter().find(|name| !dir.join(name).is_file()) {
            None => Ok(names),
            Some(name) => Err(self.error(format!("{name} is not in the cache"))),
        }
    }

    fn shards_of(&self, index: &Path) -> Result<Vec<String>, PackageError> {
        let bytes = std::fs::read(index).map_err(|e| self.error(format!("{INDEX}: {e}")))?;
        let (shards, _) =
            shards(&bytes).map_err(|problem| self.error(format!("{INDEX}: {problem}")))?;
        Ok(shards)
    }

    /// Compares a cached file with the digest in the name of its blob: SHA-256 of large files, git's
    /// SHA-1 of small ones. A file that differs is removed.
    fn verify(&self, path: &Path, name: &str) -> Result<(), PackageError> {
        let read = |e: std::io::Error| self.error(format!("{name}: {e}"));
        let blob = path.canonicalize().map_err(read)?;
        let listed = blob
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let is_hex = listed.bytes().all(|b| b.is_ascii_hexdigit());
        let actual = match listed.len() {
            64 if is_hex => {
                let mut digest = Sha256::new();
                read_into(&blob, |bytes| digest.update(bytes)).map_err(read)?;
                hex(&digest.finalize())
            }
            40 if is_hex => {
                let mut digest = Sha1::new();
                let length = blob.metadata().map_err(read)?.len();
                digest.update(format!("blob {length}\0"));
                read_into(&blob, |bytes| digest.update(bytes)).map_err(read)?;
                hex(&digest.finalize())
            }
            _ => return Err(self.error(format!("{name}: its blob is not named by a digest"))),
        };
        if actual == listed {
            return Ok(());
        }
        for wrong in [path, blob.as_path()] {
            std::fs::remove_file(wrong).ok();
        }
        Err(self.error(format!(
            "{name}: the hub lists the digest {listed}, the file has {actual}; it was removed"
        )))
    }

    fn at(&self, revision: &str) -> Repo {
        let name = self.repository.clone();
        Repo::with_revision(name, RepoType::Model, revision.to_owned())
    }

    fn error(&self, problem: impl std::fmt::Display) -> PackageError {
        PackageError::hub(&format!("{}@{}", self.repository, self.revision), problem)
    }
}

/// When the hub last said something.
#[derive(Debug, Clone)]
struct Heard(Arc<Mutex<Instant>>);

impl Default for Heard {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Heard {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn ago(&self) -> Duration {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.elapsed()
    }
}

/// The bar of a download, which tells that something came.
struct Watched {
    heard: Heard,
    bar: ProgressBar,
}

impl Progress for Watched {
    fn init(&mut self, size: usize, filename: &str) {
        self.heard.now();
        Progress::init(&mut self.bar, size, filename);
    }

    fn update(&mut self, size: usize) {
        self.heard.now();
        Progress::update(&mut self.bar, size);
    }

    fn finish(&mut self) {
        self.heard.now();
        Progress::finish(&mut self.bar);
    }
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// SHA-256, or git's SHA-1, in hexadecimal.
fn is_digest(etag: &str) -> bool {
    [40, 64].contains(&etag.len()) && etag.bytes().all(|b| b.is_ascii_hexdigit())
}

fn read_into(path: &Path, mut update: impl FnMut(&[u8])) -> std::io::Result<()> {
    use std::io::Read;
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            n => update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_bad_ones_refused() {
        let parse = |name: &str| HubModel::parse(Path::new(name));
        let model = parse("hf://meta-llama/Llama-Prompt-Guard-2-86M@refs/pr/1")
            .unwrap()
            .unwrap();
        assert_eq!(model.repository, "meta-llama/Llama-Prompt-Guard-2-86M");
        assert_eq!(model.revision, "refs/pr/1");
        assert_eq!(parse("hf://a/b").unwrap().unwrap().revision, "main");
        assert!(parse("models/a").is_none());
        for bad in [
            "hf://",
            "hf://a",
            "hf://a/b/c",
            "hf://a/..",
            "hf://../b",
            "hf://a/b@",
            "hf://a/b@../c",
            "hf://a/b@x//y",
            "hf://a/b c",
            "hf://a/b?x=1",
        ] {
            assert!(parse(bad).unwrap().is_err(), "{bad}");
        }
    }
}
