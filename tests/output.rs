//! Text guarded while it streams: nothing that must not pass ever leaves, and the result does not depend
//! on how the text was cut.

use portcullis::api::pb::v1::{
    Action, CheckResponse, GuardOutputRequest, GuardOutputResponse, OutputStart,
    guard_output_request, guard_output_response,
};
use portcullis::config::Config;
use portcullis::engine::SimulatedCost;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{TestServer, bundled, config, tiny};

fn start(policy: &str) -> GuardOutputRequest {
    GuardOutputRequest {
        message: Some(guard_output_request::Message::Start(OutputStart {
            policy_id: policy.into(),
            conversation_id: "talk".into(),
            ..OutputStart::default()
        })),
    }
}

fn chunk(text: &str) -> GuardOutputRequest {
    GuardOutputRequest {
        message: Some(guard_output_request::Message::Chunk(text.into())),
    }
}

/// What was released, and the verdict.
async fn guarded(
    server: &TestServer,
    policy: &str,
    chunks: Vec<String>,
) -> Result<(Vec<String>, CheckResponse), Status> {
    let mut client = server.client().await;
    let mut messages = vec![start(policy)];
    messages.extend(chunks.iter().map(|c| chunk(c)));
    let mut answers = client
        .guard_output(tokio_stream::iter(messages))
        .await?
        .into_inner();
    let (mut texts, mut verdict) = (Vec::new(), None);
    while let Some(GuardOutputResponse { message }) = answers.message().await? {
        assert!(verdict.is_none(), "the verdict comes last");
        match message.unwrap() {
            guard_output_response::Message::Text(text) => texts.push(text),
            guard_output_response::Message::Verdict(v) => verdict = Some(v),
        }
    }
    Ok((texts, verdict.expect("a verdict")))
}

fn redacting() -> Config {
    let mut config = config(bundled());
    let policy = r#"
        version = "1"
        [detectors.pii]
        action = "redact"
        [detectors.pii_patterns]
        [detectors.secrets]
        redaction = "mask"
        [deny]
        words = ["Project Nightingale"]
        action = "redact"
    "#;
    config
        .policies
        .insert("own".into(), toml::from_str(policy).unwrap());
    config
}

