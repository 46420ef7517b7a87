//! The formats of bodies, by the path of the request.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How a body says what is said.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Format {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's completions.
    Completions,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// As configured.
    Pointers(Arc<Pointers>),
}

/// A format that the configuration describes: where in a body texts stand, as JSON pointers in which `*`
/// stands for every element of an array and every member of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pointers {
    /// Requests whose path begins so, query aside.
    pub path: String,
    /// Texts of a request, said by the user.
    #[serde(default)]
    pub request: Vec<String>,
    /// Texts of a response.
    #[serde(default)]
    pub response: Vec<String>,
    /// Texts of an event of a response that streams, each the next part of what that pointer says.
    #[serde(default)]
    pub event: Vec<String>,
}

impl Format {
    /// The format of requests to a normalised `path`, and of what answers them; none where it is not known.
    pub(in super::super) fn of_path(path: &str, configured: &[Pointers]) -> Option<Self> {
        if let Some(pointers) = configured.iter().find(|p| path.starts_with(&p.path)) {
            return Some(Self::Pointers(Arc::new(pointers.clone())));
        }
        if path.ends_with("/chat/completions") || path.contains("/chat/completions/") {
            Some(Self::Chat)
        } else if path.ends_with("/completions") {
            Some(Self::Completions)
        } else if responses(path) {
            Some(Self::Responses)
        } else if path.ends_with("/messages") {
            Some(Self::Messages)
        } else {
            None
        }
    }

    /// The body of an error, as clients of this format read it. `status` is that of HTTP.
    pub(in super::super) fn error(&self, status: u16, code: &str, message: &str) -> Value {
        match self {
            Self::Messages => {
                let kind = match status {
                    403 => "permission_error",
                    413 => "request_too_large",
                    400..=499 => "invalid_request_error",
                    _ => "api_error",
                };
                json!({"type": "error", "error": {"type": kind, "message": message}})
            }
            _ => {
                let kind = match status {
                    400..=499 => "invalid_request_error",
                    _ => "server_error",
                };
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            }
        }
    }

    /// The same as the end of a stream of events.
    pub(in super::super) fn error_event(&self, status: u16, code: &str, message: &str) -> String {
        let mut error = self.error(status, code, message);
        match self {
            Self::Messages => format!("event: error\ndata: {error}\n\n"),
            Self::Responses => {
                // Clients raise what is under `error`; beside it stands what an event of this kind has.
                error["type"] = "error".into();
                error["code"] = code.into();
                error["message"] = message.into();
                error["param"] = Value::Null;
                error["sequence_number"] = 0.into();
                format!("event: error\ndata: {error}\n\n")
            }
            _ => format!("data: {error}\n\ndata: [DONE]\n\n"),
        }
    }
}

/// Paths of OpenAI's Responses API: asking, asking again for what was answered, and conversations.
fn responses(path: &str) -> bool {
    let ends = ["/responses", "/responses/compact", "/conversations"];
    let holds = ["/responses/resp_", "/conversations/conv_"];
    ends.iter().any(|end| path.ends_with(end)) || holds.iter().any(|part| path.contains(part))
}

#[cfg(test)]
mod tests {
    use super::super::path::normalised;
    use super::*;

    #[test]
    fn paths_name_formats() {
        let own = Pointers {
            path: "/generate".into(),
            request: vec!["/inputs".into()],
            response: Vec::new(),
            event: Vec::new(),
        };
        let of = |path: &str| Format::of_path(&normalised(path), std::slice::from_ref(&own));
        assert_eq!(of("/v1/chat/completions"), Some(Format::Chat));
        let azure = "/openai/deployments/x/chat/completions?api-version=2024";
        assert_eq!(of(azure), Some(Format::Chat));
        for path in ["/c-1", "/c-1/messages"] {
            assert_eq!(
                of(&format!("/v1/chat/completions{path}")),
                Some(Format::Chat)
            );
        }
        assert_eq!(of("/v1/completions/"), Some(Format::Completions));
        assert_eq!(of("/v1/messages"), Some(Format::Messages));
        for path in ["", "/resp_1?stream=true", "/resp_1/input_items", "/compact"] {
            let path = format!("/v1/responses{path}");
            assert_eq!(of(&path), Some(Format::Responses), "{path}");
        }
        let conversation = "/v1/conversations/conv_1/items";
        assert_eq!(of(conversation), Some(Format::Responses));
        assert_eq!(of("/survey/responses/7"), None);
        assert_eq!(
            of("/generate?x=1"),
            Some(Format::Pointers(Arc::new(own.clone())))
        );
        assert_eq!(of("/v1/models"), None);
        assert_eq!(of("/v1/messages/count_tokens"), None);
    }
}
