//! The detectors a server has: its packages, loaded, probed and named.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::patterns::{Family, PatternError, PatternSet};
use super::probe::{self, ProbeError};
use crate::encoder::Model;
use crate::engine::{Engine, EngineError, HeadSet, ModelId};
use crate::package::TrustedKeys;
use crate::package::{HeadSpec, Package, PackageError, Task};
use crate::scheduler::{CostModel, calibrate};
use crate::text::normalise::Transformation;
use crate::text::{TextTokenizer, WindowPlan};

/// A package to load.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSource {
    /// Directory of the package, or `hf://owner/name[@revision]`.
    pub path: PathBuf,
    /// Other names for its detectors, by the name the package gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detectors: BTreeMap<String, String>,
    /// Who must have signed it: one of these, or anybody where there are none.
    #[serde(skip)]
    pub trusted_keys: TrustedKeys,
}

impl From<PathBuf> for PackageSource {
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            detectors: BTreeMap::new(),
            trusted_keys: TrustedKeys::default(),
        }
    }
}

/// One capability.
#[derive(Debug, Clone)]
pub struct Detector {
    /// How callers and policies name it.
    pub name: String,
    /// The capability: `injection`, `toxicity`, `pii`, `secrets`, `obfuscation`, ...
    pub kind: String,
    /// What gives it.
    pub source: Source,
    /// Whether its findings are spans of their own, or classes of a text.
    pub finds_spans: bool,
    /// The labels its findings carry.
    pub labels: Vec<String>,
    /// Score from which each label is a finding, unless a policy says otherwise.
    pub thresholds: BTreeMap<String, f32>,
}

/// What a detector's scores come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A head of a package.
    Head {
        /// Index into [`Catalog::packages`].
        package: usize,
        /// Index into [`LoadedPackage::heads`].
        head: usize,
    },
    /// Patterns.
    Patterns(Family),
    /// What normalisation undid.
    Obfuscation,
}

impl Detector {
    /// A detector that needs no model; every label counts from 0.5 on.
    fn built_in(name: &str, kind: &str, source: Source, labels: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            source,
            finds_spans: matches!(source, Source::Patterns(_)),
            labels: labels.iter().map(|&l| l.to_owned()).collect(),
            thresholds: labels.iter().map(|&l| (l.to_owned(), 0.5)).collect(),
        }
    }

    /// The detectors that every server has.
    fn without_model() -> Vec<Self> {
        let mut all: Vec<Self> = Family::ALL
            .into_iter()
            .map(|family| {
                let kind = match family {
                    Family::Pii => "pii",
                    Family::Secrets => "secrets",
                };
                let source = Source::Patterns(family);
                Self::built_in(family.detector(), kind, source, &family.labels())
            })
            .collect();
        let kinds = Transformation::ALL.map(Transformation::name);
        let labels: Vec<&str> = std::iter::once(OBFUSCATION).chain(kinds).collect();
        let mut obfuscation =
            Self::built_in(OBFUSCATION, OBFUSCATION, Source::Obfuscation, &labels);
        // The text as a whole counts; single kinds explain it and count where a policy says so.
        obfuscation
            .thresholds
            .retain(|label, _| label == OBFUSCATION);
        all.push(obfuscation);
        all
    }
}

/// The detector of hidden text, and its label for a text as a whole.
pub const OBFUSCATION: &str = "obfuscation";

/// A package whose model is on the engine.
#[derive(Debug)]
pub struct LoadedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its tokenizer, shared with packages that have the same one.
    pub tokenizer: Arc<TextTokenizer>,
    /// How texts are cut for it.
    pub windows: WindowPlan,
    /// Its heads.
    pub heads: Vec<HeadSpec>,
    /// Its model on the engine.
    pub model: ModelId,
    /// SHA-256 of its files.
    pub digests: BTreeMap<String, String>,
}

/// All packages and detectors of a server.
#[derive(Debug)]
pub struct Catalog {
    /// The packages, in the order of the configuration.
    pub packages: Vec<LoadedPackage>,
    /// The detectors, by name.
    pub detectors: Vec<Detector>,
    pii: PatternSet,
    secrets: PatternSet,
}

