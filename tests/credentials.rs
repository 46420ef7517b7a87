//! Who may call: API keys, TLS, client certificates, and which addresses may do without.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use portcullis::api::pb::v1::{CheckStreamRequest, check_stream_response};
use portcullis::config::Config;
use portcullis::ops::auth::new_key;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig as TlsConfig, RootCertStore};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request};

use crate::support::{TestServer, tiny, user, wait_ready};
use crate::wire::{exchange, request};

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_file_only_known_keys_pass_and_health_needs_none() {
    let dir = tempfile::tempdir().unwrap();
    let (key, hash) = new_key();
    let mut config = tiny();
    let file = format!("[keys]\ngateway = \"{hash}\"\n");
    config.server.api_keys = Some(write(dir.path(), "keys.toml", &file));
    let server = TestServer::start(config).await; // asks for health without a key
    let mut client = server.client().await;
    let with = |name: &'static str, value: String| {
        let mut request = Request::new(user("x"));
        request.metadata_mut().insert(name, value.parse().unwrap());
        request
    };
    for request in [
        Request::new(user("x")),
        with("authorization", "Bearer pk_wrong".into()),
        with("authorization", format!("Basic {key}")),
        with("authorization", "Bearer".into()),
        with("x-api-key", hash.clone()),
        with("x-api-key", String::new()),
    ] {
        let error = client.check(request).await.unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
        assert!(!error.message().contains("pk_"), "keys are not repeated");
    }
    for request in [
        with("authorization", format!("Bearer {key}")),
        with("authorization", format!("bearer {key}")),
        with("x-api-key", key.clone()),
    ] {
        client.check(request).await.unwrap();
    }
    let mut reflection =
        tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(
            server.channel().await,
        );
    let none = tokio_stream::empty();
    let error = reflection.server_reflection_info(none).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    server.stop().await;
}

/// Keys and lists that change count within seconds; a broken file changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_turned_away_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let ((a, a_hash), (b, b_hash)) = (new_key(), new_key());
    let keys = format!("[keys]\na = \"{a_hash}\"\nb = \"{b_hash}\"\n");
    let mut config = tiny();
    config.server.api_keys = Some(write(dir.path(), "keys.toml", &keys));
    config.server.block_list = Some(write(dir.path(), "blocked.toml", "tenants = []\n"));
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    let mut code = async |key: &str| {
        let mut request = Request::new(user("x"));
        request
            .metadata_mut()
            .insert("x-api-key", key.parse().unwrap());
        client
            .check(request)
            .await
            .map_or_else(|e| e.code(), |_| Code::Ok)
    };
    let changed = Duration::from_millis(2100); // looked at each second
    assert_eq!((code(&a).await, code(&b).await), (Code::Ok, Code::Ok));
    // A stream that is open before.
    let (asks, requests) = tokio::sync::mpsc::channel(1);
    let mut stream = Request::new(ReceiverStream::new(requests));
    let metadata = stream.metadata_mut();
    metadata.insert("x-api-key", b.parse().unwrap());
    let mut streams = server.client().await;
    let mut answers = streams.check_stream(stream).await.unwrap().into_inner();
    let mut streamed = async || {
        let ask = CheckStreamRequest {
            request: Some(user("x")),
            ..CheckStreamRequest::default()
        };
        asks.send(ask).await.unwrap();
        match answers.message().await.unwrap().unwrap().result.unwrap() {
            check_stream_response::Result::Response(_) => Code::Ok,
            check_stream_response::Result::Error(error) => Code::from(error.code),
        }
    };
    assert_eq!(streamed().await, Code::Ok);

    write(dir.path(), "blocked.toml", "tenants = [\"b\"]\n");
    tokio::time::sleep(changed).await;
    assert_eq!(
        (code(&a).await, code(&b).await),
        (Code::Ok, Code::PermissionDenied)
    );
    assert_eq!(streamed().await, Code::PermissionDenied);
    write(dir.path(), "blocked.toml", "tenants = \"\n");
    tokio::time::sleep(changed).await;
    assert_eq!(
        (code(&a).await, code(&b).await),
        (Code::Ok, Code::PermissionDenied)
    );
    write(dir.path(), "blocked.toml", "tenants = []\n");
    tokio::time::sleep(changed).await;
    assert_eq!((code(&a).await, code(&b).await), (Code::Ok, Code::Ok));

    write(
        dir.path(),
        "keys.toml",
        &format!("[keys]\na = \"{a_hash}\"\n"),
    );
    tokio::time::sleep(changed).await;
    assert_eq!(
        (code(&a).await, code(&b).await),
        (Code::Ok, Code::Unauthenticated)
    );
    write(dir.path(), "keys.toml", "");
    tokio::time::sleep(changed).await;
    assert_eq!(
        (code(&a).await, code(&b).await),
        (Code::Ok, Code::Unauthenticated)
    );
    server.stop().await;
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A certificate and its key for `name`.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

