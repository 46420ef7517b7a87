//! The items of OpenAI's Responses API: messages, reasoning, calls of tools and what came of them.

use serde_json::value::RawValue;

use super::Literal;
use super::json::{self, Members, Value};
use crate::guard::Role;

/// Keys whose strings say nothing to people or models: kinds, names of things, pictures and the like.
const MARKS: [&str; 21] = [
    "type",
    "id",
    "name",
    "item_id",
    "call_id",
    "event_id",
    "status",
    "role",
    "phase",
    "format",
    "detail",
    "file_id",
    "file_url",
    "file_data",
    "image_url",
    "input_audio",
    "container_id",
    "server_label",
    "approval_request_id",
    "encrypted_content",
    "obfuscation",
];
/// Keys of what a tool gave back.
const OUTPUTS: [&str; 3] = ["output", "outputs", "results"];

/// Whether the strings under a key, in lower case, are none that anybody reads.
pub(super) fn marks(key: &str) -> bool {
    MARKS.contains(&key)
}

/// What an item says.
#[derive(Debug, Default)]
pub(super) struct Item<'b> {
    /// Its strings, in the order in which they stand, and who says them.
    pub(super) said: Vec<(Role, Literal<'b>)>,
    /// Values that say the same in other ways: the probabilities of each token.
    pub(super) echoes: Vec<&'b str>,
}

impl<'b> Item<'b> {
    /// Reads an item, or a part of one; `unnamed` speaks where it does not say who does. None where it is
    /// more than `depth` levels deep.
    pub(super) fn read(raw: &'b RawValue, unnamed: Role, depth: usize) -> Option<Self> {
        let mut item = Self::default();
        let role = match json::open(raw) {
            Value::Object(members) => speaker(&members, unnamed),
            _ => unnamed,
        };
        item.add(raw, role, depth).map(|()| item)
    }

    fn add(&mut self, raw: &'b RawValue, role: Role, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match json::open(raw) {
            Value::String(literal) => self.said.push((role, literal)),
            Value::Array(elements) => {
                for element in elements {
                    self.add(element, role, depth)?;
                }
            }
            Value::Object(members) => {
                // What draws a picture gives it back as a string.
                let draws = members.string("type").as_deref() == Some("image_generation_call");
                for (key, value) in members.named() {
                    match &*key.to_ascii_lowercase() {
                        "logprobs" => self.echoes.push(value.get()),
                        "result" if draws => {}
                        key if marks(key) => {}
                        key if OUTPUTS.contains(&key) => self.add(value, Role::Tool, depth)?,
                        _ => self.add(value, role, depth)?,
                    }
                }
            }
            Value::Other => {}
        }
        Some(())
    }
}

/// Who speaks in an item.
fn speaker(item: &Members<'_>, unnamed: Role) -> Role {
    if item.all("role").next().is_some() {
        return named(item);
    }
    // Of several kinds nobody knows which another reader takes.
    let kinds = item.all("type").count();
    match item.string("type").as_deref() {
        Some(kind) if kinds == 1 && kind.ends_with("_output") => Role::Tool,
        Some(kind) if kinds == 1 && (kind.ends_with("_call") || kind == "reasoning") => {
            Role::Assistant
        }
        _ => unnamed,
    }
}

/// Whom a message names as its speaker.
pub(super) fn named(message: &Members<'_>) -> Role {
    let roles = message.all("role").count();
    match message.string("role").as_deref() {
        // Which of them another reader takes, nobody knows.
        _ if roles > 1 => Role::User,
        Some("system" | "developer") => Role::System,
        Some("assistant" | "model") => Role::Assistant,
        Some("tool" | "function") => Role::Tool,
        // Whoever is not known is the one trusted least.
        _ => Role::User,
    }
}
