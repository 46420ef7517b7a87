//! Policies: which detectors apply to which roles, from which score, and with what consequence.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Action, Redaction, Role};
use crate::detect::Detector;
use crate::detect::patterns::{CustomPattern, CustomShape, PatternSet};
use crate::text::normalise::{NormaliseConfig, Normaliser};

/// The policy that applies where a request names none.
pub(crate) const DEFAULT: &str = "default";

/// Name of the detector that a policy's own list of denied texts is.
pub(crate) const DENIED: &str = "deny_list";

/// Policies by name.
pub type Policies = BTreeMap<String, Policy>;

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
    /// What passes whatever detectors say: a span that one of its matches covers, a class where a match
    /// covers the whole segment.
    pub allow: Option<PatternSet>,
    /// What is a finding of its own.
    pub deny: Option<PatternSet>,
    /// What a finding of `deny` leads to.
    pub deny_action: Action,
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
    /// Actions on some roles that differ from `action`.
    pub role_actions: BTreeMap<Role, Action>,
    /// Actions on some labels that differ from both.
    pub label_actions: BTreeMap<String, Action>,
    /// What stands in the text instead of a finding.
    pub redaction: Redaction,
    /// The same, for some labels.
    pub label_redactions: BTreeMap<String, Redaction>,
}

impl Rule {
    /// What a finding of `label` in a text of `role` leads to.
    #[must_use]
    pub fn action_on(&self, label: &str, role: Role) -> Action {
        let of_label = self.label_actions.get(label);
        *of_label
            .or_else(|| self.role_actions.get(&role))
            .unwrap_or(&self.action)
    }
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
    /// What passes whatever detectors say.
    pub allow: ListConfig,
    /// What is a finding of its own.
    pub deny: ListConfig,
}

/// Words and patterns that a policy names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListConfig {
    /// Whole words or phrases, upper and lower case alike.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Regular expressions by name, which findings carry as their label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub patterns: BTreeMap<String, String>,
    /// What a finding leads to (`deny` alone): `block` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
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
    /// Actions on some roles that differ from `action`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub role_actions: BTreeMap<Role, Action>,
    /// Actions on some labels that differ from both.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub label_actions: BTreeMap<String, Action>,
    /// `replace`, `mask`, `hash` or `pseudonym`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
    /// The same, for some labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub label_redactions: BTreeMap<String, Redaction>,
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
    /// It applies a detector to nobody.
    #[error(
        "policies.{policy}.detectors.{detector}.roles: is empty, so the detector would read nothing; leave the detector out instead"
    )]
    NoRoles {
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
    },
    /// It sets an action for a role that it does not look at.
    #[error("policies.{policy}.detectors.{detector}.role_actions: {role:?} is not among its roles")]
    Role {
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
        /// The role.
        role: Role,
    },
    /// A list cannot be used.
    #[error("policies.{policy}.{list}: {problem}")]
    List {
        /// The policy.
        policy: String,
        /// `allow` or `deny`.
        list: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// It names a label that the detector does not have.
    #[error("policies.{policy}.detectors.{detector}.{field}.{label}: no label of {detector}; {} are", known.join(", "))]
    Label {
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
        /// The table.
        field: &'static str,
        /// The label.
        label: String,
        /// The labels there are.
        known: Vec<String>,
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
    /// personal data and secrets are redacted everywhere but in the application's own instructions;
    /// hidden text is noted; a detector of any other kind blocks wherever it finds something.
    #[must_use]
    pub fn built_in(detectors: &[Detector]) -> Self {
        Self {
            id: DEFAULT.into(),
            version: "built-in".into(),
            on_error: OnError::Closed,
            rules: detectors
                .iter()
                .map(|detector| (detector.name.clone(), Rule::built_in(detector)))
                .collect(),
            allow: None,
            deny: None,
            deny_action: Action::Block,
        }
    }

    /// Policies that are always there, each the built-in one with other weights: `chat` for an assistant
    /// that talks to users; `rag` for one that reads documents, in which hidden text is blocked and
    /// personal data is left alone; `code` for one that reads and writes code, where users may well
    /// quote attacks, and secrets matter most.
    #[must_use]
    pub fn presets(detectors: &[Detector]) -> Vec<Self> {
        let preset = |name: &str, change: &dyn Fn(&Detector, &mut Rule)| {
            let mut policy = Self::built_in(detectors);
            policy.id = name.into();
            for detector in detectors {
                if let Some(rule) = policy.rules.get_mut(&detector.name) {
                    change(detector, rule);
                }
            }
            policy
        };
        let outside = [Role::Tool, Role::Document];
        vec![
            preset("chat", &|_, _| {}),
            preset("rag", &|detector, rule| match detector.kind.as_str() {
                "obfuscation" => {
                    rule.role_actions = outside.map(|role| (role, Action::Block)).into();
                }
                "pii" => rule.roles.retain(|role| !outside.contains(role)),
                _ => {}
            }),
            preset("code", &|detector, rule| match detector.kind.as_str() {
                "injection" => rule.role_actions = [(Role::User, Action::Monitor)].into(),
                "toxicity" | "pii" => rule.action = Action::Monitor,
                "secrets" => rule.roles = Role::ALL.to_vec(),
                _ => {}
            }),
        ]
    }

    /// Makes the policy `name` from its configuration.
    pub fn configured(
        name: &str,
        config: &PolicyConfig,
        detectors: &[Detector],
    ) -> Result<Self, PolicyError> {
        let mut rules = BTreeMap::new();
        if config.detectors.is_empty() {
            return Err(PolicyError::Empty {
                policy: name.into(),
            });
        }
        for (detector, rule) in &config.detectors {
            let Some(known) = detectors.iter().find(|d| d.name == *detector) else {
                return Err(PolicyError::Detector {
                    policy: name.into(),
                    detector: detector.clone(),
                    known: detectors.iter().map(|d| d.name.clone()).collect(),
                });
            };
            rules.insert(detector.clone(), Rule::configured(name, rule, known)?);
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
            allow: config.allow.compile(name, "allow")?,
            deny: config.deny.compile(name, "deny")?,
            deny_action: config.deny.action.unwrap_or(Action::Block),
        })
    }

    /// What stands in a text instead of a finding of `detector` with `label`.
    #[must_use]
    pub fn redaction(&self, detector: &str, label: &str) -> Redaction {
        let Some(rule) = self.rules.get(detector) else {
            return Redaction::default();
        };
        *rule.label_redactions.get(label).unwrap_or(&rule.redaction)
    }
}

