//! Who calls, and what they may do: API keys, JSON Web Tokens, client certificates.

mod blocked;
mod certificate;
mod keys;
mod ring_provider;
mod role;
mod token;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use blocked::Blocked;
use keys::Keys;
pub use keys::new_key;
pub use role::{CallerRole, CallerRoles};
pub use token::JwtConfig;
use token::Tokens;

use super::file::FileError;
use super::watched::{Look, Watched};

/// On whose behalf a request is made, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose limits, pseudonyms and records count.
    pub tenant: Arc<str>,
    /// What they may do.
    pub roles: CallerRoles,
    /// Until when what they presented counts, where it ends: their streams may be open for longer.
    pub until: Option<SystemTime>,
}

impl Caller {
    /// The caller of a server that asks for no credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new("anonymous", CallerRoles::ALL)
    }

    fn new(tenant: impl Into<Arc<str>>, roles: CallerRoles) -> Self {
        Self {
            tenant: tenant.into(),
            roles,
            until: None,
        }
    }
}

/// What a request brings to say who calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'r> {
    /// Of `authorization: Bearer`.
    pub bearer: Option<&'r [u8]>,
    /// Of `x-api-key`.
    pub key: Option<&'r [u8]>,
    /// The connection's client certificate (DER), which TLS verified.
    pub certificate: Option<&'r [u8]>,
}

/// Decides who a caller is.
#[derive(Debug, Clone, Default)]
pub struct Authenticator {
    keys: Option<Arc<Watched<Keys>>>,
    tokens: Option<Arc<Tokens>>,
    certificates: bool,
    blocked: Option<Arc<Watched<Blocked>>>,
}

/// Where credentials are known from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'c> {
    /// File of API-key hashes.
    pub keys: Option<&'c Path>,
    /// An issuer of tokens.
    pub jwt: Option<&'c JwtConfig>,
    /// Client certificates were verified by TLS, and identify callers where neither of those is configured.
    pub certificates: bool,
    /// File of the tenants that are turned away.
    pub blocked: Option<&'c Path>,
}

/// Why a caller is turned away. Says nothing about which keys exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthError {
    /// No credentials where some are needed.
    #[error("no credentials: send \"authorization: Bearer KEY\" or \"x-api-key: KEY\"")]
    Missing,
    /// A key nobody has.
    #[error("unknown API key")]
    Unknown,
    /// A certificate that names nobody.
    #[error("the certificate is not accepted: it cannot be read")]
    Certificate,
    /// A token that does not count.
    #[error("the token is not accepted: {0}")]
    Token(&'static str),
    /// A tenant who is turned away.
    #[error("{0} is blocked")]
    Blocked(Arc<str>),
}

impl Authenticator {
    /// Reads the files.
    pub fn new(credentials: Credentials<'_>) -> Result<Self, FileError> {
        let keys = credentials.keys.map(|file| Watched::new(file, Keys::read));
        let blocked = credentials
            .blocked
            .map(|file| Watched::new(file, Blocked::read));
        Ok(Self {
            keys: keys.transpose()?.map(Arc::new),
            tokens: credentials.jwt.map(Tokens::new).transpose()?.map(Arc::new),
            certificates: credentials.certificates,
            blocked: blocked.transpose()?.map(Arc::new),
        })
    }

    /// The files that were read, to be looked at while the server runs.
    #[must_use]
    pub fn files(&self) -> Vec<Arc<dyn Look>> {
        let keys = self.keys.iter().map(|file| file.clone() as Arc<dyn Look>);
        let blocked = self.blocked.iter().map(|file| file.clone() as _);
        let tokens = self.tokens.iter().map(|tokens| tokens.file());
        keys.chain(blocked).chain(tokens).collect()
    }

    /// Who presents this. Where keys or tokens are configured one is needed, with or without a certificate;
    /// otherwise a certificate is a tenant of its own.
    pub fn authenticate(&self, presented: Presented<'_>) -> Result<Caller, AuthError> {
        let caller = self.identify(presented)?;
        self.expect_still(&caller.tenant, caller.until)?;
        Ok(caller)
    }

