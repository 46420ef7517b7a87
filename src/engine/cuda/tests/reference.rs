//! What the kernels and networks compute, in plain f32: no tile, no thread, no order but the obvious.

use crate::encoder::ops::{LayerNorm, Linear};
use crate::encoder::{Head, Numbering, PackedBatch, Plan, Pooling, Positions, Residual};

/// The terms of disentangled attention.
pub(super) struct Relative {
    /// `[slots, width]`.
    pub(super) keys: Option<Vec<f32>>,
    /// `[slots, width]`.
    pub(super) queries: Option<Vec<f32>>,
    /// Slot of each distance, ascending.
    pub(super) slots: Vec<u16>,
}

/// Cosines and sines, `[positions, dim / 2]` each.
pub(super) fn rotation(positions: usize, dim: usize, theta: f32) -> (Vec<f32>, Vec<f32>) {
    let angle = |p: usize, i: usize| p as f32 / theta.powf(2.0 * i as f32 / dim as f32);
    let angles = (0..positions).flat_map(|p| (0..dim / 2).map(move |i| (p, i)));
    angles
        .map(|(p, i)| (angle(p, i).cos(), angle(p, i).sin()))
        .unzip()
}

/// Slots of the distances of sequences of up to `longest` tokens: `2 * span` of them, one a distance
/// up to half the span and logarithmic up to `farthest`.
pub(super) fn slots(longest: usize, span: usize, farthest: usize) -> Vec<u16> {
    let (n, half) = (longest as i64, span as f64 / 2.0);
    (1 - n..n)
        .map(|distance| {
            let far = distance.unsigned_abs() as f64;
            let bucket = if far <= half {
                far
            } else {
                let log = (far / half).ln() / ((farthest as f64 - 1.0) / half).ln();
                half + (log * (half - 1.0)).ceil()
            };
            let bucket = bucket as i64 * distance.signum();
            (bucket + span as i64).clamp(0, 2 * span as i64 - 1) as u16
        })
        .collect()
}

/// `y = x W^T + b`; an empty bias is none.
pub(super) fn linear(x: &[f32], weight: &[f32], bias: &[f32], inputs: usize) -> Vec<f32> {
    x.chunks_exact(inputs)
        .flat_map(|row| {
            weight.chunks_exact(inputs).enumerate().map(|(n, weight)| {
                let sum: f32 = row.iter().zip(weight).map(|(a, b)| a * b).sum();
                sum + bias.get(n).copied().unwrap_or(0.0)
            })
        })
        .collect()
}

/// Context `[tokens, width]` of `qkv` (`[tokens, 3 * width]`).
pub(super) fn attention(
    qkv: &[f32],
    lengths: &[usize],
    heads: usize,
    scale: f32,
    window: Option<usize>,
    rotation: Option<&(Vec<f32>, Vec<f32>)>,
    relative: Option<&Relative>,
) -> Vec<f32> {
    let tokens: usize = lengths.iter().sum();
    let width = qkv.len() / tokens / 3;
    let dim = width / heads;
    let mut out = Vec::with_capacity(tokens * width);
    let mut start = 0;
    for &n in lengths {
        let mut context = vec![0.0; n * width];
        for head in 0..heads {
            let part = |i: usize, part: usize| {
                &qkv[(start + i) * 3 * width + part * width + head * dim..][..dim]
            };
            let turned = |i: usize, of: usize| {
                let x = part(i, of);
                let Some((cosines, sines)) = rotation else {
                    return x.to_vec();
                };
                let half = dim / 2;
                let at = |d: usize| i * half + d % half;
                (0..dim)
                    .map(|d| {
                        let other = if d < half { -x[d + half] } else { x[d - half] };
                        x[d] * cosines[at(d)] + other * sines[at(d)]
                    })
                    .collect()
            };
            let queries: Vec<Vec<f32>> = (0..n).map(|i| turned(i, 0)).collect();
            let keys: Vec<Vec<f32>> = (0..n).map(|i| turned(i, 1)).collect();
            let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            for i in 0..n {
                let mut weights: Vec<f32> = (0..n)
                    .map(|j| {
                        if window.is_some_and(|w| i.abs_diff(j) > w) {
                            return f32::NEG_INFINITY;
                        }
                        let mut score = dot(&queries[i], &keys[j]);
                        if let Some(terms) = relative {
                            let middle = terms.slots.len() / 2;
                            let slot = usize::from(terms.slots[middle + i - j]);
                            let row =
                                |rows: &[f32]| rows[slot * width + head * dim..][..dim].to_vec();
                            if let Some(rows) = &terms.keys {
                                score += dot(&queries[i], &row(rows));
                            }
                            if let Some(rows) = &terms.queries {
                                score += dot(&keys[j], &row(rows));
                            }
                        }
                        score * scale
                    })
                    .collect();
                let top = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                weights.iter_mut().for_each(|w| *w = (*w - top).exp());
                let total: f32 = weights.iter().sum();
                for (j, weight) in weights.iter().enumerate() {
                    let to = &mut context[i * width + head * dim..][..dim];
                    to.iter_mut()
                        .zip(part(j, 2))
                        .for_each(|(c, v)| *c += weight / total * v);
                }
            }
        }
        out.extend(context);
        start += n;
    }
    out
}

