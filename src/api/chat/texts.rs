//! The texts of a whole body, and who speaks in each.

use serde_json::value::RawValue;

use super::items::{self, Item};
use super::json::{self, Members, Value, elements, members};
use super::{Format, Literal};
use crate::guard::Role;

/// A text where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Text<'b> {
    /// Who speaks.
    pub(in super::super) role: Role,
    /// What is said.
    pub(in super::super) literal: Literal<'b>,
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

/// Levels of JSON within which texts are looked for.
pub(super) const DEPTH: usize = 32;
/// Texts of one body.
const MOST_TEXTS: usize = 16 << 10;

/// Texts in the order in which they stand.
#[derive(Debug, Default)]
pub(in super::super) struct Texts<'b> {
    pub(in super::super) texts: Vec<Text<'b>>,
    /// Values that say the same in other ways, and say nothing any more where a text is redacted: the
    /// probabilities of each token.
    pub(in super::super) echoes: Vec<&'b str>,
    too_deep: bool,
    too_many: bool,
}

impl<'b> Texts<'b> {
    /// What a request says.
    pub(in super::super) fn of_request(format: &Format, body: &'b str) -> Result<Self, Unreadable> {
        let raw = json::parse(body)?;
        let root = members(raw);
        let mut texts = Self::default();
        if let Format::Pointers(pointers) = format {
            for pointer in &pointers.request {
                texts.at(Role::User, raw, pointer);
            }
            return texts.complete();
        }
        // Whatever the path says, a server may take any of these.
        for system in root.all("system") {
            texts.content(Role::System, system, DEPTH);
        }
        for message in root.all("messages").flat_map(elements) {
            texts.message(message);
        }
        // A message by itself, and what some servers take beside messages.
        texts.of_message(Role::User, &root);
        texts.strings(Role::Document, &root, "documents");
        texts.strings(Role::System, &root, "instructions");
        for input in root.all("input").chain(root.all("items")) {
            texts.items(Role::User, input);
        }
        texts.strings(Role::Assistant, &root, "prediction");
        for prompt in root.all("prompt").chain(root.all("suffix")) {
            texts.prompt(prompt)?;
        }
        texts.complete()
    }

    /// What a response says.
    pub(in super::super) fn of_response(
        format: &Format,
        body: &'b str,
    ) -> Result<Self, Unreadable> {
        let raw = json::parse(body)?;
        let root = members(raw);
        let mut texts = Self::default();
        if let Format::Pointers(pointers) = format {
            for pointer in &pointers.response {
                texts.at(Role::Assistant, raw, pointer);
            }
            return texts.complete();
        }
        for choice in root.all("choices").flat_map(elements) {
            let choice = members(choice);
            for message in choice.all("message").chain(choice.all("delta")) {
                texts.of_message(Role::Assistant, &members(message));
            }
            texts.strings(Role::Assistant, &choice, "text");
            texts
                .echoes
                .extend(choice.all("logprobs").map(RawValue::get));
        }
        if *format == Format::Responses && root.all("type").next().is_some() {
            // An item by itself.
            texts.item(Role::Assistant, raw);
            return texts.complete();
        }
        for content in root.all("content") {
            texts.content(Role::Assistant, content, DEPTH);
        }
        for output in root.all("output") {
            texts.items(Role::Assistant, output);
        }
        if *format == Format::Responses {
            // What is listed, and what went wrong.
            for listed in root.all("data").chain(root.all("error")) {
                texts.items(Role::Assistant, listed);
            }
        }
        texts.complete()
    }

    fn push(&mut self, role: Role, literal: Literal<'b>) {
        match self.texts.len() < MOST_TEXTS {
            true => self.texts.push(Text { role, literal }),
            false => self.too_many = true,
        }
    }

    /// Whatever is said under `key`, in whatever form.
    fn strings(&mut self, role: Role, object: &Members<'b>, key: &str) {
        for value in object.all(key) {
            self.anywhere(role, value, DEPTH);
        }
    }

    /// The items of OpenAI's Responses API, or a text in their place.
    fn items(&mut self, unnamed: Role, raw: &'b RawValue) {
        for item in items::items(raw) {
            self.item(unnamed, item);
        }
    }

    fn item(&mut self, unnamed: Role, item: &'b RawValue) {
        let Some(item) = Item::read(item, unnamed, DEPTH) else {
            self.too_deep = true;
            return;
        };
        for (role, literal) in item.said {
            self.push(role, literal);
        }
        self.echoes.extend(item.echoes);
    }

    /// One of the messages of a request.
    fn message(&mut self, message: &'b RawValue) {
        let message = members(message);
        self.of_message(items::named(&message), &message);
    }

