//! Every kernel against plain arithmetic: fresh inputs, ragged lengths, outputs that begin as NaN.

use half::{bf16, f16};

use super::machine::{device, gpu};
use super::reference::{self, Relative};
use super::{Numbers, relative_error};
use crate::encoder::Numbering;
use crate::encoder::PackedBatch;
use crate::encoder::ops::{Activation, LayerNorm};
use crate::engine::cuda::bucket::Bucket;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::element::Element;
use crate::engine::cuda::kernels::*;
use crate::engine::cuda::matmul::Product;
use crate::package::Activation as Scoring;
use cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr};

const ELEMENTS: [Element; 2] = [Element::F16, Element::Bf16];

/// How far rounding of the output may take it: both the kernel and the rounded reference are that far.
fn tolerance(element: Element) -> f64 {
    match element {
        Element::F16 => 1e-3,
        Element::Bf16 => 1e-2,
    }
}

/// `values` as the element type holds them.
fn rounded(element: Element, values: &[f32]) -> Vec<f32> {
    let bits = element.convert(values).unwrap();
    bits.into_iter().map(|b| value_of(element, b)).collect()
}

fn value_of(element: Element, bits: u16) -> f32 {
    match element {
        Element::F16 => f16::from_bits(bits).to_f32(),
        Element::Bf16 => bf16::from_bits(bits).to_f32(),
    }
}

/// A buffer on the device.
struct Held<T>(CudaSlice<T>);

impl<T: DeviceRepr> Held<T> {
    fn at(&self, device: &Device) -> Address {
        self.0.device_ptr(&device.stream).0
    }
}

fn elements(device: &Device, element: Element, values: &[f32]) -> Held<u16> {
    let bits = element.convert(values).unwrap();
    Held(device.stream.clone_htod(&bits).unwrap())
}

fn put<T: DeviceRepr>(device: &Device, values: &[T]) -> Held<T> {
    Held(device.stream.clone_htod(values).unwrap())
}

/// An output of `count` elements, all NaN.
fn poisoned(device: &Device, count: usize) -> Held<u16> {
    put(device, &vec![u16::MAX; count])
}

fn get(device: &Device, element: Element, held: &Held<u16>) -> Vec<f32> {
    let bits = device.stream.clone_dtoh(&held.0).unwrap();
    device.stream.synchronize().unwrap();
    bits.into_iter().map(|b| value_of(element, b)).collect()
}

fn launch<A: DeviceRepr>(device: &Device, kernel: &Kernel, grid: (u32, u32), args: &A) {
    // SAFETY: each test hands buffers of the sizes the kernel states, alive until it synchronises.
    unsafe { kernel.launch(&device.stream, grid, args) }.unwrap();
    device.stream.synchronize().unwrap();
}

fn norm(numbers: &mut Numbers, width: usize) -> LayerNorm {
    LayerNorm {
        weight: numbers.many(width, 1.0),
        bias: numbers.many(width, 0.5),
        eps: 1e-7,
    }
}

/// Sums go through the same arithmetic in every order; only the output is rounded.
#[track_caller]
fn check(what: &str, element: Element, got: &[f32], expected: &[f32]) {
    let error = relative_error(got, expected);
    println!("{what} {}: relative error {error:.1e}", element.name());
    assert!(error < tolerance(element), "{what} {element:?}: {error}");
}

