//! A whole model: one trunk and the heads on it, built from a package.

use super::architecture::{self, HubHead};
use super::ops::{self, Precision, softmax_rows};
use super::tensors::Tensors;
use super::{Dense, Encoder, Head, ModelPlan, PackedBatch, Pooling};
use crate::package::{Activation, HeadSpec, HeadWeights, Package, PackageError, Task, Weights};

/// A trunk with its heads, ready to run.
#[derive(Debug)]
pub struct Model {
    encoder: Box<dyn Encoder>,
    heads: Vec<(Head, Activation)>,
    window: usize,
}

/// Why a batch could not be run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ModelError {
    /// A token id without an embedding.
    #[error("token id {id} is not below the vocabulary of {vocabulary}")]
    TokenId {
        /// The id.
        id: u32,
        /// Rows of the embedding.
        vocabulary: usize,
    },
    /// A sequence longer than the model has positions for.
    #[error("a sequence of {length} tokens; the model takes {max}")]
    Length {
        /// Its tokens.
        length: usize,
        /// The model's positions.
        max: usize,
    },
}

/// Scores of one head for one sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadOutput {
    /// `[rows, labels]`: one row, or one for every token (special ones included).
    pub scores: Vec<f32>,
    /// False when a logit was infinite or not a number: then no score means anything.
    pub finite: bool,
}

impl Model {
    /// Builds the network that `package` describes, with f32 products.
    pub fn build(package: &Package) -> Result<Self, PackageError> {
        Self::build_in(package, Precision::Float32)
    }

    /// As [`Self::build`], the trunk's linear layers in `precision`; what reads the trunk is f32.
    pub fn build_in(package: &Package, precision: Precision) -> Result<Self, PackageError> {
        let weights = &package.weights;
        let architecture = architecture::of(&package.config, weights)?;
        let encoder = (architecture.build)(&package.config, weights, precision)?;
        if package.manifest.max_length > encoder.max_length() {
            return Err(weights.config_error(
                "max_position_embeddings",
                format!(
                    "leaves {} positions, too few for windows of {}; guard.toml may ask for shorter \
                     ones (window.max_length)",
                    encoder.max_length(),
                    package.manifest.max_length
                ),
            ));
        }
        package
            .tokenizer
            .check_vocabulary(encoder.vocabulary())
            .map_err(|e| weights.config_error("vocab_size", e))?;
        let heads = package
            .manifest
            .heads
            .iter()
            .map(|spec| {
                let head = match &spec.weights {
                    HeadWeights::Hub => {
                        let wanted = HubHead {
                            labels: spec.labels.len(),
                            every_token: matches!(spec.task, Task::Token(_)),
                        };
                        (architecture.head)(&package.config, weights, wanted)?
                    }
                    HeadWeights::Named(name) => {
                        named_head(name, encoder.hidden_size(), weights, spec)?
                    }
                };
                Ok((head, spec.activation))
            })
            .collect::<Result<_, PackageError>>()?;
        Ok(Self {
            encoder,
            heads,
            window: package.manifest.max_length,
        })
    }

    /// Most tokens of the sequences that the package runs, special ones included.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// How many heads there are.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads.len()
    }

    /// Sizes and weights, for engines that run the model elsewhere; `None` where only the CPU can.
    #[must_use]
    pub fn plan(&self) -> Option<ModelPlan<'_>> {
        Some(ModelPlan {
            trunk: self.encoder.plan()?,
            heads: self.heads.iter().map(|(h, a)| (h, *a)).collect(),
        })
    }

    /// Logits of each wanted head over the whole batch, in the order of the heads:
    /// `[sequences, labels]` or `[tokens, labels]`.
    pub fn logits(
        &self,
        batch: &PackedBatch,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<Option<Vec<f32>>>, ModelError> {
        self.check(batch)?;
        let wanted: Vec<Option<&Head>> = self
            .heads
            .iter()
            .enumerate()
            .map(|(i, (head, _))| wanted(i).then_some(head))
            .collect();
        let mut hidden = Vec::new();
        let firsts = wanted
            .iter()
            .flatten()
            .all(|head| head.pooling == Pooling::First);
        if firsts {
            self.encoder.forward_first(batch, &mut hidden);
        } else {
            self.encoder.forward(batch, &mut hidden);
        }
        let logits = |head: &Head| {
            if firsts {
                head.classify(&hidden)
            } else {
                head.forward(batch, &hidden)
            }
        };
        Ok(wanted.into_iter().map(|head| head.map(logits)).collect())
    }

    /// Scores of each wanted head for each sequence: `[sequences][heads]`.
    pub fn scores(
        &self,
        batch: &PackedBatch,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<Vec<Option<HeadOutput>>>, ModelError> {
        let mut logits = self.logits(batch, wanted)?;
        for (values, (head, activation)) in logits.iter_mut().zip(&self.heads) {
            if let Some(values) = values {
                activate(values, head.labels(), *activation);
            }
        }
        Ok(batch
            .rows()
            .enumerate()
            .map(|(sequence, rows)| {
                let cut = |(values, (head, _)): (&Option<Vec<f32>>, &(Head, Activation))| {
                    let labels = head.labels();
                    values.as_ref().map(|values| {
                        let scores = if head.every_token() {
                            values[rows.start * labels..rows.end * labels].to_vec()
                        } else {
                            values[sequence * labels..][..labels].to_vec()
                        };
                        HeadOutput {
                            finite: scores.iter().all(|s| s.is_finite()),
                            scores,
                        }
                    })
                };
                logits.iter().zip(&self.heads).map(cut).collect()
            })
            .collect())
    }

    /// Whether the model can run `batch`.
    pub fn check(&self, batch: &PackedBatch) -> Result<(), ModelError> {
        let vocabulary = self.encoder.vocabulary();
        if let Some(&id) = batch.ids().iter().find(|&&id| id as usize >= vocabulary) {
            return Err(ModelError::TokenId { id, vocabulary });
        }
        let max = self.encoder.max_length();
        match batch.lengths().iter().find(|&&n| n > max) {
            Some(&length) => Err(ModelError::Length { length, max }),
            None => Ok(()),
        }
    }
}

/// Turns rows of logits into scores. A logit that is not finite leaves a score that is not.
fn activate(values: &mut [f32], labels: usize, activation: Activation) {
    for row in values.chunks_exact_mut(labels) {
        if row.iter().any(|v| !v.is_finite()) {
            row.fill(f32::NAN);
        }
    }
    match activation {
        Activation::Softmax => softmax_rows(values, labels),
        Activation::Sigmoid => values
            .iter_mut()
            .for_each(|v| *v = 1.0 / (1.0 + (-*v).exp())),
        Activation::Identity => values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0)),
    }
}

/// A head in the project's own layout: `heads.<name>.dense` (optional, then tanh) and
/// `heads.<name>.out`.
fn named_head(
    name: &str,
    hidden: usize,
    weights: &Weights,
    spec: &HeadSpec,
) -> Result<Head, PackageError> {
    let tensors = Tensors::unprefixed(weights);
    let at = |part: &str| format!("heads.{name}.{part}");
    let dense = if weights.has(&format!("{}.weight", at("dense"))) {
        Some(Dense {
            linear: tensors.linear(&at("dense"), hidden, hidden, true)?,
            activation: ops::Activation::Tanh,
            norm: None,
        })
    } else {
        None
    };
    Ok(Head {
        pooling: match spec.task {
            Task::Token(_) => Pooling::EveryToken,
            Task::Sequence => Pooling::First,
        },
        dense,
        out: tensors.linear(&at("out"), hidden, spec.labels.len(), true)?,
    })
}
