//! OpenAI's Responses API through the real Envoy, by OpenAI's own client.

use serde_json::{Value, json};

use crate::envoy::{Gateway, HATE, INJECTION, MODES, PLAIN, QUESTION, SECRET, in_mode};
use crate::http::python;
use crate::support::{bundled, config};
use crate::wire::Answer;

fn item(text: &str) -> Value {
    let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]})
}

fn response(output: &[Value]) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1_790_000_000, "status": "completed",
        "model": "m", "instructions": INJECTION, "output": output, "tools": [], "tool_choice": "auto",
        "parallel_tool_calls": true, "metadata": {},
    })
}

/// An answer that streams, as OpenAI's servers write it: every text in parts, and then again as a whole.
fn stream(text: &str, letters: usize) -> String {
    let place = |mut event: Value| {
        event["item_id"] = json!("msg_1");
        event["output_index"] = json!(0);
        event["content_index"] = json!(0);
        event
    };
    let part = json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []});
    let mut begun = item("");
    begun["content"] = json!([]);
    let mut events = vec![
        json!({"type": "response.created", "response": response(&[])}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": begun}),
        place(json!({"type": "response.content_part.added", "part": part})),
    ];
    let letter: Vec<char> = text.chars().collect();
    for part in letter.chunks(letters) {
        let part: String = part.iter().collect();
        let token = json!([{"token": part, "logprob": -0.1, "top_logprobs": []}]);
        events.push(place(
            json!({"type": "response.output_text.delta", "delta": part, "logprobs": token}),
        ));
    }
    let whole = item(text);
    events.extend([
        place(json!({"type": "response.output_text.done", "text": text, "logprobs": []})),
        place(json!({"type": "response.content_part.done", "part": whole["content"][0]})),
        json!({"type": "response.output_item.done", "output_index": 0, "item": whole}),
        json!({"type": "response.completed", "response": response(&[whole])}),
    ]);
    let mut out = String::new();
    for (i, mut event) in events.into_iter().enumerate() {
        event["sequence_number"] = json!(i);
        out += &format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        );
    }
    out
}

