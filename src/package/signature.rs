//! Packages that somebody has signed: minisign's signature of `guard.toml`, whose checksums cover every other
//! file, in `guard.toml.minisig`.

use std::path::Path;

use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

use super::PackageError;

/// The signature's file.
pub(super) const FILE: &str = "guard.toml.minisig";

/// Public keys of minisign (`RW...`), one of which must have signed a package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct TrustedKeys(Vec<(String, PublicKey)>);

impl TrustedKeys {
    /// Whether nobody needs to have signed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails unless one of the keys signed `manifest`.
    pub(super) fn verify(
        &self,
        dir: &Path,
        manifest: &[u8],
        signature: &[u8],
    ) -> Result<(), PackageError> {
        let error = |problem: &dyn std::fmt::Display| PackageError::file(dir, FILE, problem);
        let text = std::str::from_utf8(signature).map_err(|e| error(&e))?;
        let signature = Signature::decode(text).map_err(|e| error(&e))?;
        let mut keys = self.0.iter();
        match keys.any(|(_, key)| key.verify(manifest, &signature, false).is_ok()) {
            true => Ok(()),
            false => Err(error(&"is of no trusted key, or of another guard.toml")),
        }
    }
}

impl TryFrom<Vec<String>> for TrustedKeys {
    type Error = String;

    fn try_from(keys: Vec<String>) -> Result<Self, String> {
        let parse = |text: String| match PublicKey::from_base64(&text) {
            Ok(key) => Ok((text, key)),
            Err(e) => Err(format!("{text:?} is no public key of minisign: {e}")),
        };
        keys.into_iter()
            .map(parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<TrustedKeys> for Vec<String> {
    fn from(keys: TrustedKeys) -> Self {
        keys.0.into_iter().map(|(text, _)| text).collect()
    }
}
