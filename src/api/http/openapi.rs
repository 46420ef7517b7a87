//! `GET /openapi.json`: what is served over HTTP. The messages of `portcullis.v1` come from their
//! descriptors, with the comments of the proto; the rest is written down in `openapi.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::response::Response;
use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::answer;
use crate::api::json::descriptor;
use crate::api::status::ApiError;

/// Paths, errors, and the messages of protocols that are not ours.
const WRITTEN: &str = include_str!("openapi.json");

static DOCUMENT: LazyLock<Result<Vec<u8>, String>> =
    LazyLock::new(|| document().map_err(|e| e.to_string()));

pub(super) fn answer() -> Response {
    match &*DOCUMENT {
        Ok(document) => answer::json(200, document.clone()),
        Err(problem) => answer::error(ApiError::internal(problem)),
    }
}

fn document() -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut document: Value = serde_json::from_str(WRITTEN)?;
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    let mut schemas = Schemas::default();
    for request in ["CheckRequest", "RestoreRequest"] {
        schemas.message(
            &descriptor(&format!("portcullis.v1.{request}"))?,
            Side::Request,
        );
    }
    for answer in ["CheckResponse", "RestoreResponse", "ListDetectorsResponse"] {
        schemas.message(
            &descriptor(&format!("portcullis.v1.{answer}"))?,
            Side::Response,
        );
    }
    for (name, schema) in schemas.0 {
        let mut written = document["components"]["schemas"][&name].take();
        match written.as_object_mut() {
            // What a descriptor does not say, such as what is required.
            Some(written) => written.extend(schema.as_object().cloned().unwrap_or_default()),
            None => written = schema,
        }
        document["components"]["schemas"][name] = written;
    }
    Ok(serde_json::to_vec(&document)?)
}

/// Who writes a message: callers leave out what they like and may not invent fields; answers have every
/// field, and more in later versions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

/// Schemas by name.
#[derive(Default)]
struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    fn message(&mut self, message: &MessageDescriptor, side: Side) {
        if self.0.contains_key(message.name()) {
            return;
        }
        self.0.insert(message.name().into(), Value::Null);
        let mut properties = Map::new();
        for field in message.fields() {
            let mut schema = self.field(&field, side);
            schema["description"] = comment(&message.parent_file(), field.path()).into();
            properties.insert(field.json_name().into(), schema);
        }
        let mut schema = json!({
            "type": "object",
            "description": comment(&message.parent_file(), message.path()),
            "properties": properties,
        });
        match side {
            Side::Request => schema["additionalProperties"] = false.into(),
            Side::Response => {
                let always = message.fields().filter(|f| !f.supports_presence());
                schema["required"] = always.map(|f| f.json_name().to_owned()).collect();
            }
        }
        self.0.insert(message.name().into(), schema);
    }

    fn field(&mut self, field: &FieldDescriptor, side: Side) -> Value {
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let value = self.field(&entry.map_entry_value_field(), side);
            return json!({"type": "object", "additionalProperties": value});
        }
        let of_one = match field.kind() {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Float | Kind::Double => json!({"type": "number"}),
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer"}),
            // Too large for JSON's numbers.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string"})
            }
            Kind::Message(message) if message.full_name() == "google.protobuf.Duration" => {
                json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"})
            }
            Kind::Message(message) => {
                self.message(&message, side);
                reference(message.name())
            }
            Kind::Enum(values) => {
                self.choice(&values);
                reference(values.name())
            }
        };
        if field.is_list() {
            json!({"type": "array", "items": of_one})
        } else {
            of_one
        }
    }

    /// An enum's values, but for the one that is never sent.
    fn choice(&mut self, choice: &EnumDescriptor) {
        let file = choice.parent_file();
        let sent = || choice.values().filter(|v| v.number() != 0);
        let explained = sent().map(|v| format!("{}: {}", v.name(), comment(&file, v.path())));
        let lines: Vec<String> = [comment(&file, choice.path())]
            .into_iter()
            .chain(explained)
            .collect();
        let names: Vec<_> = sent().map(|v| v.name().to_owned()).collect();
        let schema = json!({"type": "string", "enum": names, "description": lines.join("\n")});
        self.0.insert(choice.name().into(), schema);
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The comment on what stands at `path` of `file`.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let place = info.and_then(|info| info.location.iter().find(|l| l.path == path));
    let text = place.map_or("", |l| l.leading_comments());
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}
