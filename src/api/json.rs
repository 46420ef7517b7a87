//! JSON: what callers send, with the place of what is wrong in it, and messages in proto3's JSON, by
//! their descriptor. Values nest up to 128 deep.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::Serializer;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::pb;
use super::status::ApiError;

/// The compiled `proto/`, decoded once.
static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(pb::DESCRIPTOR).ok());

/// The message with this full name.
pub(super) fn descriptor(name: &str) -> Result<MessageDescriptor, JsonError> {
    let pool = POOL.as_ref();
    pool.and_then(|pool| pool.get_message_by_name(name))
        .ok_or_else(|| JsonError(format!("no message {name}")))
}

/// `message` as proto3 JSON, on several lines. `name` is its full name, `portcullis.v1.CheckResponse`.
pub fn to_string(name: &str, message: &impl Message) -> Result<String, JsonError> {
    let mut out = Vec::new();
    serialize(name, message, &mut serde_json::Serializer::pretty(&mut out))?;
    String::from_utf8(out).map_err(error)
}

/// As [`to_string`], on one line.
pub(super) fn to_vec(name: &str, message: &impl Message) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    serialize(name, message, &mut serde_json::Serializer::new(&mut out))?;
    Ok(out)
}

/// As [`to_string`], as a value.
pub fn to_value(name: &str, message: &impl Message) -> Result<Value, JsonError> {
    serialize(name, message, serde_json::value::Serializer)
}

fn serialize<S: Serializer>(name: &str, message: &impl Message, to: S) -> Result<S::Ok, JsonError> {
    let bytes = message.encode_to_vec();
    let dynamic = DynamicMessage::decode(descriptor(name)?, bytes.as_slice()).map_err(error)?;
    let options = SerializeOptions::new().skip_default_fields(false);
    dynamic.serialize_with_options(to, &options).map_err(error)
}

/// What a caller sent, or where and why it is not that.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    parse(bytes, |from| serde_path_to_error::deserialize(from))
}

/// The message that a caller sent in proto3's JSON.
pub(super) fn read_message<M: Message + Default>(name: &str, bytes: &[u8]) -> Result<M, ApiError> {
    let descriptor = descriptor(name)?;
    let dynamic = parse(bytes, |from| {
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(from, &mut track);
        DynamicMessage::deserialize(descriptor, tracked)
            .map_err(|e| serde_path_to_error::Error::new(track.path(), e))
    })?;
    Ok(dynamic.transcode_to().map_err(error)?)
}

fn parse<T>(
    bytes: &[u8],
    read: impl FnOnce(
        &mut serde_json::Deserializer<serde_json::de::SliceRead<'_>>,
    ) -> Result<T, serde_path_to_error::Error<serde_json::Error>>,
) -> Result<T, ApiError> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let value = read(&mut from).map_err(|wrong| {
        let path = wrong.path().to_string();
        // A place within an object that ends before its next key has no name.
        let field = path.trim_end_matches(['.', '?']);
        let field = if field.is_empty() { "(body)" } else { field };
        ApiError::invalid(field, wrong.inner())
    })?;
    from.end().map_err(|e| ApiError::invalid("(body)", e))?;
    Ok(value)
}

/// A message that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write JSON: {0}")]
pub struct JsonError(String);

fn error(error: impl std::fmt::Display) -> JsonError {
    JsonError(error.to_string())
}

impl From<JsonError> for ApiError {
    fn from(error: JsonError) -> Self {
        Self::internal(error)
    }
}
