//! A tenant that asks for more than its rate is refused, with the time to come again, and no other is.

use std::time::{Duration, Instant};

use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use portcullis::api::pb::v1::{GuardOutputRequest, OutputStart, guard_output_request};
use portcullis::config::Config;
use portcullis::ops::auth::new_key;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::envoy::{Gateway, INJECTION, MODES, in_mode};
use crate::support::{TestServer, bundled, tiny, user};
use crate::wire::{Answer, send};

fn config(rates: &str) -> Config {
    let mut config = tiny();
    config.server.rates = toml::from_str(rates).unwrap();
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_has_its_own_rate_over_every_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let ((a, a_hash), (b, b_hash)) = (new_key(), new_key());
    let mut config = config("default = { checks_per_second = 1, burst_s = 5 }");
    let keys = dir.path().join("keys.toml");
    std::fs::write(
        &keys,
        format!("[keys]\na = \"{a_hash}\"\nb = \"{b_hash}\"\n"),
    )
    .unwrap();
    config.server.api_keys = Some(keys);
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    let by = |key: &str| {
        let mut request = Request::new(user("x"));
        request
            .metadata_mut()
            .insert("x-api-key", key.parse().unwrap());
        request
    };
    let mut refused = None;
    for _ in 0..9 {
        if let Err(status) = client.check(by(&a)).await {
            refused = Some(status);
        }
    }
    let refused = refused.expect("nine checks at once are above five");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "RATE_LIMITED");
    let again = details.retry_info().unwrap().retry_delay.unwrap();
    assert!(again.as_millis() > 0 && again.as_secs() <= 1, "{again:?}");

    let body = json!({"segments": [{"role": "ROLE_USER", "text": "x"}]}).to_string();
    for (key, status) in [(&a, 429), (&b, 200)] {
        let headers = [
            ("x-api-key", key.as_str()),
            ("content-type", "application/json"),
        ];
        let got = send(
            server.address,
            "POST",
            "/v1/check",
            &headers,
            body.as_bytes(),
        )
        .await;
        assert_eq!(got.status(), status, "{got:?}");
        assert_eq!(
            got.header("retry-after").is_some(),
            status == 429,
            "{got:?}"
        );
    }
    client.check(by(&b)).await.unwrap();
    server.stop().await;
}

/// Behind a gateway whose policy fails open nothing passes because somebody asks too much.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_fails_open_lets_nothing_pass_above_the_rate() {
    let mut config = crate::support::config(bundled());
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    let rates = "tenants = { anonymous = { checks_per_second = 1, burst_s = 2 } }";
    config.server.rates = toml::from_str(rates).unwrap();
    let policy = "on_error = \"open\"\n[detectors.injection]\n";
    let policy = toml::from_str(policy).unwrap();
    config.policies.insert("default".into(), policy);
    for mode in MODES {
        let gateway = Gateway::with(config.clone(), in_mode(mode)).await;
        gateway.model.answers(Answer::json("{}"));
        let body = json!({"model": "m", "messages": [{"role": "user", "content": INJECTION}]});
        let mut statuses = Vec::new();
        for _ in 0..5 {
            let body = body.to_string();
            let got = gateway
                .post("/v1/chat/completions", body.as_bytes(), 1 << 20)
                .await;
            statuses.push(got.status());
        }
        assert!(
            statuses.iter().all(|s| [403, 429].contains(s)),
            "{mode}: {statuses:?}"
        );
        assert!(statuses.contains(&429), "{mode}: {statuses:?}");
        gateway.stop().await;
    }
}

/// How a stream of so many bytes ends.
async fn streamed(client: &mut GuardServiceClient<Channel>, bytes: usize) -> Code {
    let message = |message| GuardOutputRequest {
        message: Some(message),
    };
    let start = message(guard_output_request::Message::Start(OutputStart::default()));
    let chunk = || {
        message(guard_output_request::Message::Chunk(
            "ten bytes ".repeat(10),
        ))
    };
    let requests = std::iter::once(start).chain((0..bytes / 100).map(|_| chunk()));
    let requests: Vec<_> = requests.collect();
    let answers = client.guard_output(tokio_stream::iter(requests)).await;
    let mut answers = answers.unwrap().into_inner();
    loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Code::Ok,
            Err(status) => return status.code(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_text_counts_by_its_bytes() {
    let rates = "tenants = { anonymous = { bytes_per_second = 100, burst_s = 20 } }";
    let server = TestServer::start(config(rates)).await;
    let mut client = server.client().await;
    assert_eq!(streamed(&mut client, 1500).await, Code::Ok);
    assert_eq!(streamed(&mut client, 1500).await, Code::ResourceExhausted);
    server.stop().await;
}

/// A stream that is begun and stays open until its sender is dropped.
async fn begun(
    client: &mut GuardServiceClient<Channel>,
    key: &str,
) -> Result<tokio::sync::mpsc::Sender<GuardOutputRequest>, tonic::Status> {
    let (send, receive) = tokio::sync::mpsc::channel(8);
    let start = guard_output_request::Message::Start(OutputStart::default());
    let chunk = guard_output_request::Message::Chunk("words ".repeat(100));
    for message in [start, chunk] {
        let message = Some(message);
        send.send(GuardOutputRequest { message }).await.unwrap();
    }
    let mut request = Request::new(ReceiverStream::new(receive));
    let key = key.parse().unwrap();
    request.metadata_mut().insert("x-api-key", key);
    let mut answers = client.guard_output(request).await?.into_inner();
    // It has its places once something of it came back.
    answers.message().await?;
    Ok(send)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_has_open_at_once_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let ((a, a_hash), (b, b_hash)) = (new_key(), new_key());
    let keys = dir.path().join("keys.toml");
    let listed = format!("[keys]\na = \"{a_hash}\"\nb = \"{b_hash}\"\n");
    std::fs::write(&keys, listed).unwrap();
    let at_once = [
        ("max_streams = 2", "a has 2 streams open"),
        ("max_in_flight = 2", "a has 2 requests open"),
    ];
    for (limit, problem) in at_once {
        let mut config = config(&format!("default = {{ {limit} }}"));
        config.server.api_keys = Some(keys.clone());
        let server = TestServer::start(config).await;
        let mut client = server.client().await;
        let first = begun(&mut client, &a).await.unwrap();
        let second = begun(&mut client, &a).await.unwrap();
        let refused = begun(&mut client, &a).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().starts_with(problem), "{refused:?}");
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "RATE_LIMITED");
        assert!(details.retry_info().is_some());
        let other = begun(&mut client, &b).await.unwrap();
        drop(first);
        let deadline = Instant::now() + Duration::from_secs(10);
        let again = loop {
            match begun(&mut client, &a).await {
                Ok(again) => break again,
                Err(status) => assert!(Instant::now() < deadline, "{status:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        drop((second, other, again));
        server.stop().await;
    }
}
