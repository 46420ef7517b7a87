//! Whose a client certificate is: what stays the same when it is renewed.

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

use crate::package::hex;

/// Longest name that a certificate may give, in bytes.
const MAX_NAME: usize = 512;

/// The tenant of a certificate (DER) that TLS verified: its first alternative name that is a URI, or else the first
/// that is one of DNS, or else its public key. None where it cannot be read, or its name is unfit.
pub(super) fn tenant(der: &[u8]) -> Option<String> {
    let der = CertificateDer::from(der);
    let certificate = EndEntityCert::try_from(&der).ok()?;
    let fits =
        |name: &str| (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control);
    if let Some(uri) = certificate.valid_uri_names().next() {
        return fits(uri).then(|| format!("cert:uri:{uri}"));
    }
    if let Some(name) = certificate.valid_dns_names().next() {
        return fits(name).then(|| format!("cert:dns:{}", name.to_ascii_lowercase()));
    }
    let digest = Sha256::digest(certificate.subject_public_key_info());
    Some(format!("cert:key:{}", hex(&digest)))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn of(names: &[SanType], key: &KeyPair) -> Option<String> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        tenant(params.self_signed(key).unwrap().der())
    }

    #[test]
    fn a_renewed_certificate_names_the_same_tenant() {
        let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        let spiffe = uri("spiffe://example.org/gateway");
        for (names, expected) in [
            (
                vec![dns("gateway.example"), spiffe],
                "cert:uri:spiffe://example.org/gateway",
            ),
            (
                vec![dns("Gateway.example"), dns("b.example")],
                "cert:dns:gateway.example",
            ),
        ] {
            for key in [&old, &new] {
                assert_eq!(of(&names, key).as_deref(), Some(expected));
            }
        }
        // Without a name, the same key.
        let by_key = of(&[], &old).unwrap();
        assert!(
            by_key.starts_with("cert:key:") && by_key.len() == 73,
            "{by_key}"
        );
        assert_eq!(of(&[], &old), Some(by_key.clone()));
        assert_ne!(of(&[], &new), Some(by_key));
        assert_eq!(of(&[uri("a\nb")], &old), None);
    }
}
