//! Who calls: API keys and client certificates.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::package::hex;

/// On whose behalf a request is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant(pub Arc<str>);

impl Tenant {
    /// The caller of a server that asks for no credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }
}

/// Decides who a caller is.
#[derive(Debug, Clone, Default)]
pub struct Authenticator {
    keys: Vec<(Arc<str>, [u8; 32])>,
    certificates: bool,
}

/// Why a caller is turned away. Says nothing about which keys exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthError {
    /// No key where one is needed.
    #[error("no API key: send \"authorization: Bearer KEY\" or \"x-api-key: KEY\"")]
    Missing,
    /// A key nobody has.
    #[error("unknown API key")]
    Unknown,
}

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct KeyFileError {
    file: String,
    problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: BTreeMap<String, OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Authenticator {
    /// Reads the tenants' key hashes from a TOML file: `[keys]`, then `tenant = "sha256:HEX"` or a
    /// list of such (for changing keys). `certificates` says that client certificates were verified
    /// by TLS and identify callers too.
    pub fn new(keys: Option<&Path>, certificates: bool) -> Result<Self, KeyFileError> {
        let mut all = Vec::new();
        if let Some(path) = keys {
            let error = |problem: String| KeyFileError {
                file: path.display().to_string(),
                problem,
            };
            let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
            let file: KeyFile = toml::from_str(&text).map_err(|e| error(e.to_string()))?;
            for (tenant, hashes) in file.keys {
                let hashes = match hashes {
                    OneOrMany::One(hash) => vec![hash],
                    OneOrMany::Many(hashes) => hashes,
                };
                for hash in hashes {
                    let digest = parse_hash(&hash).ok_or_else(|| {
                        error(format!(
                            "keys.{tenant}: not \"sha256:\" and 64 hex digits; make keys with \
                             `portcullis keys new`"
                        ))
                    })?;
                    all.push((Arc::from(tenant.as_str()), digest));
                }
            }
            if all.is_empty() {
                return Err(error("keys: is empty, so nobody could call".into()));
            }
        }
        Ok(Self {
            keys: all,
            certificates,
        })
    }

    /// Whether anybody may call.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.keys.is_empty() && !self.certificates
    }

    /// The tenant behind `key`, or behind a client certificate (DER). Where keys are configured a
    /// key is needed, with or without a certificate.
    pub fn authenticate(
        &self,
        key: Option<&[u8]>,
        certificate: Option<&[u8]>,
    ) -> Result<Tenant, AuthError> {
        if self.keys.is_empty() {
            return Ok(match certificate.filter(|_| self.certificates) {
                Some(der) => Tenant(format!("cert:{}", &hex(&Sha256::digest(der))[..16]).into()),
                None => Tenant::anonymous(),
            });
        }
        let digest: [u8; 32] = Sha256::digest(key.ok_or(AuthError::Missing)?).into();
        // Every key is compared, and in constant time: the time taken tells nothing.
        let mut found = None;
        for (tenant, known) in &self.keys {
            let equal: Choice = known.ct_eq(&digest);
            if bool::from(equal) {
                found = Some(tenant);
            }
        }
        found
            .map(|tenant| Tenant(tenant.clone()))
            .ok_or(AuthError::Unknown)
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
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> Result<Authenticator, KeyFileError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Authenticator::new(Some(file.path()), false)
    }

    #[test]
    fn a_key_names_its_tenant_and_no_other_passes() {
        let (old, old_hash) = new_key();
        let (new, new_hash) = new_key();
        let auth = with_file(&format!("[keys]\na = [\"{old_hash}\", \"{new_hash}\"]\n")).unwrap();
        for key in [&old, &new] {
            let tenant = auth.authenticate(Some(key.as_bytes()), None).unwrap();
            assert_eq!(&*tenant.0, "a");
        }
        assert_eq!(auth.authenticate(None, None), Err(AuthError::Missing));
        assert_eq!(
            auth.authenticate(Some(b"pk_"), None),
            Err(AuthError::Unknown)
        );
        assert_eq!(
            auth.authenticate(Some(old_hash.as_bytes()), None),
            Err(AuthError::Unknown),
            "the hash itself is no key"
        );
    }

    #[test]
    fn a_broken_key_file_is_refused() {
        for text in [
            "",
            "[keys]\n",
            "[keys]\na = \"secret\"\n",
            "[keys]\na = \"sha256:zz\"\n",
        ] {
            assert!(with_file(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_certificate_is_a_tenant_only_where_certificates_count() {
        let by_certificate = Authenticator::new(None, true).unwrap();
        let tenant = by_certificate.authenticate(None, Some(b"der")).unwrap();
        assert!(tenant.0.starts_with("cert:"));
        let open = Authenticator::new(None, false).unwrap();
        assert_eq!(
            open.authenticate(None, Some(b"der")),
            Ok(Tenant::anonymous())
        );
    }
}
