//! RoBERTa (Liu et al., arXiv:1907.11692), XLM-RoBERTa (arXiv:1911.02116) and CamemBERT: BERT's
//! network with positions counted from behind the padding id, and a classifier of its own.

use serde_json::Value;

use super::architecture::{Architecture, HubHead};
use super::bert::Config;
use super::ops::{Activation, Precision};
use super::plan::Numbering;
use super::tensors::Tensors;
use super::{Dense, Encoder, Head, Pooling, fields};
use crate::package::{PackageError, Weights};

pub(super) const ROBERTA: Architecture = Architecture {
    model_types: &["roberta", "xlm-roberta", "camembert"],
    build,
    head,
};

/// The fields, with RoBERTa's default padding id.
fn parse(config: &Value, weights: &Weights) -> Result<Config, PackageError> {
    let mut parsed: Config = fields::parse(config, weights)?;
    if config["pad_token_id"].is_null() {
        parsed.pad_token_id = 1;
    }
    Ok(parsed)
}

fn build(
    config: &Value,
    weights: &Weights,
    precision: Precision,
) -> Result<Box<dyn Encoder>, PackageError> {
    let config = parse(config, weights)?;
    let numbering = Numbering::AfterPadding(config.pad_token_id);
    let trunk = config.trunk(weights, precision, "roberta.", numbering)?;
    if trunk.max_length() == 0 {
        let problem = "leaves no position behind pad_token_id";
        return Err(weights.config_error("max_position_embeddings", problem));
    }
    Ok(Box::new(trunk))
}

/// `RobertaForSequenceClassification`: dense, tanh and projection on the first token.
/// `RobertaForTokenClassification`: one linear layer.
fn head(config: &Value, weights: &Weights, wanted: HubHead) -> Result<Head, PackageError> {
    let h = parse(config, weights)?.hidden_size;
    let tensors = Tensors::unprefixed(weights);
    if wanted.every_token {
        return Ok(Head {
            pooling: Pooling::EveryToken,
            dense: None,
            out: tensors.linear("classifier", h, wanted.labels, true)?,
        });
    }
    Ok(Head {
        pooling: Pooling::First,
        dense: Some(Dense {
            linear: tensors.linear("classifier.dense", h, h, true)?,
            activation: Activation::Tanh,
            norm: None,
        }),
        out: tensors.linear("classifier.out_proj", h, wanted.labels, true)?,
    })
}
