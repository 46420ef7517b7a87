//! Which policies a tenant's texts may be checked by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tonic::Code;

use super::status::ApiError;
use crate::guard::{Check, Guard, Selection};

/// `[server.tenant_policies]`: the policies that tenants may name, of which the first applies where they name none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantPolicies {
    /// Of every tenant that is not listed; any where none are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Vec<String>>,
    /// Of these tenants.
    pub tenants: BTreeMap<String, Vec<String>>,
}

impl TenantPolicies {
    /// Fails where a tenant has none, or one that there is not.
    pub(super) fn check(&self, guard: &Guard) -> Result<(), String> {
        let tenants = self.tenants.iter();
        let tenants = tenants.map(|(tenant, policies)| (format!("tenants.{tenant:?}"), policies));
        let default = self
            .default
            .iter()
            .map(|policies| ("default".into(), policies));
        for (key, policies) in tenants.chain(default) {
            let error = |problem: String| format!("server.tenant_policies.{key}: {problem}");
            if policies.is_empty() {
                return Err(error("names no policy".into()));
            }
            for policy in policies {
                guard.policy(policy).map_err(|e| error(e.to_string()))?;
            }
        }
        Ok(())
    }

    /// All that are named.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.tenants.values().chain(&self.default).flatten()
    }

    /// Those that a tenant may name, if it is not free.
    fn of(&self, tenant: &str) -> Option<&[String]> {
        let policies = self.tenants.get(tenant).or(self.default.as_ref());
        policies.map(Vec::as_slice)
    }

    /// Puts in place of `asked` the policy that the tenant gets, which leaves it empty where it does not choose.
    pub(super) fn apply(&self, tenant: &str, asked: &mut String) -> Result<(), ApiError> {
        match self.of(tenant) {
            None => Ok(()),
            Some([first, ..]) if asked.is_empty() => {
                asked.clone_from(first);
                Ok(())
            }
            Some(policies) if policies.contains(asked) => Ok(()),
            Some(_) => Err(refused(tenant, &format!("the policy {asked:?}"))),
        }
    }

    /// The same for a check, which may ask for detectors of the tenant's own choice only where it is free.
    pub(super) fn apply_to(&self, check: &mut Check) -> Result<(), ApiError> {
        match &mut check.selection {
            Selection::Policy(asked) => self.apply(&check.tenant, asked),
            Selection::Detectors(_) if self.of(&check.tenant).is_some() => {
                Err(refused(&check.tenant, "detectors instead of a policy"))
            }
            Selection::Detectors(_) => Ok(()),
        }
    }
}

fn refused(tenant: &str, what: &str) -> ApiError {
    let problem = format!("{tenant} may not choose {what}");
    ApiError::new(Code::PermissionDenied, "POLICY", problem)
}
