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
use crate::ops::file::{self, FileError};
use crate::ops::watched::{Look, Watched};

/// What accepts TLS connections, and the file of its certificate.
type Accepting = (TlsAcceptor, Arc<dyn Look>);

/// What accepts TLS connections, where `config` names a certificate and its key. With `tls_client_ca`,
/// callers must show a certificate of that authority. The certificate's file is to be looked at now and then.
pub(super) fn acceptor(config: &ServerConfig) -> Result<Option<Accepting>, FileError> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    let provider = Arc::new(ring::default_provider());
    let builder = TlsConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| FileError::new(cert, e))?;
    let builder = match &config.tls_client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|e| FileError::new(ca, e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|e| FileError::new(ca, e))?)
        }
    };
    let (key, provider) = (key.clone(), ring::default_provider());
    let renewed = Watched::new(cert, move |cert| pair(cert, &key, &provider))?;
    let renewed = Arc::new(renewed);
    let mut tls = builder.with_cert_resolver(Arc::new(Renewed(renewed.clone())));
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some((TlsAcceptor::from(Arc::new(tls)), renewed)))
}

/// The certificate as it is now: issuers renew it while the server runs.
#[derive(Debug)]
struct Renewed(Arc<Watched<CertifiedKey>>);

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get())
    }
}

/// A certificate chain, and the private key that belongs to it.
fn pair(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, FileError> {
    let secret = PrivateKeyDer::from_pem_slice(&file::bytes(key)?)
        .map_err(|e| FileError::new(key, format!("holds no PEM block of a PRIVATE KEY: {e}")))?;
    let pair = CertifiedKey::from_der(certificates(cert)?, secret, provider);
    pair.map_err(|e| FileError::new(cert, format!("with {}: {e}", key.display())))
}

/// The certificates of a PEM file; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let all = CertificateDer::pem_slice_iter(&file::bytes(file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| FileError::new(file, e))?;
    if all.is_empty() {
        return Err(FileError::new(file, "holds no PEM block of a CERTIFICATE"));
    }
    Ok(all)
}
