//! JSON Web Tokens, made by another implementation: which count, for whom, and for what.

use std::path::Path;
use std::time::Duration;

use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use portcullis::api::pb::v1::{
    CheckRequest, CheckResponse, CheckStreamRequest, GuardOutputRequest, OutputStart,
    RestoreRequest, check_stream_response, guard_output_request,
};
use portcullis::config::Config;
use portcullis::ops::auth::{JwtConfig, new_key};
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::http::python;
use crate::support::{TestServer, tiny, user};
use crate::wire::send;

fn with_tokens(dir: &Path) -> Config {
    let mut config = tiny();
    config.server.jwt = Some(JwtConfig {
        keys: dir.join("jwks.json"),
        issuer: "https://issuer.example".into(),
        audience: "portcullis".into(),
        tenant_claim: "sub".into(),
        roles_claim: None,
    });
    config
}

fn tokens(dir: &Path) -> Value {
    serde_json::from_str(&python("tokens.py", &[dir.to_str().unwrap()], "")).unwrap()
}

fn cases(tokens: &Value) -> impl Iterator<Item = (&String, &str)> {
    let cases = tokens.as_object().unwrap().iter();
    cases.map(|(name, token)| (name, token.as_str().unwrap()))
}

fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

async fn check(
    client: &mut GuardServiceClient<Channel>,
    token: &str,
    request: CheckRequest,
) -> Result<CheckResponse, Status> {
    let answer = client.check(bearing(token, request)).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_issuer_count_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let mut config = with_tokens(dir.path());
    let (key, hash) = new_key();
    let keys = dir.path().join("keys.toml");
    std::fs::write(&keys, format!("[keys]\nann = \"{hash}\"\n")).unwrap();
    config.server.api_keys = Some(keys);
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    for (name, token) in cases(&tokens["good"]) {
        let checked = check(&mut client, token, user("x")).await;
        assert!(checked.is_ok(), "{name}: {checked:?}");
    }
    for (name, token) in cases(&tokens["bad"]) {
        let error = check(&mut client, token, user("x")).await.unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated, "{name}: {error:?}");
        assert!(
            error.message().starts_with("the token is not accepted: "),
            "{name}: {error:?}"
        );
        assert!(!error.message().contains(token), "tokens are not repeated");
    }
    // Keys count beside tokens, and over HTTP either does.
    check(&mut client, &key, user("x")).await.unwrap();
    for (credential, status) in [
        (tokens["good"]["EdDSA"].as_str().unwrap(), 200),
        (&key, 200),
        (tokens["bad"]["stranger"].as_str().unwrap(), 401),
    ] {
        let headers = [("authorization", format!("Bearer {credential}"))];
        let headers = headers.each_ref().map(|(n, v)| (*n, v.as_str()));
        let got = send(server.address, "GET", "/v1/detectors", &headers, b"").await;
        assert_eq!(got.status(), status, "{got:?}");
    }
    server.stop().await;
}

/// A tenant that a token names is none that a key names: neither restores what the other's pseudonyms
/// stand for.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_and_a_key_of_the_same_name_are_two_tenants() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let ann = tokens["good"]["ES256"].as_str().unwrap();
    let mut config = with_tokens(dir.path());
    let (key, hash) = new_key();
    let keys = dir.path().join("keys.toml");
    std::fs::write(&keys, format!("[keys]\nann = \"{hash}\"\n")).unwrap();
    config.server.api_keys = Some(keys);
    let policy = "version = \"1\"\n[detectors.pii_patterns]\nredaction = \"pseudonym\"\n";
    let policy = toml::from_str(policy).unwrap();
    config.policies.insert("own".into(), policy);
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    let request = CheckRequest {
        policy_id: "own".into(),
        ..user("write to ann@example.org")
    };
    let verdict = check(&mut client, ann, request).await.unwrap();
    let restore = RestoreRequest {
        token: verdict.restore_token,
        text: verdict.redacted[0].text.clone(),
    };
    let restored = client.restore(bearing(ann, restore.clone())).await.unwrap();
    assert_eq!(restored.into_inner().text, "write to ann@example.org");
    let error = client.restore(bearing(&key, restore)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    server.stop().await;
}

