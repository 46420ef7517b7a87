//! A model on the device: its weights, its kernels, and the list of launches that runs it.

use std::f32::consts::LOG2_E;
use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::bucket::Bucket;
use super::element::Element;
use super::error::CudaError;
use super::heads::Heads;
use super::image::{Image, Matrix, Norm, Offset, Uploaded};
use super::kernels::{
    ActivationArgs, Address, AttentionArgs, DisentangledArgs, EmbeddingArgs, Kernel, Kernels,
    PoolArgs, ResidualNormArgs, ScoresArgs, element_blocks, function_number, row_blocks,
    scoring_number,
};
use super::matmul::{Matmul, Product};
use super::workspace::{Sizes, Workspace};
use crate::encoder::ops::Activation;
use crate::encoder::{
    AttentionPlan, Head, LayerPlan, ModelPlan, Numbering, Pooling, Positions, Residual,
};
use crate::package;

/// Keys this far off are all of a sequence's.
const NO_WINDOW: i32 = 1 << 30;
/// Logits a row are filled up to a multiple of this, for aligned rows.
const LABELS_MULTIPLE: usize = 8;

/// A loaded model.
pub(super) struct Network {
    element: Element,
    hidden: usize,
    heads: Heads,
    residual: Residual,
    /// Which place each token gets.
    pub(super) numbering: Numbering,
    weights: Uploaded,
    /// Bytes of the weights.
    pub(super) bytes: usize,
    words: Offset,
    places: Option<Offset>,
    norm: Norm,
    layers: Vec<Layer>,
    /// The classifiers.
    pub(super) outputs: Vec<Classifier>,
    embedding: Kernel,
    residual_norm: Kernel,
    activation: Kernel,
    gated_activation: Kernel,
    pool: Kernel,
    scores: Kernel,
}

struct Layer {
    /// Its bias has the element type, for the product's epilogue.
    qkv: Matrix,
    attention: Attention,
    attention_out: Matrix,
    attention_norm: Norm,
    up: Matrix,
    gated: bool,
    activation: Activation,
    down: Matrix,
    norm: Norm,
}

struct Attention {
    kernel: Kernel,
    scale: f32,
    window: i32,
    positions: AttentionPositions,
}

enum AttentionPositions {
    Plain {
        rotation: Option<Offset>,
    },
    Disentangled {
        keys: Option<Offset>,
        queries: Option<Offset>,
        slots: Offset,
        reach: i32,
    },
}

/// A head on the device.
pub(super) struct Classifier {
    /// One row of scores a token; otherwise one a sequence.
    pub(super) every_token: bool,
    pub(super) labels: usize,
    mean: bool,
    dense: Option<(Matrix, Activation, Option<Norm>)>,
    out: Matrix,
    scoring: package::Activation,
}

impl Classifier {
    /// Rows of scores of a bucket.
    pub(super) fn rows(&self, bucket: Bucket) -> usize {
        if self.every_token {
            bucket.tokens
        } else {
            bucket.sequences
        }
    }
}

impl Network {
    /// Puts the weights of `plan` into device memory; `budget` is what they may take, in bytes.
    pub(super) fn load(
        plan: &ModelPlan<'_>,
        element: Element,
        device: (&Arc<CudaStream>, &Kernels),
        budget: usize,
    ) -> Result<Self, CudaError> {
        let (stream, kernels) = device;
        let trunk = &plan.trunk;
        let hidden = trunk.hidden;
        let heads = Heads::new(hidden, trunk.heads)?;
        let mut image = Image::new(element);
        let words = image.elements(&trunk.words)?;
        let places = match trunk.places.is_empty() {
            true => None,
            false => Some(image.elements(&trunk.places)?),
        };
        let norm = image.norm(trunk.norm);
        let layers = trunk
            .layers
            .iter()
            .map(|layer| Layer::new(layer, element, heads, kernels, &mut image))
            .collect::<Result<_, _>>()?;
        let outputs = plan
            .heads
            .iter()
            .map(|(head, activation)| Classifier::new(head, *activation, &mut image))
            .collect::<Result<_, _>>()?;
        let bytes = image.len();
        if bytes > budget {
            return Err(CudaError::Memory(format!(
                "its weights take {} MiB of device memory and {} MiB are left of the budget",
                bytes >> 20,
                budget >> 20
            )));
        }
        Ok(Self {
            element,
            hidden,
            heads,
            residual: trunk.residual,
            numbering: trunk.numbering,
            bytes,
            words,
            places,
            norm,
            layers,
            outputs,
            embedding: kernels.embedding(element, hidden)?,
            residual_norm: kernels.residual_norm(element, hidden)?,
            activation: kernels.activation(element, false)?,
            gated_activation: kernels.activation(element, true)?,
            pool: kernels.pool(element)?,
            scores: kernels.scores()?,
            weights: image.upload(stream)?,
        })
    }

