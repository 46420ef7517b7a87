//! ModernBERT (Warner et al., arXiv:2412.13663) and mmBERT: rotary positions, attention that is local
//! in most layers, gated feed-forward, normalised before each part.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::architecture::{Architecture, HubHead};
use super::ops::{
    Activation, AttentionShape, LayerNorm, Linear, Precision, Rotary, Wanted, add, attention, gate,
};
use super::tensors::Tensors;
use super::{
    AttentionPlan, Dense, Encoder, Head, LayerPlan, Numbering, PackedBatch, Plan, Pooling,
    Positions, Residual, fields,
};
use crate::package::{PackageError, Weights};

pub(super) const MODERNBERT: Architecture = Architecture {
    model_types: &["modernbert"],
    build,
    head,
};

/// The fields of `config.json` that change the result.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_activation: String,
    max_position_embeddings: usize,
    norm_eps: f32,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    /// Tokens a local layer looks at: half of them on each side.
    local_attention: usize,
    /// Every how many layers one is global, where `layer_types` does not say.
    global_attn_every_n_layers: usize,
    layer_types: Option<Vec<LayerType>>,
    global_rope_theta: f64,
    local_rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<Value>,
    classifier_pooling: ClassifierPooling,
    classifier_bias: bool,
    classifier_activation: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LayerType {
    FullAttention,
    SlidingAttention,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClassifierPooling {
    Cls,
    Mean,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RopeParameters {
    full_attention: Rope,
    sliding_attention: Rope,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rope {
    rope_type: String,
    rope_theta: Option<f64>,
}

impl Default for Rope {
    fn default() -> Self {
        Self {
            rope_type: "default".into(),
            rope_theta: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 50_368,
            hidden_size: 768,
            intermediate_size: 1_152,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            hidden_activation: "gelu".into(),
            max_position_embeddings: 8_192,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            local_attention: 128,
            global_attn_every_n_layers: 3,
            layer_types: None,
            global_rope_theta: 160_000.0,
            local_rope_theta: None,
            rope_parameters: None,
            rope_scaling: None,
            classifier_pooling: ClassifierPooling::Cls,
            classifier_bias: false,
            classifier_activation: "gelu".into(),
        }
    }
}

/// A loaded trunk.
#[derive(Debug)]
struct ModernBert {
    hidden: usize,
    vocabulary: usize,
    positions: usize,
    /// `[vocabulary, hidden]`.
    words: Vec<f32>,
    embedding_norm: LayerNorm,
    activation: Activation,
    global: Attending,
    local: Attending,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
}

/// How far a layer looks, and how it tells positions apart.
#[derive(Debug)]
struct Attending {
    shape: AttentionShape,
    rotary: Rotary,
}

#[derive(Debug)]
struct Layer {
    global: bool,
    /// The first layer has none: its input is normalised already.
    attention_norm: Option<LayerNorm>,
    qkv: Linear,
    attention_out: Linear,
    norm: LayerNorm,
    up: Linear,
    gate: Linear,
    down: Linear,
}

/// Most positions that a table of rotations is made for.
const MAX_POSITIONS: usize = 1 << 16;

const WORDS: &str = "embeddings.tok_embeddings.weight";

fn build(
    config: &Value,
    weights: &Weights,
    precision: Precision,
) -> Result<Box<dyn Encoder>, PackageError> {
    let given = config;
    let config: Config = fields::parse(config, weights)?;
    config.check(weights)?;
    fields::aliases(
        given,
        weights,
        &[
            (
                "sliding_window",
                "local_attention / 2",
                (config.local_attention / 2).into(),
            ),
            (
                "head_dim",
                "hidden_size / num_attention_heads",
                (config.hidden_size / config.num_attention_heads).into(),
            ),
        ],
    )?;
    let (h, eps) = (config.hidden_size, config.norm_eps);
    let tensors = Tensors::new(weights, "model.", WORDS).multiplied_in(precision);
    let norm = |at: &str| tensors.norm(at, h, eps, config.norm_bias);
    let shape = fields::attention(
        weights,
        "num_attention_heads",
        h,
        config.num_attention_heads,
        precision,
    )?;
    if !shape.dim.is_multiple_of(2) {
        let problem = format!("gives heads of {} values; rotation needs pairs", shape.dim);
        return Err(weights.config_error("num_attention_heads", problem));
    }
    let (global_theta, local_theta) = config.thetas(weights)?;
    let attending = |window, theta| Attending {
        shape: AttentionShape { window, ..shape },
        rotary: Rotary::new(config.max_position_embeddings, shape.dim, theta),
    };
    let layers = config
        .layer_types(weights)?
        .into_iter()
        .enumerate()
        .map(|(i, layer_type)| {
            let name = |rest: &str| format!("layers.{i}.{rest}");
            let (up, gate) = config.gated(tensors, &name("mlp.Wi"))?;
            Ok(Layer {
                global: layer_type == LayerType::FullAttention,
                attention_norm: match i {
                    0 => None,
                    _ => Some(norm(&name("attn_norm"))?),
                },
                qkv: tensors.linear(&name("attn.Wqkv"), h, 3 * h, config.attention_bias)?,
                attention_out: tensors.linear(&name("attn.Wo"), h, h, config.attention_bias)?,
                norm: norm(&name("mlp_norm"))?,
                up,
                gate,
                down: tensors.linear(
                    &name("mlp.Wo"),
                    config.intermediate_size,
                    h,
                    config.mlp_bias,
                )?,
            })
        })
        .collect::<Result<_, PackageError>>()?;
    Ok(Box::new(ModernBert {
        hidden: h,
        vocabulary: config.vocab_size,
        positions: config.max_position_embeddings,
        words: tensors.load(WORDS, &[config.vocab_size, h])?,
        embedding_norm: norm("embeddings.norm")?,
        activation: fields::activation(weights, "hidden_activation", &config.hidden_activation)?,
        global: attending(None, global_theta),
        local: attending(Some(config.local_attention / 2), local_theta),
        layers,
        final_norm: norm("final_norm")?,
    }))
}

impl Config {
    fn check(&self, weights: &Weights) -> Result<(), PackageError> {
        fields::epsilon(weights, "norm_eps", self.norm_eps)?;
        if self.max_position_embeddings > MAX_POSITIONS {
            let problem = format!(
                "{} is out of range: 1 to {MAX_POSITIONS}",
                self.max_position_embeddings
            );
            return Err(weights.config_error("max_position_embeddings", problem));
        }
        if self.rope_scaling.is_some() {
            return Err(weights.config_error("rope_scaling", "is not supported; leave it out"));
        }
        fields::sizes(
            weights,
            &[
                ("hidden_size", self.hidden_size),
                ("num_hidden_layers", self.num_hidden_layers),
                ("num_attention_heads", self.num_attention_heads),
                ("intermediate_size", self.intermediate_size),
                ("vocab_size", self.vocab_size),
                ("max_position_embeddings", self.max_position_embeddings),
                ("local_attention", self.local_attention),
                (
                    "global_attn_every_n_layers",
                    self.global_attn_every_n_layers,
                ),
            ],
        )
    }

    /// The bases of the rotation in global and in local layers.
    fn thetas(&self, weights: &Weights) -> Result<(f64, f64), PackageError> {
        let (mut global, mut local) = (
            self.global_rope_theta,
            self.local_rope_theta.unwrap_or(10_000.0),
        );
        if let Some(parameters) = &self.rope_parameters {
            for (rope, theta) in [
                (&parameters.full_attention, &mut global),
                (&parameters.sliding_attention, &mut local),
            ] {
                if rope.rope_type != "default" {
                    let problem = format!(
                        "rope_type {:?} is not supported; \"default\" is",
                        rope.rope_type
                    );
                    return Err(weights.config_error("rope_parameters", problem));
                }
                *theta = rope.rope_theta.unwrap_or(*theta);
            }
        }
        if global > 1.0 && local > 1.0 {
            Ok((global, local))
        } else {
            let problem = format!("{global} and {local} must be above 1");
            Err(weights.config_error("rope_theta", problem))
        }
    }

    fn layer_types(&self, weights: &Weights) -> Result<Vec<LayerType>, PackageError> {
        let layers = self.num_hidden_layers;
        match &self.layer_types {
            Some(types) if types.len() == layers => Ok(types.clone()),
            Some(types) => {
                let problem = format!("has {} entries for {layers} layers", types.len());
                Err(weights.config_error("layer_types", problem))
            }
            None => Ok((0..layers)
                .map(|i| match i % self.global_attn_every_n_layers {
                    0 => LayerType::FullAttention,
                    _ => LayerType::SlidingAttention,
                })
                .collect()),
        }
    }

    /// The two halves of `Wi`: what is activated, and what gates it.
    fn gated(&self, tensors: Tensors<'_>, at: &str) -> Result<(Linear, Linear), PackageError> {
        let (h, n) = (self.hidden_size, self.intermediate_size);
        let weight = tensors.load(&format!("{at}.weight"), &[2 * n, h])?;
        let bias = if self.mlp_bias {
            tensors.load(&format!("{at}.bias"), &[2 * n])?
        } else {
            vec![0.0; 2 * n]
        };
        let half = |i: usize| {
            let rows = &weight[i * n * h..][..n * h];
            tensors.layer(rows, bias[i * n..][..n].to_vec(), h, n)
        };
        Ok((half(0), half(1)))
    }
}

impl Encoder for ModernBert {
    fn forward(&self, batch: &PackedBatch, x: &mut Vec<f32>) {
        let h = self.hidden;
        x.clear();
        x.reserve(batch.tokens() * h);
        for &id in batch.ids() {
            x.extend_from_slice(&self.words[id as usize * h..][..h]);
        }
        self.embedding_norm.forward(x);
        let (mut normed, mut qkv, mut context) = (Vec::new(), Vec::new(), Vec::new());
        let (mut y, mut up, mut side) = (Vec::new(), Vec::new(), Vec::new());
        for layer in &self.layers {
            let attending = if layer.global {
                &self.global
            } else {
                &self.local
            };
            let input = match &layer.attention_norm {
                Some(norm) => {
                    norm.forward_into(x, &mut normed);
                    &normed
                }
                None => &*x,
            };
            layer.qkv.forward(input, &mut qkv, Activation::None);
            attending
                .rotary
                .apply(&mut qkv, batch.lengths(), attending.shape);
            attention(
                &qkv,
                batch.lengths(),
                Wanted::Every,
                attending.shape,
                &mut context,
            );
            layer
                .attention_out
                .forward(&context, &mut y, Activation::None);
            add(x, &y);
            layer.norm.forward_into(x, &mut normed);
            layer.up.forward(&normed, &mut up, self.activation);
            layer.gate.forward(&normed, &mut side, Activation::None);
            gate(&mut up, &side);
            layer.down.forward(&up, &mut y, Activation::None);
            add(x, &y);
        }
        self.final_norm.forward(x);
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
        // Each layer's plan ends with the norm that gives the next one its input.
        let norms = self
            .layers
            .iter()
            .skip(1)
            .map(|l| l.attention_norm.as_ref());
        let norms = norms.chain([Some(&self.final_norm)]);
        let layers = self.layers.iter().zip(norms).map(|(layer, norm)| {
            let attending = match layer.global {
                true => &self.global,
                false => &self.local,
            };
            Some(LayerPlan {
                qkv: &layer.qkv,
                attention: AttentionPlan {
                    scale: attending.shape.scale,
                    window: attending.shape.window,
                    positions: Positions::Rotary {
                        cosines: attending.rotary.cosines(),
                        sines: attending.rotary.sines(),
                    },
                },
                attention_out: &layer.attention_out,
                attention_norm: &layer.norm,
                up: &layer.up,
                gate: Some(&layer.gate),
                activation: self.activation,
                down: &layer.down,
                norm: norm?,
            })
        });
        Some(Plan {
            hidden: self.hidden,
            heads: self.global.shape.heads,
            max_length: self.positions,
            words: (&self.words).into(),
            places: Cow::default(),
            numbering: Numbering::Same,
            norm: &self.embedding_norm,
            residual: Residual::Sum,
            layers: layers.collect::<Option<_>>()?,
        })
    }
}

/// `ModernBertForSequenceClassification` and `...ForTokenClassification`: dense, activation and
/// normalisation on what is pooled, or on each token, then the classifier.
fn head(config: &Value, weights: &Weights, wanted: HubHead) -> Result<Head, PackageError> {
    let config: Config = fields::parse(config, weights)?;
    let h = config.hidden_size;
    let tensors = Tensors::unprefixed(weights);
    Ok(Head {
        pooling: match (wanted.every_token, config.classifier_pooling) {
            (true, _) => Pooling::EveryToken,
            (false, ClassifierPooling::Cls) => Pooling::First,
            (false, ClassifierPooling::Mean) => Pooling::Mean,
        },
        dense: Some(Dense {
            linear: tensors.linear("head.dense", h, h, config.classifier_bias)?,
            activation: fields::activation(
                weights,
                "classifier_activation",
                &config.classifier_activation,
            )?,
            norm: Some(tensors.norm("head.norm", h, config.norm_eps, config.norm_bias)?),
        }),
        out: tensors.linear("classifier", h, wanted.labels, true)?,
    })
}
