//! DeBERTa v2 and v3 (He et al., arXiv:2006.03654, arXiv:2111.09543) and mDeBERTa: BERT's layers with
//! disentangled attention over bucketed relative positions.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::architecture::{Architecture, HubHead};
use super::ops::{
    Activation, AttentionShape, LayerNorm, Linear, Precision, RelativeTerms, Slots, Wanted,
    attention, disentangled_attention,
};
use super::post_norm::{LayerNames, LayerSizes, PostNormLayer, Scratch};
use super::tensors::Tensors;
use super::{
    AttentionPlan, Dense, Encoder, Head, Numbering, PackedBatch, Plan, Pooling, Positions,
    Residual, fields,
};
use crate::package::{PackageError, Weights};

pub(super) const DEBERTA: Architecture = Architecture {
    model_types: &["deberta-v2"],
    build,
    head,
};

/// PIGuard: DeBERTa whose classifier looks at the first token without a pooler.
pub(super) const PIGUARD: Architecture = Architecture {
    model_types: &["piguard"],
    build,
    head: head_without_pooler,
};

/// The fields of `config.json` that change the result.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    embedding_size: Option<usize>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    attention_head_size: Option<usize>,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
    position_biased_input: bool,
    relative_attention: bool,
    max_relative_positions: i64,
    position_buckets: i64,
    pos_att_type: PosAttType,
    share_att_key: bool,
    norm_rel_ebd: String,
    conv_kernel_size: i64,
    pooler_hidden_act: String,
    pooler_hidden_size: Option<usize>,
}

/// `["p2c", "c2p"]` or `"p2c|c2p"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum PosAttType {
    List(Vec<String>),
    Joined(String),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 128_100,
            hidden_size: 1_536,
            embedding_size: None,
            num_hidden_layers: 24,
            num_attention_heads: 24,
            attention_head_size: None,
            intermediate_size: 6_144,
            hidden_act: "gelu".into(),
            max_position_embeddings: 512,
            type_vocab_size: 0,
            layer_norm_eps: 1e-7,
            position_biased_input: true,
            relative_attention: false,
            max_relative_positions: -1,
            position_buckets: -1,
            pos_att_type: PosAttType::List(Vec::new()),
            share_att_key: false,
            norm_rel_ebd: "none".into(),
            conv_kernel_size: 0,
            pooler_hidden_act: "gelu".into(),
            pooler_hidden_size: None,
        }
    }
}

/// A loaded trunk.
#[derive(Debug)]
struct Deberta {
    hidden: usize,
    vocabulary: usize,
    positions: usize,
    /// `[vocabulary, width]`, where `width` is the hidden size unless there is a projection.
    words: Vec<f32>,
    /// `[positions, width]` where there are absolute positions, `[1, width]` where there are only
    /// token types, or nothing.
    places: Vec<f32>,
    projection: Option<Linear>,
    norm: LayerNorm,
    attention: AttentionShape,
    activation: Activation,
    slots: Slots,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    inner: PostNormLayer,
    relative: RelativeTerms,
}