/// What becomes of a stream of checks, and of one of text, while its token ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_does_not_outlive_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let token = tokens["ending"]["soon"].as_str().unwrap();
    let server = TestServer::start(with_tokens(dir.path())).await;
    let mut client = server.client().await;
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let stream = bearing(token, ReceiverStream::new(asked));
    let mut checked = client.check_stream(stream).await.unwrap().into_inner();
    let mut check = async || {
        let request = CheckStreamRequest {
            request: Some(user("x")),
            ..CheckStreamRequest::default()
        };
        ask.send(request).await.unwrap();
        match checked.message().await.unwrap().unwrap().result.unwrap() {
            check_stream_response::Result::Response(_) => Code::Ok,
            check_stream_response::Result::Error(error) => Code::from(error.code),
        }
    };
    let (say, said) = tokio::sync::mpsc::channel(1);
    let stream = bearing(token, ReceiverStream::new(said));
    let message = |message| GuardOutputRequest {
        message: Some(message),
    };
    let start = message(guard_output_request::Message::Start(OutputStart::default()));
    say.send(start).await.unwrap();
    let mut guarded = client.guard_output(stream).await.unwrap().into_inner();
    let speak = async {
        let chunk = || message(guard_output_request::Message::Chunk("x ".into()));
        while say.send(chunk()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let hear = async {
        loop {
            match guarded.message().await {
                Ok(message) => assert!(message.is_some(), "the stream ended by itself"),
                Err(status) => return status.code(),
            }
        }
    };
    assert_eq!(check().await, Code::Ok);
    let both = async { tokio::join!(speak, hear) };
    let ended = tokio::time::timeout(Duration::from_secs(20), both).await;
    assert_eq!(ended.expect("the token ends").1, Code::Unauthenticated);
    assert_eq!(check().await, Code::Unauthenticated);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_allows_what_its_roles_say() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let mut config = with_tokens(dir.path());
    config.server.jwt.as_mut().unwrap().roles_claim = Some("roles".into());
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    let scores = || CheckRequest {
        include_scores: true,
        ..user("x")
    };
    for (role, plain, with_scores) in [
        ("check", true, false),
        ("both", true, true),
        ("none", false, false),
        ("other", false, false),
    ] {
        let token = tokens["roles"][role].as_str().unwrap();
        for (request, allowed) in [(user("x"), plain), (scores(), with_scores)] {
            let code = check(&mut client, token, request)
                .await
                .map_err(|e| e.code());
            let expected = if allowed {
                Ok(())
            } else {
                Err(Code::PermissionDenied)
            };
            assert_eq!(code.map(drop), expected, "{role}");
        }
        let error = client
            .restore(bearing(token, RestoreRequest::default()))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied, "{role}");
        // The scores of all categories are what moderations are.
        let authorization = format!("Bearer {token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let body = br#"{"input": "x"}"#;
        let got = send(server.address, "POST", "/v1/moderations", &headers, body).await;
        assert_eq!(
            got.status(),
            if with_scores { 200 } else { 403 },
            "{role}: {got:?}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_keys_count_within_seconds_and_broken_ones_never() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let file = dir.path().join("jwks.json");
    let server = TestServer::start(with_tokens(dir.path())).await;
    let mut client = server.client().await;
    let (es256, eddsa) = (&tokens["good"]["ES256"], &tokens["good"]["EdDSA"]);
    let (es256, eddsa) = (es256.as_str().unwrap(), eddsa.as_str().unwrap());
    check(&mut client, es256, user("x")).await.unwrap();

    let all: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::write(&file, "{\"keys\": [").unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    check(&mut client, es256, user("x")).await.unwrap();

    let keys = all["keys"].as_array().unwrap().iter();
    let left: Vec<_> = keys.filter(|key| key["kid"] == "EdDSA").collect();
    std::fs::write(&file, serde_json::json!({ "keys": left }).to_string()).unwrap();
    let gone = async {
        while check(&mut client, es256, user("x")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("a key that was withdrawn counts no more");
    check(&mut client, eddsa, user("x")).await.unwrap();
    server.stop().await;
}

#[test]
fn shared_secrets_and_empty_sets_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_tokens(dir.path());
    for (text, said) in [
        (
            r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#,
            "shared secret",
        ),
        (r#"{"keys": []}"#, "no key in it"),
        ("nonsense", "line 1 "),
    ] {
        std::fs::write(dir.path().join("jwks.json"), text).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bound =
            runtime.block_on(async { portcullis::api::Server::bind(config.server.clone()) });
        let error = bound.err().unwrap().to_string();
        assert!(
            error.contains(said) && error.contains("jwks.json"),
            "{error}"
        );
    }
}
