//! Messages in proto3 JSON, by their descriptor.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde::Serializer;
use serde_json::Value;

use super::pb;

/// The compiled `proto/`, decoded once.
static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(pb::DESCRIPTOR).ok());

/// `message` as proto3 JSON, on several lines. `name` is its full name, `portcullis.v1.CheckResponse`.
pub fn to_string(name: &str, message: &impl Message) -> Result<String, JsonError> {
    let mut out = Vec::new();
    serialize(name, message, &mut serde_json::Serializer::pretty(&mut out))?;
    String::from_utf8(out).map_err(error)
}

/// As [`to_string`], as a value.
pub fn to_value(name: &str, message: &impl Message) -> Result<Value, JsonError> {
    serialize(name, message, serde_json::value::Serializer)
}

fn serialize<S: Serializer>(name: &str, message: &impl Message, to: S) -> Result<S::Ok, JsonError> {
    let descriptor = POOL
        .as_ref()
        .and_then(|pool| pool.get_message_by_name(name));
    let descriptor = descriptor.ok_or_else(|| JsonError(format!("no message {name}")))?;
    let dynamic =
        DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(error)?;
    let options = SerializeOptions::new().skip_default_fields(false);
    dynamic.serialize_with_options(to, &options).map_err(error)
}

/// A message that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write JSON: {0}")]
pub struct JsonError(String);

fn error(error: impl std::fmt::Display) -> JsonError {
    JsonError(error.to_string())
}
