//! What an object of a message is: who speaks in it, and what its keys mean.

use serde_json::value::RawValue;

use super::json::{self, Members, Value};
use crate::guard::Role;

/// Kinds of items and parts whose keys are known: those of OpenAI's and Anthropic's APIs.
const KINDS: [&str; 121] = [
    // Messages, and what they are made of.
    "message",
    "text",
    "input_text",
    "output_text",
    "summary_text",
    "reasoning_text",
    "refusal",
    "thinking",
    "redacted_thinking",
    "reasoning",
    "reasoning.text",
    "reasoning.summary",
    "reasoning.encrypted",
    "compaction",
    "compaction_trigger",
    "item_reference",
    "image",
    "image_url",
    "input_image",
    "audio_url",
    "input_audio",
    "video_url",
    "file",
    "input_file",
    "container_upload",
    "document",
    "search_result",
    "text_delta",
    "thinking_delta",
    "input_json_delta",
    "signature_delta",
    "citations_delta",
    "compaction_delta",
    // Where something is from.
    "base64",
    "url",
    "content",
    "url_citation",
    "file_citation",
    "container_file_citation",
    "file_path",
    "char_location",
    "page_location",
    "content_block_location",
    "search_result_location",
    "web_search_result_location",
    // Calls of tools.
    "function",
    "custom",
    "tool_use",
    "server_tool_use",
    "mcp_tool_use",
    "function_call",
    "custom_tool_call",
    "computer_call",
    "file_search_call",
    "web_search_call",
    "image_generation_call",
    "code_interpreter_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "tool_search_call",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "program",
    // What they do.
    "exec",
    "search",
    "open_page",
    "find_in_page",
    "click",
    "double_click",
    "drag",
    "keypress",
    "move",
    "screenshot",
    "scroll",
    "type",
    "wait",
    "create_file",
    "update_file",
    "delete_file",
    "local",
    "container_reference",
    // What came of them.
    "tool_result",
    "mcp_tool_result",
    "function_call_output",
    "custom_tool_call_output",
    "computer_call_output",
    "local_shell_call_output",
    "shell_call_output",
    "apply_patch_call_output",
    "tool_search_output",
    "program_output",
    "computer_screenshot",
    "logs",
    "exit",
    "timeout",
    "tool_reference",
    "tool_search_tool_result",
    "tool_search_tool_search_result",
    "tool_search_tool_result_error",
    "web_search_tool_result",
    "web_search_result",
    "web_search_tool_result_error",
    "web_fetch_tool_result",
    "web_fetch_result",
    "web_fetch_tool_result_error",
    "code_execution_tool_result",
    "code_execution_result",
    "code_execution_output",
    "code_execution_tool_result_error",
    "bash_code_execution_tool_result",
    "bash_code_execution_result",
    "bash_code_execution_output",
    "bash_code_execution_tool_result_error",
    "text_editor_code_execution_tool_result",
    "text_editor_code_execution_view_result",
    "text_editor_code_execution_create_result",
    "text_editor_code_execution_str_replace_result",
    "text_editor_code_execution_tool_result_error",
];
/// Keys whose objects are known by where they stand.
const PLACES: [&str; 20] = [
    "acknowledged_safety_checks",
    "audio",
    "caller",
    "choices",
    "container",
    "custom",
    "delta",
    "error",
    "extra_content",
    "file",
    "function",
    "function_call",
    "google",
    "message",
    "pending_safety_checks",
    "prompt",
    "provider_specific_fields",
    "results",
    "tool_calls",
    "url_citation",
];
/// Keys of what is known whose strings say nothing to people or models: kinds, names of things, settings,
/// pictures and files, definitions of tools.
const MARKS: [&str; 57] = [
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
    "content_filter_results",
    "content_filter_offsets",
    "matched_stop",
    "obfuscation",
    "prompt_cache_breakpoint",
    "tools",
    "parameters",
    "input_schema",
    "output_schema",
];
/// Keys of what a tool gave back.
const OUTPUTS: [&str; 5] = ["output", "outputs", "results", "logs", "error"];

/// An item, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Who speaks.
    pub(super) role: Role,
    kind: Kind,
}

/// What the keys of an object mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What they mean in objects of this type, which is empty where none is needed.
    Known(&'static str),
    /// Anything: no format has such an object, or it is within one that none has.
    Free,
}

