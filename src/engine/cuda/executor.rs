//! The engine: models, their graphs, and running a batch.

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{CUevent_flags, CUgraphInstantiate_flags, CUstreamCaptureMode};

use super::bucket::Bucket;
use super::device::{Device, Unusable};
use super::element::Element;
use super::error::CudaError;
use super::kernels::{EmbeddingArgs, row_blocks};
use super::network::Network;
use super::staging::Staging;
use super::workspace::{Sizes, Workspace};
use crate::encoder::{HeadOutput, Model, PackedBatch};
use crate::engine::{Engine, EngineError, HeadSet, ModelId, SequenceScores};

/// Of the memory that is free at start, what the engine takes where no budget is set.
const SHARE_OF_FREE: f64 = 0.9;
/// Batches shrink to no fewer tokens than this: the usual window.
const LEAST_TOKENS: usize = 512;
/// Parts of a batch in flight: one that runs and one that is being written.
const IN_FLIGHT: usize = 2;

/// Bounds of a CUDA engine.
#[derive(Debug, Clone, Copy)]
pub struct CudaSettings {
    /// Which GPU.
    pub ordinal: usize,
    /// Device memory for weights and workspace, in bytes; `None`: nine tenths of what is free.
    pub memory: Option<usize>,
    /// Tokens of the largest batch run at once; longer ones are cut. Shrinks where memory is short.
    pub max_tokens: usize,
}

/// Runs models on one GPU.
pub struct CudaEngine {
    device: Device,
    /// Bytes for weights and workspace.
    budget: usize,
    buckets: Vec<Bucket>,
    workspace: Option<Workspace>,
    staging: Vec<Staging>,
    models: Vec<Loaded>,
    /// Why the device cannot be used any more.
    lost: Option<String>,
}

struct Loaded {
    model: Arc<Model>,
    element: Element,
    network: Network,
    /// One a bucket.
    graphs: Vec<Graph>,
}

/// A captured graph.
struct Graph(CudaGraph);

// SAFETY: a graph may be used by any one thread at a time; the engine owns it and is used by one.
unsafe impl Send for Graph {}

impl CudaEngine {
    /// Opens a GPU.
    pub fn new(settings: CudaSettings) -> Result<Self, EngineError> {
        let unusable = |e: Unusable| EngineError::Start(e.to_string());
        let device = Device::open(settings.ordinal).map_err(unusable)?;
        let (free, _) = device.context.mem_get_info().map_err(CudaError::from)?;
        let budget = settings
            .memory
            .unwrap_or((free as f64 * SHARE_OF_FREE) as usize);
        Ok(Self {
            device,
            budget,
            buckets: Bucket::all(settings.max_tokens),
            workspace: None,
            staging: Vec::new(),
            models: Vec::new(),
            lost: None,
        })
    }

    /// Device time of each of `passes` passes over `batch`, in seconds, by device events: graph replays
    /// alone, without copies. The batch must fit one graph.
    pub fn pass_seconds(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        passes: usize,
    ) -> Result<Vec<f64>, EngineError> {
        let all = (0..32).fold(HeadSet::EMPTY, |set, head| set.union(HeadSet::one(head)));
        // The inputs of this run stay on the device.
        self.run(model, batch, all)?;
        let (tokens, sequences) = (batch.tokens(), batch.lengths().len());
        let graph = self.models.get(model.0).and_then(|loaded| {
            let mut sizes = self.buckets.iter().zip(&loaded.graphs);
            sizes.find(|(bucket, _)| bucket.holds(tokens, sequences))
        });
        let Some((_, graph)) = graph else {
            return Err(EngineError::Batch("more than one graph holds".into()));
        };
        let replay = || -> Result<f64, CudaError> {
            let event = || {
                let flags = CUevent_flags::CU_EVENT_DEFAULT;
                self.device.stream.record_event(Some(flags))
            };
            let begin = event()?;
            graph.0.launch()?;
            let end = event()?;
            Ok(f64::from(begin.elapsed_ms(&end)?) / 1e3)
        };
        let times: Result<Vec<f64>, CudaError> = (0..passes).map(|_| replay()).collect();
        times.map_err(|e| self.note(e))
    }

