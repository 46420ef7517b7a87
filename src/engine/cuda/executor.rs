//! The engine: its models, the memory they share, and what it does when that is short or lost.

use std::sync::Arc;

use cudarc::driver::sys::CUevent_flags;

use super::bucket::Bucket;
use super::device::{Device, Unusable};
use super::element::Element;
use super::error::CudaError;
use super::kernels::{EmbeddingArgs, row_blocks};
use super::network::Network;
use super::room::{Graph, Room};
use super::workspace::Sizes;
use crate::encoder::{Model, PackedBatch};
use crate::engine::{Engine, EngineError, HeadSet, ModelId, SequenceScores};

/// Of the memory that is free at start, what the engine takes where no budget is set.
const SHARE_OF_FREE: f64 = 0.9;
/// Batches shrink to no fewer tokens than this: the usual window.
const LEAST_TOKENS: usize = 512;

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
    // Dropped in this order: graphs hold addresses of the room.
    models: Vec<Loaded>,
    room: Option<Room>,
    device: Device,
    /// Bytes for weights and workspace.
    budget: usize,
    buckets: Vec<Bucket>,
    /// Why the device cannot be used any more.
    lost: Option<String>,
}

struct Loaded {
    /// Captured in the engine's room, one a bucket.
    graphs: Vec<Graph>,
    network: Network,
    element: Element,
    model: Arc<Model>,
}

impl CudaEngine {
    /// Opens a GPU.
    pub fn new(settings: CudaSettings) -> Result<Self, EngineError> {
        let unusable = |e: Unusable| EngineError::Start(e.to_string());
        let device = Device::open(settings.ordinal).map_err(unusable)?;
        let (free, _) = device.context.mem_get_info().map_err(CudaError::from)?;
        let share = (free as f64 * SHARE_OF_FREE) as usize;
        Ok(Self {
            models: Vec::new(),
            room: None,
            device,
            budget: settings.memory.unwrap_or(share),
            buckets: Bucket::all(settings.max_tokens),
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
        // The inputs of this run stay on the device.
        self.run(model, batch, HeadSet::EMPTY)?;
        let (tokens, sequences) = (batch.tokens(), batch.lengths().len());
        let graph = self.models.get(model.0).and_then(|loaded| {
            let mut graphs = loaded.graphs.iter();
            graphs.find(|graph| graph.bucket.holds(tokens, sequences))
        });
        let Some(graph) = graph else {
            return Err(EngineError::Batch("more than one graph holds".into()));
        };
        let replay = || -> Result<f64, CudaError> {
            let event = || {
                let flags = CUevent_flags::CU_EVENT_DEFAULT;
                self.device.stream.record_event(Some(flags))
            };
            let begin = event()?;
            graph.launch()?;
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
        let weights: usize = self.models.iter().map(|m| m.network.bytes).sum();
        let left = self.budget.saturating_sub(weights);
        let room = self.room.as_ref().map_or(0, |room| {
            Room::bytes(room.workspace.sizes, room.workspace.bucket)
        });
        let device = (&self.device.stream, &self.device.kernels);
        let network = Network::load(&plan, element, device, left.saturating_sub(room))?;
        let left = left.saturating_sub(network.bytes);
        let sizes = network.sizes();
        let room = self.make_room(sizes, plan.trunk.max_length.min(LEAST_TOKENS), left)?;
        // SAFETY: the room was made for these buckets and for at least these sizes, and whatever replaces
        // it drops the graphs first.
        let graphs = unsafe { room.capture(&network, &self.buckets, &mut self.device) };
        self.room = Some(room);
        Ok(Loaded {
            graphs: graphs?,
            network,
            element,
            model,
        })
    }

    /// Takes out the room, or a larger one where it is too small for `sizes`, within `left` bytes. Where
    /// memory is short the largest batch shrinks, but not below `least` tokens. Graphs of other models
    /// are captured anew when the room moves.
    fn make_room(&mut self, sizes: Sizes, least: usize, left: usize) -> Result<Room, CudaError> {
        let mut wanted = sizes;
        if let Some(room) = self.room.take() {
            wanted = room.workspace.sizes.union(sizes);
            if wanted == room.workspace.sizes {
                return Ok(room);
            }
            for loaded in &mut self.models {
                loaded.graphs.clear();
            }
        }
        let room = loop {
            let Some(&largest) = self.buckets.last() else {
                return Err(CudaError::Unsupported("no size of batch".into()));
            };
            let bytes = Room::bytes(wanted, largest);
            let made = if bytes > left {
                Err(CudaError::Memory(format!(
                    "batches of {} tokens need {} MiB of device memory and {} MiB are left of the \
                     budget",
                    largest.tokens,
                    bytes >> 20,
                    left >> 20
                )))
            } else {
                Room::new(&self.device, wanted, largest)
            };
            match made {
                Ok(room) => break room,
                Err(error) if error.is_out_of_memory() && largest.tokens / 2 >= least => {
                    let max_tokens = largest.tokens / 2;
                    self.buckets = Bucket::all(max_tokens);
                    tracing::warn!(%error, max_tokens, "device memory is short: smaller batches");
                }
                Err(error) => return Err(error),
            }
        };
        self.device.matmul.set_most(room.workspace.bucket.tokens);
        for loaded in &mut self.models {
            // SAFETY: as in `place`; `wanted` covers every model so far.
            loaded.graphs =
                unsafe { room.capture(&loaded.network, &self.buckets, &mut self.device) }?;
        }
        Ok(room)
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
        let narrow = loaded.model.clone();
        let wide = self
            .place(narrow, Element::Bf16)
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
        let Some(loaded) = self.models.get(model.0) else {
            return Err(EngineError::UnknownModel(model));
        };
        let refused = |e: &dyn std::fmt::Display| EngineError::Batch(e.to_string());
        loaded.model.check(batch).map_err(|e| refused(&e))?;
        let parts = Bucket::split(&self.buckets, batch).ok_or_else(|| {
            let most = self.buckets.last().map_or(0, |b| b.tokens);
            refused(&format!(
                "a sequence of more tokens than the largest batch, {most}"
            ))
        })?;
        let Some(room) = &mut self.room else {
            return Err(EngineError::Memory(
                "a model that did not fit left no room".into(),
            ));
        };
        let network = (&loaded.network, loaded.graphs.as_slice());
        let scores = room.run(&self.device.stream, network, batch, &parts, heads);
        scores.map_err(|e| self.note(e))
    }
}