async fn connect(
    server: &TestServer,
    ca: &Authority,
    identity: Option<(String, String)>,
) -> Result<Channel, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new()
        .domain_name("localhost")
        .ca_certificate(Certificate::from_pem(ca.pem()));
    if let Some((cert, key)) = identity {
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    let url = format!("https://localhost:{}", server.address.port());
    let endpoint = Endpoint::from_shared(url).unwrap().tls_config(tls).unwrap();
    endpoint.connect().await
}

fn with_tls(dir: &Path, ca: &Authority) -> Config {
    let (cert, key) = ca.issue("localhost");
    let mut config = tiny();
    config.server.tls_cert = Some(write(dir, "server.pem", &cert));
    config.server.tls_key = Some(write(dir, "server.key", &key));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_serves_those_who_trust_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, stranger) = (Authority::new(), Authority::new());
    let server = TestServer::start(with_tls(dir.path(), &ca)).await;
    let channel = connect(&server, &ca, None).await.unwrap();
    wait_ready(&channel).await;
    GuardServiceClient::new(channel)
        .check(user("x"))
        .await
        .unwrap();
    assert!(connect(&server, &stranger, None).await.is_err());
    // Plain text on a TLS port gets nowhere.
    let plain = Endpoint::from_shared(server.url()).unwrap().connect_lazy();
    GuardServiceClient::new(plain)
        .check(user("x"))
        .await
        .unwrap_err();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_served_within_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let server = TestServer::start(with_tls(dir.path(), &old)).await;
    wait_ready(&connect(&server, &old, None).await.unwrap()).await;
    assert!(connect(&server, &new, None).await.is_err());
    let (cert, key) = new.issue("localhost");
    // One after the other, as they are renewed: in between they do not belong together.
    let looked_at = Duration::from_millis(2100);
    write(dir.path(), "server.pem", &cert);
    tokio::time::sleep(looked_at).await;
    connect(&server, &old, None)
        .await
        .expect("the former pair serves on");
    write(dir.path(), "server.key", &key);
    tokio::time::sleep(looked_at).await;
    connect(&server, &new, None).await.unwrap();
    server.stop().await;
}

/// A server for clients with certificates of the second authority, which serves one of them.
async fn with_mutual_tls(dir: &Path, ca: &Authority, clients: &Authority) -> TestServer {
    let mut config = with_tls(dir, ca);
    config.server.tls_client_ca = Some(write(dir, "clients.pem", &clients.pem()));
    let server = TestServer::start(config).await;
    let identity = Some(clients.issue("gateway"));
    let channel = connect(&server, ca, identity).await.unwrap();
    wait_ready(&channel).await;
    let mut client = GuardServiceClient::new(channel);
    client.check(user("x")).await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_turns_away_clients_without_a_certificate_of_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, clients, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let server = with_mutual_tls(dir.path(), &ca, &clients).await;
    for identity in [None, Some(stranger.issue("gateway"))] {
        // TLS 1.3 reports the refusal on connecting or on first use.
        if let Ok(channel) = connect(&server, &ca, identity).await {
            GuardServiceClient::new(channel)
                .check(user("x"))
                .await
                .unwrap_err();
        }
    }
    server.stop().await;
}

/// A tenant that is blocked is so with its next certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_client_certificate_is_the_same_tenant_s() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, clients) = (Authority::new(), Authority::new());
    let mut config = with_tls(dir.path(), &ca);
    config.server.tls_client_ca = Some(write(dir.path(), "clients.pem", &clients.pem()));
    let blocked = "tenants = [\"cert:dns:gateway-a\"]\n";
    config.server.block_list = Some(write(dir.path(), "blocked.toml", blocked));
    let server = TestServer::start(config).await;
    for (name, expected) in [
        ("gateway-b", Code::Ok),
        ("gateway-a", Code::PermissionDenied),
        ("gateway-a", Code::PermissionDenied),
    ] {
        let identity = Some(clients.issue(name));
        let channel = connect(&server, &ca, identity).await.unwrap();
        wait_ready(&channel).await;
        let checked = GuardServiceClient::new(channel).check(user("x")).await;
        assert_eq!(checked.map_or_else(|e| e.code(), |_| Code::Ok), expected);
    }
    server.stop().await;
}

