//! Policies: which detectors apply to which roles, from which score, and with what consequence.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Action, Role};
use crate::detect::Catalog;
use crate::package::Task;

/// The policy that applies where a request names none.
pub(crate) const DEFAULT: &str = "default";

/// A policy, checked against the detectors there are.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub id: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// What a verdict does when a detector could not finish.
    pub on_error: OnError,
    /// One rule a detector, by detector name.
    pub rules: BTreeMap<String, Rule>,
}

/// How one detector applies.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What a finding leads to.
    pub action: Action,
    /// The roles it looks at.
    pub roles: Vec<Role>,
    /// Score from which each label is a finding.
    pub thresholds: BTreeMap<String, f32>,
}

/// What happens when a detector could not finish its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Block: what was not scanned does not pass.
    #[default]
    Closed,
    /// Go by what was found.
    Open,
}

/// A policy as configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Its version, repeated in every verdict.
    pub version: String,
    /// `closed` or `open`.
    pub on_error: OnError,
    /// The detectors it applies, by name.
    pub detectors: BTreeMap<String, RuleConfig>,
}

/// A rule as configured; what is left out is as in the built-in policy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleConfig {
    /// `allow`, `monitor`, `redact` or `block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The roles it looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<Role>>,
    /// Thresholds that differ from the package's, by label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub thresholds: BTreeMap<String, f32>,
}

/// What is wrong with a policy or with the name of one.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// There is none of this name.
    #[error("policy {name:?} is not configured; {} are", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// It names a detector that no package gives.
    #[error("policies.{policy}.detectors.{detector}: no package gives this detector; {} are there", known.join(", "))]
    Detector {
        /// The policy.
        policy: String,
        /// The detector named.
        detector: String,
        /// The detectors there are.
        known: Vec<String>,
    },
    /// It redacts what has no exact place.
    #[error(
        "policies.{policy}.detectors.{detector}.action: this detector judges whole texts and finds no spans to redact; use allow, monitor or block"
    )]
    NothingToRedact {
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
    },
    /// It applies nothing, and would allow everything.
    #[error("policies.{policy}.detectors: is empty, so the policy would pass every text unread")]
    Empty {
        /// The policy.
        policy: String,
    },
    /// It sets a threshold that means nothing.
    #[error("policies.{policy}.detectors.{detector}.thresholds.{label}: {problem}")]
    Threshold {
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
        /// The label.
        label: String,
        /// What is wrong.
        problem: String,
    },
}

impl Policy {
    /// The policy that a server without configuration applies: injection where text comes from
    /// outside (users, tools, documents) and toxicity in what users and models say are blocked;
    /// personal data is redacted everywhere but in the application's own instructions; a detector of
    /// any other kind blocks wherever it finds something.
    #[must_use]
    pub fn built_in(catalog: &Catalog) -> Self {
        let rules = catalog
            .detectors
            .iter()
            .map(|detector| {
                let head = catalog.head(detector);
                let (action, roles) = match head.detector.as_str() {
                    "injection" => (Action::Block, vec![Role::User, Role::Tool, Role::Document]),
                    "toxicity" => (Action::Block, vec![Role::User, Role::Assistant]),
                    "pii" => (
                        Action::Redact,
                        vec![Role::User, Role::Assistant, Role::Tool, Role::Document],
                    ),
                    _ => (Action::Block, Role::ALL.to_vec()),
                };
                let rule = Rule {
                    action,
                    roles,
                    thresholds: head.thresholds.clone(),
                };
                (detector.name.clone(), rule)
            })
            .collect();
        Self {
            id: DEFAULT.into(),
            version: "built-in".into(),
            on_error: OnError::Closed,
            rules,
        }
    }

    /// Makes the policy `name` from its configuration.
    pub fn configured(
        name: &str,
        config: &PolicyConfig,
        catalog: &Catalog,
    ) -> Result<Self, PolicyError> {
        let mut base = Self::built_in(catalog);
        let mut rules = BTreeMap::new();
        if config.detectors.is_empty() {
            return Err(PolicyError::Empty {
                policy: name.into(),
            });
        }
        for (detector, rule) in &config.detectors {
            let Some(mut merged) = base.rules.remove(detector) else {
                return Err(PolicyError::Detector {
                    policy: name.into(),
                    detector: detector.clone(),
                    known: catalog.detectors.iter().map(|d| d.name.clone()).collect(),
                });
            };
            let labels = catalog
                .detector(detector)
                .map_or(&[] as &[String], |d| catalog.head(d).finding_labels());
            for (label, &threshold) in &rule.thresholds {
                let problem = if !labels.contains(label) {
                    format!("no label of {detector}; {} are", labels.join(", "))
                } else if !(0.0..=1.0).contains(&threshold) {
                    format!("{threshold} does not lie between 0 and 1")
                } else {
                    merged.thresholds.insert(label.clone(), threshold);
                    continue;
                };
                return Err(PolicyError::Threshold {
                    policy: name.into(),
                    detector: detector.clone(),
                    label: label.clone(),
                    problem,
                });
            }
            merged.action = rule.action.unwrap_or(merged.action);
            let finds_spans = catalog
                .detector(detector)
                .is_some_and(|d| matches!(catalog.head(d).task, Task::Token(_)));
            if merged.action == Action::Redact && !finds_spans {
                return Err(PolicyError::NothingToRedact {
                    policy: name.into(),
                    detector: detector.clone(),
                });
            }
            if let Some(roles) = &rule.roles {
                merged.roles.clone_from(roles);
            }
            rules.insert(detector.clone(), merged);
        }
        Ok(Self {
            id: name.into(),
            version: if config.version.is_empty() {
                "unversioned".into()
            } else {
                config.version.as_str().into()
            },
            on_error: config.on_error,
            rules,
        })
    }
}