fn apply(layer: &Linear, x: &[f32]) -> Vec<f32> {
    linear(x, &layer.weight(), layer.bias(), layer.inputs())
}

fn normalised(norm: &LayerNorm, x: &[f32]) -> Vec<f32> {
    let mut x = x.to_vec();
    norm.forward(&mut x);
    x
}

fn sum(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The trunk that `plan` describes: hidden vectors `[tokens, hidden]`.
pub(super) fn trunk(plan: &Plan<'_>, batch: &PackedBatch) -> Vec<f32> {
    let h = plan.hidden;
    let mut embedded = Vec::new();
    for rows in batch.rows() {
        let ids = &batch.ids()[rows];
        for (id, place) in ids.iter().zip(plan.numbering.rows(ids)) {
            let word = plan.words[*id as usize * h..][..h].iter();
            match plan.places.is_empty() {
                true => embedded.extend(word),
                false => embedded.extend(
                    word.zip(&plan.places[place as usize * h..][..h])
                        .map(|(w, p)| w + p),
                ),
            }
        }
    }
    let mut stream = normalised(plan.norm, &embedded);
    let mut input = stream.clone();
    let longest = plan.max_length;
    for layer in &plan.layers {
        let (mut turns, mut terms) = (None, None);
        match &layer.attention.positions {
            Positions::None => {}
            Positions::Rotary { cosines, sines } => {
                turns = Some((cosines.to_vec(), sines.to_vec()));
            }
            Positions::Disentangled {
                keys,
                queries,
                slots,
            } => {
                assert_eq!(slots.len(), 2 * longest - 1);
                terms = Some(Relative {
                    keys: keys.clone(),
                    queries: queries.clone(),
                    slots: slots.clone(),
                });
            }
        }
        let context = attention(
            &apply(layer.qkv, &input),
            batch.lengths(),
            plan.heads,
            layer.attention.scale,
            layer.attention.window,
            turns.as_ref(),
            terms.as_ref(),
        );
        let mut step = |added: Vec<f32>, norm: &LayerNorm| {
            let total = sum(&stream, &added);
            let next = normalised(norm, &total);
            stream = match plan.residual {
                Residual::Normalised => next.clone(),
                Residual::Sum => total,
            };
            next
        };
        input = step(apply(layer.attention_out, &context), layer.attention_norm);
        let mut up = apply(layer.up, &input);
        layer
            .activation
            .apply(&mut up, &vec![0.0; layer.up.outputs()]);
        if let Some(gate) = layer.gate {
            let gate = apply(gate, &input);
            up.iter_mut().zip(&gate).for_each(|(u, g)| *u *= g);
        }
        input = step(apply(layer.down, &up), layer.norm);
    }
    input
}

/// As RoBERTa numbers places, written out.
#[test]
fn places_follow_padding() {
    let rows: Vec<u32> = Numbering::AfterPadding(1).rows(&[5, 1, 7, 7]).collect();
    assert_eq!(rows, [2, 1, 3, 4]);
}

/// Logits of a head on hidden vectors, as [`Model::logits`] gives them.
///
/// [`Model::logits`]: crate::encoder::Model::logits
pub(super) fn head(head: &Head, batch: &PackedBatch, hidden: &[f32]) -> Vec<f32> {
    let width = head.out.inputs();
    let mut x: Vec<f32> = match head.pooling {
        Pooling::EveryToken => hidden.to_vec(),
        Pooling::First => batch
            .rows()
            .flat_map(|rows| hidden[rows.start * width..][..width].to_vec())
            .collect(),
        Pooling::Mean => batch
            .rows()
            .flat_map(|rows| {
                let n = rows.len() as f32;
                let column =
                    move |c: usize| rows.clone().map(|r| hidden[r * width + c]).sum::<f32>() / n;
                (0..width).map(column).collect::<Vec<_>>()
            })
            .collect(),
    };
    if let Some(dense) = &head.dense {
        x = apply(&dense.linear, &x);
        dense.activation.apply(&mut x, &vec![0.0; width]);
        if let Some(norm) = &dense.norm {
            x = normalised(norm, &x);
        }
    }
    apply(&head.out, &x)
}
