//! Checks of `config.json` that architectures share.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ops::{Activation, AttentionShape, Precision};
use crate::package::{PackageError, Weights};

/// The fields of an architecture; `T` gives every default that transformers has.
pub(super) fn parse<T: DeserializeOwned>(
    config: &Value,
    weights: &Weights,
) -> Result<T, PackageError> {
    // Hub files write null for "the default".
    let mut config = config.clone();
    if let Some(fields) = config.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    serde_path_to_error::deserialize(config)
        .map_err(|e| weights.config_error(&e.path().to_string(), e.inner()))
}

/// Fails if a size is zero or absurd.
pub(super) fn sizes(weights: &Weights, sizes: &[(&str, usize)]) -> Result<(), PackageError> {
    const MOST: usize = 1 << 22;
    match sizes.iter().find(|(_, size)| !(1..=MOST).contains(size)) {
        None => Ok(()),
        Some((field, size)) => {
            let problem = format!("{size} is out of range: 1 to {MOST}");
            Err(weights.config_error(field, problem))
        }
    }
}

/// Fails if `eps`, which is added to variances, is not a small positive number.
pub(super) fn epsilon(weights: &Weights, field: &str, eps: f32) -> Result<(), PackageError> {
    if eps > 0.0 && eps < 1.0 {
        Ok(())
    } else {
        let problem = format!("{eps} is out of range: above 0 and below 1");
        Err(weights.config_error(field, problem))
    }
}

/// `hidden` split over `heads`, scores scaled by `1 / sqrt(dim)`.
pub(super) fn attention(
    weights: &Weights,
    field: &str,
    hidden: usize,
    heads: usize,
    precision: Precision,
) -> Result<AttentionShape, PackageError> {
    if !hidden.is_multiple_of(heads) {
        let problem = format!("{heads} does not divide the hidden size {hidden}");
        return Err(weights.config_error(field, problem));
    }
    let dim = hidden / heads;
    Ok(AttentionShape {
        heads,
        dim,
        scale: 1.0 / (dim as f32).sqrt(),
        window: None,
        precision,
    })
}

/// The activation that `field` names.
pub(super) fn activation(
    weights: &Weights,
    field: &str,
    name: &str,
) -> Result<Activation, PackageError> {
    Activation::named(name).ok_or_else(|| {
        let problem = format!(
            "{name:?} is not supported; gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu, \
             swish, tanh and linear are"
        );
        weights.config_error(field, problem)
    })
}

/// Refuses fields that transformers takes for others (`alias` for `field`), where they say otherwise.
pub(super) fn aliases(
    config: &Value,
    weights: &Weights,
    aliases: &[(&str, &str, Value)],
) -> Result<(), PackageError> {
    for (alias, field, value) in aliases {
        if !config[*alias].is_null() && config[*alias] != *value {
            let problem = format!(
                "is {}, and {field} is {value}; leave it out",
                config[*alias]
            );
            return Err(weights.config_error(alias, problem));
        }
    }
    Ok(())
}
