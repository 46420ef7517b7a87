//! Which policies a tenant's texts may be checked by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tonic::Code;

use super::status::ApiError;
use crate::guard::{Guard, Selection};

/// `[server.tenant_policies]`: for each tenant that is not free to choose, the policies it may name; the first
/// applies where it names none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantPolicies(BTreeMap<String, Vec<String>>);

impl TenantPolicies {
    /// Fails where a tenant has none, or one that there is not.
    pub(super) fn check(&self, guard: &Guard) -> Result<(), String> {
        for (tenant, policies) in &self.0 {
            let error = |problem: String| format!("server.tenant_policies.{tenant:?}: {problem}");
            if policies.is_empty() {
                return Err(error("names no policy".into()));
            }
            for policy in policies {
                guard.policy(policy).map_err(|e| error(e.to_string()))?;
            }
        }
        Ok(())
    }

    /// The policy for a tenant that asks for `asked`, which is empty where it leaves that open.
    pub(super) fn policy(&self, tenant: &str, asked: &str) -> Result<String, ApiError> {
        match self.0.get(tenant).map(Vec::as_slice) {
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
            Selection::Detectors(_) if self.0.contains_key(tenant) => {
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