#[test]
fn embedding_agrees() {
    let _gpu = gpu();
    let device = device();
    let mut numbers = Numbers::new(1);
    for element in ELEMENTS {
        for (width, with_places) in [
            (8, true),
            (384, true),
            (768, false),
            (1000, true),
            (2048, true),
        ] {
            let (rows, vocabulary, positions) = (37, 50, 20);
            let words = rounded(element, &numbers.many(vocabulary * width, 1.0));
            let places = rounded(element, &numbers.many(positions * width, 1.0));
            let norm = norm(&mut numbers, width);
            let ids: Vec<i32> = (0..rows)
                .map(|_| numbers.below(vocabulary) as i32)
                .collect();
            let at: Vec<i32> = (0..rows).map(|_| numbers.below(positions) as i32).collect();
            let mut expected = Vec::new();
            for (id, at) in ids.iter().zip(&at) {
                let word = &words[*id as usize * width..][..width];
                let place = &places[*at as usize * width..][..width];
                expected.extend(word.iter().zip(place).map(
                    |(w, p)| {
                        if with_places { w + p } else { *w }
                    },
                ));
            }
            norm.forward(&mut expected);

            let out = poisoned(&device, rows * width);
            let held = (
                put(&device, &ids),
                put(&device, &at),
                elements(&device, element, &words),
                elements(&device, element, &places),
                put(&device, &norm.weight),
                put(&device, &norm.bias),
            );
            let kernel = device.kernels.embedding(element, width).unwrap();
            let args = EmbeddingArgs {
                ids: held.0.at(&device),
                positions: held.1.at(&device),
                words: held.2.at(&device),
                places: if with_places { held.3.at(&device) } else { 0 },
                weight: held.4.at(&device),
                bias: held.5.at(&device),
                out: out.at(&device),
                rows: rows as i32,
                width: width as i32,
                eps: norm.eps,
            };
            launch(&device, &kernel, row_blocks(rows), &args);
            let got = get(&device, element, &out);
            check(&format!("embedding {width}"), element, &got, &expected);
        }
    }
}

#[test]
fn residual_and_norm_agree_also_in_place() {
    let _gpu = gpu();
    let device = device();
    let mut numbers = Numbers::new(2);
    for element in ELEMENTS {
        for (width, with_residual, keep_sum) in [
            (8, true, true),
            (384, true, false),
            (768, true, true),
            (1024, false, false),
            (1536, true, true),
        ] {
            let rows = 21;
            let x = rounded(element, &numbers.many(rows * width, 1.0));
            let residual = rounded(element, &numbers.many(rows * width, 1.0));
            let bias = numbers.many(width, 1.0);
            let norm = norm(&mut numbers, width);
            let sum: Vec<f32> = x
                .iter()
                .zip(&residual)
                .enumerate()
                .map(|(i, (x, r))| x + bias[i % width] + if with_residual { *r } else { 0.0 })
                .collect();
            let mut expected = sum.clone();
            norm.forward(&mut expected);

            // The residual's place takes the sum, or, without one, the result.
            let x = elements(&device, element, &x);
            let stream = elements(&device, element, &residual);
            let out = poisoned(&device, rows * width);
            let held = (
                put(&device, &bias),
                put(&device, &norm.weight),
                put(&device, &norm.bias),
            );
            let kernel = device.kernels.residual_norm(element, width).unwrap();
            let args = ResidualNormArgs {
                x: x.at(&device),
                x_bias: held.0.at(&device),
                residual: if with_residual { stream.at(&device) } else { 0 },
                sum: if keep_sum { stream.at(&device) } else { 0 },
                weight: held.1.at(&device),
                bias: held.2.at(&device),
                out: if keep_sum {
                    out.at(&device)
                } else {
                    stream.at(&device)
                },
                rows: rows as i32,
                width: width as i32,
                eps: norm.eps,
            };
            launch(&device, &kernel, row_blocks(rows), &args);
            let (out, stream) = (get(&device, element, &out), get(&device, element, &stream));
            if keep_sum {
                check(&format!("sum {width}"), element, &stream, &sum);
                check(&format!("norm {width}"), element, &out, &expected);
            } else {
                check(&format!("norm {width}"), element, &stream, &expected);
            }
        }
    }
}