    /// What the workspace must hold for this network.
    pub(super) fn sizes(&self) -> Sizes {
        let most = |size: fn(&Layer) -> usize| self.layers.iter().map(size).max().unwrap_or(0);
        let labels = self.outputs.iter().map(|c| c.out.outputs).max();
        Sizes {
            hidden: self.hidden,
            attention: self.heads.width(),
            up: most(|l| l.up.outputs),
            gated: most(|l| if l.gated { l.down.inputs } else { 0 }),
            logits: labels.unwrap_or(0),
            scores_a_token: self.labels(true),
            scores_a_sequence: self.labels(false),
        }
    }

    /// Labels of all heads that score tokens, or of all that score sequences.
    fn labels(&self, every_token: bool) -> usize {
        let chosen = self.outputs.iter().filter(|c| c.every_token == every_token);
        chosen.map(|c| c.labels).sum()
    }

    /// Enqueues the whole pass for a batch of the size `bucket` in a slot of the workspace; `after` is called
    /// with the name of each step once it is enqueued.
    ///
    /// # Safety
    ///
    /// `workspace` must have been made for at least [`Self::sizes`] and `bucket`, and live until the
    /// work is done.
    pub(super) unsafe fn enqueue(
        &self,
        (bucket, slot): (Bucket, usize),
        workspace: &Workspace,
        stream: &Arc<CudaStream>,
        matmul: &mut Matmul,
        after: After<'_>,
    ) -> Result<(), CudaError> {
        let mut pass = Pass {
            network: self,
            workspace,
            bucket,
            slot,
            stream,
            matmul,
            after,
        };
        // SAFETY: the workspace's regions have room for the bucket's rows, as the caller promises; the
        // weights belong to `self`.
        unsafe {
            let hidden = pass.trunk()?;
            pass.heads(hidden)?;
        }
        (pass.after)("heads")
    }
}

/// Told of every step of a pass, in order.
pub(super) type After<'a> = &'a mut dyn FnMut(&'static str) -> Result<(), CudaError>;

/// One pass being enqueued.
struct Pass<'p> {
    network: &'p Network,
    workspace: &'p Workspace,
    bucket: Bucket,
    slot: usize,
    stream: &'p Arc<CudaStream>,
    matmul: &'p mut Matmul,
    after: After<'p>,
}