impl Part {
    /// Where items stand that `role` says.
    pub(super) const fn of(role: Role) -> Self {
        let kind = Kind::Known("");
        Self { role, kind }
    }

    /// An item under `key`, in which `unnamed` speaks where it does not say who does.
    pub(super) fn item(key: &str, item: &Members<'_>, unnamed: Role) -> Self {
        let kind = Type::of(item);
        if item.all("role").next().is_none() {
            return Self::of(kind.speaker(unnamed)).holding(key, &kind);
        }
        let part = Self::of(named(item));
        match kind {
            // A message.
            Type::None => part,
            kind => part.holding(key, &kind),
        }
    }

    /// The object under `key` of this part, or within an array there.
    pub(super) fn under(self, key: &str, object: &Members<'_>) -> Self {
        self.holding(key, &Type::of(object))
    }

    /// An object of this type under `key` of this part.
    fn holding(self, key: &str, kind: &Type) -> Self {
        let of_format = match kind {
            Type::One(kind) if self.is_known() => {
                KINDS.iter().find(|known| *known == kind).copied()
            }
            _ => None,
        };
        let in_place = self.is_known() && PLACES.contains(&key);
        Self {
            role: kind.speaker_of_part(self.role),
            kind: match of_format {
                Some(kind) => Kind::Known(kind),
                None if in_place => Kind::Known(""),
                None => Kind::Free,
            },
        }
    }

    /// The same for what stands under `key`, in lower case: who is heard there.
    pub(super) fn heard(self, key: &str) -> Self {
        Self {
            role: heard(key, self.role),
            ..self
        }
    }

    /// Whether its keys are those of a format.
    pub(super) fn is_known(self) -> bool {
        self.kind != Kind::Free
    }

    /// Whether nobody reads what stands under `key`, in lower case.
    pub(super) fn skips(self, key: &str, value: &RawValue) -> bool {
        let Kind::Known(kind) = self.kind else {
            return false;
        };
        match key {
            // Pictures, which stand in the item as base64.
            "result" => kind == "image_generation_call",
            // Pictures and files, in place or elsewhere.
            "url" => kind == "url" || value.get().starts_with("\"data:"),
            // Base64 but where it says that it is text.
            "data" => kind != "text",
            key => MARKS.contains(&key),
        }
    }
}

/// What an object says that it is.
enum Type {
    None,
    One(String),
    /// Of several nobody knows which another reader takes.
    Several,
}

impl Type {
    fn of(object: &Members<'_>) -> Self {
        let mut types = object.all("type");
        match (types.next(), types.next()) {
            (None, _) => Self::None,
            (Some(only), None) => match json::open(only) {
                Value::String(literal) => Self::One(literal.decode().into_owned()),
                _ => Self::Several,
            },
            _ => Self::Several,
        }
    }

    /// Who speaks in an item of this type that names nobody.
    fn speaker(&self, unnamed: Role) -> Role {
        let Self::One(kind) = self else {
            return unnamed;
        };
        match kind.as_str() {
            "mcp_list_tools" => Role::Tool,
            "reasoning" | "mcp_approval_request" | "program" => Role::Assistant,
            kind if kind.ends_with("_output") => Role::Tool,
            kind if kind.ends_with("_call") => Role::Assistant,
            _ => unnamed,
        }
    }

    /// Who speaks in a part of this type of what `role` says.
    fn speaker_of_part(&self, role: Role) -> Role {
        match self {
            Self::One(kind) if kind.ends_with("tool_result") => Role::Tool,
            Self::One(kind) if matches!(&**kind, "document" | "search_result") => Role::Document,
            _ => role,
        }
    }
}

/// Who is heard under a key of what `role` says.
pub(super) fn heard(key: &str, role: Role) -> Role {
    match OUTPUTS.contains(&key) {
        true => Role::Tool,
        false => role,
    }
}

/// Whom a message names as its speaker.
fn named(message: &Members<'_>) -> Role {
    match message.all("role").count() {
        1 => speaker(message.string("role").as_deref()),
        // Which of them another reader takes, nobody knows.
        _ => Role::User,
    }
}

/// Who speaks in a message that names its speaker so.
pub(in super::super) fn speaker(name: Option<&str>) -> Role {
    match name {
        Some("system" | "developer") => Role::System,
        Some("assistant" | "model") => Role::Assistant,
        Some("tool" | "function") => Role::Tool,
        // Whoever is not known is the one trusted least.
        _ => Role::User,
    }
}