impl Rule {
    fn built_in(detector: &Detector) -> Self {
        let everywhere_outside = vec![Role::User, Role::Assistant, Role::Tool, Role::Document];
        let (action, roles) = match detector.kind.as_str() {
            "injection" => (Action::Block, vec![Role::User, Role::Tool, Role::Document]),
            "toxicity" => (Action::Block, vec![Role::User, Role::Assistant]),
            "pii" | "secrets" => (Action::Redact, everywhere_outside),
            "obfuscation" => (
                Action::Monitor,
                vec![Role::User, Role::Tool, Role::Document],
            ),
            _ => (Action::Block, Role::ALL.to_vec()),
        };
        Self {
            action,
            roles,
            thresholds: detector.thresholds.clone(),
            role_actions: BTreeMap::new(),
            label_actions: BTreeMap::new(),
            redaction: Redaction::default(),
            label_redactions: BTreeMap::new(),
        }
    }

    /// The built-in rule with what `config` changes.
    fn configured(
        policy: &str,
        config: &RuleConfig,
        detector: &Detector,
    ) -> Result<Self, PolicyError> {
        let mut rule = Self::built_in(detector);
        let known = |field: &'static str, label: &String| -> Result<(), PolicyError> {
            if detector.labels.contains(label) {
                return Ok(());
            }
            Err(PolicyError::Label {
                policy: policy.into(),
                detector: detector.name.clone(),
                field,
                label: label.clone(),
                known: detector.labels.clone(),
            })
        };
        for (label, &threshold) in &config.thresholds {
            known("thresholds", label)?;
            if !(0.0..=1.0).contains(&threshold) {
                return Err(PolicyError::Threshold {
                    policy: policy.into(),
                    detector: detector.name.clone(),
                    label: label.clone(),
                    problem: format!("{threshold} does not lie between 0 and 1"),
                });
            }
            rule.thresholds.insert(label.clone(), threshold);
        }
        for label in config.label_actions.keys() {
            known("label_actions", label)?;
        }
        for label in config.label_redactions.keys() {
            known("label_redactions", label)?;
        }
        rule.action = config.action.unwrap_or(rule.action);
        rule.role_actions.clone_from(&config.role_actions);
        rule.label_actions.clone_from(&config.label_actions);
        rule.redaction = config.redaction.unwrap_or_default();
        rule.label_redactions.clone_from(&config.label_redactions);
        let mut actions = std::iter::once(&rule.action)
            .chain(rule.role_actions.values())
            .chain(rule.label_actions.values());
        if !detector.finds_spans && actions.any(|a| *a == Action::Redact) {
            return Err(PolicyError::NothingToRedact {
                policy: policy.into(),
                detector: detector.name.clone(),
            });
        }
        if let Some(roles) = &config.roles {
            if roles.is_empty() {
                return Err(PolicyError::NoRoles {
                    policy: policy.into(),
                    detector: detector.name.clone(),
                });
            }
            rule.roles.clone_from(roles);
        }
        if let Some(role) = rule.role_actions.keys().find(|r| !rule.roles.contains(r)) {
            return Err(PolicyError::Role {
                policy: policy.into(),
                detector: detector.name.clone(),
                role: *role,
            });
        }
        Ok(rule)
    }
}

impl ListConfig {
    /// The patterns, if there are any.
    fn compile(&self, policy: &str, list: &'static str) -> Result<Option<PatternSet>, PolicyError> {
        let error = |problem: String| PolicyError::List {
            policy: policy.into(),
            list,
            problem,
        };
        if list == "allow" && self.action.is_some() {
            return Err(error(
                "action belongs to deny; what is allowed passes".into(),
            ));
        }
        let custom = |name: &str, label: &str, shape: CustomShape| CustomPattern {
            name: name.to_owned(),
            label: label.to_owned(),
            shape,
        };
        let mut patterns: Vec<CustomPattern> = self
            .patterns
            .iter()
            .map(|(name, regex)| custom(name, name, CustomShape::Regex(regex.clone())))
            .collect();
        if !self.words.is_empty() {
            // Texts are read in their canonical form; words must have it, too. What callers wrote is kept
            // beside it for allow-lists, which look at the text as it came.
            let normaliser = Normaliser::new(NormaliseConfig {
                max_depth: 0,
                ..NormaliseConfig::default()
            });
            let folded = self
                .words
                .iter()
                .map(|w| normaliser.normalise(w).text.into_owned());
            let mut words: Vec<String> = self.words.iter().cloned().chain(folded).collect();
            words.sort();
            words.dedup();
            let shape = CustomShape::Words(words);
            patterns.push(custom("words", "DENIED", shape));
        }
        if patterns.is_empty() {
            return Ok(None);
        }
        PatternSet::new(&[], &patterns)
            .map(Some)
            .map_err(|e| error(e.to_string()))
    }
}