    /// What OpenAI's and Anthropic's messages hold.
    fn of_message(&mut self, role: Role, message: &Members<'b>) {
        for content in message.all("content") {
            self.content(role, content, DEPTH);
        }
        for key in ["refusal", "reasoning_content", "reasoning_details"] {
            self.strings(role, message, key);
        }
        for reasoning in message.all("reasoning") {
            // Of a request it says how much there should be.
            if !matches!(json::open(reasoning), Value::Object(_)) {
                self.anywhere(role, reasoning, DEPTH);
            }
        }
        for call in message.all("tool_calls").flat_map(elements) {
            let call = members(call);
            for function in call.all("function").chain(call.all("custom")) {
                let function = members(function);
                self.strings(role, &function, "arguments");
                self.strings(role, &function, "input");
            }
        }
        for call in message.all("function_call") {
            self.strings(role, &members(call), "arguments");
        }
        for audio in message.all("audio") {
            self.strings(role, &members(audio), "transcript");
        }
    }

    /// A string, a part, or an array of them.
    fn content(&mut self, role: Role, content: &'b RawValue, depth: usize) {
        let Some(depth) = self.deeper(depth) else {
            return;
        };
        match json::open(content) {
            Value::String(literal) => self.push(role, literal),
            Value::Array(parts) => {
                for part in parts {
                    self.content(role, part, depth);
                }
            }
            Value::Object(part) => self.part(role, &part, depth),
            Value::Other => {}
        }
    }

    fn part(&mut self, role: Role, part: &Members<'b>, depth: usize) {
        let types = part.all("type").count();
        let role = match part.string("type").as_deref() {
            // Which of them another reader takes, nobody knows.
            _ if types > 1 => role,
            Some("tool_result") => Role::Tool,
            Some("document" | "search_result") => Role::Document,
            _ => role,
        };
        for key in [
            "text",
            "refusal",
            "thinking",
            "title",
            "context",
            "citations",
            "input_text",
            "output_text",
        ] {
            self.strings(role, part, key);
        }
        for content in part.all("content") {
            self.content(role, content, depth);
        }
        for source in part.all("source") {
            match json::open(source) {
                Value::Object(source) => {
                    // What is not text is base64 under the same key.
                    let text =
                        |kind| matches!(json::open(kind), Value::String(s) if s.decode() == "text");
                    if source.all("type").any(text) {
                        self.strings(role, &source, "data");
                    }
                    for content in source.all("content") {
                        self.content(role, content, depth);
                    }
                }
                _ => self.content(role, source, depth),
            }
        }
        for input in part.all("input") {
            self.anywhere(role, input, depth);
        }
    }

    /// Every string within `raw`, keys aside.
    fn anywhere(&mut self, role: Role, raw: &'b RawValue, depth: usize) {
        match json::strings_within(raw, depth) {
            Some(found) => {
                for literal in found {
                    self.push(role, literal);
                }
            }
            None => self.too_deep = true,
        }
    }

    fn deeper(&mut self, depth: usize) -> Option<usize> {
        let depth = depth.checked_sub(1);
        self.too_deep |= depth.is_none();
        depth
    }

    fn complete(self) -> Result<Self, Unreadable> {
        match (self.too_deep, self.too_many) {
            (true, _) => Err(Unreadable::Unscannable("texts are nested too deeply")),
            (_, true) => Err(Unreadable::Unscannable("there are too many texts")),
            _ => Ok(self),
        }
    }

    /// A string or an array of them; of tokens nobody knows what they say.
    fn prompt(&mut self, prompt: &'b RawValue) -> Result<(), Unreadable> {
        const TOKENS: &str =
            "the prompt is given as tokens, which cannot be scanned; send it as text";
        if let Value::Object(_) = json::open(prompt) {
            // A template of OpenAI's, and what to fill it with.
            self.item(Role::User, prompt);
            return Ok(());
        }
        for part in elements(prompt) {
            if matches!(json::open(part), Value::Array(_) | Value::Other) {
                return Err(Unreadable::Unscannable(TOKENS));
            }
        }
        self.anywhere(Role::User, prompt, DEPTH);
        Ok(())
    }

    /// Every string where `pointer` points.
    fn at(&mut self, role: Role, raw: &'b RawValue, pointer: &str) {
        let found = select(raw, pointer);
        let strings = found.into_iter().filter_map(|raw| match json::open(raw) {
            Value::String(literal) => Some(literal),
            _ => None,
        });
        for literal in strings {
            self.push(role, literal);
        }
    }
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

    use super::super::Pointers;
    use super::*;

    fn said(texts: Result<Texts<'_>, Unreadable>) -> Vec<(Role, String)> {
        let texts = texts.unwrap().texts.into_iter();
        texts
            .map(|t| (t.role, t.literal.decode().into_owned()))
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
                (Role::Assistant, "{\"q\":1}"),
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
                (Role::Document, "t"),
                (Role::Document, "doc"),
                (Role::Document, "inner"),
                (Role::User, "hi"),
                (Role::Assistant, "hm"),
                (Role::Assistant, "x"),
                (Role::Tool, "res"),
                (Role::Tool, "plain"),
            ])
        );
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
                (Role::Assistant, "{}"),
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
        let body = r#"{"items":[{"q/a":"a"},{"q/a":"b"},{"x":1}]}"#;
        assert_eq!(said(Texts::of_request(&own, body)), expected(&user));
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
