//! `CheckStream`: answered as ready, matched by id, one failure stays one.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis::api::pb::v1::check_stream_response::Result as Answer;
use portcullis::api::pb::v1::guard_service_client::GuardServiceClient;
use portcullis::api::pb::v1::{CheckRequest, CheckStreamRequest};
use portcullis::engine::SimulatedCost;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::{TestServer, tiny, user};

fn message(id: impl Into<String>, request: CheckRequest) -> CheckStreamRequest {
    CheckStreamRequest {
        id: id.into(),
        request: Some(request),
        timeout: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_are_answered_each_once_and_errors_end_nothing() {
    let server = TestServer::start(tiny()).await;
    let mut client = server.client().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let mut answers = client
        .check_stream(ReceiverStream::new(receiver))
        .await
        .unwrap()
        .into_inner();
    let sending = tokio::spawn(async move {
        for i in 0..500 {
            let request = match i % 50 {
                7 => user(""),
                8 => CheckRequest {
                    policy_id: "none".into(),
                    ..user("x")
                },
                _ => user(format!("text {i}")),
            };
            sender.send(message(i.to_string(), request)).await.unwrap();
        }
        sender
            .send(CheckStreamRequest {
                id: "500".into(),
                ..Default::default()
            })
            .await
            .unwrap();
        let endless_past = prost_types::Duration {
            seconds: i64::MIN,
            nanos: i32::MIN,
        };
        sender
            .send(CheckStreamRequest {
                id: "501".into(),
                request: Some(user("x")),
                timeout: Some(endless_past),
            })
            .await
            .unwrap();
    });
    let mut seen = BTreeSet::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let i: usize = answer.id.parse().unwrap();
        assert!(seen.insert(i), "{i} was answered twice");
        match answer.result.unwrap() {
            Answer::Response(_) => assert!(i < 500 && !matches!(i % 50, 7 | 8), "{i}"),
            Answer::Error(error) => {
                let expected = if i % 50 == 8 {
                    Code::NotFound
                } else {
                    Code::InvalidArgument
                };
                assert_eq!(error.code, expected as i32, "{i}: {}", error.message);
            }
        }
    }
    sending.await.unwrap();
    assert_eq!(seen.len(), 502);
    server.stop().await;
}

/// Short texts overtake a long one that was sent first.
#[tokio::test(flavor = "multi_thread")]
async fn answers_come_as_they_are_ready() {
    let cost = SimulatedCost {
        fixed: 0.0,
        a: 2e-4,
        b: 0.0,
    };
    let mut slow = tiny();
    slow.server.default_deadline_ms = 20_000;
    let server = TestServer::simulated(slow, cost).await;
    let mut client = server.client().await;
    let long = message("long", user("word ".repeat(1500)));
    let short = (0..5).map(|i| message(format!("short {i}"), user(format!("a {i}"))));
    let requests: Vec<_> = std::iter::once(long).chain(short).collect();
    let mut answers = client
        .check_stream(tokio_stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    let mut order = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        assert!(matches!(answer.result, Some(Answer::Response(_))));
        order.push(answer.id);
    }
    assert_eq!(order.len(), 6);
    assert_eq!(order.last().unwrap(), "long");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_withdraws_its_work() {
    let cost = SimulatedCost {
        fixed: 0.0,
        a: 1e-3,
        b: 0.0,
    };
    let mut slow = tiny();
    slow.server.default_deadline_ms = 60_000;
    let server = TestServer::simulated(slow, cost).await;
    let mut client = server.client().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    let answers = client
        .check_stream(ReceiverStream::new(receiver))
        .await
        .unwrap();
    for i in 0..60 {
        let text = format!("{i} {}", "word ".repeat(100));
        sender
            .send(message(i.to_string(), user(text)))
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop((answers, sender));
    // 60 texts of 400 tokens and more would keep the device for over 20 s.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let start = std::time::Instant::now();
    client.check(user("next")).await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_answers_holds_no_place_of_others() {
    let mut config = tiny();
    config.server.max_in_flight = 4;
    config.server.stream_in_flight = 4;
    config.server.max_streams = 1;
    config.server.stream_idle_ms = 1_000;
    let server = TestServer::start(config).await;
    let narrow = Endpoint::from_shared(server.url()).unwrap();
    let narrow = narrow.initial_stream_window_size(1).connect_lazy();
    let mut deaf = GuardServiceClient::new(narrow);
    let mut client = server.client().await;
    let many = (0..50).map(|i| message(i.to_string(), user(format!("a {i}"))));
    let unread = deaf.check_stream(tokio_stream::iter(many)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    for _ in 0..4 {
        client.check(user("x")).await.unwrap();
    }
    let mut tries = 0;
    let again = loop {
        match client.check_stream(tokio_stream::pending()).await {
            Ok(again) => break again,
            Err(full) => assert_eq!(full.code(), Code::ResourceExhausted),
        }
        tries += 1;
        assert!(tries < 100, "the stream kept its place");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(tries > 0);
    // However late it reads, it learns that answers were lost.
    let mut unread = unread.into_inner();
    let mut read = 0;
    let end = loop {
        match unread.message().await {
            Ok(Some(_)) => read += 1,
            end => break end,
        }
    };
    assert_eq!(end.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(read < 50, "{read}");
    drop(again);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_takes_longer_than_a_stream_may_be_silent_is_answered() {
    let cost = SimulatedCost {
        fixed: 1.0,
        a: 0.0,
        b: 0.0,
    };
    let mut slow = tiny();
    slow.server.default_deadline_ms = 20_000;
    slow.server.stream_idle_ms = 200;
    let server = TestServer::simulated(slow, cost).await;
    let mut client = server.client().await;
    let one = || tokio_stream::iter([message("1", user("word"))]);
    let answers = client.check_stream(one()).await.unwrap();
    let mut half_closed = answers.into_inner();
    let open = one().chain(tokio_stream::pending());
    let mut open = client.check_stream(open).await.unwrap().into_inner();
    for answers in [&mut half_closed, &mut open] {
        let answer = answers.message().await.unwrap().unwrap();
        assert!(
            matches!(answer.result, Some(Answer::Response(_))),
            "{answer:?}"
        );
    }
    assert!(half_closed.message().await.unwrap().is_none());
    let silent = open.message().await.unwrap_err();
    assert_eq!(silent.code(), Code::DeadlineExceeded, "{silent:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_gives_back_its_place() {
    use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
    let mut config = tiny();
    config.server.stream_idle_ms = 300;
    config.server.max_streams = 1;
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    let mut processor = ExternalProcessorClient::new(server.channel().await);
    for _ in 0..2 {
        let silence = tokio_stream::pending();
        let mut answers = client.check_stream(silence).await.unwrap().into_inner();
        let ended = answers.message().await.unwrap_err();
        assert_eq!(ended.code(), Code::DeadlineExceeded, "{ended:?}");
        let silence = tokio_stream::pending();
        let mut answers = client.guard_output(silence).await.unwrap().into_inner();
        let ended = answers.message().await.unwrap_err();
        assert_eq!(ended.code(), Code::DeadlineExceeded, "{ended:?}");
        let silence = tokio_stream::pending();
        let mut answers = processor.process(silence).await.unwrap().into_inner();
        let ended = answers.message().await.unwrap_err();
        assert_eq!(ended.code(), Code::DeadlineExceeded, "{ended:?}");
        assert!(ended.message().contains("300ms"), "{ended:?}");
    }
    server.stop().await;
}
