//! BERT (Devlin et al., arXiv:1810.04805): learned positions, token types, post-norm layers.

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

pub(super) const BERT: Architecture = Architecture {
    model_types: &["bert"],
    build,
    head,
};

/// The fields of `config.json` that change the result; RoBERTa's are the same.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    vocab_size: usize,
    pub(super) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    hidden_act: String,
    layer_norm_eps: f32,
    position_embedding_type: String,
    pub(super) pad_token_id: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3_072,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-12,
            position_embedding_type: "absolute".into(),
            pad_token_id: 0,
        }
    }
}

/// Names of BERT's layers; RoBERTa and DeBERTa share the part after attention.
const LAYER: LayerNames = LayerNames {
    qkv: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ],
    attention_out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};

const WORDS: &str = "embeddings.word_embeddings.weight";

fn build(
    config: &Value,
    weights: &Weights,
    precision: Precision,
) -> Result<Box<dyn Encoder>, PackageError> {
    let config: Config = fields::parse(config, weights)?;
    let trunk = config.trunk(weights, precision, "bert.", Numbering::FromZero)?;
    Ok(Box::new(trunk))
}

impl Config {
    /// Reads the trunk; tensors may or may not carry `prefix`.
    pub(super) fn trunk(
        &self,
        weights: &Weights,
        precision: Precision,
        prefix: &'static str,
        numbering: Numbering,
    ) -> Result<LearnedPositions, PackageError> {
        self.check(weights)?;
        let h = self.hidden_size;
        let tensors = Tensors::new(weights, prefix, WORDS).multiplied_in(precision);
        let mut places = tensors.load(
            "embeddings.position_embeddings.weight",
            &[self.max_position_embeddings, h],
        )?;
        if self.type_vocab_size > 0 {
            let name = "embeddings.token_type_embeddings.weight";
            let types = tensors.load(name, &[self.type_vocab_size, h])?;
            for row in places.chunks_exact_mut(h) {
                row.iter_mut().zip(&types[..h]).for_each(|(p, t)| *p += t);
            }
        }
        let eps = self.layer_norm_eps;
        let sizes = LayerSizes {
            hidden: h,
            intermediate: self.intermediate_size,
            eps,
        };
        Ok(LearnedPositions {
            hidden: h,
            vocabulary: self.vocab_size,
            words: tensors.load(WORDS, &[self.vocab_size, h])?,
            places,
            numbering,
            norm: tensors.norm("embeddings.LayerNorm", h, eps, true)?,
            attention: fields::attention(
                weights,
                "num_attention_heads",
                h,
                self.num_attention_heads,
                precision,
            )?,
            activation: fields::activation(weights, "hidden_act", &self.hidden_act)?,
            layers: (0..self.num_hidden_layers)
                .map(|i| PostNormLayer::load(tensors, &format!("encoder.layer.{i}"), &LAYER, sizes))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Refuses what would change the result and is not supported.
    fn check(&self, weights: &Weights) -> Result<(), PackageError> {
        if self.position_embedding_type != "absolute" {
            let problem = format!(
                "{:?} is not supported; \"absolute\" is",
                self.position_embedding_type
            );
            return Err(weights.config_error("position_embedding_type", problem));
        }
        fields::epsilon(weights, "layer_norm_eps", self.layer_norm_eps)?;
        fields::sizes(
            weights,
            &[
                ("hidden_size", self.hidden_size),
                ("num_hidden_layers", self.num_hidden_layers),
                ("num_attention_heads", self.num_attention_heads),
                ("intermediate_size", self.intermediate_size),
                ("vocab_size", self.vocab_size),
                ("max_position_embeddings", self.max_position_embeddings),
            ],
        )
    }
}

/// `BertForSequenceClassification`: pooler (dense and tanh on the first token) and classifier.
/// `BertForTokenClassification`: the classifier alone.
fn head(config: &Value, weights: &Weights, wanted: HubHead) -> Result<Head, PackageError> {
    let config: Config = fields::parse(config, weights)?;
    let h = config.hidden_size;
    let head = Tensors::unprefixed(weights);
    let out = head.linear("classifier", h, wanted.labels, true)?;
    if wanted.every_token {
        return Ok(Head {
            pooling: Pooling::EveryToken,
            dense: None,
            out,
        });
    }
    let trunk = Tensors::new(weights, "bert.", WORDS);
    Ok(Head {
        pooling: Pooling::First,
        dense: Some(Dense {
            linear: trunk.linear("pooler.dense", h, h, true)?,
            activation: Activation::Tanh,
            norm: None,
        }),
        out,
    })
}
