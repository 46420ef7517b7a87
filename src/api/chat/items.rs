//! Messages and their parts, reasoning, calls of tools and what came of them, in whatever form providers give
//! them: every string is read that is not known to say nothing.

use serde_json::value::RawValue;

use super::Passage;
use super::json::{self, Members, Value};
use super::part::{Part, heard};
use super::texts::{MOST_TEXTS, Unreadable};
use crate::guard::Role;

/// Keys of objects whose names say what the values are, which callers and models choose.
const FIELDS: [&str; 5] = ["arguments", "args", "attributes", "env", "input"];

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

impl<'b> Item<'b> {
    /// Reads what stands under `key` of an event; the model speaks unless it says who does.
    pub(super) fn under(key: &str, raw: &'b RawValue, depth: usize) -> Result<Self, Unreadable> {
        Self::read(key, raw, heard(key, Role::Assistant), depth)
    }

    /// Reads an item under `key`, up to `depth` levels deep; `unnamed` speaks where it does not say who does.
    pub(super) fn read(
        key: &str,
        raw: &'b RawValue,
        unnamed: Role,
        depth: usize,
    ) -> Result<Self, Unreadable> {
        let mut item = Self::default();
        match json::open(raw) {
            Value::Object(members) => {
                let part = Part::item(key, &members, unnamed);
                item.object(&members, part, depth)?;
            }
            _ => item.add(key, raw, Part::of(unnamed), depth)?,
        }
        Ok(item)
    }

    /// Reads what stands under `key`, in lower case, of a part.
    pub(super) fn within(
        part: Part,
        key: &str,
        raw: &'b RawValue,
        depth: usize,
    ) -> Result<Self, Unreadable> {
        let mut item = Self::default();
        item.member(part, key, raw, depth)?;
        Ok(item)
    }

    /// Adds what stands under `key` of the part `of`.
    fn add(
        &mut self,
        key: &str,
        raw: &'b RawValue,
        of: Part,
        depth: usize,
    ) -> Result<(), Unreadable> {
        let depth = depth.checked_sub(1).ok_or(Unreadable::TOO_DEEP)?;
        match json::open(raw) {
            Value::String(literal) => self.say(of.role, literal.into()),
            Value::Array(elements) => {
                let mut elements = elements.into_iter();
                elements.try_for_each(|element| self.add(key, element, of, depth))
            }
            Value::Object(members) => self.object(&members, of.under(key, &members), depth),
            Value::Other => Ok(()),
        }
    }

    fn object(
        &mut self,
        members: &Members<'b>,
        part: Part,
        depth: usize,
    ) -> Result<(), Unreadable> {
        let mut named = members.named();
        named
            .try_for_each(|(key, value)| self.member(part, &key.to_ascii_lowercase(), value, depth))
    }

    fn member(
        &mut self,
        part: Part,
        key: &str,
        value: &'b RawValue,
        depth: usize,
    ) -> Result<(), Unreadable> {
        let there = part.heard(key);
        match key {
            _ if part.skips(key, value) => Ok(()),
            // Their names are the caller's.
            "variables" if part.is_known() => match json::open(value) {
                Value::Object(variables) => {
                    let mut variables = variables.values();
                    variables.try_for_each(|value| self.add(key, value, there, depth))
                }
                _ => self.add(key, value, there, depth),
            },
            "logprobs" if part.is_known() => {
                self.echoes.push(value.get());
                Ok(())
            }
            "error" => {
                expect_shallow(value, depth)?;
                let mut strings = json::strings_within(value);
                strings.try_for_each(|literal| self.say(there.role, literal.into()))
            }
            key if FIELDS.contains(&key) => self.fields(value, there.role, depth),
            _ => self.add(key, value, there, depth),
        }
    }

    /// Adds what a tool is called with: a text, or values whose names say what they are.
    fn fields(&mut self, value: &'b RawValue, role: Role, depth: usize) -> Result<(), Unreadable> {
        match json::open(value) {
            Value::String(literal) => self.say(role, Passage::of_arguments(literal, depth)),
            Value::Other if !json::is_number(value.get()) => Ok(()),
            _ => {
                expect_shallow(value, depth)?;
                self.say(role, Passage::Fields(value.get()))
            }
        }
    }

    fn say(&mut self, role: Role, passage: Passage<'b>) -> Result<(), Unreadable> {
        if self.said.len() >= MOST_TEXTS {
            return Err(Unreadable::TOO_MANY);
        }
        self.said.push((role, passage));
        Ok(())
    }
}

/// Fails where `raw` is more than `depth` levels deep.
fn expect_shallow(raw: &RawValue, depth: usize) -> Result<(), Unreadable> {
    match json::is_shallow(raw, depth) {
        true => Ok(()),
        false => Err(Unreadable::TOO_DEEP),
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
                "Tool o, Tool e, Tool exit",
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
                "User program_output, User image_generation_call, User r",
            ),
            (
                r#"{"type":"function_call","arguments":[536228714,["a"]]}"#,
                "Assistant 536228714\na\n",
            ),
            (
                r#"{"type":"function_call","arguments":536228714}"#,
                "Assistant 536228714\n",
            ),
            (r#"{"type":"function_call","arguments":null}"#, ""),
            (r#"{"role":"user","content":"hi"}"#, "User hi"),
        ] {
            assert_eq!(said("input", item), expected, "{item}");
        }
        let template = r#"{"id":"pmpt_1","version":"2","variables":{"name":"Jane","photo":{"type":"input_image","image_url":"data:"}}}"#;
        assert_eq!(said("prompt", template), "User Jane");
    }

    fn said(key: &str, item: &str) -> String {
        let raw = json::parse(item).unwrap();
        let item = Item::read(key, raw, Role::User, 9).unwrap();
        let said = item.said.iter();
        let said = said.map(|(role, passage)| format!("{role:?} {}", passage.decode()));
        said.collect::<Vec<_>>().join(", ")
    }

    /// Keys mean what a format says in its own objects alone.
    #[test]
    fn of_what_no_format_has_every_string_is_read() {
        for (item, expected) in [
            (
                r#"{"type":"unheard_of","name":"n","data":"d"}"#,
                "User unheard_of, User n, User d",
            ),
            (
                r#"{"role":"user","name":"n","content":[{"type":"json","json":{"name":"a","detail":"b","data":{"type":"text","size":"c"}}}]}"#,
                "User json, User a, User b, User text, User c",
            ),
            (
                r#"{"role":"tool","content":{"status":"a","tools":["b"],"url":"data:c","logprobs":"d"}}"#,
                "Tool a, Tool b, Tool data:c, Tool d",
            ),
            (
                r#"{"role":"user","content":[{"type":"text","text":"t","id":"i","cache_control":{"type":"ephemeral"}}]}"#,
                "User t",
            ),
            (r#"{"name":"n","content":"c"}"#, "User n, User c"),
        ] {
            assert_eq!(said("messages", item), expected, "{item}");
        }
    }
}
