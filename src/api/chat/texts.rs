//! The texts of a whole body, and who speaks in each.

use serde_json::value::RawValue;

use super::items::{self, Item};
use super::json::{self, Members, Token, Value};
use super::{Format, Literal, Passage};
use crate::guard::Role;

/// A text where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Text<'b> {
    /// Who speaks.
    pub(in super::super) role: Role,
    /// What is said.
    pub(in super::super) passage: Passage<'b>,
}

/// What is wrong with a body that should be understood.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum Unreadable {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It says something in a way that cannot be scanned.
    #[error("{0}")]
    Unscannable(&'static str),
}

impl Unreadable {
    pub(super) const TOO_DEEP: Self = Self::Unscannable("texts are nested too deeply");
    pub(super) const TOO_MANY: Self = Self::Unscannable("there are too many texts");
    const TOKENS: Self =
        Self::Unscannable("a text is given as tokens, which cannot be scanned; send it as text");
}

/// Levels of JSON within which texts are looked for.
pub(super) const DEPTH: usize = 32;
/// Keys of a message that a body may have in its own place.
const SAID: [&str; 7] = [
    "content",
    "refusal",
    "reasoning_content",
    "reasoning_details",
    "tool_calls",
    "function_call",
    "audio",
];
/// Keys of an answer for what was found on the way to it.
pub(super) const BESIDE: [&str; 2] = ["citations", "search_results"];
/// Texts of one body.
pub(super) const MOST_TEXTS: usize = 16 << 10;

/// Texts in the order in which they stand.
#[derive(Debug, Default)]
pub(in super::super) struct Texts<'b> {
    pub(in super::super) texts: Vec<Text<'b>>,
    /// Values that say the same in other ways, and say nothing any more where a text is redacted: the
    /// probabilities of each token.
    pub(in super::super) echoes: Vec<&'b str>,
}

impl<'b> Texts<'b> {
    /// What a request says.
    pub(in super::super) fn of_request(format: &Format, body: &'b str) -> Result<Self, Unreadable> {
        let raw = json::parse(body)?;
        let mut texts = Self::default();
        if let Format::Pointers(pointers) = format {
            for pointer in &pointers.request {
                texts.at(Role::User, raw, pointer)?;
            }
            return Ok(texts);
        }
        let Value::Object(root) = json::open(raw) else {
            return Err(Unreadable::Unscannable("the body is no object"));
        };
        // Whatever the path says, a server may take any of these.
        texts.items(Role::System, &root, "system")?;
        texts.items(Role::User, &root, "messages")?;
        // A message by itself, and what some servers take beside messages.
        for said in SAID {
            texts.items(Role::User, &root, said)?;
        }
        texts.strings(Role::Document, &root, "documents")?;
        texts.strings(Role::System, &root, "instructions")?;
        texts.items(Role::User, &root, "input")?;
        texts.items(Role::User, &root, "items")?;
        texts.strings(Role::Assistant, &root, "prediction")?;
        for prompt in root.all("prompt").chain(root.all("suffix")) {
            texts.prompt(prompt)?;
        }
        Ok(texts)
    }

    /// What a response says.
    pub(in super::super) fn of_response(
        format: &Format,
        body: &'b str,
    ) -> Result<Self, Unreadable> {
        let raw = json::parse(body)?;
        let mut texts = Self::default();
        if let Format::Pointers(pointers) = format {
            for pointer in &pointers.response {
                texts.at(Role::Assistant, raw, pointer)?;
            }
            return Ok(texts);
        }
        match json::open(raw) {
            Value::Object(root) => texts.answer(format, raw, &root)?,
            _ => {
                for item in items::items(raw) {
                    texts.item(Role::Assistant, "", item)?;
                }
            }
        }
        Ok(texts)
    }

    /// An answer, or several that were stored.
    fn answer(
        &mut self,
        format: &Format,
        raw: &'b RawValue,
        root: &Members<'b>,
    ) -> Result<(), Unreadable> {
        self.items(Role::Assistant, root, "choices")?;
        self.echoes(root);
        if *format == Format::Responses && root.all("type").next().is_some() {
            // An item by itself.
            return self.item(Role::Assistant, "", raw);
        }
        for said in SAID.into_iter().chain(["output", "error"]).chain(BESIDE) {
            self.items(Role::Assistant, root, said)?;
        }
        for listed in root.all("data").flat_map(items::items) {
            match json::open(listed) {
                Value::Object(one) if one.all("choices").next().is_some() => {
                    self.items(Role::Assistant, &one, "choices")?;
                }
                _ => self.item(Role::Assistant, "data", listed)?,
            }
        }
        Ok(())
    }

