//! The policies in force, replaced as a whole while checks run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::policy::{DEFAULT, Policies};
use super::{Policy, PolicyConfig, PolicyError};
use crate::detect::Detector;

/// Policies that can be replaced without a check noticing: each goes on with those it began with.
#[derive(Debug)]
pub struct PolicyStore {
    detectors: Vec<Detector>,
    current: RwLock<Arc<Policies>>,
    /// Names that must not go.
    required: RwLock<BTreeSet<String>>,
}

impl PolicyStore {
    /// The policies of `configured`, checked against the detectors there are, the presets, and the
    /// built-in default where `configured` has none.
    pub fn new(
        detectors: Vec<Detector>,
        configured: &BTreeMap<String, PolicyConfig>,
    ) -> Result<Self, PolicyError> {
        let store = Self {
            detectors,
            current: RwLock::default(),
            required: RwLock::default(),
        };
        store.replace(configured)?;
        Ok(store)
    }

    /// Puts others in force. Where one of them is wrong, those in force stay.
    pub fn replace(&self, configured: &BTreeMap<String, PolicyConfig>) -> Result<(), PolicyError> {
        let mut policies = Policies::new();
        for (name, config) in configured {
            let policy = Policy::configured(name, config, &self.detectors)?;
            policies.insert(name.clone(), policy);
        }
        for preset in Policy::presets(&self.detectors) {
            policies.entry(preset.id.to_string()).or_insert(preset);
        }
        policies
            .entry(DEFAULT.into())
            .or_insert_with(|| Policy::built_in(&self.detectors));
        let required = self.required.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = required.iter().find(|name| !policies.contains_key(*name)) {
            return Err(PolicyError::Unknown {
                name: name.clone(),
                known: policies.keys().cloned().collect(),
            });
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(policies);
        Ok(())
    }

    /// Names of policies that others rely on: without them no replacement comes into force.
    pub fn require<'n>(&self, names: impl Iterator<Item = &'n String>) {
        let mut required = self
            .required
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        required.extend(names.cloned());
    }

    /// Those in force, by name.
    #[must_use]
    pub fn current(&self) -> Arc<Policies> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