/// A TLS connection that offers `protocols`, without HTTP on it yet.
async fn handshake(
    server: &TestServer,
    ca: &Authority,
    identity: Option<(String, String)>,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.0.der().clone()).unwrap();
    let builder = TlsConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut tls = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    tls.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    let stream = TcpStream::connect(server.address).await?;
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_and_2_share_the_port_and_the_callers_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, clients) = (Authority::new(), Authority::new());
    let server = with_mutual_tls(dir.path(), &ca, &clients).await;

    let body = br#"{"segments":[{"role":"ROLE_USER","text":"x"}]}"#;
    let json = [("content-type", "application/json")];
    let check = request("POST", "/v1/check", &json, body);
    for protocols in [&[&b"http/1.1"[..]][..], &[]] {
        let identity = Some(clients.issue("gateway"));
        let stream = handshake(&server, &ca, identity, protocols).await.unwrap();
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            protocols.first().copied()
        );
        let answer = exchange(stream, &check).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    let both: [&[u8]; 2] = [b"http/1.1", b"h2"];
    let stream = handshake(&server, &ca, Some(clients.issue("gateway")), &both)
        .await
        .unwrap();
    assert_eq!(
        stream.get_ref().1.alpn_protocol(),
        Some(&b"h2"[..]),
        "h2 where there is a choice"
    );
    // TLS 1.3 tells a stranger on first use.
    if let Ok(mut stream) = handshake(&server, &ca, None, &both[..1]).await {
        let _ = stream.write_all(&check).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_stalls_gives_its_place_back_within_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new();
    let mut config = with_tls(dir.path(), &ca);
    config.server.max_connections = 1;
    let server = TestServer::start(config).await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(&[0x16, 3, 1]).await.unwrap(); // the beginning of a ClientHello
    tokio::time::sleep(Duration::from_millis(200)).await;
    handshake(&server, &ca, None, &[])
        .await
        .expect_err("the only place is taken");
    let cut = async { stalled.read(&mut [0; 16]).await };
    let cut = tokio::time::timeout(Duration::from_secs(9), cut).await;
    assert!(matches!(cut.expect("cut within seconds"), Ok(0) | Err(_)));
    handshake(&server, &ca, None, &[]).await.unwrap();
    server.stop().await;
}

#[test]
fn other_than_loopback_addresses_need_tls_and_credentials_or_a_plain_word() {
    let any = "0.0.0.0:0".parse().unwrap();
    let mut config = Config::default();
    config.server.listen = any;
    let error = config.validate().unwrap_err().to_string();
    for word in ["server.listen", "TLS", "--insecure"] {
        assert!(error.contains(word), "{error}");
    }
    config.server.api_keys = Some("keys.toml".into());
    config
        .validate()
        .expect_err("keys without TLS would be read by anybody on the way");
    config.server.tls_cert = Some("cert.pem".into());
    config.server.tls_key = Some("key.pem".into());
    config.validate().unwrap();
    config.server.api_keys = None;
    config
        .validate()
        .expect_err("TLS without credentials lets anybody in");
    config.server.tls_client_ca = Some("ca.pem".into());
    config.validate().unwrap();

    let mut config = Config::default();
    config.server.listen = any;
    config.server.insecure = true;
    config.validate().unwrap();
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let nonsense = write(dir.path(), "nonsense.pem", "nonsense");
    for files in [
        [
            "--tls-cert",
            "/nonexistent.pem",
            "--tls-key",
            "/nonexistent.pem",
        ],
        [
            "--tls-cert",
            nonsense.to_str().unwrap(),
            "--tls-key",
            nonsense.to_str().unwrap(),
        ],
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["serve", "--listen", "127.0.0.1:0", "--metrics", "off"])
            .args(files)
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(2));
        let error = String::from_utf8(out.stderr).unwrap();
        assert!(error.contains(files[1]), "{error}");
    }
}
