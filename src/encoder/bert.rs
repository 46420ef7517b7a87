//! BERT (Devlin et al., arXiv:1810.04805): learned positions, post-norm layers, erf-GELU.

use serde::Deserialize;

use super::ops::{Activation, AttentionShape, LayerNorm, Linear, attention};
use super::{
    AttentionPlan, Encoder, Head, LayerPlan, Numbering, PackedBatch, Plan, Positions, Residual,
};
use crate::package::{PackageError, Weights};

/// The fields of `config.json` that change a BERT's result.
#[derive(Debug, Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "eps")]
    layer_norm_eps: f32,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
}

fn two() -> usize {
    2
}
fn gelu() -> String {
    "gelu".into()
}
fn eps() -> f32 {
    1e-12
}
fn absolute() -> String {
    "absolute".into()
}

/// A loaded BERT trunk.
#[derive(Debug)]
struct Bert {
    hidden: usize,
    positions: usize,
    vocabulary: usize,
    attention: AttentionShape,
    activation: Activation,
    words: Vec<f32>,
    /// Position embedding plus the embedding of token type 0, which every single text has.
    places: Vec<f32>,
    embedding_norm: LayerNorm,
    layers: Vec<Layer>,
    prefix: &'static str,
}

#[derive(Debug)]
struct Layer {
    qkv: Linear,
    attention_out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    norm: LayerNorm,
}

/// Builds the trunk; tensors may or may not carry the `bert.` prefix.
pub(super) fn build(
    config: &serde_json::Value,
    weights: &Weights,
) -> Result<Box<dyn Encoder>, PackageError> {
    let config: Config =
        serde_json::from_value(config.clone()).map_err(|e| weights.config_error("(bert)", e))?;
    let activation = config.check(weights)?;
    let prefix = if weights.has("bert.embeddings.word_embeddings.weight") {
        "bert."
    } else {
        ""
    };
    let h = config.hidden_size;
    let name = |rest: &str| format!("{prefix}{rest}");
    let norm = |at: &str| -> Result<LayerNorm, PackageError> {
        Ok(LayerNorm {
            weight: weights.load(&name(&format!("{at}.weight")), &[h])?,
            bias: weights.load(&name(&format!("{at}.bias")), &[h])?,
            eps: config.layer_norm_eps,
        })
    };
    let linear = |at: &str, inputs: usize, outputs: usize| -> Result<Linear, PackageError> {
        let weight = weights.load(&name(&format!("{at}.weight")), &[outputs, inputs])?;
        let bias = weights.load(&name(&format!("{at}.bias")), &[outputs])?;
        Ok(Linear::new(&weight, bias, inputs, outputs))
    };

    let mut places = weights.load(
        &name("embeddings.position_embeddings.weight"),
        &[config.max_position_embeddings, h],
    )?;
    if config.type_vocab_size > 0 {
        let types = weights.load(
            &name("embeddings.token_type_embeddings.weight"),
            &[config.type_vocab_size, h],
        )?;
        for row in places.chunks_exact_mut(h) {
            row.iter_mut().zip(&types[..h]).for_each(|(p, t)| *p += t);
        }
    }

    let mut layers = Vec::new();
    for i in 0..config.num_hidden_layers {
        let at = |rest: &str| format!("encoder.layer.{i}.{rest}");
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for part in ["query", "key", "value"] {
            let part = at(&format!("attention.self.{part}"));
            weight.extend(weights.load(&name(&format!("{part}.weight")), &[h, h])?);
            bias.extend(weights.load(&name(&format!("{part}.bias")), &[h])?);
        }
        layers.push(Layer {
            qkv: Linear::new(&weight, bias, h, 3 * h),
            attention_out: linear(&at("attention.output.dense"), h, h)?,
            attention_norm: norm(&at("attention.output.LayerNorm"))?,
            up: linear(&at("intermediate.dense"), h, config.intermediate_size)?,
            down: linear(&at("output.dense"), config.intermediate_size, h)?,
            norm: norm(&at("output.LayerNorm"))?,
        });
    }
    let dim = h / config.num_attention_heads;
    Ok(Box::new(Bert {
        hidden: h,
        positions: config.max_position_embeddings,
        vocabulary: config.vocab_size,
        attention: AttentionShape {
            heads: config.num_attention_heads,
            dim,
            scale: 1.0 / (dim as f32).sqrt(),
        },
        activation,
        words: weights.load(
            &name("embeddings.word_embeddings.weight"),
            &[config.vocab_size, h],
        )?,
        places,
        embedding_norm: norm("embeddings.LayerNorm")?,
        layers,
        prefix,
    }))
}

