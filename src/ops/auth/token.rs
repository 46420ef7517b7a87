//! JSON Web Tokens (RFC 7519) of an issuer whose public keys are in a file (a JWK set, RFC 7517).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AuthError, Caller, CallerRoles, ring_provider};
use crate::ops::file::{self, FileError};
use crate::ops::watched::{Look, Watched};

/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 << 10;
/// Longest name of a tenant that a token may give, in bytes.
const MAX_TENANT: usize = 128;
/// By how much clocks may differ, in seconds.
const LEEWAY: u64 = 60;
pub(super) const EXPIRED: &str = "it has expired";
const UNFIT: &str = "\"exp\", \"iss\" or \"aud\" is missing or unfit";

/// `[server.jwt]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// The issuer's public keys: a JWK set, read again when it changes.
    pub keys: PathBuf,
    /// Who must have issued a token (`iss`).
    pub issuer: String,
    /// Whom it must be meant for (`aud`).
    pub audience: String,
    /// The claim that names the tenant, `jwt:` before it.
    #[serde(default = "subject")]
    pub tenant_claim: String,
    /// The claim that lists the caller's roles, as an array or in a string with spaces; all where none is
    /// named here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles_claim: Option<String>,
}

fn subject() -> String {
    "sub".into()
}

/// Whether a credential is a token rather than a key.
pub(super) fn is_token(bearer: &[u8]) -> bool {
    bearer.iter().filter(|b| **b == b'.').count() == 2
}

/// What tokens are verified with.
#[derive(Debug)]
pub(super) struct Tokens {
    config: JwtConfig,
    keys: Arc<Watched<Vec<Key>>>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

impl Tokens {
    pub(super) fn new(config: &JwtConfig) -> Result<Self, FileError> {
        ring_provider::install();
        let of_keys = config.clone();
        Ok(Self {
            keys: Arc::new(Watched::new(&config.keys, move |file| {
                read(file, &of_keys)
            })?),
            config: config.clone(),
        })
    }

    pub(super) fn file(&self) -> Arc<dyn Look> {
        self.keys.clone()
    }

    /// Whose token it is, and what it allows.
    pub(super) fn verify(&self, token: &[u8]) -> Result<Caller, AuthError> {
        let refused = |why| Err(AuthError::Token(why));
        if token.len() > MAX_TOKEN {
            return refused("it is too long");
        }
        let Ok(header) = decode_header(token) else {
            return refused("it cannot be read");
        };
        // An extension that must be understood (RFC 7515, 4.1.11), of which none is.
        if header.crit.is_some() {
            return refused("its header has \"crit\"");
        }
        let keys = self.keys.get();
        let key = match &header.kid {
            Some(id) => keys.iter().find(|key| key.id.as_ref() == Some(id)),
            None if keys.len() == 1 => keys.first(),
            None => None,
        };
        let Some(key) = key else {
            return refused("no key of the issuer has its \"kid\"");
        };
        let decoded = decode::<Map<String, Value>>(token, &key.key, &key.validation);
        let claims = decoded
            .map_err(|e| AuthError::Token(reason(e.kind())))?
            .claims;
        let tenant = claims
            .get(&self.config.tenant_claim)
            .and_then(Value::as_str);
        let fits = |name: &&str| {
            (1..=MAX_TENANT).contains(&name.len()) && !name.contains(char::is_control)
        };
        let Some(tenant) = tenant.filter(fits) else {
            return refused("the claim that names the tenant is missing or unfit");
        };
        // `exp` is required.
        let Some(until) = claims.get("exp").and_then(end) else {
            return refused(UNFIT);
        };
        Ok(Caller {
            // No name that a key file can give, nor that of a certificate.
            tenant: format!("jwt:{tenant}").into(),
            roles: match &self.config.roles_claim {
                None => CallerRoles::ALL,
                Some(claim) => roles(claims.get(claim)),
            },
            until: Some(until),
        })
    }
}

fn read(file: &Path, config: &JwtConfig) -> Result<Vec<Key>, FileError> {
    let error = |problem: String| FileError::new(file, problem);
    let set: JwkSet = file::json(file)?;
    let mut keys = Vec::new();
    for jwk in &set.keys {
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err(error(
                "holds a shared secret; public keys are needed".into(),
            ));
        }
        let algorithms = algorithms(jwk);
        if algorithms.is_empty() {
            continue;
        }
        let key = DecodingKey::from_jwk(jwk).map_err(|e| error(e.to_string()))?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.algorithms = algorithms;
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        keys.push(Key {
            id: jwk.common.key_id.clone(),
            key,
            validation,
        });
    }
    match keys.is_empty() {
        true => Err(error(
            "no key in it verifies RSA, ECDSA or Ed25519 signatures".into(),
        )),
        false => Ok(keys),
    }
}

/// The algorithms that a key's signatures may have: by its kind, never by what a token says.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    if jwk
        .common
        .public_key_use
        .as_ref()
        .is_some_and(|u| *u != PublicKeyUse::Signature)
    {
        return Vec::new();
    }
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(pair) => match pair.curve {
            EllipticCurve::Ed25519 => &[EdDSA],
            _ => &[],
        },
        _ => &[],
    };
    let named = jwk.common.key_algorithm.map(|a| a.to_string());
    let of_kind = of_kind.iter().copied();
    match named {
        None => of_kind.collect(),
        Some(name) => of_kind.filter(|a| format!("{a:?}") == name).collect(),
    }
}

/// When a token of this `exp` ends, whichever clock is right.
fn end(exp: &Value) -> Option<SystemTime> {
    let seconds = Duration::try_from_secs_f64(exp.as_f64()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(seconds + Duration::from_secs(LEEWAY))
}

fn roles(claim: Option<&Value>) -> CallerRoles {
    match claim {
        Some(Value::String(names)) => CallerRoles::among(names.split(' ')),
        Some(Value::Array(names)) => CallerRoles::among(names.iter().filter_map(Value::as_str)),
        _ => CallerRoles::default(),
    }
}

/// What a caller is told.
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => EXPIRED,
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "it is of another issuer",
        ErrorKind::InvalidAudience => "it is meant for others",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => UNFIT,
        ErrorKind::InvalidAlgorithm => "its algorithm is not the key's",
        _ => "its signature is not the issuer's",
    }
}
