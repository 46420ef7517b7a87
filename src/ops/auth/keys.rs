//! The file of API-key hashes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::CallerRoles;
use crate::ops::file::{self, FileError};
use crate::package::hex;

/// The tenants' keys, and what each tenant may do.
#[derive(Debug)]
pub(super) struct Keys {
    hashes: Vec<(Arc<str>, [u8; 32])>,
    roles: BTreeMap<String, CallerRoles>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    roles: BTreeMap<String, CallerRoles>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Keys {
    /// Reads the tenants' key hashes from a TOML file: `[keys]`, then `tenant = "sha256:HEX"` or a
    /// list of such (for changing keys); `[roles]` lists those of a tenant that has not all.
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let error = |problem: String| FileError::new(path, problem);
        let file: KeyFile = file::toml(path)?;
        if let Some(stranger) = file.roles.keys().find(|t| !file.keys.contains_key(*t)) {
            return Err(error(format!("roles.{stranger}: has no key under [keys]")));
        }
        let mut hashes: Vec<(Arc<str>, [u8; 32])> = Vec::new();
        for (tenant, listed) in file.keys {
            // Names with a colon are those of tokens and certificates.
            if tenant.is_empty() || tenant.contains(|c: char| c == ':' || c.is_control()) {
                return Err(error(format!("keys.{tenant:?}: is no name of a tenant")));
            }
            let listed = match listed {
                OneOrMany::One(hash) => vec![hash],
                OneOrMany::Many(hashes) => hashes,
            };
            for hash in listed {
                let digest = parse_hash(&hash).ok_or_else(|| {
                    error(format!(
                        "keys.{tenant}: not \"sha256:\" and 64 hex digits; make keys with \
                         `portcullis keys new`"
                    ))
                })?;
                if let Some((other, _)) = hashes.iter().find(|(_, known)| *known == digest) {
                    return Err(error(format!("keys.{tenant}: has the key of {other}")));
                }
                hashes.push((Arc::from(tenant.as_str()), digest));
            }
        }
        if hashes.is_empty() {
            return Err(error("keys: is empty, so nobody could call".into()));
        }
        Ok(Self {
            hashes,
            roles: file.roles,
        })
    }

    /// Whose key it is, and what it allows.
    pub(super) fn find(&self, key: &[u8]) -> Option<(Arc<str>, CallerRoles)> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        // Every key is compared, and in constant time: the time taken tells nothing.
        let mut found = None;
        for (tenant, known) in &self.hashes {
            let equal: Choice = known.ct_eq(&digest);
            if bool::from(equal) {
                found = Some(tenant);
            }
        }
        let tenant = found?;
        let roles = self.roles.get(&**tenant).copied();
        Some((tenant.clone(), roles.unwrap_or(CallerRoles::ALL)))
    }
}

/// A new key of 256 random bits, and the hash that a key file lists for it.
#[must_use]
pub fn new_key() -> (String, String) {
    let key = format!("pk_{}", hex(&rand::random::<[u8; 32]>()));
    let hash = format!("sha256:{}", hex(&Sha256::digest(key.as_bytes())));
    (key, hash)
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:")?;
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}
