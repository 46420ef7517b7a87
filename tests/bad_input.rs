//! Bad input gets a clear status each, and the server lives.

use std::time::{Duration, Instant};

use portcullis::api::pb::v1::{CheckRequest, CheckStreamRequest, Role, Segment};
use prost::bytes::Bytes;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::support::{TestServer, segment, tiny, user};

#[track_caller]
fn assert_refused(error: &Status, code: Code, reason: &str, words: &[&str]) {
    println!("{code:?}: {}", error.message());
    assert_eq!(error.code(), code, "{error:?}");
    let info = error.get_details_error_info().expect("ErrorInfo");
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        (reason, "portcullis.dev")
    );
    for word in words {
        assert!(error.message().contains(word), "{error:?} lacks {word:?}");
    }
    if code == Code::InvalidArgument {
        let violations = error
            .get_details_bad_request()
            .expect("BadRequest")
            .field_violations;
        assert!(!violations[0].field.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_has_its_own_clear_status() {
    let server = TestServer::start(tiny()).await;
    let mut client = server.client().await;
    let invalid = (Code::InvalidArgument, "INVALID_REQUEST");
    let cases: Vec<(CheckRequest, (Code, &str), &[&str])> = vec![
        (CheckRequest::default(), invalid, &["segments", "empty"]),
        (user(""), invalid, &["segments[0].text", "empty"]),
        (
            CheckRequest {
                segments: vec![segment(Role::User, "x"), segment(Role::Unspecified, "x")],
                ..CheckRequest::default()
            },
            invalid,
            &["segments[1].role", "ROLE_USER"],
        ),
        (
            CheckRequest {
                segments: vec![Segment {
                    role: 77,
                    ..segment(Role::User, "x")
                }],
                ..CheckRequest::default()
            },
            invalid,
            &["segments[0].role", "77"],
        ),
        (
            CheckRequest {
                detectors: vec!["nonsense".into()],
                ..user("x")
            },
            invalid,
            &["detectors[0]", "nonsense", "bert-sequence"],
        ),
        (
            CheckRequest {
                detectors: vec!["bert-sequence".into(), "bert-sequence".into()],
                ..user("x")
            },
            invalid,
            &["detectors[1]", "twice"],
        ),
        (
            CheckRequest {
                detectors: vec!["bert-sequence".into()],
                policy_id: "default".into(),
                ..user("x")
            },
            invalid,
            &["policy_id"],
        ),
        (
            CheckRequest {
                policy_id: "strict".into(),
                ..user("x")
            },
            (Code::NotFound, "UNKNOWN_POLICY"),
            &["strict", "default"],
        ),
        (
            CheckRequest {
                request_id: "i".repeat(129),
                ..user("x")
            },
            invalid,
            &["request_id", "128"],
        ),
        (
            CheckRequest {
                segments: vec![segment(Role::User, "x"); 257],
                ..CheckRequest::default()
            },
            invalid,
            &["segments", "257", "256"],
        ),
        (
            user("x".repeat((1 << 20) + 1)),
            invalid,
            &["1048577", "1048576", "split"],
        ),
    ];
    for (request, (code, reason), words) in cases {
        let error = client.check(request).await.unwrap_err();
        assert_refused(&error, code, reason, words);
    }
    client.check(user("still here")).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_are_refused_by_size() {
    let server = TestServer::start(tiny()).await;
    let mut client = server.client().await;
    let error = client.check(user("x".repeat(10 << 20))).await.unwrap_err();
    println!("{error:?}");
    assert_eq!(error.code(), Code::OutOfRange);
    assert!(error.message().contains("2097152"), "{}", error.message());
    client.check(user("still here")).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_that_cannot_be_met_are_refused_at_once() {
    let server = TestServer::start(tiny()).await;
    let mut client = server.client().await;
    // The client's own clock may end the call first; then there is nothing of the server's to see.
    let error = loop {
        let mut request = Request::new(user("x"));
        let zero = "0m".parse().unwrap();
        request.metadata_mut().insert("grpc-timeout", zero);
        let error = client.check(request).await.unwrap_err();
        if std::error::Error::source(&error).is_none() {
            break error;
        }
    };
    assert_refused(
        &error,
        Code::DeadlineExceeded,
        "DEADLINE_PASSED",
        &["deadline"],
    );

    let mut request = Request::new(user("x"));
    request
        .metadata_mut()
        .insert("grpc-timeout", "soon".parse().unwrap());
    let error = client.check(request).await.unwrap_err();
    assert_refused(
        &error,
        Code::InvalidArgument,
        "INVALID_REQUEST",
        &["grpc-timeout", "soon"],
    );

    let mut request = Request::new(user("word ".repeat(100_000)));
    request
        .metadata_mut()
        .insert("grpc-timeout", "1000m".parse().unwrap());
    let start = Instant::now();
    let error = client.check(request).await.unwrap_err();
    assert_refused(
        &error,
        Code::DeadlineExceeded,
        "DEADLINE_TOO_SHORT",
        &["needs about"],
    );
    let info = error.get_details_error_info().unwrap();
    assert!(info.metadata["needs_ms"].parse::<u64>().unwrap() > 1000);
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    server.stop().await;
}

/// Sends bytes as they are.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;
    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        use prost::bytes::BufMut;
        to.put(item);
        Ok(())
    }
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        use prost::bytes::Buf;
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    let server = TestServer::start(tiny()).await;
    let channel = server.channel().await;
    let path = "/portcullis.v1.GuardService/Check";
    let cases: [(&[u8], &str); 4] = [
        (b"\x12\x06\x08\x02\x12\x02\xff\xfe", "UTF-8"), // segments[0].text
        (b"\x12\xff", ""),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", ""),
        (b"\x12\x04\x12", ""),
    ];
    for (bytes, word) in cases {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let message = Request::new(Bytes::from_static(bytes));
        let error = grpc
            .unary(message, http::uri::PathAndQuery::from_static(path), Raw)
            .await
            .unwrap_err();
        assert_refused(&error, Code::InvalidArgument, "INVALID_REQUEST", &[word]);
    }
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/portcullis.v1.GuardService/Nothing");
    let error = grpc
        .unary(Request::new(Bytes::new()), path, Raw)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    server
        .client()
        .await
        .check(user("still here"))
        .await
        .unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_stream_ends_well() {
    let server = TestServer::start(tiny()).await;
    let mut client = server.client().await;
    let none: Vec<CheckStreamRequest> = Vec::new();
    let mut answers = client
        .check_stream(tokio_stream::iter(none))
        .await
        .unwrap()
        .into_inner();
    assert!(answers.message().await.unwrap().is_none());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_are_closed_and_their_places_come_free() {
    let mut limited = tiny();
    limited.server.max_connections = 3;
    let server = TestServer::start(limited).await; // its own connection may linger for a moment
    let mut held = Vec::new();
    for _ in 0..6 {
        if let Ok(channel) = tonic::transport::Endpoint::from_shared(server.url())
            .unwrap()
            .connect()
            .await
        {
            use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
            if GuardServiceClient::new(channel.clone())
                .check(user("x"))
                .await
                .is_ok()
            {
                held.push(channel);
            }
        }
    }
    assert!((2..=3).contains(&held.len()), "{}", held.len());
    held.clear();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server
        .client()
        .await
        .check(user("place again"))
        .await
        .unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_give_their_places_back() {
    let mut limited = tiny();
    limited.server.max_connections = 4;
    let server = TestServer::start(limited).await;
    let silent: Vec<_> = (0..10)
        .map(|_| std::net::TcpStream::connect(server.address).unwrap())
        .collect();
    tokio::time::sleep(Duration::from_secs(12)).await;
    server
        .client()
        .await
        .check(user("place again"))
        .await
        .unwrap();
    drop(silent);
    server.stop().await;
}

/// All are open at once as far as the limits go; each of the others gets its status.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_streams_leave_the_server_standing() {
    let mut limited = tiny();
    limited.server.max_streams = 500;
    let server = TestServer::start(limited).await;
    let mut channels = Vec::new();
    for _ in 0..8 {
        channels.push(server.channel().await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    let (hold, held) = tokio::sync::watch::channel(false);
    for i in 0..10_000 {
        let channel = channels[i % channels.len()].clone();
        let mut held = held.clone();
        tasks.spawn(async move {
            use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
            let mut client = GuardServiceClient::new(channel);
            let pending = tokio_stream::pending::<CheckStreamRequest>();
            match client.check_stream(pending).await {
                Ok(_stream) => {
                    let _ = held.wait_for(|end| *end).await;
                    Ok(())
                }
                Err(status) => Err(status),
            }
        });
    }
    let mut refused = 0;
    while refused < 9_500 {
        let result = tokio::time::timeout(Duration::from_secs(60), tasks.join_next()).await;
        let status = result.unwrap().unwrap().unwrap().unwrap_err();
        assert_refused_quietly(&status);
        refused += 1;
    }
    // With all places taken, ordinary requests are served.
    server
        .client()
        .await
        .check(user("still here"))
        .await
        .unwrap();
    hold.send(true).unwrap();
    let mut served = 0;
    while let Some(result) = tasks.join_next().await {
        result.unwrap().unwrap();
        served += 1;
    }
    assert_eq!(served, 500);
    server.stop().await;
}

fn assert_refused_quietly(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(
        status.get_details_error_info().unwrap().reason,
        "TOO_MANY_REQUESTS"
    );
    assert!(status.get_details_retry_info().is_some());
}