    /// What says the same as the texts in other ways.
    fn echoes(&mut self, object: &Members<'b>) {
        let probabilities = ["logprobs", "prompt_logprobs"];
        let echoes = probabilities.iter().flat_map(|key| object.all(key));
        self.echoes.extend(echoes.map(RawValue::get));
    }

    fn push(&mut self, role: Role, passage: Passage<'b>) -> Result<(), Unreadable> {
        if self.texts.len() >= MOST_TEXTS {
            return Err(Unreadable::TOO_MANY);
        }
        self.texts.push(Text { role, passage });
        Ok(())
    }

    /// Whatever is said under `key`, in whatever form.
    fn strings(&mut self, role: Role, object: &Members<'b>, key: &str) -> Result<(), Unreadable> {
        for literal in object.all(key).flat_map(json::strings_within) {
            self.push(role, literal.into())?;
        }
        Ok(())
    }

    /// Messages, parts or other items under `key`, or a text in their place.
    fn items(&mut self, unnamed: Role, object: &Members<'b>, key: &str) -> Result<(), Unreadable> {
        let mut items = object.all(key).flat_map(items::items);
        items.try_for_each(|item| self.item(unnamed, key, item))
    }

    fn item(&mut self, unnamed: Role, key: &str, item: &'b RawValue) -> Result<(), Unreadable> {
        let item = Item::read(key, item, unnamed, DEPTH)?;
        for (role, passage) in item.said {
            self.push(role, passage)?;
        }
        self.echoes.extend(item.echoes);
        Ok(())
    }

    /// A text, or several; of tokens nobody knows what they say.
    fn prompt(&mut self, prompt: &'b RawValue) -> Result<(), Unreadable> {
        match json::open(prompt) {
            // A template of OpenAI's, and what to fill it with.
            Value::Object(_) => self.item(Role::User, "prompt", prompt),
            _ => self.every(Role::User, prompt),
        }
    }

    /// Every text where `pointer` points.
    fn at(&mut self, role: Role, raw: &'b RawValue, pointer: &str) -> Result<(), Unreadable> {
        let mut found = select(raw, pointer).into_iter();
        found.try_for_each(|raw| self.every(role, raw))
    }

    fn every(&mut self, role: Role, raw: &'b RawValue) -> Result<(), Unreadable> {
        for literal in texts_within(raw) {
            self.push(role, literal?.into())?;
        }
        Ok(())
    }
}

/// Every string within `raw`, keys aside. Numbers in the place of one are tokens, of which nobody knows what
/// they say; those that an object names are not.
pub(super) fn texts_within<'b>(
    raw: &'b RawValue,
) -> impl Iterator<Item = Result<Literal<'b>, Unreadable>> {
    let mut named = false;
    json::tokens(raw).filter_map(move |token| {
        let was_named = std::mem::replace(&mut named, matches!(token, Token::Name(_)));
        match token {
            Token::String(literal) => Some(Ok(literal)),
            Token::Other(text) if json::is_number(text) && !was_named => {
                Some(Err(Unreadable::TOKENS))
            }
            _ => None,
        }
    })
}

