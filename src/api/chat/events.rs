//! The texts of one event of a body that streams.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::items::{self, Item};
use super::json::{self, Members, Value, members};
use super::part::Part;
use super::texts::{BESIDE, DEPTH, Unreadable, select, texts_within};
use super::{Format, Literal, Passage};
use crate::guard::Role;

/// Keys of a part whose texts go on from event to event.
const TEXTS: [&str; 7] = [
    "text",
    "thinking",
    "refusal",
    "reasoning",
    "summary",
    "content",
    "output_text",
];
/// Parts that are JSON.
const ARGUMENTS: [&str; 5] = [
    "tool_call",
    "function_call",
    "partial_json",
    "function_call_arguments",
    "mcp_call_arguments",
];
/// The part of texts that are there at once.
const WHOLE: &str = "whole";

/// One of the texts of a stream: those of a choice or block, and of what part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Channel {
    /// The choice, block of content, or item.
    pub(in super::super) choice: u64,
    /// Who speaks.
    pub(in super::super) role: Role,
    part: Cow<'static, str>,
    index: u64,
}

impl Channel {
    /// A text that is there at once: number `index` of those that are.
    pub(in super::super) fn whole(choice: u64, role: Role, index: u64) -> Self {
        Self {
            choice,
            role,
            part: WHOLE.into(),
            index,
        }
    }

    /// Whether it is JSON: what tools are called with.
    pub(in super::super) fn holds_json(&self) -> bool {
        ARGUMENTS.contains(&&*self.part)
    }

    /// Whether it is such a text.
    pub(in super::super) fn is_whole(&self) -> bool {
        self.part == WHOLE
    }
}