    /// Fails for a tenant that is turned away, or whose credentials have ended, while its streams are open.
    pub fn expect_still(
        &self,
        tenant: &Arc<str>,
        until: Option<SystemTime>,
    ) -> Result<(), AuthError> {
        if until.is_some_and(|until| until <= SystemTime::now()) {
            return Err(AuthError::Token(token::EXPIRED));
        }
        match &self.blocked {
            Some(blocked) if blocked.get().holds(tenant) => Err(AuthError::Blocked(tenant.clone())),
            _ => Ok(()),
        }
    }

    fn identify(&self, presented: Presented<'_>) -> Result<Caller, AuthError> {
        if self.keys.is_none() && self.tokens.is_none() {
            if !self.certificates {
                return Ok(Caller::anonymous());
            }
            let certificate = presented.certificate.ok_or(AuthError::Missing)?;
            let tenant = certificate::tenant(certificate).ok_or(AuthError::Certificate)?;
            return Ok(Caller::new(tenant, CallerRoles::ALL));
        }
        if let (Some(tokens), Some(bearer)) = (&self.tokens, presented.bearer)
            && token::is_token(bearer)
        {
            return tokens.verify(bearer);
        }
        let key = presented
            .bearer
            .or(presented.key)
            .ok_or(AuthError::Missing)?;
        let found = self.keys.as_ref().and_then(|keys| keys.get().find(key));
        let (tenant, roles) = found.ok_or(AuthError::Unknown)?;
        Ok(Caller::new(tenant, roles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> Result<Authenticator, FileError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Authenticator::new(Credentials {
            keys: Some(file.path()),
            ..Credentials::default()
        })
    }

    fn key(key: &[u8]) -> Presented<'_> {
        Presented {
            key: Some(key),
            ..Presented::default()
        }
    }

    #[test]
    fn a_key_names_its_tenant_and_no_other_passes() {
        let (old, old_hash) = new_key();
        let (new, new_hash) = new_key();
        let auth = with_file(&format!("[keys]\na = [\"{old_hash}\", \"{new_hash}\"]\n")).unwrap();
        for key in [&old, &new] {
            let caller = auth.authenticate(self::key(key.as_bytes())).unwrap();
            assert_eq!((&*caller.tenant, caller.roles), ("a", CallerRoles::ALL));
        }
        let nothing = auth.authenticate(Presented::default());
        assert_eq!(nothing, Err(AuthError::Missing));
        // The hash itself is no key.
        for wrong in [b"pk_", old_hash.as_bytes()] {
            assert_eq!(auth.authenticate(key(wrong)), Err(AuthError::Unknown));
        }
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
    fn a_tenant_has_the_roles_that_are_listed_or_all() {
        let (one, one_hash) = new_key();
        let (all, all_hash) = new_key();
        let keys = format!("[keys]\none = \"{one_hash}\"\nall = \"{all_hash}\"\n[roles]\n");
        let auth = with_file(&format!("{keys}one = [\"check\"]\n")).unwrap();
        let one = auth.authenticate(key(one.as_bytes())).unwrap().roles;
        assert!(
            one.allow(CallerRole::Check)
                && !one.allow(CallerRole::Scores)
                && !one.allow(CallerRole::Restore)
        );
        let all = auth.authenticate(key(all.as_bytes())).unwrap().roles;
        assert_eq!(all, CallerRoles::ALL);
        for (line, named) in [
            ("one = [\"chek\"]", "chek"),
            ("two = [\"check\"]", "roles.two"),
        ] {
            let error = with_file(&format!("{keys}{line}\n")).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn a_certificate_is_a_tenant_only_where_certificates_count() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap();
        let certificate = Presented {
            certificate: Some(der.der()),
            ..Presented::default()
        };
        let by_certificate = Authenticator::new(Credentials {
            certificates: true,
            ..Credentials::default()
        })
        .unwrap();
        let caller = by_certificate.authenticate(certificate).unwrap();
        assert_eq!(&*caller.tenant, "cert:dns:gateway");
        let nonsense = Presented {
            certificate: Some(b"der"),
            ..Presented::default()
        };
        let refused = by_certificate.authenticate(nonsense);
        assert_eq!(refused, Err(AuthError::Certificate));
        let open = Authenticator::new(Credentials::default()).unwrap();
        assert_eq!(open.authenticate(certificate), Ok(Caller::anonymous()));
    }
}