#[test]
fn activations_agree_plain_and_gated() {
    let _gpu = gpu();
    let device = device();
    let mut numbers = Numbers::new(3);
    let functions = [
        Activation::None,
        Activation::GeluErf,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
    ];
    for element in ELEMENTS {
        for function in functions {
            for gated in [false, true] {
                let (rows, width) = (19, 40);
                let inputs = if gated { 2 * width } else { width };
                let x = rounded(element, &numbers.many(rows * inputs, 4.0));
                let bias = numbers.many(inputs, 1.0);
                let mut expected = Vec::new();
                for row in x.chunks_exact(inputs) {
                    let mut own = row[..width].to_vec();
                    function.apply(&mut own, &bias[..width]);
                    if gated {
                        let gates = row[width..].iter().zip(&bias[width..]);
                        own.iter_mut()
                            .zip(gates)
                            .for_each(|(o, (g, b))| *o *= g + b);
                    }
                    expected.extend(own);
                }
                let x = elements(&device, element, &x);
                let bias = put(&device, &bias);
                let out = poisoned(&device, rows * width);
                let kernel = device.kernels.activation(element, gated).unwrap();
                let args = ActivationArgs {
                    x: x.at(&device),
                    bias: bias.at(&device),
                    out: out.at(&device),
                    rows: rows as i32,
                    width: width as i32,
                    function: function_number(function),
                };
                launch(&device, &kernel, element_blocks(rows, width), &args);
                let got = get(&device, element, &out);
                check(&format!("{function:?} {gated}"), element, &got, &expected);
            }
        }
    }
}

/// What is no number going in is no number coming out, or an overflow could end as an ordinary score.
#[test]
fn activations_and_norms_keep_what_is_not_a_number() {
    let _gpu = gpu();
    let device = device();
    let functions = [
        Activation::None,
        Activation::GeluErf,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
    ];
    let x = elements(&device, Element::Bf16, &[f32::NAN; 16]);
    for function in functions {
        for gated in [false, true] {
            let out = put(&device, &[0u16; 8]);
            let args = ActivationArgs {
                x: x.at(&device),
                bias: 0,
                out: out.at(&device),
                rows: 1,
                width: 8,
                function: function_number(function),
            };
            let kernel = device.kernels.activation(Element::Bf16, gated).unwrap();
            launch(&device, &kernel, element_blocks(1, 8), &args);
            let got = get(&device, Element::Bf16, &out);
            assert!(got.iter().all(|v| v.is_nan()), "{function:?}: {got:?}");
        }
    }
    // The last row's variance is beyond f32.
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
        let mut row = [0.0; 8];
        row[3] = value;
        let x = elements(&device, Element::Bf16, &row);
        let ones = put(&device, &[1f32; 8]);
        let out = put(&device, &[0u16; 8]);
        let args = ResidualNormArgs {
            x: x.at(&device),
            x_bias: 0,
            residual: 0,
            sum: 0,
            weight: ones.at(&device),
            bias: ones.at(&device),
            out: out.at(&device),
            rows: 1,
            width: 8,
            eps: 1e-7,
        };
        let kernel = device.kernels.residual_norm(Element::Bf16, 8).unwrap();
        launch(&device, &kernel, row_blocks(1), &args);
        let got = get(&device, Element::Bf16, &out);
        assert!(got.iter().all(|v| v.is_nan()), "{value}: {got:?}");
    }
}

/// The work list of sequences of these lengths, as the engine writes it.
fn work_list(lengths: &[usize]) -> (Bucket, Vec<u32>) {
    let sequences: Vec<Vec<u32>> = lengths.iter().map(|&n| vec![1; n]).collect();
    let batch: PackedBatch = sequences.iter().map(Vec::as_slice).collect();
    let bucket = Bucket {
        tokens: batch.tokens().next_multiple_of(16),
        sequences: lengths.len() + 2,
    };
    let inputs = bucket.inputs();
    let mut words = vec![0; inputs.words()];
    inputs.write(&mut words, &batch, 0..lengths.len(), Numbering::FromZero);
    (bucket, words[inputs.tiles].to_vec())
}