/// What an event adds to the texts of its stream, and which of them it ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Event<'b> {
    /// The next parts, in the order in which they stand.
    pub(in super::super) deltas: Vec<(Channel, Literal<'b>)>,
    /// Texts that are there at once, of these choices, and who says them; most of them went by in parts
    /// before.
    pub(in super::super) wholes: Vec<(u64, Role, Passage<'b>)>,
    /// Values that say the same in other ways: the probabilities of each token.
    pub(in super::super) echoes: Vec<&'b str>,
    /// Choices or blocks that end with it.
    pub(in super::super) ended: Vec<u64>,
    /// The whole stream ends with it.
    pub(in super::super) ends_all: bool,
}

impl<'b> Event<'b> {
    /// Reads the data of an event: the mark of the end, nothing, or an object of JSON.
    pub(in super::super) fn read(format: &Format, data: &'b str) -> Result<Self, Unreadable> {
        let mut event = Self::default();
        if data.trim() == "[DONE]" {
            event.ends_all = true;
        } else if !data.trim().is_empty() {
            let raw = json::parse(data)?;
            if !raw.get().starts_with('{') {
                return Err(Unreadable::Unscannable("the data of an event is no object"));
            }
            match format {
                Format::Pointers(pointers) => {
                    for (i, pointer) in pointers.event.iter().enumerate() {
                        for (choice, found) in (0..).zip(select(raw, pointer)) {
                            for literal in texts_within(found) {
                                event.push(choice, "pointer", i as u64, literal?);
                            }
                        }
                    }
                }
                Format::Responses => event.responses(&members(raw))?,
                _ => {
                    event.choices(raw)?;
                    event.anthropic(&members(raw))?;
                }
            }
        }
        Ok(event)
    }

    fn push(&mut self, choice: u64, part: &str, index: u64, literal: Literal<'b>) {
        let channel = Channel {
            choice,
            role: Role::Assistant,
            part: part.to_owned().into(),
            index,
        };
        self.deltas.push((channel, literal));
    }

    /// The texts under a key of a part: a string, or parts with a text each. What else these have, such as
    /// what they cite, is there at once.
    fn content(
        &mut self,
        choice: u64,
        (of, key): (Part, &str),
        raw: &'b RawValue,
        depth: usize,
    ) -> Result<(), Unreadable> {
        let depth = depth.checked_sub(1).ok_or(Unreadable::TOO_DEEP)?;
        match json::open(raw) {
            Value::String(literal) => self.push(choice, key, 0, literal),
            Value::Array(parts) => {
                for inner in parts {
                    self.content(choice, (of, key), inner, depth)?;
                }
            }
            Value::Object(object) => {
                let part = of.under(key, &object);
                for (inner, value) in object.named() {
                    let inner = inner.to_ascii_lowercase();
                    if TEXTS.contains(&&*inner) {
                        self.content(choice, (part, key), value, depth)?;
                    } else {
                        self.whole(choice, Item::within(part, &inner, value, depth)?);
                    }
                }
            }
            Value::Other => {}
        }
        Ok(())
    }

    /// What is there at once.
    fn whole(&mut self, choice: u64, item: Item<'b>) {
        let said = item.said.into_iter();
        let said = said.filter(|(_, passage)| !passage.decode().is_empty());
        self.wholes
            .extend(said.map(|(role, passage)| (choice, role, passage)));
        self.echoes.extend(item.echoes);
    }

    fn strings(
        &mut self,
        choice: u64,
        part: &'static str,
        index: u64,
        object: &Members<'b>,
        key: &str,
    ) {
        for literal in object.all(key).flat_map(json::strings_within) {
            self.push(choice, part, index, literal);
        }
    }

    fn choices(&mut self, raw: &'b RawValue) -> Result<(), Unreadable> {
        let part = Part::of(Role::Assistant);
        let root = members(raw);
        for choice in root.all("choices").flat_map(items::items).map(members) {
            let index = choice.number("index").unwrap_or(0);
            for (key, value) in choice.named() {
                match &*key.to_ascii_lowercase() {
                    "text" => self.content(index, (part, "completion"), value, DEPTH)?,
                    "logprobs" => self.echoes.push(value.get()),
                    "delta" | "message" => match json::open(value) {
                        Value::Object(delta) => self.openai(index, &delta)?,
                        _ => self.content(index, (part, "content"), value, DEPTH)?,
                    },
                    key if part.skips(key, value) => {}
                    key => self.content(index, (part, key), value, DEPTH)?,
                }
            }
        }
        for key in BESIDE.into_iter().chain(["error"]) {
            for value in root.all(key) {
                self.whole(0, Item::under(key, value, DEPTH)?);
            }
        }
        Ok(())
    }

    /// Every string that a delta holds is the next part of a text of its key.
    fn openai(&mut self, choice: u64, delta: &Members<'b>) -> Result<(), Unreadable> {
        let part = Part::of(Role::Assistant);
        for (key, value) in delta.named() {
            let key = key.to_ascii_lowercase();
            let known = ["audio", "tool_calls", "function_call"].contains(&&*key);
            if !known && !part.skips(&key, value) {
                self.content(choice, (part, &key), value, DEPTH)?;
            }
        }
        for audio in delta.all("audio") {
            self.strings(choice, "audio", 0, &members(audio), "transcript");
        }
        for call in delta.all("tool_calls").flat_map(items::items) {
            let call = members(call);
            let index = call.number("index").unwrap_or(0);
            self.call(choice, ("tool_call", index), part, &call)?;
        }
        for call in delta.all("function_call") {
            self.call(choice, ("function_call", 0), part, &members(call))?;
        }
        Ok(())
    }

    /// The next part of what a tool is called with; what else a call has is there at once.
    fn call(
        &mut self,
        choice: u64,
        (name, index): (&'static str, u64),
        of: Part,
        call: &Members<'b>,
    ) -> Result<(), Unreadable> {
        let part = of.under("tool_calls", call);
        for (key, value) in call.named() {
            match (&*key.to_ascii_lowercase(), json::open(value)) {
                ("function" | "custom", Value::Object(inner)) => {
                    self.call(choice, (name, index), part, &inner)?;
                }
                ("arguments" | "args", Value::String(literal)) => {
                    self.push(choice, name, index, literal);
                }
                ("input", Value::String(literal)) => {
                    self.push(choice, "tool_input", index, literal);
                }
                (key, _) => self.whole(choice, Item::within(part, key, value, DEPTH)?),
            }
        }
        Ok(())
    }

    fn anthropic(&mut self, event: &Members<'b>) -> Result<(), Unreadable> {
        let index = event.number("index").unwrap_or(0);
        let deltas = event.all("delta").chain(event.all("content_block"));
        for delta in deltas.map(members) {
            let part = Part::of(Role::Assistant).under("delta", &delta);
            for (key, value) in delta.named() {
                match &*key.to_ascii_lowercase() {
                    key @ ("text" | "thinking" | "partial_json") => {
                        self.content(index, (part, key), value, DEPTH)?;
                    }
                    key => self.whole(index, Item::within(part, key, value, DEPTH)?),
                }
            }
        }
        for message in event.all("message") {
            for content in members(message).all("content") {
                self.whole(index, Item::under("content", content, DEPTH)?);
            }
        }
        match event.string("type").as_deref() {
            Some("content_block_stop") => self.ended.push(index),
            Some("message_stop") => self.ends_all = true,
            _ => {}
        }
        Ok(())
    }

    /// An event of OpenAI's Responses API: a part of a text, or whole ones.
    fn responses(&mut self, event: &Members<'b>) -> Result<(), Unreadable> {
        let part = Part::of(Role::Assistant);
        let kind = event.string("type").unwrap_or_default();
        let kind = kind.strip_prefix("response.").unwrap_or(&kind);
        let item = event.number("output_index").unwrap_or(0);
        let sounds = kind == "audio.delta" && event.all("type").count() == 1;
        for (key, value) in event.named() {
            match &*key.to_ascii_lowercase() {
                "delta" if sounds => {}
                "delta" => self.goes_on(event, kind, item, value),
                // The rest of it says again what was asked.
                "response" => {
                    let response = members(value);
                    let output = response.all("output").flat_map(items::items);
                    for (item, value) in (0..).zip(output) {
                        self.whole(item, Item::under("", value, DEPTH)?);
                    }
                    for error in response.all("error") {
                        self.whole(item, Item::under("error", error, DEPTH)?);
                    }
                }
                "logprobs" => self.echoes.push(value.get()),
                key if part.skips(key, value) => {}
                key => self.whole(item, Item::under(key, value, DEPTH)?),
            }
        }
        match kind {
            "output_item.done" => self.ended.push(item),
            "completed" | "incomplete" | "failed" => self.ends_all = true,
            _ => {}
        }
        Ok(())
    }

    /// The next part of a text, or of several: what a program writes to each of its outputs.
    fn goes_on(&mut self, event: &Members<'b>, kind: &str, choice: u64, delta: &'b RawValue) {
        let places = ["content_index", "summary_index", "command_index"];
        let place = places.iter().find_map(|key| event.number(key));
        let kind = kind.strip_suffix(".delta").unwrap_or(kind);
        let role = match kind.contains("output_content") {
            true => Role::Tool,
            false => Role::Assistant,
        };
        let parts = match json::open(delta) {
            Value::Object(parts) => parts
                .named()
                .map(|(key, value)| (format!("{kind}.{key}"), value))
                .collect(),
            _ => vec![(kind.to_owned(), delta)],
        };
        for (part, value) in parts {
            let channel = Channel {
                choice,
                role,
                part: part.into(),
                index: place.unwrap_or(0),
            };
            let said = json::strings_within(value);
            self.deltas
                .extend(said.map(|literal| (channel.clone(), literal)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &Format, data: &str) -> (Vec<(u64, String, String)>, Vec<u64>, bool) {
        let event = Event::read(format, data).unwrap();
        let deltas = event.deltas.iter();
        let deltas = deltas
            .map(|(c, l)| {
                (
                    c.choice,
                    c.part.clone().into_owned(),
                    l.decode().into_owned(),
                )
            })
            .collect();
        (deltas, event.ended, event.ends_all)
    }

    #[test]
    fn the_parts_of_every_format_are_found() {
        let part = |choice, part: &str, text: &str| (choice, part.to_owned(), text.to_owned());
        let chunk = r#"{"choices":[{"index":1,"delta":{"content":"a","tool_calls":[{"index":2,"function":{"arguments":"{"}}]},"finish_reason":"stop"}]}"#;
        let found = vec![part(1, "content", "a"), part(1, "tool_call", "{")];
        assert_eq!(read(&Format::Chat, chunk), (found, Vec::new(), false));
        let parts = r#"{"choices":[{"delta":{"Content":[{"type":"x","text":"a","note":"b"}]}}]}"#;
        let found = vec![part(0, "content", "a")];
        assert_eq!(read(&Format::Chat, parts), (found, Vec::new(), false));
        let whole = Event::read(&Format::Chat, parts).unwrap().wholes;
        let whole: Vec<_> = whole.iter().map(|(_, _, p)| p.decode()).collect();
        assert_eq!(whole, ["x", "b"]);
        let chunk = r#"{"choices":[{"text":"b","finish_reason":null}]}"#;
        let found = vec![part(0, "completion", "b")];
        assert_eq!(
            read(&Format::Completions, chunk),
            (found, Vec::new(), false)
        );
        let chunk =
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"c"}}"#;
        let found = vec![part(3, "text", "c")];
        assert_eq!(read(&Format::Messages, chunk), (found, Vec::new(), false));
        let stop = r#"{"type":"content_block_stop","index":3}"#;
        assert_eq!(read(&Format::Messages, stop), (Vec::new(), vec![3], false));
        assert_eq!(
            read(&Format::Chat, "[DONE]"),
            (Vec::new(), Vec::new(), true)
        );
        let delta = r#"{"type":"response.output_text.delta","item_id":"m","output_index":1,"content_index":2,"delta":"d"}"#;
        let found = vec![part(1, "output_text", "d")];
        assert_eq!(read(&Format::Responses, delta), (found, Vec::new(), false));
        let item = r#"{"id":"m","type":"message","status":"completed","content":[{"type":"output_text","text":"d"}],"role":"assistant"}"#;
        let done =
            format!(r#"{{"type":"response.output_item.done","output_index":1,"item":{item}}}"#);
        let completed = format!(
            r#"{{"type":"response.completed","response":{{"instructions":"x","output":[{{}},{item}]}}}}"#
        );
        for (event, ended, ends_all) in [(done, vec![1], false), (completed, vec![], true)] {
            let event = Event::read(&Format::Responses, &event).unwrap();
            let wholes = event.wholes.iter();
            let wholes: Vec<_> = wholes.map(|(c, _, l)| (*c, l.decode())).collect();
            assert_eq!(wholes, [(1, "d".into())]);
            assert_eq!((event.ended, event.ends_all), (ended, ends_all));
        }
        // What is there at once is no part of another text, and what nobody reads is left alone.
        for (event, expected) in [
            (
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"web_search_tool_result","tool_use_id":"x","content":[{"type":"web_search_result","url":"u","title":"t","encrypted_content":"AA","page_age":"May"}]}}"#,
                &[(Role::Tool, "u"), (Role::Tool, "t")][..],
            ),
            (
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"c","document_title":"d"}}}"#,
                &[(Role::Assistant, "c"), (Role::Assistant, "d")],
            ),
            (
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"a":1}}}"#,
                &[(Role::Assistant, "a: 1\n")],
            ),
            (
                r#"{"error":{"message":"m","type":"t"}}"#,
                &[(Role::Tool, "m")],
            ),
            (
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
                &[],
            ),
        ] {
            let event = Event::read(&Format::Messages, event).unwrap();
            assert_eq!(event.deltas, []);
            let wholes = event.wholes.iter();
            let wholes: Vec<_> = wholes.map(|(_, role, p)| (*role, p.decode())).collect();
            let expected: Vec<_> = expected.iter().map(|(r, t)| (*r, (*t).into())).collect();
            assert_eq!(wholes, expected);
        }
        let delta = r#"{"choices":[{"delta":{"reasoning_details":[{"type":"x","text":"r","data":"AA"}],"reasoning_text":"s"}}]}"#;
        let found = vec![
            part(0, "reasoning_details", "r"),
            part(0, "reasoning_text", "s"),
        ];
        assert_eq!(read(&Format::Chat, delta), (found, Vec::new(), false));
        // What a program writes to one output is no part of what it writes to the other.
        let delta = r#"{"type":"response.shell_call_output_content.delta","output_index":1,"command_index":2,"delta":{"stdout":"o","stderr":"e"}}"#;
        let event = Event::read(&Format::Responses, delta).unwrap();
        let [(out, _), (err, _)] = &event.deltas[..] else {
            panic!("{event:?}");
        };
        assert_eq!((out.role, out.index, err.role), (Role::Tool, 2, Role::Tool));
        assert_ne!(out, err);
        let sound = r#"{"type":"response.audio.delta","delta":"AAAA"}"#;
        let event = Event::read(&Format::Responses, sound).unwrap();
        assert_eq!(event, Event::default());
        for odd in ["{", "[]", "{} {}", "text"] {
            assert!(Event::read(&Format::Chat, odd).is_err(), "{odd}");
        }
    }
}
