//! LiteLLM's generic guardrail: `POST /beta/litellm_basic_guardrail_api`.
//!
//! LiteLLM sends the texts of a request or a response, and beside them the messages they are from, which
//! say whose they are. What it sends beyond what is read here is left alone.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Call;
use crate::api::chat::speaker;
use crate::api::gateway::CannotRedact;
use crate::api::json;
use crate::api::status::ApiError;
use crate::api::summary::Summary;
use crate::guard::{Action, Check, Role, Segment, Selection};
use crate::ops::auth::CallerRole;

pub(super) const PATH: &str = "/beta/litellm_basic_guardrail_api";

/// Characters at the end of a streamed answer that may still change: more than most of what is redacted.
const HOLDBACK: u32 = 256;

#[derive(Deserialize)]
struct Request {
    input_type: InputType,
    #[serde(default)]
    texts: Option<Vec<String>>,
    #[serde(default)]
    structured_messages: Option<Vec<Value>>,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    tool_calls: Option<Vec<Value>>,
    #[serde(default)]
    litellm_call_id: Option<String>,
    #[serde(default)]
    litellm_trace_id: Option<String>,
    #[serde(default)]
    additional_provider_specific_params: Option<Params>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum InputType {
    Request,
    Response,
}

/// `additional_provider_specific_params` of LiteLLM's configuration.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    policy: Option<String>,
    stream_holdback_chars: Option<u32>,
    /// Who speaks in the definitions of tools: the application, unless said otherwise.
    tool_definitions_role: Option<Role>,
}

#[derive(Default, Serialize)]
struct Response {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    texts: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_holdback_chars: Option<Vec<u32>>,
}

pub(super) async fn answer(call: Call) -> Result<Vec<u8>, ApiError> {
    let request: Request = json::read(&call.body)?;
    let params = request
        .additional_provider_specific_params
        .unwrap_or_default();
    let mut texts = request.texts.unwrap_or_default();
    let rows = request.structured_messages.unwrap_or_default();
    let mut roles = Roles::of(&rows, request.input_type);

    // Which text each segment is; none for what cannot be rewritten.
    let mut places: Vec<Option<usize>> = Vec::new();
    let mut segments = Vec::new();
    let mut add = |place, role, text: &str| {
        if !text.is_empty() {
            places.push(place);
            segments.push(Segment {
                role,
                text: text.into(),
                id: None,
            });
        }
    };
    for (i, text) in texts.iter().enumerate() {
        add(Some(i), roles.take(text), text);
    }
    for tool_call in request.tool_calls.iter().flatten() {
        add(None, Role::Assistant, &arguments(tool_call));
    }
    let of_tools = params.tool_definitions_role.unwrap_or(Role::System);
    for tool in request.tools.iter().flatten() {
        add(None, of_tools, &definition(tool));
    }

    let names = [request.litellm_trace_id, request.litellm_call_id];
    let [trace, id] = names.map(|id| id.filter(|id| call.service.usable(id)));
    let check = Check {
        id: id.clone().unwrap_or_else(|| call.id()),
        tenant: call.tenant(&[CallerRole::Check])?,
        segments,
        selection: Selection::Policy(call.policy()?.or(params.policy).unwrap_or_default()),
        deadline: call.deadline,
        conversation: trace.or(id),
        include_scores: false,
    };
    let verdicts = call.service.check_long(check).await?;

    let mut response = Response {
        action: "NONE",
        ..Response::default()
    };
    let mut summary = Summary::default();
    let mut stuck = false;
    for (first, verdict) in &verdicts {
        summary.add(verdict);
        for redacted in &verdict.redacted {
            match places.get(first + redacted.segment) {
                Some(Some(text)) => {
                    texts[*text].clone_from(&redacted.text);
                    response.action = "GUARDRAIL_INTERVENED";
                }
                _ => stuck = true,
            }
        }
    }
    let reason = if summary.action == Action::Block {
        Some(summary.blocked_because())
    } else if stuck && call.service.limits().cannot_redact == CannotRedact::Block {
        Some("blocked: what must be redacted stands in a tool's call or definition".into())
    } else {
        None
    };
    if reason.is_some() {
        let response = Response {
            action: "BLOCKED",
            blocked_reason: reason,
            ..Response::default()
        };
        return serde_json::to_vec(&response).map_err(ApiError::internal);
    }
    if request.input_type == InputType::Response {
        let holdback = params.stream_holdback_chars.unwrap_or(HOLDBACK);
        response.stream_holdback_chars = Some(vec![holdback; texts.len()]);
    }
    if response.action == "GUARDRAIL_INTERVENED" {
        response.texts = Some(texts);
    }
    serde_json::to_vec(&response).map_err(ApiError::internal)
}

/// Who says what, by the messages that texts are from.
struct Roles<'m> {
    of: HashMap<&'m str, VecDeque<Role>>,
    otherwise: Role,
}

impl<'m> Roles<'m> {
    fn of(rows: &'m [Value], input: InputType) -> Self {
        let mut of: HashMap<&str, VecDeque<Role>> = HashMap::new();
        for row in rows {
            let role = speaker(row["role"].as_str());
            let content = &row["content"];
            let parts = content.as_array().into_iter().flatten();
            let texts = parts.map(|part| &part["text"]).chain([content]);
            for text in texts.filter_map(Value::as_str) {
                of.entry(text).or_default().push_back(role);
            }
        }
        let otherwise = match input {
            InputType::Request => Role::User,
            InputType::Response => Role::Assistant,
        };
        Self { of, otherwise }
    }

    /// The role of the next occurrence of `text`.
    fn take(&mut self, text: &str) -> Role {
        let roles = self.of.get_mut(text);
        roles
            .and_then(VecDeque::pop_front)
            .unwrap_or(self.otherwise)
    }
}

/// What a tool is called with: JSON in a string, or as it stands.
fn arguments(tool_call: &Value) -> String {
    match &tool_call["function"]["arguments"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What a tool's definition tells the model.
fn definition(tool: &Value) -> String {
    match tool.get("function").unwrap_or(tool) {
        Value::Null => String::new(),
        definition => definition.to_string(),
    }
}
