//! DistilBERT (Sanh et al., arXiv:1910.01108): half of BERT's layers, no token types, no pooler.

use serde::Deserialize;
use serde_json::Value;

use super::architecture::{Architecture, HubHead};
use super::learned::LearnedPositions;
use super::ops::{Activation, Precision};
use super::plan::Numbering;
use super::post_norm::{LayerNames, LayerSizes, PostNormLayer};
use super::tensors::Tensors;
use super::{Dense, Encoder, Head, Pooling, fields};
use crate::package::{PackageError, Weights};

pub(super) const DISTILBERT: Architecture = Architecture {
    model_types: &["distilbert"],
    build,
    head,
};

/// The fields of `config.json` that change the result. Sinusoidal positions are stored like learned
/// ones, so that nothing need be known of them.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: usize,
    max_position_embeddings: usize,
    n_layers: usize,
    n_heads: usize,
    dim: usize,
    hidden_dim: usize,
    activation: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            max_position_embeddings: 512,
            n_layers: 6,
            n_heads: 12,
            dim: 768,
            hidden_dim: 3_072,
            activation: "gelu".into(),
        }
    }
}

/// Fixed in the architecture.
const EPS: f32 = 1e-12;

const LAYER: LayerNames = LayerNames {
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    attention_out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
};

const WORDS: &str = "embeddings.word_embeddings.weight";

fn build(
    config: &Value,
    weights: &Weights,
    precision: Precision,
) -> Result<Box<dyn Encoder>, PackageError> {
    let given = config;
    let config: Config = fields::parse(config, weights)?;
    fields::aliases(
        given,
        weights,
        &[
            ("hidden_size", "dim", config.dim.into()),
            ("num_attention_heads", "n_heads", config.n_heads.into()),
            ("num_hidden_layers", "n_layers", config.n_layers.into()),
        ],
    )?;
    fields::sizes(
        weights,
        &[
            ("vocab_size", config.vocab_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("n_layers", config.n_layers),
            ("n_heads", config.n_heads),
            ("dim", config.dim),
            ("hidden_dim", config.hidden_dim),
        ],
    )?;
    let h = config.dim;
    let tensors = Tensors::new(weights, "distilbert.", WORDS).multiplied_in(precision);
    let sizes = LayerSizes {
        hidden: h,
        intermediate: config.hidden_dim,
        eps: EPS,
    };
    Ok(Box::new(LearnedPositions {
        hidden: h,
        vocabulary: config.vocab_size,
        words: tensors.load(WORDS, &[config.vocab_size, h])?,
        places: tensors.load(
            "embeddings.position_embeddings.weight",
            &[config.max_position_embeddings, h],
        )?,
        numbering: Numbering::FromZero,
        norm: tensors.norm("embeddings.LayerNorm", h, EPS, true)?,
        attention: fields::attention(weights, "n_heads", h, config.n_heads, precision)?,
        activation: fields::activation(weights, "activation", &config.activation)?,
        layers: (0..config.n_layers)
            .map(|i| PostNormLayer::load(tensors, &format!("transformer.layer.{i}"), &LAYER, sizes))
            .collect::<Result<_, _>>()?,
    }))
}

/// `DistilBertForSequenceClassification`: dense and ReLU on the first token, then the classifier.
/// `DistilBertForTokenClassification`: the classifier alone.
fn head(config: &Value, weights: &Weights, wanted: HubHead) -> Result<Head, PackageError> {
    let h = fields::parse::<Config>(config, weights)?.dim;
    let tensors = Tensors::unprefixed(weights);
    let out = tensors.linear("classifier", h, wanted.labels, true)?;
    if wanted.every_token {
        return Ok(Head {
            pooling: Pooling::EveryToken,
            dense: None,
            out,
        });
    }
    Ok(Head {
        pooling: Pooling::First,
        dense: Some(Dense {
            linear: tensors.linear("pre_classifier", h, h, true)?,
            activation: Activation::Relu,
            norm: None,
        }),
        out,
    })
}