/// Ragged lengths: alone, at the edges of tiles, and mixed.
fn ragged() -> Vec<Vec<usize>> {
    vec![vec![1], vec![63, 64, 65], vec![2, 31, 130, 1, 64, 7]]
}

/// One way to attend.
#[derive(Debug, Clone, Copy)]
struct Case<'c> {
    element: Element,
    dim: usize,
    heads: usize,
    lengths: &'c [usize],
    window: Option<usize>,
    rotary: bool,
    /// Span and reach of the slots' table.
    table: (usize, usize),
    /// Which terms disentangled attention has: of keys' positions, of queries'.
    terms: Option<(bool, bool)>,
}

impl Case<'_> {
    /// Runs the kernel and compares it.
    fn agrees(self, device: &Device, numbers: &mut Numbers) {
        let Self {
            element,
            dim,
            heads,
            lengths,
            window,
            rotary,
            ..
        } = self;
        let tokens: usize = lengths.iter().sum();
        let width = heads * dim;
        // Large enough that the softmax is far from even, small enough that bf16 can tell scores apart.
        let qkv = rounded(element, &numbers.many(tokens * 3 * width, 1.5));
        let longest = lengths.iter().copied().max().unwrap();
        let summands = if self.terms.is_some() { 3 } else { 1 };
        let scale = 1.0 / ((dim * summands) as f32).sqrt();
        let turns = reference::rotation(longest, dim, 10_000.0);
        let (span, farthest) = self.table;
        let mut table = |wanted: bool| {
            let rows = numbers.many(2 * span * width, 1.0);
            wanted.then(|| rounded(element, &rows))
        };
        let relative = self.terms.map(|(keys, queries)| Relative {
            keys: table(keys),
            queries: table(queries),
            slots: reference::slots(longest.max(2), span, farthest),
        });
        let expected = reference::attention(
            &qkv,
            lengths,
            heads,
            scale,
            window,
            rotary.then_some(&turns),
            relative.as_ref(),
        );

        let (bucket, tiles) = work_list(lengths);
        let grid = (heads as u32, bucket.tiles() as u32);
        let qkv = elements(device, element, &qkv);
        let tiles = put(device, &tiles);
        let out = poisoned(device, tokens * width);
        let log2_scale = scale * std::f32::consts::LOG2_E;
        match &relative {
            None => {
                let pairs = turns.0.iter().zip(&turns.1);
                let pairs: Vec<f32> = pairs.flat_map(|(c, s)| [*c, *s]).collect();
                let pairs = put(device, &pairs);
                let args = AttentionArgs {
                    qkv: qkv.at(device),
                    context: out.at(device),
                    tiles: tiles.at(device),
                    rotation: if rotary { pairs.at(device) } else { 0 },
                    heads: heads as i32,
                    window: window.map_or(1 << 30, |w| w as i32),
                    scale: log2_scale,
                };
                let kernel = device.kernels.attention(element, dim, rotary).unwrap();
                launch(device, &kernel, grid, &args);
            }
            Some(relative) => {
                let held = |rows: &Option<Vec<f32>>| {
                    let rows = rows.as_ref();
                    rows.map(|rows| elements(device, element, rows))
                };
                let (keys, queries) = (held(&relative.keys), held(&relative.queries));
                let slots = put(device, &relative.slots);
                let address = |held: &Option<Held<u16>>| held.as_ref().map_or(0, |h| h.at(device));
                let args = DisentangledArgs {
                    qkv: qkv.at(device),
                    context: out.at(device),
                    tiles: tiles.at(device),
                    key_positions: address(&keys),
                    query_positions: address(&queries),
                    slots: slots.at(device),
                    reach: relative.slots.len().div_ceil(2) as i32,
                    heads: heads as i32,
                    scale: log2_scale,
                };
                let kernel = device.kernels.disentangled(element, dim).unwrap();
                launch(device, &kernel, grid, &args);
            }
        }
        check(
            &format!("{self:?}"),
            element,
            &get(device, element, &out),
            &expected,
        );
    }
}

