//! Policies: which detectors apply to which roles, from which score, and with what consequence.

mod config;
mod error;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use config::{ListConfig, PolicyConfig, PolicyLimits, RuleConfig};
pub use error::PolicyError;

use super::{Action, Limits, Redaction, Role};
use crate::detect::Detector;
use crate::detect::patterns::PatternSet;

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
    /// What a verdict does when a part of a text could not be read at all.
    pub on_error: OnError,
    /// Turns of the user that are read as one, from the last one back: 1 joins the texts of a turn, 0
    /// nothing.
    pub context_turns: usize,
    /// Sizes a check may have, where they are below the server's.
    pub limits: PolicyLimits,
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
    /// What a verdict does when this detector could not finish.
    pub on_error: OnError,
    /// The roles it looks at.
    pub roles: Vec<Role>,
    /// Score from which each label is a finding.
    pub thresholds: BTreeMap<String, f32>,
    /// Thresholds in texts of some roles that differ from these.
    pub role_thresholds: BTreeMap<Role, BTreeMap<String, f32>>,
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

    /// The score from which `label` is a finding in a text of `role`; none: never.
    #[must_use]
    pub fn threshold(&self, label: &str, role: Role) -> Option<f32> {
        let of_role = self.role_thresholds.get(&role).and_then(|t| t.get(label));
        of_role.or_else(|| self.thresholds.get(label)).copied()
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

impl Policy {
    /// The policy that a server without configuration applies: injection where text comes from
    /// outside (users, tools, documents) and toxicity in what users and models say are blocked;
    /// personal data and secrets are redacted everywhere but in the application's own instructions, but for
    /// addresses of pages, which are noted and mostly nobody's; hidden text is noted; a detector of any other
    /// kind blocks wherever it finds something.
    #[must_use]
    pub fn built_in(detectors: &[Detector]) -> Self {
        Self {
            id: DEFAULT.into(),
            version: "built-in".into(),
            on_error: OnError::Closed,
            context_turns: 1,
            limits: PolicyLimits::default(),
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

    /// Whether what could not be read at all does not pass, where one of `roles` may have said it: where the policy
    /// fails closed, or a detector that would have read it.
    #[must_use]
    pub fn fails_closed(&self, roles: &[Role]) -> bool {
        let mut rules = self.rules.values();
        self.on_error == OnError::Closed
            || rules.any(|rule| {
                rule.on_error == OnError::Closed && roles.iter().any(|r| rule.roles.contains(r))
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

    /// The sizes a check by this policy may have on a server that allows `server`.
    #[must_use]
    pub fn limits(&self, server: &Limits) -> Limits {
        let least = |own: Option<usize>, all: usize| own.map_or(all, |own| own.min(all));
        Limits {
            max_text_bytes: least(self.limits.max_text_bytes, server.max_text_bytes),
            max_segments: least(self.limits.max_segments, server.max_segments),
            max_findings: least(self.limits.max_findings, server.max_findings),
            max_id_bytes: server.max_id_bytes,
        }
    }
}

/// The label of addresses of pages.
const URL: &str = "URL";

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
            on_error: OnError::Closed,
            role_thresholds: BTreeMap::new(),
            role_actions: BTreeMap::new(),
            label_actions: match detector.kind.as_str() {
                "pii" if detector.labels.iter().any(|l| l == URL) => {
                    [(URL.to_owned(), Action::Monitor)].into()
                }
                _ => BTreeMap::new(),
            },
            redaction: Redaction::default(),
            label_redactions: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_fails_closed_by_its_own_word_or_that_of_a_detector_which_reads_the_role() {
        let rule = |on_error, role| Rule {
            action: Action::Block,
            on_error,
            roles: vec![role],
            thresholds: BTreeMap::new(),
            role_thresholds: BTreeMap::new(),
            role_actions: BTreeMap::new(),
            label_actions: BTreeMap::new(),
            redaction: Redaction::default(),
            label_redactions: BTreeMap::new(),
        };
        let (open, closed) = (OnError::Open, OnError::Closed);
        for (own, of_detector, role, expected) in [
            (open, open, Role::User, false),
            (open, closed, Role::User, true),
            (open, closed, Role::Tool, false),
            (closed, open, Role::User, true),
            (closed, open, Role::Tool, true),
        ] {
            let mut policy = Policy::built_in(&[]);
            policy.on_error = own;
            let rules = [("d".to_owned(), rule(of_detector, Role::User))];
            policy.rules = rules.into();
            assert_eq!(policy.fails_closed(&[role]), expected);
            let any = own == closed || of_detector == closed;
            assert_eq!(policy.fails_closed(&Role::ALL), any);
        }
    }
}