/// Every value where `pointer` points from `raw` on: a JSON pointer in which `*` is every one.
pub(super) fn select<'b>(raw: &'b RawValue, pointer: &str) -> Vec<&'b RawValue> {
    let mut found = vec![raw];
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        found = found
            .into_iter()
            .flat_map(|raw| match json::open(raw) {
                Value::Array(elements) if step == "*" => elements,
                Value::Array(elements) => step
                    .parse()
                    .ok()
                    .and_then(|i: usize| elements.get(i).copied())
                    .into_iter()
                    .collect(),
                Value::Object(members) if step == "*" => members.values().collect(),
                Value::Object(members) => members.all(&step).collect(),
                _ => Vec::new(),
            })
            .collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::Pointers;
    use super::super::events::Event;
    use super::*;

    fn said(texts: Result<Texts<'_>, Unreadable>) -> Vec<(Role, String)> {
        let texts = texts.unwrap().texts.into_iter();
        texts
            .map(|t| (t.role, t.passage.decode().into_owned()))
            .collect()
    }

    fn expected(texts: &[(Role, &str)]) -> Vec<(Role, String)> {
        texts.iter().map(|(r, t)| (*r, (*t).to_owned())).collect()
    }

    #[test]
    fn chats_say_who_speaks() {
        let body = r#"{"model":"m","messages":[
            {"role":"developer","content":"be brief"},
            {"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:"}}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"q\":1}"}}]},
            {"role":"tool","tool_call_id":"1","content":"result"},
            {"role":"user","content":"one","content":"two"},
            {"role":"stranger","content":"hm"}],"nest":[[[[{}]]]]}"#;
        assert_eq!(
            said(Texts::of_request(&Format::Chat, body)),
            expected(&[
                (Role::System, "be brief"),
                (Role::User, "look"),
                (Role::Assistant, "q: 1\n"),
                (Role::Tool, "result"),
                (Role::User, "one"),
                (Role::User, "two"),
                (Role::User, "hm"),
            ])
        );
    }

    #[test]
    fn anthropics_blocks_say_who_speaks() {
        let body = r#"{"system":[{"type":"text","text":"sys"}],"messages":[
            {"role":"user","content":[
                {"type":"document","source":{"type":"text","media_type":"text/plain","data":"doc"},"title":"t"},
                {"type":"document","source":{"type":"base64","data":"AAAA"}},
                {"type":"document","source":{"type":"content","content":[{"type":"text","text":"inner"}]}},
                {"type":"text","text":"hi"}]},
            {"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"tool_use","input":{"a":{"b":["x"]}}}]},
            {"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"res"}]},
                {"type":"tool_result","content":"plain"}]}]}"#;
        assert_eq!(
            said(Texts::of_request(&Format::Messages, body)),
            expected(&[
                (Role::System, "sys"),
                (Role::Document, "doc"),
                (Role::Document, "t"),
                (Role::Document, "inner"),
                (Role::User, "hi"),
                (Role::Assistant, "hm"),
                (Role::Assistant, "a:\nb:\nx\n"),
                (Role::Tool, "res"),
                (Role::Tool, "plain"),
            ])
        );
    }

    #[test]
    fn whatever_a_choice_says_is_read() {
        let answer = r#"{"citations":["c"],"search_results":[{"title":"s"}],"choices":[{"index":0,
            "finish_reason":"stop","content_filter_results":{"hate":{"severity":"safe"}},"reasoning":"r",
            "content":"x","message":{"role":"assistant","content":"a","tool_calls":{"function":{"arguments":"b"}}}}]}"#;
        let said = said(Texts::of_response(&Format::Chat, answer));
        let said: Vec<String> = said.into_iter().map(|(_, text)| text).collect();
        assert_eq!(said, ["r", "x", "a", "b", "c", "s"]);

        for (event, deltas, wholes) in [
            (
                r#"{"citations":["c"],"choices":[{"delta":"a","finish_reason":"x"}]}"#,
                "a",
                "c",
            ),
            (
                r#"{"choices":[{"delta":["a","b"],"content_filter_results":{"hate":{"severity":"safe"}}}]}"#,
                "ab",
                "",
            ),
            (
                r#"{"choices":[{"reasoning":"r","delta":{"tool_calls":{"name":"n","arguments":"a"}}}]}"#,
                "ra",
                "",
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"id":"i","type":"function","args":"a","note":"w"}]}}]}"#,
                "a",
                "w",
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"n","arguments":{"k":"w"}}}]}}]}"#,
                "",
                "k: w\n",
            ),
        ] {
            let read = Event::read(&Format::Chat, event).unwrap();
            let said = read.deltas.iter().map(|(_, literal)| literal.decode());
            assert_eq!(said.collect::<String>(), deltas, "{event}");
            let said = read.wholes.iter().map(|(_, _, passage)| passage.decode());
            assert_eq!(said.collect::<String>(), wholes, "{event}");
        }
    }

    #[test]
    fn whatever_form_a_message_has_is_read() {
        for (message, expected) in [
            (r#""bare""#, "User bare"),
            (r#"{"role":"user","content":{"note":"a"}}"#, "User a"),
            (
                r#"[{"role":"assistant","reasoning_text":"r","thinking_blocks":[{"type":"thinking","thinking":"t","signature":"Aw"}]}]"#,
                "Assistant r, Assistant t",
            ),
            (
                r#"[{"role":"assistant","annotations":[{"type":"url_citation","url_citation":{"title":"t"}}]}]"#,
                "Assistant t",
            ),
            (
                r#"[{"role":"tool","content":[{"type":"json","json":{"a":"b"}}]}]"#,
                "Tool json, Tool b",
            ),
            (
                r#"[{"role":"assistant","tool_calls":[{"id":"1","name":"f","args":{"ssn":536228714}}]}]"#,
                "Assistant ssn: 536228714\n",
            ),
            (
                r#"[{"role":"user","content":[{"type":"code_execution_tool_result","tool_use_id":"x","content":{"type":"code_execution_result","stdout":"o","return_code":0}}]}]"#,
                "Tool o",
            ),
            (
                r#"[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://a.example/cat.png"}},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"text","text":"t","cache_control":{"type":"ephemeral"}}]}]"#,
                "User t",
            ),
            (
                r#"[{"role":"user","content":[{"type":"video_url","video_url":{"url":"https://a.example/v"}},{"type":"file","file":{"file_data":"data:","filename":"n"}}]}]"#,
                "User n",
            ),
        ] {
            let body = format!(r#"{{"model":"m","messages":{message}}}"#);
            let said = said(Texts::of_request(&Format::Messages, &body));
            let said: Vec<String> = said.iter().map(|(r, t)| format!("{r:?} {t}")).collect();
            assert_eq!(said.join(", "), expected, "{message}");
        }
        let refused = Texts::of_request(&Format::Chat, r#"[{"role":"user","content":"a"}]"#);
        assert!(matches!(refused, Err(Unreadable::Unscannable(_))));
    }

    #[test]
    fn stored_answers_errors_and_probabilities_are_read() {
        let stored = r#"{"object":"list","data":[{"choices":[{"message":{"content":"a"}}]},{"role":"assistant","content":[{"type":"text","text":{"value":"b"}}]}]}"#;
        for (body, expected) in [
            (stored, &["a", "b"][..]),
            (r#"{"error":{"type":"t","message":"a"}}"#, &["a"]),
            (r#"[{"error":{"message":"a"}}]"#, &["a"]),
        ] {
            let texts = Texts::of_response(&Format::Chat, body);
            let said: Vec<String> = said(texts).into_iter().map(|(_, t)| t).collect();
            assert_eq!(said, expected, "{body}");
        }
        let body = r#"{"prompt_logprobs":[{"1":{"decoded_token":"a"}}],"choices":[{"message":{"content":"a"},"logprobs":{}}]}"#;
        let texts = Texts::of_response(&Format::Chat, body).unwrap();
        assert_eq!(texts.echoes.len(), 2);
    }

    #[test]
    fn items_say_who_speaks() {
        let body = r#"{"instructions":"sys","input":[
            {"role":"user","content":[{"type":"input_text","text":"hi"},{"type":"input_image","image_url":"data:"}]},
            {"role":"developer","content":"be brief"},
            {"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"gA"},
            {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
            {"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"res"}]},
            {"type":"mcp_call","arguments":"a","output":"out"},
            {"type":"message","content":"who?"},
            {"type":"item_reference","id":"x"}, "bare"]}"#;
        assert_eq!(
            said(Texts::of_request(&Format::Responses, body)),
            expected(&[
                (Role::System, "sys"),
                (Role::User, "hi"),
                (Role::System, "be brief"),
                (Role::Assistant, "hm"),
                (Role::Assistant, ""),
                (Role::Tool, "res"),
                (Role::Assistant, "a"),
                (Role::Tool, "out"),
                (Role::User, "who?"),
                (Role::User, "bare"),
            ])
        );
        let plain = Texts::of_request(&Format::Responses, r#"{"input":"hi"}"#);
        assert_eq!(said(plain), expected(&[(Role::User, "hi")]));
        let answer = r#"{"output":[{"type":"message","role":"assistant","content":[
            {"type":"output_text","text":"a","logprobs":[{"token":"a"}]}]},
            {"type":"image_generation_call","result":"iVBOR","revised_prompt":"cat"}]}"#;
        let texts = Texts::of_response(&Format::Responses, answer).unwrap();
        assert_eq!(texts.echoes, [r#"[{"token":"a"}]"#]);
        let assistant = [(Role::Assistant, "a"), (Role::Assistant, "cat")];
        assert_eq!(said(Ok(texts)), expected(&assistant));
    }

    #[test]
    fn responses_prompts_and_pointers() {
        let answer = r#"{"choices":[{"message":{"role":"assistant","content":"a","refusal":null}},{"message":{"content":"b"}}]}"#;
        let assistant = [(Role::Assistant, "a"), (Role::Assistant, "b")];
        assert_eq!(
            said(Texts::of_response(&Format::Chat, answer)),
            expected(&assistant)
        );
        let prompts = r#"{"prompt":["a","b"]}"#;
        let user = [(Role::User, "a"), (Role::User, "b")];
        assert_eq!(
            said(Texts::of_request(&Format::Completions, prompts)),
            expected(&user)
        );
        let tokens = Texts::of_request(&Format::Completions, r#"{"prompt":[[1,2]]}"#);
        assert!(matches!(tokens, Err(Unreadable::Unscannable(_))));
        let own = Format::Pointers(Arc::new(Pointers {
            path: "/".into(),
            request: vec!["/items/*/q~1a".into()],
            response: Vec::new(),
            event: Vec::new(),
        }));
        for body in [
            r#"{"items":[{"q/a":"a"},{"q/a":"b"},{"x":1}]}"#,
            r#"{"items":[{"q/a":["a",null]},{"q/a":{"text":["b"],"count":1}}]}"#,
        ] {
            assert_eq!(said(Texts::of_request(&own, body)), expected(&user));
        }
        for tokens in ["1", "[1,2]", r#"{"ids":[[1]]}"#] {
            let body = format!(r#"{{"items":[{{"q/a":{tokens}}}]}}"#);
            let refused = Texts::of_request(&own, &body);
            assert!(matches!(refused, Err(Unreadable::Unscannable(_))), "{body}");
        }
    }

    /// The least of three times in which a body of about so many bytes is read.
    fn time(body: impl Fn(usize) -> String, bytes: usize) -> f64 {
        let body = body(bytes);
        let times = (0..3).map(|_| {
            let start = Instant::now();
            let _ = Texts::of_request(&Format::Chat, &body).map(|texts| texts.texts.len());
            let _ = Texts::of_response(&Format::Chat, &body).map(|texts| texts.texts.len());
            let event = Event::read(&Format::Chat, &body);
            let _ = event.map(|event| event.wholes.len());
            let event = Event::read(&Format::Responses, &body);
            let _ = event.map(|event| event.wholes.len());
            start.elapsed().as_secs_f64()
        });
        times.fold(f64::MAX, f64::min)
    }

    #[test]
    fn bodies_of_every_shape_are_read_in_linear_time() {
        let members = [
            "url",
            "data",
            "result",
            "type",
            "role",
            "arguments",
            "delta",
            "content",
            "x",
        ];
        let members = members.map(|key| format!(r#""{key}":1,"#));
        let typed = [r#""type":"text","#.to_owned(), r#""text":"","#.to_owned()];
        for member in members.into_iter().chain(typed) {
            let object = |bytes| format!("{{{}\"z\":1}}", member.repeat(bytes / member.len()));
            let shapes: [&dyn Fn(usize) -> String; 4] = [
                &|bytes| format!(r#"{{"messages":[{}]}}"#, object(bytes)),
                &|bytes| format!(r#"{{"type":"x","delta":{}}}"#, object(bytes)),
                &|bytes| format!(r#"{{"choices":[{{"delta":{}}}]}}"#, object(bytes)),
                &|bytes| {
                    let (open, close) = ("[".repeat(28), "]".repeat(28));
                    let arguments = format!("{open}{}{close}", object(bytes));
                    format!(r#"{{"choices":[{{"message":{{"arguments":{arguments}}}}}]}}"#)
                },
            ];
            for shape in shapes {
                let (some, many) = (time(shape, 64 << 10), time(shape, 1 << 20));
                // 16 where it is linear, 256 where it is quadratic.
                assert!(many < 64.0 * some.max(1e-3), "{member}: {some} s, {many} s");
            }
        }
        let body = format!(
            r#"{{"messages":[{{{}"z":1}}]}}"#,
            r#""url":1,"#.repeat(1 << 20)
        );
        let start = Instant::now();
        assert!(
            Texts::of_request(&Format::Chat, &body)
                .unwrap()
                .texts
                .is_empty()
        );
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_thousand_levels_harm_nobody() {
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        let body = format!(r#"{{"messages":[{{"role":"user","content":{deep}}}],"x":{deep}}}"#);
        let refused = Texts::of_request(&Format::Chat, &body);
        assert!(matches!(refused, Err(Unreadable::Unscannable(_))));
        let body = format!(r#"{{"messages":[],"x":{deep}}}"#);
        assert_eq!(said(Texts::of_request(&Format::Chat, &body)), Vec::new());
        let input = format!(
            r#"{{"messages":[{{"role":"assistant","content":[{{"type":"tool_use","input":{deep}}}]}}]}}"#
        );
        let refused = Texts::of_request(&Format::Messages, &input);
        assert!(matches!(refused, Err(Unreadable::Unscannable(_))));
        let broken = "[".repeat(1_000);
        assert!(Texts::of_request(&Format::Chat, &broken).is_err());
    }
}
