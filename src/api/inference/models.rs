//! What can be asked under the name of a model.

use crate::api::status::ApiError;
use crate::detect::{Detector, Source};
use crate::guard::{Guard, Selection};

/// The model that applies a policy.
const GUARD: &str = "guard";

/// A detector, a package or [`GUARD`].
pub(super) struct Model<'g> {
    pub(super) name: String,
    pub(super) version: String,
    /// What a row of scores has: a detector and one of its labels.
    pub(super) columns: Vec<Column<'g>>,
    /// Its detectors; none: those of a policy.
    detectors: Option<Vec<String>>,
}

/// A column of the scores.
#[derive(Clone, Copy)]
pub(super) struct Column<'g> {
    pub(super) detector: &'g str,
    pub(super) label: &'g str,
    /// Whether the label's name alone says which it is.
    alone: bool,
}

impl Column<'_> {
    /// `INJECTION` of a detector, `injection/INJECTION` of several.
    pub(super) fn name(&self) -> String {
        if self.alone {
            self.label.to_owned()
        } else {
            format!("{}/{}", self.detector, self.label)
        }
    }
}

impl<'g> Model<'g> {
    fn new(
        name: &str,
        version: &str,
        detectors: &[&'g Detector],
        by_policy: bool,
        alone: bool,
    ) -> Self {
        let labels = |d: &&'g Detector| {
            let detector = *d;
            detector.labels.iter().map(move |label| Column {
                detector: &detector.name,
                label,
                alone,
            })
        };
        let names = || detectors.iter().map(|d| d.name.clone()).collect();
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            columns: detectors.iter().flat_map(labels).collect(),
            detectors: (!by_policy).then(names),
        }
    }

    /// What a check with this model applies.
    pub(super) fn selection(&self, policy: Option<String>) -> Result<Selection, ApiError> {
        match (&self.detectors, policy) {
            (None, policy) => Ok(Selection::Policy(policy.unwrap_or_default())),
            (Some(detectors), None) => Ok(Selection::Detectors(detectors.clone())),
            (Some(_), Some(_)) => Err(ApiError::invalid(
                "parameters.policy",
                "is for the model guard; other models apply their own detectors",
            )),
        }
    }
}

/// The model called `name`.
pub(super) fn find<'g>(guard: &'g Guard, name: &str) -> Option<Model<'g>> {
    all(guard).into_iter().find(|model| model.name == name)
}

/// Every model. Where names clash, `guard` comes before packages, and packages before detectors.
pub(super) fn all(guard: &Guard) -> Vec<Model<'_>> {
    let catalog = guard.catalog();
    let own = env!("CARGO_PKG_VERSION");
    let every: Vec<_> = catalog.detectors.iter().collect();
    let mut models = vec![Model::new(GUARD, own, &every, true, false)];
    for (index, package) in catalog.packages.iter().enumerate() {
        let of_package =
            |d: &&&Detector| matches!(d.source, Source::Head { package, .. } if package == index);
        let detectors: Vec<_> = every.iter().filter(of_package).copied().collect();
        models.push(Model::new(
            &package.name,
            &package.version,
            &detectors,
            false,
            false,
        ));
    }
    for detector in every {
        let version = match detector.source {
            Source::Head { package, .. } => catalog.packages.get(package),
            Source::Patterns(_) | Source::Obfuscation => None,
        };
        let version = version.map_or(own, |p| &p.version);
        models.push(Model::new(
            &detector.name,
            version,
            &[detector],
            false,
            true,
        ));
    }
    models
}
