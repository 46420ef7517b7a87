//! OpenAI's Responses API through the real Envoy, by OpenAI's own client.

use serde_json::{Value, json};

use crate::envoy::{Gateway, INJECTION, MODES, PLAIN, QUESTION, SECRET, in_mode};
use crate::http::python;
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
    const HATE: &str = "You are a worthless stupid idiot and I will kill you, you piece of shit. ";
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