/// Why the packages cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A package is broken.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The engine refused a model or failed on it.
    #[error("{}: {error}", package.display())]
    Engine {
        /// The package.
        package: PathBuf,
        /// What the engine says.
        error: EngineError,
    },
    /// A probe did not score as expected.
    #[error("{}: {error}", package.display())]
    Probe {
        /// The package.
        package: PathBuf,
        /// Which probe, and how far off.
        error: ProbeError,
    },
    /// Two heads want the same detector name.
    #[error(
        "both {first} and {second} give a detector {name:?}; give one of them another name with packages.detectors.{name} = \"...\""
    )]
    SameName {
        /// The name.
        name: String,
        /// A package.
        first: String,
        /// Another package, or the same.
        second: String,
    },
    /// The built-in patterns cannot be compiled.
    #[error(transparent)]
    Patterns(#[from] PatternError),
    /// There is nothing to serve.
    #[error("no package is configured")]
    Empty,
}

impl Catalog {
    /// Opens `packages`, loads them on `engine`, checks their probes and measures their speed.
    ///
    /// A package serves only if its files match their checksums and its probes score as expected.
    pub fn load(
        packages: &[PackageSource],
        engine: &mut dyn Engine,
    ) -> Result<(Self, Vec<CostModel>), CatalogError> {
        let mut catalog = Self {
            packages: Vec::new(),
            detectors: Detector::without_model(),
            pii: PatternSet::new(&[Family::Pii], &[])?,
            secrets: PatternSet::new(&[Family::Secrets], &[])?,
        };
        let mut costs = Vec::new();
        for package in packages {
            costs.push(catalog.add(package, engine)?);
        }
        if catalog.packages.is_empty() {
            return Err(CatalogError::Empty);
        }
        Ok((catalog, costs))
    }

    fn add(
        &mut self,
        source: &PackageSource,
        engine: &mut dyn Engine,
    ) -> Result<CostModel, CatalogError> {
        let (dir, names) = (source.path.as_path(), &source.detectors);
        let package = Package::open_trusted(dir, &source.trusted_keys)?;
        let model = Arc::new(Model::build_in(&package, engine.precision())?);
        let engine_error = |error| CatalogError::Engine {
            package: dir.to_owned(),
            error,
        };
        let id = engine.load(model).map_err(engine_error)?;
        let index = self.packages.len();
        for (head, spec) in package.manifest.heads.iter().enumerate() {
            let name = names.get(&spec.detector).unwrap_or(&spec.detector).clone();
            if let Some(other) = self.detectors.iter().find(|d| d.name == name) {
                let first = match other.source {
                    Source::Head { package, .. } => self.packages.get(package).map(|p| &p.name),
                    Source::Patterns(_) | Source::Obfuscation => None,
                };
                return Err(CatalogError::SameName {
                    name,
                    first: first.map_or("the server itself", String::as_str).into(),
                    second: package.manifest.name.clone(),
                });
            }
            self.detectors.push(Detector {
                name,
                kind: spec.detector.clone(),
                source: Source::Head {
                    package: index,
                    head,
                },
                finds_spans: matches!(spec.task, Task::Token(_)),
                labels: spec.finding_labels().to_vec(),
                thresholds: spec.thresholds.clone(),
            });
        }
        let same_tokenizer = self
            .packages
            .iter()
            .find(|p| p.digests.get("tokenizer.json") == package.digests.get("tokenizer.json"));
        let loaded = LoadedPackage {
            tokenizer: same_tokenizer.map_or(package.tokenizer, |p| p.tokenizer.clone()),
            windows: package.windows,
            heads: package.manifest.heads,
            name: package.manifest.name,
            version: package.manifest.version,
            model: id,
            digests: package.digests,
        };
        let mut probed = probe::check(&loaded, &package.manifest.probes, engine);
        // A device's narrow number format may overflow where a wider one does not.
        if matches!(probed, Err(ProbeError::NotFinite { .. }))
            && engine.widen(id).map_err(engine_error)?
        {
            tracing::warn!(package = loaded.name, "overflows: loaded in a wider format");
            probed = probe::check(&loaded, &package.manifest.probes, engine);
        }
        probed.map_err(|error| CatalogError::Probe {
            package: dir.to_owned(),
            error,
        })?;
        let all = (0..loaded.heads.len()).fold(HeadSet::EMPTY, |s, h| s.union(HeadSet::one(h)));
        let cost = calibrate(engine, id, package.manifest.max_length, all).map_err(engine_error)?;
        self.packages.push(loaded);
        Ok(cost)
    }

    /// The built-in patterns of a family.
    #[must_use]
    pub fn patterns(&self, family: Family) -> &PatternSet {
        match family {
            Family::Pii => &self.pii,
            Family::Secrets => &self.secrets,
        }
    }

    /// The detector called `name`.
    #[must_use]
    pub fn detector(&self, name: &str) -> Option<&Detector> {
        self.detectors.iter().find(|d| d.name == name)
    }
}
