//! External processing as a gateway speaks it, and as one should not.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Asked;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Said;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, HttpTrailers, ImmediateResponse, ProcessingRequest, ProcessingResponse,
    ProtocolConfiguration,
};
use portcullis::api::UnknownPaths;
use portcullis::api::pb::v1::{GuardOutputRequest, OutputStart, Role, guard_output_request};
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use crate::support::{TestServer, bundled, config, golden, tiny};

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

/// A gateway that does not send requests' headers shows answers alone.
#[tokio::test]
async fn an_answer_without_its_request_does_not_pass_unless_it_is_an_error() {
    let mut config = tiny();
    config.server.gateway.unknown_paths = UnknownPaths::Block;
    let server = TestServer::start(config).await;
    for mode in [BUFFERED, FULL_DUPLEX] {
        let said = |status| {
            let text = Asked::ResponseBody(body(r#"{"choices":[{"message":{"content":"a"}}]}"#));
            exchange(
                &server,
                mode,
                vec![answer("application/json", status), text],
            )
        };
        let refused = said("200").await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        assert!(
            refused.message().contains("request_header_mode"),
            "{refused:?}"
        );
        // Filters before this one may answer by themselves.
        said("401").await.unwrap();
        let mut preflight = headers(&[(":status", "200")]);
        preflight.end_of_stream = true;
        exchange(&server, mode, vec![Asked::ResponseHeaders(preflight)])
            .await
            .unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn headers_that_are_no_text_are_not_read_as_none() {
    let server = TestServer::start(tiny()).await;
    let with = |name: &str, value: &[u8]| {
        let mut headers = headers(&[(name, "")]);
        headers.headers.as_mut().unwrap().headers[0].raw_value = value.to_vec();
        headers
    };
    let path = || with(":path", b"/v1/chat/completions?x=\xff");
    let said = exchange(
        &server,
        BUFFERED,
        vec![
            Asked::RequestHeaders(path()),
            Asked::RequestBody(body("no json")),
        ],
    );
    assert_eq!(refused(&said.await.unwrap()).0, 400);
    let mut encoded = path();
    let encoding = with("content-encoding", b"gzip\xff").headers.unwrap();
    encoded
        .headers
        .as_mut()
        .unwrap()
        .headers
        .extend(encoding.headers);
    let said = exchange(&server, BUFFERED, vec![Asked::RequestHeaders(encoded)]);
    assert_eq!(refused(&said.await.unwrap()).0, 415);
    let mut odd = headers(&[(":status", "200")]);
    let kind = with("content-type", b"application/json\xff")
        .headers
        .unwrap();
    odd.headers.as_mut().unwrap().headers.extend(kind.headers);
    let said = exchange(
        &server,
        BUFFERED,
        vec![
            chat(),
            Asked::RequestBody(body("{}")),
            Asked::ResponseHeaders(odd),
        ],
    );
    assert_eq!(refused(&said.await.unwrap()).0, 502);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_does_not_pass_where_a_detector_fails_closed() {
    let mut config = tiny();
    let policy =
        "on_error = \"open\"\n[detectors.secrets]\non_error = \"closed\"\nroles = [\"tool\"]\n";
    let policy = toml::from_str(policy).unwrap();
    config.policies.insert("default".into(), policy);
    let server = TestServer::start(config).await;
    let messages = vec![chat(), Asked::RequestBody(body("no json"))];
    let said = exchange(&server, BUFFERED, messages).await.unwrap();
    assert_eq!(refused(&said).0, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_left() {
    let mut config = tiny();
    config.server.max_streams = 1;
    config.server.stream_idle_ms = 300;
    let server = TestServer::start(config).await;
    let narrow = Endpoint::from_shared(server.url()).unwrap();
    let narrow = narrow.initial_stream_window_size(1).connect_lazy();
    let mut deaf = ExternalProcessorClient::new(narrow);
    let mut part = body(" ");
    part.end_of_stream = false;
    let parts = (0..50).map(move |_| Asked::RequestBody(part.clone()));
    let messages = std::iter::once(chat())
        .chain(parts)
        .map(|request| ProcessingRequest {
            request: Some(request),
            ..ProcessingRequest::default()
        });
    // It goes on sending, so that it is not silent.
    let messages = tokio_stream::iter(messages).chain(tokio_stream::pending());
    let unread = deaf.process(messages).await.unwrap();
    let mut client = ExternalProcessorClient::new(server.channel().await);
    let mut tries = 0;
    let again = loop {
        match client.process(tokio_stream::pending()).await {
            Ok(again) => break again,
            Err(full) => assert_eq!(full.code(), Code::ResourceExhausted),
        }
        tries += 1;
        assert!(tries < 100, "the stream kept its place");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // However late it reads, it learns that it was left.
    let mut unread = unread.into_inner();
    let end = loop {
        match unread.message().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end.unwrap_err().code(), Code::DeadlineExceeded);
    drop(again);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_cut_says_on_record_why_and_one_that_never_began_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.jsonl");
    let mut config = config(bundled());
    let audit = format!("file = {file:?}");
    config.server.audit = Some(toml::from_str(&audit).unwrap());
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    let unknown = OutputStart {
        role: Role::Assistant.into(),
        policy_id: "unknown".into(),
        ..OutputStart::default()
    };
    let start = GuardOutputRequest {
        message: Some(guard_output_request::Message::Start(unknown)),
    };
    let mut said = client
        .guard_output(tokio_stream::iter([start]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(said.message().await.unwrap_err().code(), Code::NotFound);
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"It \"}}]}\n\ndata: x\n\n";
    let messages = vec![
        chat(),
        Asked::RequestBody(body("{}")),
        answer("text/event-stream", "200"),
        Asked::ResponseBody(body(events)),
    ];
    exchange(&server, FULL_DUPLEX, messages).await.unwrap();
    server.stop().await;
    let records = std::fs::read_to_string(file).unwrap();
    let records = records.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        (record["event"].clone(), record["details"]["reason"].clone())
    });
    let streamed = |event: &Value| event.as_str().is_some_and(|e| e.starts_with("stream"));
    let records: Vec<_> = records.filter(|(event, _)| streamed(event)).collect();
    let [(began, _), (failed, reason)] = &records[..] else {
        panic!("{records:?}");
    };
    assert_eq!((began, failed), (&"stream".into(), &"stream_failed".into()));
    assert!(reason.as_str().unwrap().contains("not JSON"), "{reason}");
}

/// What a call's arguments are redacted to in pieces they are in every repetition, numbers too.
#[tokio::test(flavor = "multi_thread")]
async fn arguments_of_calls_are_repeated_as_they_were_said() {
    let server = TestServer::start(config(bundled())).await;
    let arguments =
        r#"{"mail": "ann@example.com", "ssn": 536228714, "note": "a\nbob@example.com"}"#;
    let event = |event: Value| format!("data: {event}\n\n");
    let mut events = String::new();
    for (i, _) in arguments.char_indices().step_by(7) {
        let delta = &arguments[i..arguments.len().min(i + 7)];
        events += &event(
            json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": delta}),
        );
    }
    events += &event(
        json!({"type": "response.function_call_arguments.done", "output_index": 0, "arguments": arguments}),
    );
    let item = json!({"type": "function_call", "name": "f", "arguments": arguments});
    events += &event(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    events += &event(
        json!({"type": "response.completed", "response": {"output": [item], "error": null}}),
    );
    let messages = vec![
        Asked::RequestHeaders(headers(&[(":path", "/v1/responses")])),
        Asked::RequestBody(body("{}")),
        answer("text/event-stream", "200"),
        Asked::ResponseBody(body(events)),
    ];
    let said = exchange(&server, FULL_DUPLEX, messages).await.unwrap();
    let passed = String::from_utf8(streamed(said)).unwrap();
    let mut pieces = String::new();
    let mut wholes = Vec::new();
    for data in passed
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
    {
        let event: Value = serde_json::from_str(data).unwrap();
        pieces += event["delta"].as_str().unwrap_or_default();
        for call in [&event, &event["item"], &event["response"]["output"][0]] {
            wholes.extend(call["arguments"].as_str().map(str::to_owned));
        }
    }
    assert!(
        pieces.contains("[EMAIL]") && !pieces.contains("ann@"),
        "{passed}"
    );
    let read: Value = serde_json::from_str(&pieces).unwrap();
    assert_eq!(read["ssn"], "[SSN]", "{pieces}");
    assert_eq!(wholes, [pieces.clone(), pieces.clone(), pieces], "{passed}");
    server.stop().await;
}

/// A number of a streamed call that is redacted becomes a string, whatever the provider's form.
#[tokio::test(flavor = "multi_thread")]
async fn streamed_arguments_stay_json() {
    let server = TestServer::start(config(bundled())).await;
    let arguments =
        r#"{"card": 4539148803436467, "amount": 12, "say": "my card is 4539148803436467"}"#;
    type Event = fn(&str) -> Value;
    let chat: Event = |part| json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}}]});
    let anthropic: Event = |part| {
        let delta = json!({"type": "input_json_delta", "partial_json": part});
        json!({"type": "content_block_delta", "index": 0, "delta": delta})
    };
    let places: [(&str, Event, &str); 2] = [
        (
            "/v1/chat/completions",
            chat,
            "/choices/0/delta/tool_calls/0/function/arguments",
        ),
        ("/v1/messages", anthropic, "/delta/partial_json"),
    ];
    for (path, event, place) in places {
        let parts = arguments.as_bytes().chunks(9);
        let parts = parts.map(|part| event(std::str::from_utf8(part).unwrap()));
        let events: String = parts.map(|event| format!("data: {event}\n\n")).collect();
        let messages = vec![
            Asked::RequestHeaders(headers(&[(":path", path)])),
            Asked::RequestBody(body("{}")),
            answer("text/event-stream", "200"),
            Asked::ResponseBody(body(events)),
        ];
        let said = exchange(&server, FULL_DUPLEX, messages).await.unwrap();
        let passed = String::from_utf8(streamed(said)).unwrap();
        let datas = passed
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        let pieces: String = datas
            .filter_map(|data| {
                let event: Value = serde_json::from_str(data).unwrap();
                Some(event.pointer(place)?.as_str()?.to_owned())
            })
            .collect();
        let read: Value = serde_json::from_str(&pieces).unwrap();
        assert_eq!(read["card"], "[CREDIT_CARD]", "{pieces}");
        assert_eq!(read["amount"], 12, "{pieces}");
        assert_eq!(read["say"], "my card is [CREDIT_CARD]", "{pieces}");
    }
    server.stop().await;
}

/// The bytes of answers that are streamed.
fn streamed(said: Vec<ProcessingResponse>) -> Vec<u8> {
    let parts = said.into_iter().filter_map(|r| match r.response {
        Some(Said::ResponseBody(body)) => match body.response?.body_mutation?.mutation? {
            Mutation::StreamedResponse(part) => Some(part.body),
            _ => None,
        },
        _ => None,
    });
    parts.flatten().collect()
}