impl Config {
    /// Refuses what would change the result and is not supported.
    fn check(&self, weights: &Weights) -> Result<Activation, PackageError> {
        if self.position_embedding_type != "absolute" {
            return Err(weights.config_error(
                "position_embedding_type",
                format!(
                    "{:?} is not supported; \"absolute\" is",
                    self.position_embedding_type
                ),
            ));
        }
        if self.is_decoder || self.add_cross_attention {
            return Err(weights.config_error("is_decoder", "only encoders are supported"));
        }
        for (field, value) in [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if value == 0 || value > 1 << 22 {
                return Err(weights.config_error(field, format!("{value} is out of range")));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(weights.config_error(
                "num_attention_heads",
                format!(
                    "{} does not divide hidden_size {}",
                    self.num_attention_heads, self.hidden_size
                ),
            ));
        }
        Activation::named(&self.hidden_act).ok_or_else(|| {
            weights.config_error(
                "hidden_act",
                format!(
                    "{:?} is not supported; gelu, gelu_new, relu, silu and tanh are",
                    self.hidden_act
                ),
            )
        })
    }
}

impl Encoder for Bert {
    fn forward(&self, batch: &PackedBatch, x: &mut Vec<f32>) {
        let h = self.hidden;
        x.clear();
        x.reserve(batch.tokens() * h);
        for rows in batch.rows() {
            for (position, &id) in batch.ids()[rows].iter().enumerate() {
                let word = &self.words[id as usize * h..][..h];
                let place = &self.places[position * h..][..h];
                x.extend(word.iter().zip(place).map(|(w, p)| w + p));
            }
        }
        self.embedding_norm.forward(x);

        let (mut qkv, mut context, mut y, mut up) = Default::default();
        for layer in &self.layers {
            layer.qkv.forward(x, &mut qkv, Activation::None);
            attention(&qkv, batch.lengths(), self.attention, &mut context);
            layer
                .attention_out
                .forward(&context, &mut y, Activation::None);
            layer.attention_norm.forward_residual(&mut y, x);
            layer.up.forward(&y, &mut up, self.activation);
            layer.down.forward(&up, x, Activation::None);
            layer.norm.forward_residual(x, &y);
        }
    }

    fn hidden_size(&self) -> usize {
        self.hidden
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn max_length(&self) -> usize {
        self.positions
    }

    fn plan(&self) -> Option<Plan<'_>> {
        Some(Plan {
            hidden: self.hidden,
            heads: self.attention.heads,
            max_length: self.positions,
            words: &self.words,
            places: &self.places,
            numbering: Numbering::FromZero,
            norm: &self.embedding_norm,
            residual: Residual::Normalised,
            layers: self
                .layers
                .iter()
                .map(|layer| LayerPlan {
                    qkv: &layer.qkv,
                    attention: AttentionPlan {
                        scale: self.attention.scale,
                        window: None,
                        positions: Positions::None,
                    },
                    attention_out: &layer.attention_out,
                    attention_norm: &layer.attention_norm,
                    up: &layer.up,
                    gate: None,
                    activation: self.activation,
                    down: &layer.down,
                    norm: &layer.norm,
                })
                .collect(),
        })
    }

    fn hub_head(
        &self,
        weights: &Weights,
        labels: usize,
        every_token: bool,
    ) -> Result<Head, PackageError> {
        let h = self.hidden;
        let dense = if every_token {
            None
        } else {
            let at = format!("{}pooler.dense", self.prefix);
            let weight = weights.load(&format!("{at}.weight"), &[h, h])?;
            let bias = weights.load(&format!("{at}.bias"), &[h])?;
            Some((Linear::new(&weight, bias, h, h), Activation::Tanh))
        };
        let weight = weights.load("classifier.weight", &[labels, h])?;
        let bias = weights.load("classifier.bias", &[labels])?;
        Ok(Head {
            dense,
            out: Linear::new(&weight, bias, h, labels),
            every_token,
        })
    }
}