    /// Makes the device fail as a broken kernel would: what is in flight is lost, and so is the
    /// context. For tests of what follows.
    #[doc(hidden)]
    pub fn poison(&mut self) -> Result<(), EngineError> {
        let kernel = self.device.kernels.embedding(Element::F16, 8)?;
        let args = EmbeddingArgs {
            ids: 0,
            positions: 0,
            words: 0,
            places: 0,
            weight: 0,
            bias: 0,
            out: 0,
            rows: 1,
            width: 8,
            eps: 0.0,
        };
        // SAFETY: none of the addresses exists, so the kernel faults before it writes anything: that is
        // what is asked for. No memory of this process is touched.
        unsafe { kernel.launch(&self.device.stream, row_blocks(1), &args) }?;
        Ok(())
    }

    /// Loads `model` in `element`, and makes room and graphs for it.
    fn place(&mut self, model: Arc<Model>, element: Element) -> Result<Loaded, CudaError> {
        let plan = model.plan().ok_or_else(|| {
            CudaError::Unsupported("this architecture runs on the CPU alone".into())
        })?;
        let used: usize = self.models.iter().map(|m| m.network.bytes).sum();
        let device = (&self.device.stream, &self.device.kernels);
        let left = self.budget.saturating_sub(used);
        let network = Network::load(&plan, element, device, left)?;
        let left = left.saturating_sub(network.bytes);
        self.make_room(network.sizes(), plan.trunk.max_length, left)?;
        let graphs = self.capture(&network)?;
        Ok(Loaded {
            model,
            element,
            network,
            graphs,
        })
    }

