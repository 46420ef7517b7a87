//! Answers as Envoy reads them.

use std::borrow::Cow;
use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, ImmediateResponse,
    ProcessingResponse, StreamedBodyResponse, TrailersResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value, value::Kind};

use super::body::{Direction, Refusal};
use crate::api::chat::Format;
use crate::api::summary::Summary;

/// Namespace of the dynamic metadata.
pub(super) const NAMESPACE: &str = "portcullis";
/// Bytes of a part of a body that streams, as Envoy recommends.
const CHUNK: usize = 64 << 10;

/// The value of a header; the first where it is given several times. What of it is no text is U+FFFD: a header
/// that cannot be read is there.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<Cow<'h, str>> {
    let header = headers
        .headers
        .iter()
        .find(|h| h.key.eq_ignore_ascii_case(name))?;
    Some(match header.raw_value.is_empty() {
        true => Cow::Borrowed(&header.value),
        false => String::from_utf8_lossy(&header.raw_value),
    })
}

/// Headers to change.
pub(super) fn mutation(set: &[(&str, &str)], remove: &[&str]) -> HeaderMutation {
    HeaderMutation {
        set_headers: set
            .iter()
            .map(|(key, value)| HeaderValueOption {
                header: Some(HeaderValue {
                    key: (*key).to_owned(),
                    raw_value: value.as_bytes().to_vec(),
                    ..HeaderValue::default()
                }),
                // Overwrite, or add.
                append_action: 2,
                ..HeaderValueOption::default()
            })
            .collect(),
        remove_headers: remove.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// The answer to headers.
pub(super) fn headers(direction: Direction, change: HeaderMutation) -> ProcessingResponse {
    let changes = !(change.set_headers.is_empty() && change.remove_headers.is_empty());
    let response = HeadersResponse {
        response: Some(CommonResponse {
            header_mutation: changes.then_some(change),
            ..CommonResponse::default()
        }),
    };
    of(match direction {
        Direction::Request => Response::RequestHeaders(response),
        Direction::Response => Response::ResponseHeaders(response),
    })
}

/// The answer to a part of a body: as it is, or with `bytes` in its place.
pub(super) fn body(
    direction: Direction,
    bytes: Option<Vec<u8>>,
    whole: bool,
) -> ProcessingResponse {
    let length = bytes.as_ref().map(|b| b.len().to_string());
    let header_mutation = match (whole, &length) {
        (true, Some(length)) => Some(mutation(&[("content-length", length)], &[])),
        _ => None,
    };
    let mutation = bytes.map(|bytes| match bytes.is_empty() {
        true => Mutation::ClearBody(true),
        false => Mutation::Body(bytes),
    });
    of_body(direction, mutation, header_mutation)
}

/// Parts of a body, in a mode in which answers need not match messages.
pub(super) fn streamed(direction: Direction, bytes: &[u8], last: bool) -> Vec<ProcessingResponse> {
    let part = |body: &[u8], end_of_stream| {
        let part = StreamedBodyResponse {
            body: body.to_vec(),
            end_of_stream,
            ..StreamedBodyResponse::default()
        };
        of_body(direction, Some(Mutation::StreamedResponse(part)), None)
    };
    if bytes.is_empty() {
        return if last {
            vec![part(bytes, true)]
        } else {
            Vec::new()
        };
    }
    let chunks = bytes.chunks(CHUNK);
    let count = chunks.len();
    chunks
        .enumerate()
        .map(|(i, chunk)| part(chunk, last && i + 1 == count))
        .collect()
}

fn of_body(
    direction: Direction,
    mutation: Option<Mutation>,
    header_mutation: Option<HeaderMutation>,
) -> ProcessingResponse {
    let response = BodyResponse {
        response: Some(CommonResponse {
            header_mutation,
            body_mutation: mutation.map(|mutation| BodyMutation {
                mutation: Some(mutation),
            }),
            ..CommonResponse::default()
        }),
    };
    of(match direction {
        Direction::Request => Response::RequestBody(response),
        Direction::Response => Response::ResponseBody(response),
    })
}

/// The answer to trailers.
pub(super) fn trailers(direction: Direction) -> ProcessingResponse {
    let response = TrailersResponse::default();
    of(match direction {
        Direction::Request => Response::RequestTrailers(response),
        Direction::Response => Response::ResponseTrailers(response),
    })
}

/// The answer that ends an exchange.
pub(super) fn refuse(format: &Format, refusal: &Refusal) -> ProcessingResponse {
    let error = format.error(refusal.status, refusal.code, &refusal.message);
    of(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus {
            code: i32::from(refusal.status),
        }),
        headers: Some(mutation(&[("content-type", "application/json")], &[])),
        body: error.to_string().into_bytes(),
        details: format!("portcullis_{}", refusal.code),
        ..ImmediateResponse::default()
    }))
}

fn of(response: Response) -> ProcessingResponse {
    ProcessingResponse {
        response: Some(response),
        ..ProcessingResponse::default()
    }
}

/// The verdicts so far, for access logs and later filters: nothing of the texts.
pub(super) fn metadata(halves: &[(&str, &Summary, Option<&Refusal>)]) -> Struct {
    let halves = halves.iter().map(|(name, summary, refusal)| {
        let found = summary.found.iter().map(|kind| {
            fields([
                ("detector", text(&kind.detector)),
                ("label", text(&kind.label)),
                ("action", text(kind.action.name())),
                ("score", number(kind.score.map_or(1.0, f64::from))),
                ("count", number(kind.count as f64)),
            ])
        });
        let mut half = vec![
            ("action", text(summary.action.name())),
            ("findings", list(found.collect())),
        ];
        if let Some((policy, version)) = &summary.policy {
            half.push(("policy", text(policy)));
            half.push(("policy_version", text(version)));
        }
        if let Some(outcome) = summary.outcome {
            half.push(("outcome", text(outcome.name())));
        }
        if let Some(refusal) = refusal {
            half.push(("error", text(&refusal.message)));
        }
        (*name, fields(half))
    });
    let all = fields(halves);
    Struct {
        fields: HashMap::from([(NAMESPACE.to_owned(), all)]),
    }
}

fn fields<'n>(members: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
    let fields = members
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect();
    Value {
        kind: Some(Kind::StructValue(Struct { fields })),
    }
}

fn list(values: Vec<Value>) -> Value {
    Value {
        kind: Some(Kind::ListValue(ListValue { values })),
    }
}

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

fn number(number: f64) -> Value {
    Value {
        kind: Some(Kind::NumberValue(number)),
    }
}