const LAYER: LayerNames = LayerNames {
    qkv: [
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
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
    let terms = config.check(weights)?;
    let h = config.hidden_size;
    let width = config.embedding_size.unwrap_or(h);
    let tensors = Tensors::new(weights, "deberta.", WORDS).multiplied_in(precision);
    let sizes = LayerSizes {
        hidden: h,
        intermediate: config.intermediate_size,
        eps: config.layer_norm_eps,
    };
    let mut shape = fields::attention(
        weights,
        "num_attention_heads",
        h,
        config.num_attention_heads,
        precision,
    )?;
    // Every term that is named counts, even where relative attention is off.
    let summands =
        1 + usize::from(terms.content_to_position) + usize::from(terms.position_to_content);
    shape.scale = 1.0 / ((shape.dim * summands) as f32).sqrt();

    let slots = config.slots();
    let embeddings = if config.relative_attention {
        config.relative_embeddings(tensors)?
    } else {
        Vec::new()
    };
    let layers = (0..config.num_hidden_layers)
        .map(|i| {
            let at = format!("encoder.layer.{i}");
            let relative = |wanted: bool, own: &str, shared: &str| match wanted {
                false => Ok(None),
                true => {
                    let name = if config.share_att_key { shared } else { own };
                    let name = format!("{at}.attention.self.{name}");
                    tensors.linear(&name, h, h, true).map(Some)
                }
            };
            let on = config.relative_attention;
            let keys = relative(on && terms.content_to_position, "pos_key_proj", "key_proj")?;
            let queries = relative(
                on && terms.position_to_content,
                "pos_query_proj",
                "query_proj",
            )?;
            Ok(Layer {
                inner: PostNormLayer::load(tensors, &at, &LAYER, sizes)?,
                relative: RelativeTerms::new(&embeddings, shape, keys.as_ref(), queries.as_ref()),
            })
        })
        .collect::<Result<_, PackageError>>()?;
    Ok(Box::new(Deberta {
        hidden: h,
        vocabulary: config.vocab_size,
        positions: config.max_position_embeddings,
        words: tensors.load(WORDS, &[config.vocab_size, width])?,
        places: config.places(tensors, width)?,
        projection: match width == h {
            true => None,
            false => Some(tensors.linear("embeddings.embed_proj", width, h, false)?),
        },
        norm: tensors.norm("embeddings.LayerNorm", h, config.layer_norm_eps, true)?,
        attention: shape,
        activation: fields::activation(weights, "hidden_act", &config.hidden_act)?,
        slots,
        layers,
    }))
}

/// The terms that `pos_att_type` names beside content to content.
#[derive(Debug, Clone, Copy)]
struct Terms {
    content_to_position: bool,
    position_to_content: bool,
}

impl Config {
    /// Refuses what would change the result and is not supported.
    fn check(&self, weights: &Weights) -> Result<Terms, PackageError> {
        fields::epsilon(weights, "layer_norm_eps", self.layer_norm_eps)?;
        fields::sizes(
            weights,
            &[
                ("hidden_size", self.hidden_size),
                ("embedding_size", self.embedding_size.unwrap_or(1)),
                ("num_hidden_layers", self.num_hidden_layers),
                ("num_attention_heads", self.num_attention_heads),
                ("intermediate_size", self.intermediate_size),
                ("vocab_size", self.vocab_size),
                ("max_position_embeddings", self.max_position_embeddings),
                ("max_relative_positions", self.farthest()),
                ("position_buckets", self.span()),
            ],
        )?;
        let buckets = usize::try_from(self.position_buckets).unwrap_or(0);
        if buckets == 1 || (buckets > 0 && self.farthest() <= buckets / 2 + 1) {
            let problem = format!(
                "{buckets} needs max_relative_positions above {}; it is {}",
                buckets / 2 + 1,
                self.farthest()
            );
            return Err(weights.config_error("position_buckets", problem));
        }
        let heads = self.num_attention_heads;
        if self
            .attention_head_size
            .is_some_and(|d| d * heads != self.hidden_size)
        {
            let problem = format!(
                "times {heads} heads is not hidden_size {}",
                self.hidden_size
            );
            return Err(weights.config_error("attention_head_size", problem));
        }
        if self.conv_kernel_size > 0 {
            let problem = "the convolution layer of DeBERTa v2 is not supported; models without it \
                           (every DeBERTa v3 and mDeBERTa) are";
            return Err(weights.config_error("conv_kernel_size", problem));
        }
        let norms = self.norm_rel_ebd.to_lowercase();
        if let Some(unknown) = norms
            .split('|')
            .map(str::trim)
            .find(|n| !["none", "layer_norm"].contains(n))
        {
            let problem = format!("{unknown:?} is not supported; layer_norm and none are");
            return Err(weights.config_error("norm_rel_ebd", problem));
        }
        let named: Vec<String> = match &self.pos_att_type {
            PosAttType::List(names) => names.clone(),
            PosAttType::Joined(names) => names
                .to_lowercase()
                .split('|')
                .map(|n| n.trim().to_owned())
                .filter(|n| !n.is_empty())
                .collect(),
        };
        if let Some(unknown) = named.iter().find(|n| !["c2p", "p2c"].contains(&n.as_str())) {
            let problem = format!("{unknown:?} is not supported; c2p and p2c are");
            return Err(weights.config_error("pos_att_type", problem));
        }
        let has = |name: &str| named.iter().any(|n| n == name);
        Ok(Terms {
            content_to_position: has("c2p"),
            position_to_content: has("p2c"),
        })
    }

    /// Distances beyond this one share the last slot.
    fn farthest(&self) -> usize {
        match usize::try_from(self.max_relative_positions) {
            Ok(0) | Err(_) => self.max_position_embeddings,
            Ok(most) => most,
        }
    }

    /// Slots on each side.
    fn span(&self) -> usize {
        match usize::try_from(self.position_buckets) {
            Ok(0) | Err(_) => self.farthest(),
            Ok(buckets) => buckets,
        }
    }

    fn slots(&self) -> Slots {
        let buckets = usize::try_from(self.position_buckets).unwrap_or(0);
        Slots::new(
            self.span(),
            buckets,
            self.farthest(),
            self.max_position_embeddings,
        )
    }

    /// The relative embeddings `[2 * span, hidden]`, normalised where the model says so, in the order
    /// of slots.
    fn relative_embeddings(&self, tensors: Tensors<'_>) -> Result<Vec<f32>, PackageError> {
        let h = self.hidden_size;
        let mut rows = tensors.load("encoder.rel_embeddings.weight", &[2 * self.span(), h])?;
        if self.norm_rel_ebd.to_lowercase().contains("layer_norm") {
            tensors
                .norm("encoder.LayerNorm", h, self.layer_norm_eps, true)?
                .forward(&mut rows);
        }
        Ok(Slots::in_order(&rows, h))
    }

    /// What is added to each word's embedding, by position.
    fn places(&self, tensors: Tensors<'_>, width: usize) -> Result<Vec<f32>, PackageError> {
        let mut places = if self.position_biased_input {
            let name = "embeddings.position_embeddings.weight";
            tensors.load(name, &[self.max_position_embeddings, width])?
        } else {
            Vec::new()
        };
        if self.type_vocab_size > 0 {
            let name = "embeddings.token_type_embeddings.weight";
            let types = tensors.load(name, &[self.type_vocab_size, width])?;
            if places.is_empty() {
                places = vec![0.0; width];
            }
            for row in places.chunks_exact_mut(width) {
                row.iter_mut()
                    .zip(&types[..width])
                    .for_each(|(p, t)| *p += t);
            }
        }
        Ok(places)
    }
}

impl Deberta {
    /// Embeddings `[tokens, hidden]` before the first layer.
    fn embed(&self, batch: &PackedBatch, x: &mut Vec<f32>) {
        let width = self.words.len() / self.vocabulary;
        x.clear();
        x.reserve(batch.tokens() * width);
        for rows in batch.rows() {
            for (position, &id) in batch.ids()[rows].iter().enumerate() {
                let word = &self.words[id as usize * width..][..width];
                if self.places.is_empty() {
                    x.extend_from_slice(word);
                } else {
                    let at = if self.places.len() == width {
                        0
                    } else {
                        position
                    };
                    let place = &self.places[at * width..][..width];
                    x.extend(word.iter().zip(place).map(|(w, p)| w + p));
                }
            }
        }
        if let Some(projection) = &self.projection {
            let mut projected = Vec::new();
            projection.forward(x, &mut projected, Activation::None);
            *x = projected;
        }
        self.norm.forward(x);
    }
}

impl Encoder for Deberta {
    fn forward(&self, batch: &PackedBatch, x: &mut Vec<f32>) {
        self.embed(batch, x);
        let mut scratch = Scratch::default();
        for layer in &self.layers {
            layer
                .inner
                .forward(x, self.activation, &mut scratch, |qkv, context, _| {
                    let (lengths, shape) = (batch.lengths(), self.attention);
                    if layer.relative.is_empty() {
                        attention(qkv, lengths, Wanted::Every, shape, context);
                    } else {
                        let terms = &layer.relative;
                        disentangled_attention(qkv, lengths, shape, &self.slots, terms, context);
                    }
                });
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
        // The projection of a sum is the sum of projections, so the tables can be projected at once.
        let projected = |table: &'_ [f32]| match &self.projection {
            None => None,
            Some(projection) => {
                let mut rows = Vec::new();
                projection.forward(table, &mut rows, Activation::None);
                Some(rows)
            }
        };
        let words = projected(&self.words).map_or((&self.words).into(), Cow::from);
        let places = projected(&self.places).map_or((&self.places).into(), Cow::from);
        let slots: Vec<u16> = self
            .slots
            .by_distance()
            .into_iter()
            .map(|slot| u16::try_from(slot).ok())
            .collect::<Option<_>>()?;
        let layer = |layer: &'_ Layer| AttentionPlan {
            scale: self.attention.scale,
            window: None,
            positions: match layer.relative.is_empty() {
                true => Positions::None,
                false => Positions::Disentangled {
                    keys: layer.relative.key_rows(),
                    queries: layer.relative.query_rows(),
                    slots: slots.clone(),
                },
            },
        };
        Some(Plan {
            hidden: self.hidden,
            heads: self.attention.heads,
            max_length: self.positions,
            numbering: match places.len() == self.hidden {
                true => Numbering::Same,
                false => Numbering::FromZero,
            },
            words,
            places,
            norm: &self.norm,
            residual: Residual::Normalised,
            layers: self
                .layers
                .iter()
                .map(|l| l.inner.plan(self.activation, layer(l)))
                .collect(),
        })
    }
}

