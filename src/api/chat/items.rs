//! Messages and their parts, reasoning, calls of tools and what came of them, in whatever form providers give
//! them: every string is read that is not known to say nothing.

use serde_json::value::RawValue;

use super::Passage;
use super::json::{self, Members, Value};
use crate::guard::Role;

/// Keys of an item, or of a part of one, whose strings say nothing to people or models: kinds, names of
/// things, settings, pictures and files, definitions of tools.
const MARKS: [&str; 54] = [
    "type",
    "id",
    "name",
    "version",
    "item_id",
    "call_id",
    "caller_id",
    "event_id",
    "stream_id",
    "created_by",
    "status",
    "role",
    "phase",
    "mode",
    "format",
    "output_format",
    "quality",
    "size",
    "background",
    "detail",
    "execution",
    "namespace",
    "fingerprint",
    "file_id",
    "file_url",
    "file_data",
    "image_url",
    "partial_image_b64",
    "input_audio",
    "container_id",
    "server_label",
    "approval_request_id",
    "encrypted_content",
    "encrypted_index",
    "signature",
    "thought_signature",
    "media_type",
    "cache_control",
    "page_age",
    "tool_call_id",
    "tool_use_id",
    "stop_reason",
    "stop_sequence",
    "finish_reason",
    "logit_bias",
    "video_url",
    "audio_url",
    "native_finish_reason",
    "obfuscation",
    "prompt_cache_breakpoint",
    "tools",
    "parameters",
    "input_schema",
    "output_schema",
];
/// Keys under which callers and models name things as they like: all strings there are read.
const FREE: [&str; 6] = ["arguments", "args", "attributes", "env", "input", "error"];
/// Those whose names say what the values are.
const FIELDS: [&str; 5] = ["arguments", "args", "attributes", "env", "input"];
/// Keys of what a tool gave back.
const OUTPUTS: [&str; 5] = ["output", "outputs", "results", "logs", "error"];

/// What an item says.
#[derive(Debug, Default)]
pub(super) struct Item<'b> {
    /// Its texts, in the order in which they stand, and who says them.
    pub(super) said: Vec<(Role, Passage<'b>)>,
    /// Values that say the same in other ways: the probabilities of each token.
    pub(super) echoes: Vec<&'b str>,
}

/// The items of a list, or the one thing that stands in its place.
pub(super) fn items(raw: &RawValue) -> Vec<&RawValue> {
    match json::open(raw) {
        Value::Array(items) => items,
        _ => vec![raw],
    }
}

/// Whether the strings under a key of an item, in lower case, are none that anybody reads.
pub(super) fn marks(key: &str) -> bool {
    MARKS.contains(&key)
}

impl<'b> Item<'b> {
    /// Reads what stands under `key` of an event; the model speaks unless it says who does.
    pub(super) fn under(key: &str, raw: &'b RawValue, depth: usize) -> Option<Self> {
        Self::read(raw, heard(key, Role::Assistant), depth)
    }

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

    /// Reads what stands under `key` in `part`, of what the model says.
    pub(super) fn within(
        part: &Members<'b>,
        key: &str,
        raw: &'b RawValue,
        depth: usize,
    ) -> Option<Self> {
        let mut item = Self::default();
        let role = part_speaker(part, Role::Assistant);
        item.member(part, key, raw, role, depth).map(|()| item)
    }

    fn add(&mut self, raw: &'b RawValue, role: Role, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match json::open(raw) {
            Value::String(literal) => self.said.push((role, literal.into())),
            Value::Array(elements) => {
                for element in elements {
                    self.add(element, role, depth)?;
                }
            }
            Value::Object(members) => {
                let role = part_speaker(&members, role);
                for (key, value) in members.named() {
                    self.member(&members, &key.to_ascii_lowercase(), value, role, depth)?;
                }
            }
            Value::Other => {}
        }
        Some(())
    }

    fn member(
        &mut self,
        of: &Members<'b>,
        key: &str,
        value: &'b RawValue,
        role: Role,
        depth: usize,
    ) -> Option<()> {
        let role = heard(key, role);
        match key {
            // Their names are the caller's.
            "variables" => {
                for variable in json::members(value).values() {
                    self.add(variable, role, depth)?;
                }
            }
            "logprobs" => self.echoes.push(value.get()),
            // Pictures, which stand in the item as base64.
            "result" if is(of, "image_generation_call") => {}
            // Pictures and files, in place or elsewhere.
            "url" if value.get().starts_with("\"data:") || is(of, "url") => {}
            // Base64 but where it says that it is text.
            "data" if !is(of, "text") => {}
            key if FIELDS.contains(&key) => self.fields(value, role, depth)?,
            key if FREE.contains(&key) => {
                let strings = json::strings_within(value, depth)?.into_iter();
                self.said
                    .extend(strings.map(|literal| (role, literal.into())));
            }
            key if marks(key) => {}
            _ => self.add(value, role, depth)?,
        }
        Some(())
    }
}

