//! Tenants that are turned away whatever they present: for incidents.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::ops::file::{self, FileError};

/// The file: `tenants = ["gateway-a", "jwt:ann"]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Blocked {
    tenants: BTreeSet<String>,
}

impl Blocked {
    pub(super) fn read(file: &Path) -> Result<Self, FileError> {
        file::toml(file)
    }

    pub(super) fn holds(&self, tenant: &str) -> bool {
        self.tenants.contains(tenant)
    }
}