/// `DebertaV2ForSequenceClassification`: pooler (dense and activation on the first token) and
/// classifier. `DebertaV2ForTokenClassification`: the classifier alone.
fn head(config: &Value, weights: &Weights, wanted: HubHead) -> Result<Head, PackageError> {
    let mut head = head_without_pooler(config, weights, wanted)?;
    if !wanted.every_token {
        let config: Config = fields::parse(config, weights)?;
        let h = config.hidden_size;
        if config.pooler_hidden_size.is_some_and(|size| size != h) {
            let problem = format!("must be hidden_size, {h}");
            return Err(weights.config_error("pooler_hidden_size", problem));
        }
        let activation = &config.pooler_hidden_act;
        head.dense = Some(Dense {
            linear: Tensors::unprefixed(weights).linear("pooler.dense", h, h, true)?,
            activation: fields::activation(weights, "pooler_hidden_act", activation)?,
            norm: None,
        });
    }
    Ok(head)
}

fn head_without_pooler(
    config: &Value,
    weights: &Weights,
    wanted: HubHead,
) -> Result<Head, PackageError> {
    let h = fields::parse::<Config>(config, weights)?.hidden_size;
    Ok(Head {
        pooling: if wanted.every_token {
            Pooling::EveryToken
        } else {
            Pooling::First
        },
        dense: None,
        out: Tensors::unprefixed(weights).linear("classifier", h, wanted.labels, true)?,
    })
}