/// Every method launches on regions of the workspace that [`Network::enqueue`]'s caller vouches for.
impl Pass<'_> {
    /// The trunk; returns where its output lies.
    unsafe fn trunk(&mut self) -> Result<Address, CudaError> {
        let (network, at) = (self.network, self.workspace.regions());
        let inputs = self.workspace.inputs(self.bucket, self.slot);
        let weights = &network.weights;
        // SAFETY: see the impl.
        unsafe {
            network.embedding.launch(
                self.stream,
                row_blocks(self.bucket.tokens),
                &EmbeddingArgs {
                    ids: inputs.ids,
                    positions: inputs.places,
                    words: weights.at(network.words),
                    places: weights.maybe(network.places),
                    weight: weights.at(network.norm.weight),
                    bias: weights.maybe(network.norm.bias),
                    out: at.stream,
                    rows: self.bucket.tokens as i32,
                    width: network.hidden as i32,
                    eps: network.norm.eps,
                },
            )?;
            (self.after)("embedding")?;
            let mut input = at.stream;
            for layer in &network.layers {
                self.product(&layer.qkv, Some(layer.qkv.bias), input, at.qkv)?;
                (self.after)("qkv")?;
                self.attend(&layer.attention, inputs.tiles)?;
                (self.after)("attention")?;
                // The context is used up by the product, and then the place of qkv is free.
                self.product(&layer.attention_out, None, at.context, at.qkv)?;
                (self.after)("attention out")?;
                input = self.add_and_normalise(&layer.attention_out, &layer.attention_norm)?;
                (self.after)("norm")?;
                self.product(&layer.up, None, input, at.up)?;
                (self.after)("up")?;
                let activated = self.activate(layer)?;
                (self.after)("activation")?;
                self.product(&layer.down, None, activated, at.qkv)?;
                (self.after)("down")?;
                input = self.add_and_normalise(&layer.down, &layer.norm)?;
                (self.after)("norm")?;
            }
            Ok(input)
        }
    }

    /// `y = x W^T`, for all rows of the bucket; the bias, in the element type, where it is given.
    unsafe fn product(
        &mut self,
        matrix: &Matrix,
        bias: Option<Offset>,
        x: Address,
        y: Address,
    ) -> Result<(), CudaError> {
        // SAFETY: see the impl.
        unsafe { self.product_of(self.bucket.tokens, matrix, bias, x, y, false) }
    }

    unsafe fn product_of(
        &mut self,
        rows: usize,
        matrix: &Matrix,
        bias: Option<Offset>,
        x: Address,
        y: Address,
        wide: bool,
    ) -> Result<(), CudaError> {
        let product = Product {
            element: self.network.element,
            rows,
            inputs: matrix.inputs,
            outputs: matrix.outputs,
            x,
            weight: self.network.weights.at(matrix.weight),
            bias: self.network.weights.maybe(bias),
            y,
            wide,
        };
        // SAFETY: see the impl.
        unsafe { self.matmul.enqueue(self.stream, &product) }
    }

    /// From `qkv` to `context`.
    unsafe fn attend(&self, attention: &Attention, tiles: Address) -> Result<(), CudaError> {
        let (network, at) = (self.network, self.workspace.regions());
        let weights = &network.weights;
        let heads = network.heads.count as i32;
        let grid = (network.heads.count as u32, self.bucket.tiles() as u32);
        // SAFETY: see the impl.
        unsafe {
            match attention.positions {
                AttentionPositions::Plain { rotation } => attention.kernel.launch(
                    self.stream,
                    grid,
                    &AttentionArgs {
                        qkv: at.qkv,
                        context: at.context,
                        tiles,
                        rotation: weights.maybe(rotation),
                        heads,
                        window: attention.window,
                        scale: attention.scale,
                    },
                ),
                AttentionPositions::Disentangled {
                    keys,
                    queries,
                    slots,
                    reach,
                } => attention.kernel.launch(
                    self.stream,
                    grid,
                    &DisentangledArgs {
                        qkv: at.qkv,
                        context: at.context,
                        tiles,
                        key_positions: weights.maybe(keys),
                        query_positions: weights.maybe(queries),
                        slots: weights.at(slots),
                        reach,
                        heads,
                        scale: attention.scale,
                    },
                ),
            }
        }
    }

    /// Adds what the product `of` left in the place of qkv, and its bias, to the residual stream, and
    /// normalises the sum; returns where the normalised rows lie.
    unsafe fn add_and_normalise(&self, of: &Matrix, norm: &Norm) -> Result<Address, CudaError> {
        let (network, at) = (self.network, self.workspace.regions());
        let weights = &network.weights;
        let (sum, out) = match network.residual {
            Residual::Normalised => (0, at.stream),
            Residual::Sum => (at.stream, at.normalised),
        };
        // SAFETY: see the impl; the kernel allows `out` and `sum` to be the residual.
        unsafe {
            network.residual_norm.launch(
                self.stream,
                row_blocks(self.bucket.tokens),
                &ResidualNormArgs {
                    x: at.qkv,
                    x_bias: weights.at(of.bias),
                    residual: at.stream,
                    sum,
                    weight: weights.at(norm.weight),
                    bias: weights.maybe(norm.bias),
                    out,
                    rows: self.bucket.tokens as i32,
                    width: network.hidden as i32,
                    eps: norm.eps,
                },
            )?;
        }
        Ok(out)
    }

    /// Bias, activation and gate of the feed-forward layer; returns where the result lies.
    unsafe fn activate(&self, layer: &Layer) -> Result<Address, CudaError> {
        let (network, at) = (self.network, self.workspace.regions());
        let (kernel, out) = match layer.gated {
            true => (&network.gated_activation, at.gated),
            false => (&network.activation, at.up),
        };
        let width = layer.down.inputs;
        // SAFETY: see the impl.
        unsafe {
            kernel.launch(
                self.stream,
                element_blocks(self.bucket.tokens, width),
                &ActivationArgs {
                    x: at.up,
                    bias: network.weights.at(layer.up.bias),
                    out,
                    rows: self.bucket.tokens as i32,
                    width: width as i32,
                    function: function_number(layer.activation),
                },
            )?;
        }
        Ok(out)
    }

    /// Every head on `hidden`, scores one head after the other into the outputs.
    unsafe fn heads(&mut self, hidden: Address) -> Result<(), CudaError> {
        let (network, at) = (self.network, self.workspace.regions());
        let inputs = self.workspace.inputs(self.bucket, self.slot);
        let weights = &network.weights;
        let mut scores = self.workspace.scores(self.slot);
        for head in &network.outputs {
            let rows = head.rows(self.bucket);
            let mut x = hidden;
            // SAFETY: see the impl.
            unsafe {
                if !head.every_token {
                    network.pool.launch(
                        self.stream,
                        (rows as u32, 1),
                        &PoolArgs {
                            x: hidden,
                            starts: inputs.starts,
                            out: at.pooled,
                            width: network.hidden as i32,
                            mean: i32::from(head.mean),
                        },
                    )?;
                    x = at.pooled;
                }
                if let Some((dense, activation, norm)) = &head.dense {
                    self.product_of(rows, dense, None, x, at.dense, false)?;
                    network.activation.launch(
                        self.stream,
                        element_blocks(rows, dense.outputs),
                        &ActivationArgs {
                            x: at.dense,
                            bias: weights.at(dense.bias),
                            out: at.dense,
                            rows: rows as i32,
                            width: dense.outputs as i32,
                            function: function_number(*activation),
                        },
                    )?;
                    if let Some(norm) = norm {
                        network.residual_norm.launch(
                            self.stream,
                            row_blocks(rows),
                            &ResidualNormArgs {
                                x: at.dense,
                                x_bias: 0,
                                residual: 0,
                                sum: 0,
                                weight: weights.at(norm.weight),
                                bias: weights.maybe(norm.bias),
                                out: at.dense,
                                rows: rows as i32,
                                width: dense.outputs as i32,
                                eps: norm.eps,
                            },
                        )?;
                    }
                    x = at.dense;
                }
                self.product_of(rows, &head.out, None, x, at.logits, true)?;
                network.scores.launch(
                    self.stream,
                    row_blocks(rows),
                    &ScoresArgs {
                        logits: at.logits,
                        bias: weights.at(head.out.bias),
                        out: scores,
                        rows: rows as i32,
                        labels: head.labels as i32,
                        stride: head.out.outputs as i32,
                        scoring: scoring_number(head.scoring),
                    },
                )?;
            }
            scores += (rows * head.labels * size_of::<f32>()) as u64;
        }
        Ok(())
    }
}

