//! Which detectors a check asks for, and the rule each follows.

use super::policy::{DEFAULT, Policies};
use super::{CheckError, Guard, Policy, PolicyError, Role, Rule, Selection};
use crate::detect::Detector;

/// A detector chosen for a check, with the rule it follows.
pub(super) struct Chosen<'g> {
    pub(super) detector: &'g Detector,
    pub(super) rule: &'g Rule,
    /// Applies to every segment, whatever its role.
    every_role: bool,
}

impl Chosen<'_> {
    pub(super) fn covers(&self, role: Role) -> bool {
        self.every_role || self.rule.roles.contains(&role)
    }
}

impl Guard {
    /// The policy that `selection` names among `policies`, and the detectors it applies.
    pub(super) fn choose<'g>(
        &'g self,
        policies: &'g Policies,
        selection: &Selection,
    ) -> Result<(&'g Policy, Vec<Chosen<'g>>), CheckError> {
        let (name, names) = match selection {
            Selection::Policy(name) if name.is_empty() => (DEFAULT, None),
            Selection::Policy(name) => (name.as_str(), None),
            Selection::Detectors(names) => (DEFAULT, Some(names)),
        };
        let policy = policies.get(name).ok_or_else(|| PolicyError::Unknown {
            name: name.to_owned(),
            known: policies.keys().cloned().collect(),
        })?;
        let mut chosen = Vec::new();
        match names {
            None => {
                for (name, rule) in &policy.rules {
                    if let Some(detector) = self.catalog().detector(name) {
                        chosen.push(Chosen {
                            detector,
                            rule,
                            every_role: false,
                        });
                    }
                }
            }
            Some(names) => {
                for (i, name) in names.iter().enumerate() {
                    let field = format!("detectors[{i}]");
                    let rule = policy
                        .rules
                        .get(name)
                        .or_else(|| self.built_in().rules.get(name));
                    let (Some(detector), Some(rule)) = (self.catalog().detector(name), rule) else {
                        let known = self.catalog().detectors.iter().map(|d| d.name.as_str());
                        let known = known.collect::<Vec<_>>().join(", ");
                        let problem = format!("{name:?} is not served; {known} are");
                        return Err(CheckError::invalid(field, problem));
                    };
                    if names[..i].contains(name) {
                        return Err(CheckError::invalid(field, "is given twice"));
                    }
                    chosen.push(Chosen {
                        detector,
                        rule,
                        every_role: true,
                    });
                }
            }
        }
        Ok((policy, chosen))
    }
}