/// Every element type and these head dimensions at every ragged length, and the longest texts once.
fn agrees_at_ragged_lengths(cases: &[(usize, Option<(bool, bool)>)], seed: u64) {
    let device = device();
    let mut numbers = Numbers::new(seed);
    let plain = |element, dim, terms| Case {
        element,
        dim,
        heads: 2,
        lengths: &[],
        window: None,
        rotary: false,
        table: (16, 32),
        terms,
    };
    for element in ELEMENTS {
        for &(dim, terms) in cases {
            for lengths in &ragged() {
                let case = plain(element, dim, terms);
                Case { lengths, ..case }.agrees(&device, &mut numbers);
            }
        }
    }
    // The emulator takes a while for these.
    let (dim, terms) = cases[0];
    let longest = Case {
        heads: 1,
        lengths: &[511, 1, 512],
        table: (256, 512), // DeBERTa-v3's
        ..plain(Element::F16, dim, terms)
    };
    longest.agrees(&device, &mut numbers);
}

#[test]
fn attention_agrees_at_ragged_lengths() {
    let _gpu = gpu();
    agrees_at_ragged_lengths(&[(64, None), (32, None)], 4);
}

#[test]
fn disentangled_attention_agrees_at_ragged_lengths() {
    let _gpu = gpu();
    let (both, keys, queries) = ((true, true), (true, false), (false, true));
    let cases = [(64, both), (32, both), (64, keys), (32, queries)];
    agrees_at_ragged_lengths(&cases.map(|(dim, terms)| (dim, Some(terms))), 6);
}

#[test]
fn windowed_and_rotary_attention_agree() {
    let _gpu = gpu();
    let device = device();
    let mut numbers = Numbers::new(5);
    for element in ELEMENTS {
        for (dim, window) in [
            (32, Some(1)),
            (32, Some(3)),
            (64, Some(64)),
            (64, None),
            (32, Some(70)),
        ] {
            for lengths in [&[200, 1, 65][..], &[63, 129]] {
                let case = Case {
                    element,
                    dim,
                    heads: 2,
                    lengths,
                    window,
                    rotary: true,
                    table: (0, 0),
                    terms: None,
                };
                case.agrees(&device, &mut numbers);
            }
        }
    }
}

#[test]
fn pooling_agrees() {
    let _gpu = gpu();
    let device = device();
    let mut numbers = Numbers::new(7);
    for element in ELEMENTS {
        for mean in [false, true] {
            let (lengths, width) = ([3usize, 1, 9], 1032);
            let x = rounded(element, &numbers.many(13 * width, 1.0));
            // Two sequences more than the batch has.
            let starts = [0, 3, 4, 13, 13, 13];
            let mut expected = Vec::new();
            for (n, start) in lengths.iter().zip(starts) {
                let rows = if mean { *n } else { 1 };
                expected.extend((0..width).map(|c| {
                    let column = (0..rows).map(|r| x[(start as usize + r) * width + c]);
                    column.sum::<f32>() / rows as f32
                }));
            }
            expected.resize(5 * width, 0.0);
            let (x, starts) = (elements(&device, element, &x), put(&device, &starts));
            let out = poisoned(&device, 5 * width);
            let args = PoolArgs {
                x: x.at(&device),
                starts: starts.at(&device),
                out: out.at(&device),
                width: width as i32,
                mean: i32::from(mean),
            };
            launch(
                &device,
                &device.kernels.pool(element).unwrap(),
                (5, 1),
                &args,
            );
            check("pool", element, &get(&device, element, &out), &expected);
        }
    }
}

