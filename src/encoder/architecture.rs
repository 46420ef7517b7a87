//! The table of architectures: from `config.json` to a network.

use serde_json::Value;

use super::ops::Precision;
use super::{Encoder, Head, bert, deberta, distilbert, modernbert, roberta};
use crate::package::{PackageError, Weights};

type Build = fn(&Value, &Weights, Precision) -> Result<Box<dyn Encoder>, PackageError>;

/// How one architecture is recognised and built.
pub(super) struct Architecture {
    /// Values of `model_type` in `config.json`.
    pub(super) model_types: &'static [&'static str],
    /// Builds the trunk, whose linear layers multiply in this precision.
    pub(super) build: Build,
    /// Builds the classifier that the hub's classes for this architecture put on the trunk.
    pub(super) head: fn(&Value, &Weights, HubHead) -> Result<Head, PackageError>,
}

/// What a hub class asks of its classifier.
#[derive(Debug, Clone, Copy)]
pub(super) struct HubHead {
    /// Outputs.
    pub(super) labels: usize,
    /// `*ForTokenClassification`; otherwise `*ForSequenceClassification`.
    pub(super) every_token: bool,
}

/// Every architecture there is. A new one is a file and a line here.
const ARCHITECTURES: &[Architecture] = &[
    bert::BERT,
    roberta::ROBERTA,
    distilbert::DISTILBERT,
    deberta::DEBERTA,
    deberta::PIGUARD,
    modernbert::MODERNBERT,
];

/// What is asked for now and then and is not served, with what to do instead.
const REFUSED: &[(&str, &str)] = &[
    (
        "deberta",
        "DeBERTa v1 attends in another way; deberta-v2 (which DeBERTa v3 is, too) is supported",
    ),
    (
        "openai_privacy_filter",
        "the privacy filter is a mixture of experts with its own tokenizer",
    ),
    ("gliner", "GLiNER scores spans against prompts of labels"),
    ("qwen2", "Qwen is a decoder; encoders are supported"),
    ("qwen3", "Qwen is a decoder; encoders are supported"),
    ("llama", "Llama is a decoder; encoders are supported"),
    ("gemma2", "Gemma is a decoder; encoders are supported"),
    ("gemma3_text", "Gemma is a decoder; encoders are supported"),
    ("mistral", "Mistral is a decoder; encoders are supported"),
];

/// The architecture of `config`, after what no architecture supports was refused.
pub(super) fn of(config: &Value, weights: &Weights) -> Result<&'static Architecture, PackageError> {
    let model_type = config["model_type"].as_str().unwrap_or("(missing)");
    let Some(found) = ARCHITECTURES
        .iter()
        .find(|a| a.model_types.contains(&model_type))
    else {
        let known: Vec<&str> = ARCHITECTURES
            .iter()
            .flat_map(|a| a.model_types)
            .copied()
            .collect();
        let why = match REFUSED.iter().find(|(name, _)| *name == model_type) {
            Some((_, why)) => format!("{model_type:?} is not supported: {why}"),
            None => format!("{model_type:?} is not supported"),
        };
        let problem = format!("{why}; served are {}", known.join(", "));
        return Err(weights.config_error("model_type", problem));
    };
    for field in ["is_decoder", "add_cross_attention", "is_encoder_decoder"] {
        if config[field] == Value::Bool(true) {
            return Err(weights.config_error(field, "is true; encoders alone are supported"));
        }
    }
    if !config["function_to_apply"].is_null() {
        let problem = "is not supported: problem_type says how logits become scores";
        return Err(weights.config_error("function_to_apply", problem));
    }
    for field in ["pruned_heads", "quantization_config"] {
        let empty = match &config[field] {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if !empty {
            return Err(weights.config_error(field, "is not supported; leave it out"));
        }
    }
    Ok(found)
}