    /// Makes the workspace large enough for `sizes` within `left` bytes. Where memory is short, the
    /// largest batch shrinks. Other models' graphs are made anew
    /// when the workspace moves.
    fn make_room(&mut self, sizes: Sizes, longest: usize, left: usize) -> Result<(), CudaError> {
        let least = longest.min(LEAST_TOKENS);
        let mut wanted = sizes;
        if let Some(workspace) = &self.workspace {
            wanted = workspace.sizes.union(sizes);
            if wanted == workspace.sizes {
                return Ok(());
            }
        }
        for loaded in &mut self.models {
            loaded.graphs.clear();
        }
        self.workspace = None;
        self.staging.clear();
        loop {
            let Some(&largest) = self.buckets.last() else {
                return Err(CudaError::Unsupported("no size of batch".into()));
            };
            let bytes = Workspace::bytes(wanted, largest);
            let made = if bytes > left {
                Err(CudaError::Memory(format!(
                    "batches of {} tokens need {} MiB of device memory and {} MiB are left of the \
                     budget",
                    largest.tokens,
                    bytes >> 20,
                    left >> 20
                )))
            } else {
                Workspace::new(&self.device.stream, wanted, largest)
            };
            match made {
                Ok(workspace) => {
                    self.workspace = Some(workspace);
                    break;
                }
                Err(error) if error.is_out_of_memory() && largest.tokens / 2 >= least => {
                    self.buckets = Bucket::all(largest.tokens / 2);
                    tracing::warn!(
                        %error,
                        max_tokens = largest.tokens / 2,
                        "device memory is short: batches are cut smaller"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        let Some(&largest) = self.buckets.last() else {
            return Ok(());
        };
        self.device.matmul.set_most(largest.tokens);
        for _ in 0..IN_FLIGHT {
            self.staging.push(Staging::new(
                &self.device.context,
                largest.inputs().words(),
                wanted.scores(largest),
            )?);
        }
        let mut models = std::mem::take(&mut self.models);
        for loaded in &mut models {
            loaded.graphs = self.capture(&loaded.network)?;
        }
        self.models = models;
        Ok(())
    }

    /// The graphs of a network, one a bucket. Each pass runs once outside a graph first: that loads
    /// the kernels, which must not happen during a capture, and shows that it runs.
    fn capture(&mut self, network: &Network) -> Result<Vec<Graph>, CudaError> {
        let Some(workspace) = &self.workspace else {
            return Err(CudaError::Unsupported("no workspace".into()));
        };
        let Device { stream, matmul, .. } = &mut self.device;
        let empty = vec![0u32; workspace.bucket.inputs().words()];
        let mut graphs = Vec::with_capacity(self.buckets.len());
        for &bucket in &self.buckets {
            let words = bucket.inputs().words();
            // SAFETY: the workspace was made for the largest bucket and at least this network's sizes,
            // and outlives the graphs: `make_room` drops them first. The copy is from ordinary
            // memory, which the driver stages before it returns.
            unsafe {
                cudarc::driver::result::memcpy_htod_async(
                    workspace.input(),
                    &empty[..words],
                    stream.cu_stream(),
                )?;
                network.enqueue(bucket, workspace, stream, matmul)?;
            }
            stream.synchronize()?;
            stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED)?;
            // SAFETY: as above.
            let enqueued = unsafe { network.enqueue(bucket, workspace, stream, matmul) };
            // The capture is ended whatever came of it.
            let graph = stream.end_capture(CUgraphInstantiate_flags(0));
            enqueued?;
            let graph = graph?
                .ok_or_else(|| CudaError::Unsupported("the driver captured no graph".into()))?;
            graph.upload()?;
            graphs.push(Graph(graph));
        }
        stream.synchronize()?;
        Ok(graphs)
    }

    fn run_parts(
        &mut self,
        loaded: &Loaded,
        batch: &PackedBatch,
        heads: HeadSet,
        parts: &[Range<usize>],
    ) -> Result<Vec<SequenceScores>, CudaError> {
        let Some(workspace) = &self.workspace else {
            return Err(CudaError::Unsupported("no workspace".into()));
        };
        let stream = &self.device.stream;
        let mut results = Vec::with_capacity(batch.lengths().len());
        let mut waiting: Option<(usize, Range<usize>, Bucket)> = None;
        for (i, part) in parts.iter().enumerate() {
            let lengths = &batch.lengths()[part.clone()];
            let tokens = lengths.iter().sum();
            let Some((bucket, graph)) = self
                .buckets
                .iter()
                .zip(&loaded.graphs)
                .find(|(bucket, _)| bucket.holds(tokens, lengths.len()))
            else {
                return Err(CudaError::Unsupported(format!(
                    "{tokens} tokens in {} sequences fit no bucket",
                    lengths.len()
                )));
            };
            let inputs = bucket.inputs();
            let slot = i % IN_FLIGHT;
            let staging = &mut self.staging[slot];
            inputs.write(
                staging.input()?,
                batch,
                part.clone(),
                loaded.network.numbering,
            );
            // SAFETY: the workspace holds the bucket's input and scores, and so do the buffers; every
            // part is waited for below before its buffers are written again. A part that failed is
            // the last: the device is given up then, and buffers wait for their copies when dropped.
            unsafe { staging.send(stream, workspace.input(), inputs.words()) }?;
            graph.0.launch()?;
            let scores = loaded.network.sizes().scores(*bucket);
            // SAFETY: as above.
            unsafe { staging.receive(stream, workspace.scores(), scores) }?;
            if let Some((slot, part, bucket)) = waiting.replace((slot, part.clone(), *bucket)) {
                let scores = self.staging[slot].wait()?;
                collect(
                    &loaded.network,
                    bucket,
                    batch,
                    part,
                    heads,
                    scores,
                    &mut results,
                );
            }
        }
        if let Some((slot, part, bucket)) = waiting {
            let scores = self.staging[slot].wait()?;
            collect(
                &loaded.network,
                bucket,
                batch,
                part,
                heads,
                scores,
                &mut results,
            );
        }
        Ok(results)
    }

    /// Keeps in mind that the device cannot be used any more.
    fn note(&mut self, error: CudaError) -> EngineError {
        let error = EngineError::from(error);
        if let EngineError::DeviceLost(reason) = &error {
            self.lost = Some(reason.clone());
        }
        error
    }

    fn check_alive(&self) -> Result<(), EngineError> {
        match &self.lost {
            Some(reason) => Err(EngineError::DeviceLost(reason.clone())),
            None => Ok(()),
        }
    }
}

impl Engine for CudaEngine {
    fn device(&self) -> String {
        format!("cuda:{} ({})", self.device.ordinal, self.device.name)
    }

    fn load(&mut self, model: Arc<Model>) -> Result<ModelId, EngineError> {
        self.check_alive()?;
        let loaded = match self.place(model.clone(), Element::F16) {
            Err(CudaError::Range(value)) => {
                tracing::warn!(value, "a weight is beyond f16: the model runs in bf16");
                self.place(model, Element::Bf16)
            }
            loaded => loaded,
        };
        let loaded = loaded.map_err(|e| self.note(e))?;
        let id = ModelId(self.models.len());
        tracing::info!(
            model = id.0,
            element = loaded.element.name(),
            weights_mib = loaded.network.bytes >> 20,
            graphs = loaded.graphs.len(),
            max_tokens = self.buckets.last().map_or(0, |b| b.tokens),
            "model on the GPU"
        );
        self.models.push(loaded);
        Ok(id)
    }

    fn widen(&mut self, model: ModelId) -> Result<bool, EngineError> {
        self.check_alive()?;
        let Some(loaded) = self.models.get(model.0) else {
            return Err(EngineError::UnknownModel(model));
        };
        if loaded.element == Element::Bf16 {
            return Ok(false);
        }
        let network = loaded.model.clone();
        let wide = self
            .place(network, Element::Bf16)
            .map_err(|e| self.note(e))?;
        if let Some(loaded) = self.models.get_mut(model.0) {
            *loaded = wide;
        }
        Ok(true)
    }

    fn run(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Vec<SequenceScores>, EngineError> {
        self.check_alive()?;
        let mut models = std::mem::take(&mut self.models);
        let result = match models.get(model.0) {
            None => Err(EngineError::UnknownModel(model)),
            Some(loaded) => match loaded.model.check(batch) {
                Err(error) => Err(EngineError::Batch(error.to_string())),
                Ok(()) => match Bucket::split(&self.buckets, batch) {
                    None => Err(EngineError::Batch(format!(
                        "a sequence is longer than the largest batch, {} tokens",
                        self.buckets.last().map_or(0, |b| b.tokens)
                    ))),
                    Some(parts) => self
                        .run_parts(loaded, batch, heads, &parts)
                        .map_err(|e| self.note(e)),
                },
            },
        };
        std::mem::swap(&mut self.models, &mut models);
        result
    }
}

/// Scores of the sequences `part` out of what the device left, for the heads that are wanted.
fn collect(
    network: &Network,
    bucket: Bucket,
    batch: &PackedBatch,
    part: Range<usize>,
    heads: HeadSet,
    scores: &[f32],
    results: &mut Vec<SequenceScores>,
) {
    let mut row = 0;
    for (sequence, &length) in batch.lengths()[part].iter().enumerate() {
        let mut first = 0;
        let of_sequence = network.outputs.iter().enumerate().map(|(i, head)| {
            let (at, rows) = match head.every_token {
                true => (row, length),
                false => (sequence, 1),
            };
            let own = first + at * head.labels..first + (at + rows) * head.labels;
            first += head.rows(bucket) * head.labels;
            heads.contains(i).then(|| {
                let scores = scores.get(own).unwrap_or_default().to_vec();
                HeadOutput {
                    finite: scores.iter().all(|s| s.is_finite()),
                    scores,
                }
            })
        });
        results.push(of_sequence.collect());
        row += length;
    }
}