#[test]
fn scores_agree_and_a_broken_logit_breaks_its_row_alone() {
    let _gpu = gpu();
    let device = device();
    let mut numbers = Numbers::new(8);
    for (labels, activation) in [
        (1, Scoring::Sigmoid),
        (2, Scoring::Softmax),
        (33, Scoring::Softmax),
        (70, Scoring::Sigmoid),
        (3, Scoring::Identity),
    ] {
        let (rows, stride) = (9usize, labels + 3);
        let mut logits = numbers.many(rows * stride, 8.0);
        logits[4 * stride] = f32::INFINITY;
        logits[6 * stride + labels - 1] = f32::NAN;
        let bias = numbers.many(labels, 1.0);
        let held = (put(&device, &logits), put(&device, &bias));
        let out = put(&device, &vec![f32::NAN; rows * labels]);
        let args = ScoresArgs {
            logits: held.0.at(&device),
            bias: held.1.at(&device),
            out: out.at(&device),
            rows: rows as i32,
            labels: labels as i32,
            stride: stride as i32,
            scoring: scoring_number(activation),
        };
        let kernel = device.kernels.scores().unwrap();
        launch(&device, &kernel, row_blocks(rows), &args);
        let got = device.stream.clone_dtoh(&out.0).unwrap();
        device.stream.synchronize().unwrap();
        for (row, got) in got.chunks_exact(labels).enumerate() {
            if row == 4 || row == 6 {
                assert!(got.iter().all(|v| v.is_nan()));
                continue;
            }
            let row = logits[row * stride..][..labels].iter();
            let biased: Vec<f64> = row
                .zip(&bias)
                .map(|(l, b)| f64::from(*l) + f64::from(*b))
                .collect();
            let total: f64 = biased.iter().map(|l| l.exp()).sum();
            for (got, logit) in got.iter().zip(&biased) {
                let expected = match activation {
                    Scoring::Softmax => logit.exp() / total,
                    Scoring::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
                    Scoring::Identity => logit.clamp(0.0, 1.0),
                };
                let error = (f64::from(*got) - expected).abs();
                assert!(error < 1e-5, "{got} {expected}");
            }
        }
    }
}

#[test]
fn products_agree_with_and_without_bias_and_in_f32() {
    let _gpu = gpu();
    let mut device = device();
    device.matmul.set_most(256);
    let mut numbers = Numbers::new(9);
    for element in ELEMENTS {
        for (rows, inputs, outputs, biased, wide) in [
            (16, 64, 192, true, false),
            (48, 256, 64, false, false),
            (5, 384, 8, false, true),
            (200, 64, 24, false, true),
        ] {
            let x = rounded(element, &numbers.many(rows * inputs, 1.0));
            let weight = rounded(element, &numbers.many(outputs * inputs, 1.0));
            let bias = rounded(element, &numbers.many(outputs, 1.0));
            let expected = reference::linear(&x, &weight, if biased { &bias } else { &[] }, inputs);
            let held = (
                elements(&device, element, &x),
                elements(&device, element, &weight),
                elements(&device, element, &bias),
            );
            let out = put(&device, &vec![f32::NAN; rows * outputs]);
            let product = Product {
                element,
                rows,
                inputs,
                outputs,
                x: held.0.at(&device),
                weight: held.1.at(&device),
                bias: if biased { held.2.at(&device) } else { 0 },
                y: out.at(&device),
                wide,
            };
            let Device { stream, matmul, .. } = &mut device;
            // SAFETY: buffers of the stated sizes, alive until the end of this block.
            unsafe { matmul.enqueue(stream, &product) }.unwrap();
            stream.synchronize().unwrap();
            let words = stream.clone_dtoh(&out.0).unwrap();
            stream.synchronize().unwrap();
            let got: Vec<f32> = match wide {
                true => words,
                false => words[..rows * outputs / 2]
                    .iter()
                    .flat_map(|w| [w.to_bits() as u16, (w.to_bits() >> 16) as u16])
                    .map(|bits| value_of(element, bits))
                    .collect(),
            };
            check(
                &format!("product {rows}x{inputs}x{outputs}"),
                element,
                &got,
                &expected,
            );
        }
    }
}