impl<'b> Item<'b> {
    /// Adds what a tool is called with: a text, or an object whose names say what the values are.
    fn fields(&mut self, value: &'b RawValue, role: Role, depth: usize) -> Option<()> {
        json::strings_within(value, depth)?;
        match json::open(value) {
            Value::String(literal) => {
                self.said
                    .push((role, Passage::of_arguments(literal, depth)));
            }
            Value::Array(elements) => {
                for element in elements {
                    self.fields(element, role, depth)?;
                }
            }
            Value::Object(_) => self.said.push((role, Passage::Fields(value.get()))),
            Value::Other => {}
        }
        Some(())
    }
}

/// Who is heard under a key of what `role` says.
fn heard(key: &str, role: Role) -> Role {
    match OUTPUTS.contains(&key) {
        true => Role::Tool,
        false => role,
    }
}

/// Whether `object` is of this kind, and says of no other.
pub(super) fn is(object: &Members<'_>, kind: &str) -> bool {
    object.all("type").count() == 1 && object.string("type").as_deref() == Some(kind)
}

/// Who speaks in an item.
fn speaker(item: &Members<'_>, unnamed: Role) -> Role {
    if item.all("role").next().is_some() {
        return named(item);
    }
    // Of several kinds nobody knows which another reader takes.
    let kinds = item.all("type").count();
    match item.string("type").as_deref() {
        Some(kind) if kinds != 1 || kind == "message" => unnamed,
        Some("mcp_list_tools") => Role::Tool,
        Some(kind) if kind.ends_with("_output") => Role::Tool,
        Some("reasoning" | "mcp_approval_request" | "program") => Role::Assistant,
        Some(kind) if kind.ends_with("_call") => Role::Assistant,
        _ => unnamed,
    }
}

/// Who speaks in a part of what `role` says.
fn part_speaker(part: &Members<'_>, role: Role) -> Role {
    // Of several kinds nobody knows which another reader takes.
    let kinds = part.all("type").count();
    match part.string("type").as_deref() {
        Some(_) if kinds != 1 => role,
        Some(kind) if kind.ends_with("tool_result") => Role::Tool,
        Some("document" | "search_result") => Role::Document,
        _ => role,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_item_has_its_speaker_and_no_string_of_use_is_left_out() {
        for (item, expected) in [
            (
                r#"{"type":"function_call","name":"f","call_id":"c","arguments":"{\"q\":1}"}"#,
                "Assistant q: 1\n",
            ),
            (
                r#"{"type":"tool_search_call","execution":"client","arguments":{"name":"Jane","detail":"key"}}"#,
                "Assistant name: Jane\ndetail: key\n",
            ),
            (
                r#"{"type":"function_call_output","call_id":"c","output":"res"}"#,
                "Tool res",
            ),
            (
                r#"{"type":"function_call_output","output":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:"}]}"#,
                "Tool a",
            ),
            (
                r#"{"type":"mcp_call","arguments":"a","output":"o","error":{"type":"t","content":[{"text":"bad"}]}}"#,
                "Assistant a, Tool o, Tool t, Tool bad",
            ),
            (
                r#"{"type":"mcp_list_tools","server_label":"s","tools":[{"name":"n","description":"d"}],"error":"e"}"#,
                "Tool e",
            ),
            (
                r#"{"type":"mcp_approval_request","arguments":"a"}"#,
                "Assistant a",
            ),
            (
                r#"{"type":"program","code":"print()","fingerprint":"xyz"}"#,
                "Assistant print()",
            ),
            (
                r#"{"type":"file_search_call","queries":["q"],"results":[{"file_id":"f","text":"t","attributes":{"name":"Jane"}}]}"#,
                "Assistant q, Tool t, Tool name: Jane\n",
            ),
            (
                r#"{"type":"code_interpreter_call","code":"c","outputs":[{"type":"logs","logs":"l"},{"type":"image","url":"data:image/png;base64,AA"}]}"#,
                "Assistant c, Tool l",
            ),
            (
                r#"{"type":"local_shell_call","action":{"type":"exec","command":["ls"],"env":{"FORMAT":"x"}}}"#,
                "Assistant ls, Assistant FORMAT: x\n",
            ),
            (
                r#"{"type":"shell_call_output","output":[{"stdout":"o","stderr":"e","outcome":{"type":"exit"}}]}"#,
                "Tool o, Tool e",
            ),
            (
                r#"{"type":"web_search_call","action":{"type":"search","query":"q"}}"#,
                "Assistant q",
            ),
            (
                r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"s"}],"encrypted_content":"g"}"#,
                "Assistant s",
            ),
            (
                r#"{"type":"image_generation_call","result":"iVBOR","revised_prompt":"cat"}"#,
                "Assistant cat",
            ),
            (
                r#"{"type":"program_output","Type":"image_generation_call","result":"r"}"#,
                "User r",
            ),
            (
                r#"{"id":"pmpt_1","version":"2","variables":{"name":"Jane","photo":{"type":"input_image","image_url":"data:"}}}"#,
                "User Jane",
            ),
            (r#"{"role":"user","content":"hi"}"#, "User hi"),
            (r#"{"type":"unheard_of","words":"w"}"#, "User w"),
        ] {
            let raw = json::parse(item).unwrap();
            let read = Item::read(raw, Role::User, 9).unwrap();
            let said: Vec<String> = read
                .said
                .iter()
                .map(|(role, literal)| format!("{role:?} {}", literal.decode()))
                .collect();
            assert_eq!(said.join(", "), expected, "{item}");
        }
    }
}
