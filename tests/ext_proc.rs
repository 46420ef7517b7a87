//! External processing as a gateway speaks it, and as one should not.

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Asked;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Said;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, HttpTrailers, ImmediateResponse, ProcessingRequest, ProcessingResponse,
    ProtocolConfiguration,
};
use tonic::{Code, Status};

use crate::support::{TestServer, config, golden, tiny};

fn headers(of: &[(&str, &str)]) -> HttpHeaders {
    let headers = of.iter().map(|(key, value)| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    });
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: headers.collect(),
        }),
        ..HttpHeaders::default()
    }
}

fn chat() -> Asked {
    Asked::RequestHeaders(headers(&[(":path", "/v1/chat/completions")]))
}

fn body(bytes: impl Into<Vec<u8>>) -> HttpBody {
    HttpBody {
        body: bytes.into(),
        end_of_stream: true,
        ..HttpBody::default()
    }
}

fn answer(kind: &str, status: &str) -> Asked {
    Asked::ResponseHeaders(headers(&[(":status", status), ("content-type", kind)]))
}

/// Says all of these in one exchange, in the body mode of this number; what is answered.
async fn exchange(
    server: &TestServer,
    mode: i32,
    messages: Vec<Asked>,
) -> Result<Vec<ProcessingResponse>, Status> {
    let mut client = ExternalProcessorClient::new(server.channel().await);
    let config = ProtocolConfiguration {
        request_body_mode: mode,
        response_body_mode: mode,
        ..ProtocolConfiguration::default()
    };
    let messages = messages
        .into_iter()
        .enumerate()
        .map(move |(i, request)| ProcessingRequest {
            protocol_config: (i == 0).then_some(config),
            request: Some(request),
            ..ProcessingRequest::default()
        });
    let mut said = client
        .process(tokio_stream::iter(messages.collect::<Vec<_>>()))
        .await?
        .into_inner();
    let mut all = Vec::new();
    while let Some(message) = said.message().await? {
        all.push(message);
    }
    Ok(all)
}

fn refused(said: &[ProcessingResponse]) -> (i32, String) {
    let last = said.last().and_then(|r| r.response.clone());
    let Some(Said::ImmediateResponse(ImmediateResponse { status, body, .. })) = last else {
        panic!("{said:?}");
    };
    (status.unwrap().code, String::from_utf8(body).unwrap())
}

const BUFFERED: i32 = 2;
const FULL_DUPLEX: i32 = 4;

