//! TLS for all that the port speaks: HTTP/2 (gRPC among it) and HTTP/1.1, by ALPN.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{RootCertStore, ServerConfig as TlsConfig};

use super::ServerConfig;
use super::server::ServeError;
use crate::ops::auth::{KeyFileError, Watched};

/// What accepts TLS connections, where `config` names a certificate and its key. With `tls_client_ca`,
/// callers must show a certificate of that authority.
pub(super) fn acceptor(config: &ServerConfig) -> Result<Option<TlsAcceptor>, ServeError> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    let provider = Arc::new(ring::default_provider());
    let builder = TlsConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(cert, e))?;
    let builder = match &config.tls_client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|e| unusable(ca, e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|e| unusable(ca, e))?)
        }
    };
    let (key, provider) = (key.clone(), ring::default_provider());
    let pair = move |cert: &Path| pair(cert, &key, &provider);
    // What is wrong at the start is said in full.
    pair(cert)?;
    let renewed = Watched::new(cert, move |cert| {
        pair(cert).map_err(|e| KeyFileError::new(cert, e))
    })?;
    let mut tls = builder.with_cert_resolver(Arc::new(Renewed(renewed)));
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(tls))))
}

/// The certificate as it is now: issuers renew it while the server runs.
#[derive(Debug)]
struct Renewed(Watched<Arc<CertifiedKey>>);

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.get()))
    }
}

/// A certificate chain, and the private key that belongs to it.
fn pair(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, ServeError> {
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|e| unusable(key, format!("holds no PEM block of a PRIVATE KEY: {e}")))?;
    let pair = CertifiedKey::from_der(certificates(cert)?, secret, provider);
    let pair = pair.map_err(|e| unusable(cert, format!("with {}: {e}", key.display())))?;
    Ok(Arc::new(pair))
}

/// The certificates of a PEM file; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let all = CertificateDer::pem_slice_iter(&read(file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| unusable(file, e))?;
    if all.is_empty() {
        return Err(unusable(file, "holds no PEM block of a CERTIFICATE"));
    }
    Ok(all)
}

fn read(file: &Path) -> Result<Vec<u8>, ServeError> {
    std::fs::read(file).map_err(|e| unusable(file, e))
}

fn unusable(file: &Path, problem: impl std::fmt::Display) -> ServeError {
    ServeError::Tls {
        file: file.display().to_string(),
        problem: problem.to_string(),
    }
}
