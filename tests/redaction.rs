//! What is taken out of a text can be put back by who holds the token, and by nobody else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use portcullis::api::pb::v1::{Action, CheckRequest, RestoreRequest};
use portcullis::config::Config;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{TestServer, tiny, user};
use crate::wire::post_json;

fn pseudonymising() -> Config {
    let mut config = tiny();
    let policy = r#"
        version = "1"
        [detectors.pii_patterns]
        redaction = "pseudonym"
        label_redactions = { IP_ADDRESS = "hash" }
    "#;
    config
        .policies
        .insert("own".into(), toml::from_str(policy).unwrap());
    config
}

fn request(text: &str, conversation: &str) -> CheckRequest {
    CheckRequest {
        policy_id: "own".into(),
        conversation_id: conversation.into(),
        ..user(text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pseudonyms_hold_within_a_conversation_and_are_restored() {
    let server = TestServer::start(pseudonymising()).await;
    let mut client = server.client().await;
    let text = "From ann@example.org to bob@example.org at 10.0.0.1; ann@example.org again";
    let verdict = client
        .check(request(text, "talk-1"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(verdict.action(), Action::Redact);
    let safe = &verdict.redacted[0].text;
    assert!(!safe.contains('@') && !safe.contains("10.0.0.1"), "{safe}");
    let names: Vec<&str> = safe
        .split('[')
        .skip(1)
        .map(|p| p.split(']').next().unwrap())
        .collect();
    assert_eq!(names.len(), 4, "{safe}");
    assert_eq!(names[0], names[3], "the same text has the same name");
    assert_ne!(names[0], names[1]);

    // A later turn of the conversation uses the same name; another conversation another.
    let later = client
        .check(request("ask ann@example.org", "talk-1"))
        .await
        .unwrap();
    assert!(later.get_ref().redacted[0].text.contains(names[0]));
    let other = client
        .check(request("ask ann@example.org", "talk-2"))
        .await
        .unwrap();
    assert!(!other.get_ref().redacted[0].text.contains(names[0]));

    // The model's answer is restored; what was hashed is not.
    let answer = format!("I wrote to [{}] and [{}]. [NOT_ONE]", names[1], names[0]);
    let token = verdict.restore_token.clone();
    assert!(!token.is_empty() && !token.windows(7).any(|w| w == b"example"));
    let restore = RestoreRequest {
        token: token.clone(),
        text: answer,
    };
    let restored = client.restore(restore.clone()).await.unwrap().into_inner();
    assert_eq!(
        restored.text,
        "I wrote to bob@example.org and ann@example.org. [NOT_ONE]"
    );
    assert_eq!(restored.restored, 2);
    // Over HTTP, too.
    let body = json!({"token": STANDARD.encode(&token), "text": restore.text});
    let over_http = post_json(server.address, "/v1/restore", &body).await;
    assert_eq!(over_http.status(), 200, "{over_http:?}");
    assert_eq!(over_http.json()["text"], restored.text.as_str());
    let whole = RestoreRequest {
        token: token.clone(),
        text: safe.clone(),
    };
    let whole = client.restore(whole).await.unwrap().into_inner().text;
    assert!(whole.contains("ann@example.org") && !whole.contains("10.0.0.1"));

    let mut changed = token.clone();
    *changed.last_mut().unwrap() ^= 1;
    for token in [changed, Vec::new(), b"x".repeat(5_000)] {
        let status = client
            .restore(RestoreRequest {
                token,
                text: "x".into(),
            })
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.get_details_error_info().unwrap().reason,
            "RESTORE_TOKEN"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_expire_and_belong_to_a_secret() {
    let mut config = pseudonymising();
    config.redaction.restore_ttl_s = 0;
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    let verdict = client
        .check(request("ann@example.org", "t"))
        .await
        .unwrap()
        .into_inner();
    let restore = RestoreRequest {
        token: verdict.restore_token,
        text: "x".into(),
    };
    let status = client.restore(restore).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.get_details_error_info().unwrap().reason,
        "RESTORE_EXPIRED"
    );
    server.stop().await;

    // Two servers with one secret are one; with secrets of their own they are not.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, [7; 32]).unwrap();
    let mut shared = pseudonymising();
    shared.redaction.key_file = Some(file);
    for (first, second, one) in [
        (shared.clone(), shared.clone(), true),
        (shared.clone(), pseudonymising(), false),
    ] {
        let (first, second) = (
            TestServer::start(first).await,
            TestServer::start(second).await,
        );
        let verdict = first
            .client()
            .await
            .check(request("ann@example.org", "t"))
            .await
            .unwrap();
        let verdict = verdict.into_inner();
        let text = verdict.redacted[0].text.clone();
        let restore = RestoreRequest {
            token: verdict.restore_token,
            text,
        };
        let restored = second.client().await.restore(restore).await;
        assert_eq!(
            restored.is_ok_and(|r| r.get_ref().text == "ann@example.org"),
            one
        );
        first.stop().await;
        second.stop().await;
    }
}
