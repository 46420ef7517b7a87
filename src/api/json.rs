//! Messages in proto3 JSON, by their descriptor.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use super::pb;

/// `message` as proto3 JSON, on several lines. `name` is its full name, `portcullis.v1.CheckResponse`.
pub fn to_string(name: &str, message: &impl Message) -> Result<String, JsonError> {
    let pool = DescriptorPool::decode(pb::DESCRIPTOR).map_err(error)?;
    let descriptor = pool
        .get_message_by_name(name)
        .ok_or_else(|| JsonError(format!("no message {name}")))?;
    let dynamic =
        DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(error)?;
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut out);
    dynamic
        .serialize_with_options(
            &mut serializer,
            &SerializeOptions::new().skip_default_fields(false),
        )
        .map_err(error)?;
    String::from_utf8(out).map_err(error)
}

/// A message that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write JSON: {0}")]
pub struct JsonError(String);

fn error(error: impl std::fmt::Display) -> JsonError {
    JsonError(error.to_string())
}
