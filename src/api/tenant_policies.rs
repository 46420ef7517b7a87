//! Which policies a tenant's texts may be checked by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tonic::Code;

use super::status::ApiError;
use crate::guard::{Guard, Selection};

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

    /// The policy for a tenant that asks for `asked`, which is empty where it leaves that open.
    pub(super) fn policy(&self, tenant: &str, asked: &str) -> Result<String, ApiError> {
        match self.of(tenant) {
            None => Ok(asked.to_owned()),
            Some([first, ..]) if asked.is_empty() => Ok(first.clone()),
            Some(policies) if policies.iter().any(|p| p == asked) => Ok(asked.to_owned()),
            Some(_) => Err(refused(tenant, &format!("the policy {asked:?}"))),
        }
    }

    /// What a tenant that asks for `asked` gets: detectors of its own choice only where it is free.
    pub(super) fn selection(&self, tenant: &str, asked: &Selection) -> Result<Selection, ApiError> {
        match asked {
            Selection::Policy(asked) => self.policy(tenant, asked).map(Selection::Policy),
            Selection::Detectors(_) if self.of(tenant).is_some() => {
                Err(refused(tenant, "detectors instead of a policy"))
            }
            Selection::Detectors(_) => Ok(asked.clone()),
        }
    }
}

fn refused(tenant: &str, what: &str) -> ApiError {
    let problem = format!("{tenant} may not choose {what}");
    ApiError::new(Code::PermissionDenied, "POLICY", problem)
}
