//! Policies as they are configured, and what is made of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{OnError, Policy, PolicyError, Rule};
use crate::detect::Detector;
use crate::detect::patterns::{CustomPattern, CustomShape, PatternSet};
use crate::guard::{Action, Redaction, Role};
use crate::text::normalise::{NormaliseConfig, Normaliser};

/// The most turns of a conversation that are read as one.
const MAX_TURNS: usize = 64;

/// A policy as configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Its version, repeated in every verdict.
    pub version: String,
    /// `closed` or `open`.
    pub on_error: OnError,
    /// Turns of the user that are read as one; as in the built-in policy unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_turns: Option<usize>,
    /// Sizes a check may have.
    pub limits: PolicyLimits,
    /// The detectors it applies, by name.
    pub detectors: BTreeMap<String, RuleConfig>,
    /// What passes whatever detectors say.
    pub allow: ListConfig,
    /// What is a finding of its own.
    pub deny: ListConfig,
}

/// Sizes a check by a policy may have; the server's where absent, and where those are lower.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyLimits {
    /// Bytes of text in all segments together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_text_bytes: Option<usize>,
    /// Segments of a check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_segments: Option<usize>,
    /// Findings listed in a verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_findings: Option<usize>,
}

/// Words and patterns that a policy names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListConfig {
    /// Whole words or phrases, upper and lower case alike.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Whole words or phrases as they are written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exact: Vec<String>,
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
    /// `closed` or `open`; the policy's unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnError>,
    /// The roles it looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<Role>>,
    /// Thresholds that differ from the package's, by label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub thresholds: BTreeMap<String, f32>,
    /// Thresholds in texts of some roles that differ from these.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub role_thresholds: BTreeMap<Role, BTreeMap<String, f32>>,
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

impl Policy {
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
            let rule = Rule::configured(name, config.on_error, rule, known)?;
            rules.insert(detector.clone(), rule);
        }
        if let Some(turns) = config.context_turns.filter(|turns| *turns > MAX_TURNS) {
            return Err(PolicyError::Turns {
                policy: name.into(),
                turns,
                most: MAX_TURNS,
            });
        }
        config.limits.check(name)?;
        Ok(Self {
            id: name.into(),
            version: if config.version.is_empty() {
                "unversioned".into()
            } else {
                config.version.as_str().into()
            },
            on_error: config.on_error,
            context_turns: config.context_turns.unwrap_or(1),
            limits: config.limits.clone(),
            rules,
            allow: config.allow.compile(name, "allow")?,
            deny: config.deny.compile(name, "deny")?,
            deny_action: config.deny.action.unwrap_or(Action::Block),
        })
    }
}

impl Rule {
    /// The built-in rule with what `config` changes.
    fn configured(
        policy: &str,
        on_error: OnError,
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
        let possible = |field: &'static str, thresholds: &BTreeMap<String, f32>| {
            for (label, &threshold) in thresholds {
                known(field, label)?;
                if !(0.0..=1.0).contains(&threshold) {
                    return Err(PolicyError::Threshold {
                        policy: policy.into(),
                        detector: detector.name.clone(),
                        place: format!("{field}.{label}"),
                        problem: format!("{threshold} does not lie between 0 and 1"),
                    });
                }
            }
            Ok(())
        };
        possible("thresholds", &config.thresholds)?;
        rule.thresholds.extend(config.thresholds.clone());
        for thresholds in config.role_thresholds.values() {
            possible("role_thresholds", thresholds)?;
        }
        for label in config.label_actions.keys() {
            known("label_actions", label)?;
        }
        for label in config.label_redactions.keys() {
            known("label_redactions", label)?;
        }
        rule.action = config.action.unwrap_or(rule.action);
        rule.on_error = config.on_error.unwrap_or(on_error);
        rule.role_thresholds.clone_from(&config.role_thresholds);
        rule.role_actions.clone_from(&config.role_actions);
        if config.action.is_some() {
            // An action that is given is that of every label.
            rule.label_actions.clear();
        }
        rule.label_actions.extend(config.label_actions.clone());
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
        let of_actions = rule.role_actions.keys().map(|r| ("role_actions", r));
        let of_thresholds = rule.role_thresholds.keys().map(|r| ("role_thresholds", r));
        let mut named = of_actions.chain(of_thresholds);
        if let Some((field, &role)) = named.find(|(_, role)| !rule.roles.contains(role)) {
            return Err(PolicyError::Role {
                policy: policy.into(),
                detector: detector.name.clone(),
                field,
                role,
            });
        }
        Ok(rule)
    }
}

impl PolicyLimits {
    fn check(&self, policy: &str) -> Result<(), PolicyError> {
        for (limit, value) in [
            ("max_text_bytes", self.max_text_bytes),
            ("max_segments", self.max_segments),
        ] {
            if value == Some(0) {
                return Err(PolicyError::Limit {
                    policy: policy.into(),
                    limit,
                });
            }
        }
        Ok(())
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
        for (name, words, shape) in [
            ("words", &self.words, CustomShape::Words as fn(_) -> _),
            ("exact", &self.exact, CustomShape::Exact),
        ] {
            if !words.is_empty() {
                patterns.push(custom(name, "DENIED", shape(both_forms(words))));
            }
        }
        if patterns.is_empty() {
            return Ok(None);
        }
        PatternSet::new(&[], &patterns)
            .map(Some)
            .map_err(|e| error(e.to_string()))
    }
}

/// `words` as they are and in their canonical form: texts are read in theirs, and allow-lists look at texts
/// as they came.
fn both_forms(words: &[String]) -> Vec<String> {
    let normaliser = Normaliser::new(NormaliseConfig {
        max_depth: 0,
        ..NormaliseConfig::default()
    });
    let folded = words
        .iter()
        .map(|w| normaliser.normalise(w).text.into_owned());
    let mut words: Vec<String> = words.iter().cloned().chain(folded).collect();
    words.sort();
    words.dedup();
    words
}