const ANSWER: &str = "Sure, here is what I found about the account. The owner is Maria Lopez, who lives \
    in Springfield and can be reached at maria.lopez@example.com or under 555-867-5309. Her card is \
    4111 1111 1111 1111 and it is valid until next year. The weather in the region is mild, with some \
    rain in spring, and visitors like the old harbour. To deploy it, set AWS_ACCESS_KEY_ID to \
    AKIAIOSFODNN7EXAMPLQ and restart the service. As for project Nightingale, ask John Smith from the \
    sales department, he has been with the company for twelve years. Überraschung: größere Änderungen \
    folgen. Anything else you would like to know? I am happy to help with travel plans as well.";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_listed_is_redacted_and_disguised_words_tell_of_secrets() {
    let mut config = redacting();
    let own = config.policies.get_mut("own").unwrap();
    own.limits = toml::from_str("max_findings = 0").unwrap();
    let server = TestServer::start(config).await;
    let (texts, verdict) = guarded(&server, "own", vec![ANSWER.into()]).await.unwrap();
    let text = texts.concat();
    assert!(
        !text.contains("Maria") && !text.contains("4111 1111"),
        "{text}"
    );
    assert_eq!(verdict.action(), Action::Redact);
    assert!(verdict.findings.is_empty() && verdict.findings_omitted > 3);
    for word in ["pass\u{200b}word", "ｐａｓｓｗｏｒｄ"] {
        let said =
            format!("You can log in at once. The {word}: hunter2xyz! is for you alone, as ever.");
        for size in [1, 9, 500] {
            let chunks = cuts(&said, std::iter::repeat(size));
            let (texts, verdict) = guarded(&server, "own", chunks).await.unwrap();
            assert!(
                !texts.concat().contains("hunter2"),
                "{word}: {:?}",
                texts.concat()
            );
            assert_eq!(verdict.action(), Action::Redact);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_chunks_at_once_are_one_text() {
    let server = TestServer::start(redacting()).await;
    let text = ANSWER.repeat(40);
    let (whole, _) = guarded(&server, "own", vec![text.clone()]).await.unwrap();
    let chunks = cuts(&text, std::iter::repeat(2));
    assert!(chunks.len() > 10_000);
    let (texts, _) = guarded(&server, "own", chunks).await.unwrap();
    assert_eq!(texts.concat(), whole.concat());
    server.stop().await;
}

fn cuts(text: &str, sizes: impl Iterator<Item = usize>) -> Vec<String> {
    let mut chunks = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    for size in sizes {
        if rest.is_empty() {
            break;
        }
        let after = rest.split_off(size.clamp(1, rest.len()));
        chunks.push(std::mem::replace(&mut rest, after).into_iter().collect());
    }
    if !rest.is_empty() {
        chunks.push(rest.into_iter().collect());
    }
    chunks
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_does_not_depend_on_the_chunks_and_nothing_redacted_leaves() {
    let server = TestServer::start(redacting()).await;
    let (whole, verdict) = guarded(&server, "own", vec![ANSWER.into()]).await.unwrap();
    let expected: String = whole.concat();
    let secrets = [
        "maria.lopez@example.com",
        "4111 1111",
        "AKIAIOSFODNN7",
        "Maria",
        "ightingale",
    ];
    for secret in secrets {
        assert!(!expected.contains(secret), "{secret} in {expected}");
    }
    assert!(
        expected.contains("it is valid until next year"),
        "{expected}"
    );
    assert!(expected.contains("größere Änderungen"));
    assert_eq!(verdict.action(), Action::Redact);
    for finding in &verdict.findings {
        let span = finding.span.as_ref().unwrap();
        assert!(
            ANSWER
                .get(span.start_byte as usize..span.end_byte as usize)
                .is_some()
        );
    }

    let mut splits: Vec<Vec<String>> = [1, 2, 3, 7, 64]
        .iter()
        .map(|&size| cuts(ANSWER, std::iter::repeat(size)))
        .collect();
    let mut runner = TestRunner::deterministic();
    for _ in 0..12 {
        let sizes = prop::collection::vec(1usize..200, 30)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        splits.push(cuts(ANSWER, sizes.into_iter()));
    }
    for split in splits {
        let count = split.len();
        let (texts, cut) = guarded(&server, "own", split).await.unwrap();
        assert_eq!(texts.concat(), expected, "{count} chunks");
        assert_eq!(cut.findings, verdict.findings, "{count} chunks");
        // At any time, what has left is a beginning of the safe text: never the original.
        assert!(texts.len() > 1 || count < 3, "released as it comes");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_alone_hold_back_little() {
    let mut config = redacting();
    let policy = "version = \"1\"\n[detectors.secrets]\n";
    config
        .policies
        .insert("secrets".into(), toml::from_str(policy).unwrap());
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    let (send, receive) = tokio::sync::mpsc::channel(4);
    send.send(start("secrets")).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut answers = client.guard_output(requests).await.unwrap().into_inner();
    let text = "An ordinary sentence that goes on for a while, word by word, as models write. ";
    let (mut sent, mut got) = (0, 0);
    for word in text.repeat(4).split_inclusive(' ') {
        send.send(chunk(word)).await.unwrap();
        sent += word.len();
        let wait = std::time::Duration::from_millis(200);
        while let Ok(Ok(Some(answer))) = tokio::time::timeout(wait, answers.message()).await {
            let Some(guard_output_response::Message::Text(text)) = answer.message else {
                panic!()
            };
            got += text.len();
            if sent - got <= 32 {
                break;
            }
        }
        assert!(sent - got <= 32, "{} bytes held back", sent - got);
    }
    drop(send);
    server.stop().await;
}

/// A device that takes 20 ms a batch, whatever is in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_chunk_is_scored_many_windows_at_once() {
    let cost = SimulatedCost {
        fixed: 0.02,
        ..SimulatedCost::default()
    };
    let mut config = tiny();
    let detector = "bert-sequence";
    let policy = toml::from_str(&format!("[detectors.{detector}]\n")).unwrap();
    config.policies.insert("own".into(), policy);
    let server = TestServer::simulated(config, cost).await;
    let text: String = (0..7_000).map(|word| format!("{word} word ")).collect();
    let begin = std::time::Instant::now();
    let (texts, verdict) = guarded(&server, "own", vec![text.clone()]).await.unwrap();
    let taken = begin.elapsed();
    assert_eq!(texts.concat(), text);
    let [report] = verdict.detectors.as_slice() else {
        panic!("{:?}", verdict.detectors);
    };
    let one_by_one = 0.02 * f64::from(report.windows_scanned);
    assert!(report.windows_scanned > 300, "{report:?}");
    assert!(taken.as_secs_f64() < one_by_one / 2.0, "{taken:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_comes_early_and_nothing_follows_it() {
    let mut config = redacting();
    let policy = "version = \"1\"\n[detectors.secrets]\naction = \"block\"\n";
    config
        .policies
        .insert("strict".into(), toml::from_str(policy).unwrap());
    let server = TestServer::start(config).await;
    let (said, messages) = tokio::sync::mpsc::channel(4);
    let mut client = server.client().await;
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    said.send(start("strict")).await.unwrap();
    said.send(chunk(&"before ".repeat(60))).await.unwrap();
    let mut answers = client.guard_output(messages).await.unwrap().into_inner();
    let mut next = async || answers.message().await.unwrap().unwrap().message.unwrap();
    let guard_output_response::Message::Text(released) = next().await else {
        panic!("a verdict on text that goes on");
    };
    assert!(released.starts_with("before "), "{released}");
    // The caller goes on and never ends its text.
    let rest = format!("key AKIAIOSFODNN7EXAMPLQ then {}", "after ".repeat(500));
    for part in cuts(&rest, std::iter::repeat(10)) {
        if said.send(chunk(&part)).await.is_err() {
            break;
        }
    }
    let verdict = loop {
        match next().await {
            guard_output_response::Message::Text(text) => {
                assert!(!text.contains("AKIA") && !text.contains("after"), "{text}");
            }
            guard_output_response::Message::Verdict(verdict) => break verdict,
        }
    };
    assert_eq!(verdict.action(), Action::Block);
    drop(said);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_order_and_excess_are_refused_clearly() {
    let mut settings = redacting();
    settings.limits.max_text_bytes = 10_000;
    let server = TestServer::start(settings).await;
    let mut client = server.client().await;
    for messages in [
        vec![],
        vec![chunk("x")],
        vec![start("own"), start("own")],
        vec![start("own"), GuardOutputRequest::default()],
    ] {
        let answers = client.guard_output(tokio_stream::iter(messages)).await;
        let status = match answers {
            Err(status) => status,
            Ok(answers) => answers.into_inner().message().await.unwrap_err(),
        };
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.get_details_error_info().unwrap().reason,
            "INVALID_REQUEST"
        );
    }
    let unknown = guarded(&server, "nope", vec!["x".into()])
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let long = guarded(&server, "own", vec!["word ".repeat(3_000)])
        .await
        .unwrap_err();
    assert_eq!(long.code(), Code::InvalidArgument);
    let (texts, verdict) = guarded(&server, "own", Vec::new()).await.unwrap();
    assert!(texts.is_empty() && verdict.action() == Action::Allow);
    server.stop().await;
}
