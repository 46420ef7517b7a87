//! Bringing back what pseudonyms stand for: the caller keeps a sealed token, the server keeps nothing.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hkdf};
use serde::{Deserialize, Serialize};

/// Seals and opens tokens with one key.
pub struct Restorer {
    /// None only if the key could not be derived: then nothing is sealed or opened.
    key: Option<LessSafeKey>,
    random: SystemRandom,
    lifetime: Duration,
}

/// What a token holds.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// Seconds since 1970 after which it is worth nothing.
    expires: u64,
    /// Pseudonym to what it stands for.
    texts: BTreeMap<String, String>,
}

/// Why a token was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It was changed, sealed with another key or for another tenant, or never was one.
    #[error("is no token of this server for this tenant, or was changed")]
    Invalid,
    /// It is too old.
    #[error("has expired")]
    Expired,
    /// The system gives no randomness.
    #[error("cannot be sealed: the system gives no random numbers")]
    Random,
}

/// First byte of every token.
const VERSION: u8 = 1;

impl Restorer {
    /// Seals with a key derived from `secret`; tokens are worth something for `lifetime`.
    #[must_use]
    pub fn new(secret: &[u8], lifetime: Duration) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis restore 1").extract(secret);
        // An output as long as the key cannot fail: both lengths are the algorithm's.
        let key = prk.expand(&[b"aes-256-gcm"], &AES_256_GCM).map_or_else(
            |_| None,
            |okm| Some(LessSafeKey::new(UnboundKey::from(okm))),
        );
        Self {
            key,
            random: SystemRandom::new(),
            lifetime,
        }
    }

    /// A token with which `tenant` can restore `texts` (pseudonym to what it stands for).
    pub fn seal(
        &self,
        tenant: &str,
        texts: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, RestoreError> {
        let sealed = Sealed {
            expires: now().saturating_add(self.lifetime.as_secs()),
            texts: texts.clone(),
        };
        let mut body = serde_json::to_vec(&sealed).map_err(|_| RestoreError::Invalid)?;
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .map_err(|_| RestoreError::Random)?;
        let key = self.key.as_ref().ok_or(RestoreError::Random)?;
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(binding(tenant)),
            &mut body,
        )
        .map_err(|_| RestoreError::Invalid)?;
        let mut token = vec![VERSION];
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&body);
        Ok(token)
    }

    /// `text` with each pseudonym that `token` knows replaced by what it stands for, and how many were.
    pub fn restore(
        &self,
        tenant: &str,
        token: &[u8],
        text: &str,
    ) -> Result<(String, usize), RestoreError> {
        let (&version, rest) = token.split_first().ok_or(RestoreError::Invalid)?;
        let (nonce, body) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(RestoreError::Invalid)?;
        if version != VERSION {
            return Err(RestoreError::Invalid);
        }
        let mut body = body.to_vec();
        let key = self.key.as_ref().ok_or(RestoreError::Invalid)?;
        let opened = key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(binding(tenant)),
                &mut body,
            )
            .map_err(|_| RestoreError::Invalid)?;
        let sealed: Sealed = serde_json::from_slice(opened).map_err(|_| RestoreError::Invalid)?;
        if now() >= sealed.expires {
            return Err(RestoreError::Expired);
        }
        Ok(replace(text, &sealed.texts))
    }
}

/// What a token is bound to beside its key.
fn binding(tenant: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, tenant.as_bytes())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(u64::MAX, |d| d.as_secs())
}

/// Replaces pseudonyms, all of which stand in brackets. What is put in is not looked at again.
fn replace(text: &str, texts: &BTreeMap<String, String>) -> (String, usize) {
    let mut out = String::with_capacity(text.len());
    let mut count = 0;
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let end = from[1..].find(['[', ']']).map(|close| close + 2);
        let hit = end.and_then(|end| Some((end, texts.get(from.get(..end)?)?)));
        match hit {
            Some((end, original)) => {
                out.push_str(original);
                count += 1;
                rest = &from[end..];
            }
            None => {
                out.push('[');
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
    (out, count)
}

impl std::fmt::Debug for Restorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restorer")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restorer(secret: &[u8], seconds: u64) -> Restorer {
        Restorer::new(secret, Duration::from_secs(seconds))
    }

    #[test]
    fn a_token_restores_what_it_was_sealed_for_and_nothing_else() {
        let texts = BTreeMap::from([
            ("[PERSON_A]".to_owned(), "Ada [EMAIL_B]".to_owned()),
            ("[EMAIL_B]".to_owned(), "ada@example.org".to_owned()),
        ]);
        let ours = restorer(b"secret", 60);
        let token = ours.seal("acme", &texts).unwrap();
        assert!(
            !token.windows(3).any(|w| w == b"ada"),
            "the token shows nothing"
        );
        let text = "[x] [[PERSON_A], [EMAIL_B]; [EMAIL_C] [";
        let (restored, count) = ours.restore("acme", &token, text).unwrap();
        assert_eq!(restored, "[x] [Ada [EMAIL_B], ada@example.org; [EMAIL_C] [");
        assert_eq!(count, 2);

        let invalid = Err(RestoreError::Invalid);
        assert_eq!(ours.restore("other", &token, text), invalid);
        assert_eq!(
            restorer(b"other", 60).restore("acme", &token, text),
            invalid
        );
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            assert_eq!(ours.restore("acme", &changed, text), invalid, "byte {at}");
            assert_eq!(ours.restore("acme", &token[..at], text), invalid);
        }
        let old = restorer(b"secret", 0).seal("acme", &texts).unwrap();
        assert_eq!(ours.restore("acme", &old, text), Err(RestoreError::Expired));
    }
}