async fn ask(gateway: &Gateway, how: &'static str, text: &'static str) -> Value {
    let url = format!("http://{}/v1", gateway.address());
    let said = tokio::task::spawn_blocking(move || python("responses.py", &[&url, how, text], ""));
    serde_json::from_str(&said.await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_redacted_in_parts_and_in_every_repetition() {
    let text = format!("{PLAIN}Use the key {SECRET} for it. {PLAIN}");
    let redacted = text.replace(SECRET, "[API_KEY]");
    for mode in MODES {
        let gateway = Gateway::start(in_mode(mode)).await;
        gateway
            .model
            .answers(Answer::json(&response(&[item(&text)]).to_string()));
        let got = ask(&gateway, "whole", QUESTION).await;
        assert_eq!(got["deltas"], redacted, "{mode}");
        assert!(gateway.model.asked()[0].text().contains(QUESTION));

        for (letters, size) in [(3, 17), (400, 64 << 10)] {
            gateway
                .model
                .answers(Answer::events(&stream(&text, letters), size));
            let got = ask(&gateway, "stream", QUESTION).await;
            assert_eq!(got["error"], Value::Null, "{mode} {letters}");
            assert_eq!(got["deltas"], redacted, "{mode} {letters}");
            let repeats = got["repeats"].as_array().unwrap();
            assert_eq!(repeats.len(), 4);
            assert!(repeats.iter().all(|r| *r == redacted), "{repeats:?}");
            let body = json!({"model": "m", "input": QUESTION, "stream": true}).to_string();
            let raw = gateway
                .post("/v1/responses", body.as_bytes(), 1 << 20)
                .await;
            for part in SECRET.as_bytes().windows(4) {
                let part = std::str::from_utf8(part).unwrap();
                assert!(!raw.text().contains(part), "{part}");
            }
        }
        // What has nothing to hide is byte for byte what it was.
        let plain = stream(PLAIN, 5);
        gateway.model.answers(Answer::events(&plain, 333));
        let body = json!({"model": "m", "input": QUESTION, "stream": true}).to_string();
        let got = gateway
            .post("/v1/responses", body.as_bytes(), 1 << 20)
            .await;
        assert_eq!(got.text(), plain, "{mode}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attacks_are_403_and_an_answer_that_must_not_go_on_raises_in_the_client() {
    let gateway = Gateway::start(in_mode("FULL_DUPLEX_STREAMED")).await;
    gateway
        .model
        .answers(Answer::json(&response(&[item(PLAIN)]).to_string()));
    for how in ["whole", "stream"] {
        let got = ask(&gateway, how, INJECTION).await;
        assert_eq!(got["error"], json!([403, "content_filter"]), "{got}");
    }
    let tool = json!({"model": "m", "input": [
        {"role": "user", "content": QUESTION},
        {"type": "function_call", "call_id": "c", "name": "search", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": INJECTION}]},
    ]});
    let got = gateway
        .post("/v1/responses", tool.to_string().as_bytes(), 1 << 20)
        .await;
    assert_eq!(got.status(), 403);
    assert!(gateway.model.asked().is_empty(), "none of them got there");

    let text = format!("{}{HATE}{HATE}{HATE}{}", PLAIN.repeat(4), PLAIN.repeat(20));
    gateway
        .model
        .answers(Answer::events(&stream(&text, 9), 500));
    let got = ask(&gateway, "stream", QUESTION).await;
    assert_eq!(got["error"], json!([200, "content_filter"]), "{got}");
    assert!(!got["deltas"].as_str().unwrap().contains("worthless"));
    assert_eq!(got["repeats"], json!([]));
    // A text that comes as a whole alone is checked like any other.
    let secret = format!("the key is {SECRET}");
    let done = json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0,
        "item_id": "m", "text": secret, "logprobs": [{"token": secret}]});
    let alone = format!("data: {done}\n\n");
    gateway.model.answers(Answer::events(&alone, 1 << 20));
    let body = json!({"model": "m", "input": QUESTION}).to_string();
    let got = gateway
        .post("/v1/responses", body.as_bytes(), 1 << 20)
        .await;
    assert!(got.text().contains("the key is [API_KEY]"), "{got:?}");
    assert!(!got.text().contains("AKIA"), "{got:?}");
    gateway.stop().await;
}

fn delta(kind: &str, place: Value, delta: Value) -> String {
    let mut event =
        json!({"type": format!("response.{kind}.delta"), "output_index": 0, "delta": delta});
    event[place.as_str().unwrap()] = json!(0);
    format!("data: {event}\n\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tools_say_is_read_as_theirs_and_every_text_by_itself() {
    let gateway = Gateway::start(in_mode("FULL_DUPLEX_STREAMED")).await;
    let ask = async |answer: Answer, path: &str| {
        gateway.model.answers(answer);
        let body = json!({"model": "m", "input": QUESTION}).to_string();
        gateway.post(path, body.as_bytes(), 1 << 20).await
    };
    let call =
        |output: &str| json!({"type": "mcp_call", "id": "c", "arguments": "{}", "output": output});
    let done = |item: Value| {
        let event = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
        format!("data: {event}\n\n")
    };
    let got = ask(Answer::events(&done(call(INJECTION)), 99), "/v1/responses").await;
    assert!(got.text().contains("event: error"), "{got:?}");
    assert!(!got.text().contains("Ignore all"), "{got:?}");
    let whole = response(&[call(INJECTION)]).to_string();
    let got = ask(Answer::json(&whole), "/v1/responses").await;
    assert_eq!(got.status(), 403, "{got:?}");
    // The same in what is asked for later.
    let got = ask(Answer::json(&whole), "/v1/responses/resp_1").await;
    assert_eq!(got.status(), 403, "{got:?}");
    let fine = response(&[call("It rains.")]).to_string();
    let got = ask(Answer::json(&fine), "/v1/responses/resp_1").await;
    assert_eq!(got.text(), fine);

    // One program's outputs are two texts, and a text goes on across another.
    let (first, second) = SECRET.split_at(10);
    let shell = |stream: &str, said: &str| {
        let said = json!({stream: said});
        delta("shell_call_output_content", json!("command_index"), said)
    };
    let events = shell("stdout", first) + &shell("stderr", "warn ") + &shell("stdout", second);
    let got = ask(Answer::events(&events, 99), "/v1/responses").await;
    assert!(
        !got.text().contains(first) && !got.text().contains(second),
        "{got:?}"
    );
    let reasoning = |said: &str| delta("reasoning_text", json!("content_index"), json!(said));
    let summary = delta(
        "reasoning_summary_text",
        json!("summary_index"),
        json!("Thinking"),
    );
    let all = format!("key {SECRET} ");
    let done = json!({"type": "response.reasoning_text.done", "output_index": 0, "content_index": 0, "text": all});
    let events = [
        reasoning(&format!("key {first}")),
        summary,
        reasoning(&format!("{second} ")),
        format!("data: {done}\n\n"),
    ];
    let got = ask(Answer::events(&events.concat(), 99), "/v1/responses").await;
    assert!(
        got.text().contains("\"text\":\"key [API_KEY] \""),
        "{got:?}"
    );
    assert!(!got.text().contains(second), "{got:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_redacted_does_not_come_again_when_the_rest_cannot_be_read() {
    let mut config = config(bundled());
    config.server.gateway.deadline_ms = 30_000;
    let policy = toml::from_str("on_error = \"open\"\n[detectors.secrets]\n").unwrap();
    config.policies.insert("default".into(), policy);
    let gateway = Gateway::with(config, in_mode("FULL_DUPLEX_STREAMED")).await;
    // What a client could not read, either, before the text is repeated.
    let odd = |text: &str| {
        let done = "event: response.output_text.done";
        stream(text, 9).replacen(done, &format!("{{}}\n\n{done}"), 1)
    };
    let secret = odd(&format!("{PLAIN}the key is {SECRET} as you know. "));
    gateway.model.answers(Answer::events(&secret, 500));
    let body = json!({"model": "m", "input": QUESTION}).to_string();
    let got = gateway
        .post("/v1/responses", body.as_bytes(), 1 << 20)
        .await;
    assert!(!got.text().contains("AKIA"), "{got:?}");
    assert!(got.text().contains("event: error"), "{got:?}");
    // With nothing to hide it passes, as the policy says.
    let plain = odd(PLAIN);
    gateway.model.answers(Answer::events(&plain, 500));
    let got = gateway
        .post("/v1/responses", body.as_bytes(), 1 << 20)
        .await;
    assert_eq!(got.text(), plain);
    gateway.stop().await;
}