impl Layer {
    fn new(
        layer: &LayerPlan<'_>,
        element: Element,
        heads: Heads,
        kernels: &Kernels,
        image: &mut Image,
    ) -> Result<Self, CudaError> {
        let width = layer.down.inputs();
        if !width.is_multiple_of(8) {
            return Err(CudaError::Unsupported(format!(
                "intermediate_size is {width}; multiples of 8 are supported"
            )));
        }
        let mut up = vec![layer.up];
        up.extend(layer.gate);
        let hidden = layer.qkv.inputs();
        let qkv = Matrix {
            weight: image.elements(&heads.fill_rows(&layer.qkv.weight(), hidden))?,
            bias: image.elements(&heads.fill_columns(layer.qkv.bias(), 3))?,
            inputs: hidden,
            outputs: 3 * heads.width(),
        };
        let attention_out = Matrix {
            weight: image.elements(&heads.fill_columns(&layer.attention_out.weight(), 1))?,
            bias: image.floats(layer.attention_out.bias().iter().copied()),
            inputs: heads.width(),
            outputs: hidden,
        };
        Ok(Self {
            qkv,
            attention: Attention::new(&layer.attention, element, heads, kernels, image)?,
            attention_out,
            attention_norm: image.norm(layer.attention_norm),
            up: image.linear(&up, 1)?,
            gated: layer.gate.is_some(),
            activation: layer.activation,
            down: image.linear(&[layer.down], 1)?,
            norm: image.norm(layer.norm),
        })
    }
}