#[tokio::test]
async fn messages_out_of_order_and_unknown_modes_are_named() {
    let server = TestServer::start(tiny()).await;
    let end = || Asked::RequestBody(body("{}"));
    for (messages, problem) in [
        (vec![end()], "before its headers"),
        (vec![chat(), chat()], "twice"),
        (vec![chat(), end(), end()], "after its end"),
        (
            vec![Asked::RequestTrailers(HttpTrailers::default())],
            "trailers",
        ),
        (
            vec![chat(), Asked::ResponseBody(body("x"))],
            "before its headers",
        ),
    ] {
        let status = exchange(&server, BUFFERED, messages).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains(problem), "{status:?}");
    }
    for mode in [3, 5, 77] {
        let status = exchange(&server, mode, vec![chat()]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    let mut client = ExternalProcessorClient::new(server.channel().await);
    let empty = tokio_stream::iter([ProcessingRequest::default()]);
    let mut said = client.process(empty).await.unwrap().into_inner();
    assert_eq!(
        said.message().await.unwrap_err().code(),
        Code::InvalidArgument
    );
    server.stop().await;
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused_and_the_server_lives() {
    let mut config = tiny();
    config.server.gateway.max_body_bytes = 100_000;
    let server = TestServer::start(config).await;
    let deep = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
    let nested = (0..1_000).fold(String::from("\"x\""), |inner, _| {
        format!(r#"[{{"type":"tool_result","content":{inner}}}]"#)
    });
    let nested = format!(r#"{{"messages":[{{"role":"user","content":{nested}}}]}}"#);
    for mode in [BUFFERED, FULL_DUPLEX] {
        for (bytes, status, problem) in [
            (b"no json".to_vec(), 400, "not JSON"),
            (b"{\"messages\":[".to_vec(), 400, "not JSON"),
            (b"\xff\xfe{}".to_vec(), 400, "UTF-8"),
            (nested.clone().into_bytes(), 400, "deeply"),
            (format!(r#"{{"messages":{deep}}}"#).into(), 400, "deeply"),
            (vec![b' '; 100_001], 413, "100000"),
        ] {
            let said = exchange(&server, mode, vec![chat(), Asked::RequestBody(body(bytes))]).await;
            let (code, message) = refused(&said.unwrap());
            assert_eq!(code, status, "{message}");
            assert!(message.contains(problem), "{message}");
        }
        let said = exchange(
            &server,
            mode,
            vec![
                chat(),
                Asked::RequestBody(body(format!(r#"{{"x":{deep}}}"#))),
            ],
        )
        .await;
        assert!(
            !said
                .unwrap()
                .iter()
                .any(|r| matches!(r.response, Some(Said::ImmediateResponse(_))))
        );
        // Answers: an unknown type, broken events, one event without end, no text.
        let request = || vec![chat(), Asked::RequestBody(body("{}"))];
        let with = |mut messages: Vec<Asked>, more: Vec<Asked>| {
            messages.extend(more);
            messages
        };
        let html = vec![answer("text/html", "200"), Asked::ResponseBody(body("<p>"))];
        let said = exchange(&server, mode, with(request(), html))
            .await
            .unwrap();
        assert_eq!(refused(&said).0, 502);
        for events in [
            b"data: \xff\n\n".to_vec(),
            [b"data: ", vec![b'x'; 100_001].as_slice()].concat(),
        ] {
            let events = vec![
                answer("text/event-stream", "200"),
                Asked::ResponseBody(body(events)),
            ];
            let said = exchange(&server, mode, with(request(), events))
                .await
                .unwrap();
            let said = format!("{said:?}");
            assert!(!said.contains("ImmediateResponse("), "{said}");
            let error: Vec<u8> = b"unreadable_body".to_vec();
            let shown = format!("{error:?}");
            assert!(said.contains(shown.trim_matches(['[', ']'])), "{said}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn who_sends_no_bodies_or_trailers_where_they_cannot_be_read_is_told() {
    let server = TestServer::start(tiny()).await;
    let (none, streamed) = (0, 1);
    let said = exchange(&server, none, vec![chat()]).await.unwrap();
    let (code, message) = refused(&said);
    assert_eq!(code, 500);
    assert!(message.contains("request_body_mode"), "{message}");
    let mut part = body(r#"{"messages":[]}"#);
    part.end_of_stream = false;
    let trailers = || Asked::RequestTrailers(HttpTrailers::default());
    let messages = vec![chat(), Asked::RequestBody(part.clone()), trailers()];
    let (code, message) = refused(&exchange(&server, streamed, messages.clone()).await.unwrap());
    assert_eq!(code, 500);
    assert!(message.contains("trailers"), "{message}");
    for mode in [BUFFERED, FULL_DUPLEX] {
        let said = exchange(&server, mode, messages.clone()).await.unwrap();
        let last = said.last().unwrap().response.clone();
        assert!(matches!(last, Some(Said::RequestTrailers(_))), "{said:?}");
        assert_eq!(said.len(), 3, "{said:?}");
    }
    server.stop().await;
}

/// A policy that lets pass what cannot be read.
fn open_policy() -> portcullis::config::Config {
    let mut config = tiny();
    let policy = toml::from_str("on_error = \"open\"\n[detectors.secrets]\n").unwrap();
    config.policies.insert("default".into(), policy);
    config
}

#[tokio::test]
async fn a_policy_that_fails_open_loses_no_byte_of_what_cannot_be_read() {
    let server = TestServer::start(open_policy()).await;
    let events: Vec<u8> = [
        b"data: {\"choices\":[{\"delta\":{\"content\":\"password: \"}}]}\n\n".as_slice(),
        b"data: \xff\xfe\n\n",
        b"data: after\n\n",
    ]
    .concat();
    for size in [1, 7, 1_000] {
        let mut messages = vec![
            chat(),
            Asked::RequestBody(body("no json")),
            answer("text/event-stream", "200"),
        ];
        let chunks: Vec<_> = events.chunks(size).collect();
        for (i, chunk) in chunks.iter().enumerate() {
            let mut part = body(*chunk);
            part.end_of_stream = i + 1 == chunks.len();
            messages.push(Asked::ResponseBody(part));
        }
        let said = exchange(&server, FULL_DUPLEX, messages).await.unwrap();
        let streamed = |response: bool| {
            let parts = said.iter().filter_map(|r| match &r.response {
                Some(Said::RequestBody(body)) if !response => body.response.clone(),
                Some(Said::ResponseBody(body)) if response => body.response.clone(),
                _ => None,
            });
            let parts = parts.filter_map(|c| match c.body_mutation?.mutation? {
                Mutation::StreamedResponse(part) => Some(part.body),
                _ => None,
            });
            parts.flatten().collect::<Vec<u8>>()
        };
        assert_eq!(streamed(false), b"no json");
        assert_eq!(
            streamed(true),
            events,
            "{size}: {:?}",
            String::from_utf8_lossy(&streamed(true))
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn bodies_of_all_exchanges_share_a_bound() {
    let mut config = config(golden("bert-sequence"));
    config.server.gateway.max_buffered_bytes = 64 << 10;
    config.server.gateway.max_body_bytes = 64 << 10;
    let server = TestServer::start(config).await;
    let text = format!(
        r#"{{"messages":[{{"content":"{}"}}]}}"#,
        "a ".repeat(20_000)
    );
    let said = exchange(
        &server,
        FULL_DUPLEX,
        vec![chat(), Asked::RequestBody(body(text))],
    )
    .await;
    let (code, message) = refused(&said.unwrap());
    assert_eq!(code, 503, "{message}");
    // And give back what they held.
    for _ in 0..50 {
        let text = format!(r#"{{"messages":[{{"content":"{}"}}]}}"#, "a ".repeat(1_000));
        let said = exchange(
            &server,
            FULL_DUPLEX,
            vec![chat(), Asked::RequestBody(body(text))],
        )
        .await;
        let said = said.unwrap();
        assert!(
            !matches!(said[0].response, Some(Said::ImmediateResponse(_))),
            "{said:?}"
        );
    }
    server.stop().await;
}