impl Attention {
    fn new(
        plan: &AttentionPlan<'_>,
        element: Element,
        heads: Heads,
        kernels: &Kernels,
        image: &mut Image,
    ) -> Result<Self, CudaError> {
        let (kernel, positions) = match &plan.positions {
            Positions::None => (
                kernels.attention(element, heads.filled, false)?,
                AttentionPositions::Plain { rotation: None },
            ),
            Positions::Rotary { cosines, sines } => {
                let pairs = heads.rotation(cosines, sines);
                let rotation = Some(image.floats_once(cosines, pairs));
                (
                    kernels.attention(element, heads.filled, true)?,
                    AttentionPositions::Plain { rotation },
                )
            }
            Positions::Disentangled {
                keys,
                queries,
                slots,
            } => {
                if plan.window.is_some() || slots.len() % 2 == 0 {
                    let problem = "disentangled attention with a window".into();
                    return Err(CudaError::Unsupported(problem));
                }
                let mut table = |rows: &Option<Vec<f32>>| {
                    let rows = rows.as_ref().map(|rows| heads.fill_columns(rows, 1));
                    rows.map(|rows| image.elements(&rows)).transpose()
                };
                let (keys, queries) = (table(keys)?, table(queries)?);
                (
                    kernels.disentangled(element, heads.filled)?,
                    AttentionPositions::Disentangled {
                        keys,
                        queries,
                        slots: image.integers(slots),
                        reach: slots.len().div_ceil(2) as i32,
                    },
                )
            }
        };
        Ok(Self {
            kernel,
            scale: plan.scale * LOG2_E,
            window: plan.window.map_or(NO_WINDOW, |w| {
                i32::try_from(w).map_or(NO_WINDOW, |w| w.min(NO_WINDOW))
            }),
            positions,
        })
    }
}

impl Classifier {
    fn new(
        head: &Head,
        activation: package::Activation,
        image: &mut Image,
    ) -> Result<Self, CudaError> {
        let dense = match &head.dense {
            None => None,
            Some(dense) => Some((
                image.linear(&[&dense.linear], 1)?,
                dense.activation,
                dense.norm.as_ref().map(|norm| image.norm(norm)),
            )),
        };
        Ok(Self {
            every_token: head.every_token(),
            labels: head.labels(),
            mean: head.pooling == Pooling::Mean,
            dense,
            out: image.linear(&[&head.out], LABELS_MULTIPLE)?,
            scoring: activation,
        })
    }
}
