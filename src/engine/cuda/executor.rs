//! The engine: its models, the memory they share, and what it does when that is short or lost.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::bucket::Bucket;
use super::device::{Device, Unusable};
use super::element::Element;
use super::error::CudaError;
use super::kernels::{EmbeddingArgs, row_blocks};
use super::network::Network;
use super::room::{Graph, Room};
use super::timing;
use super::workspace::Sizes;
use crate::encoder::{Model, PackedBatch};
use crate::engine::{BatchId, Begun, Engine, EngineError, HeadSet, ModelId, SequenceScores};

/// Of the memory that is free at start, what the engine takes where no budget is set.
const SHARE_OF_FREE: f64 = 0.9;

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
    /// Tokens of the largest batch, were memory not short.
    max_tokens: usize,
    buckets: Vec<Bucket>,
    /// Batches in flight, in their order.
    begun: VecDeque<InFlight>,
    /// How many were begun so far.
    count: u64,
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

/// A batch that was begun and not finished.
struct InFlight {
    id: BatchId,
    model: ModelId,
    heads: HeadSet,
    /// Parts on the device.
    running: usize,
    /// Of the parts that are done.
    results: Vec<SequenceScores>,
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
            max_tokens: settings.max_tokens,
            buckets: Bucket::all(settings.max_tokens),
            begun: VecDeque::new(),
            count: 0,
            lost: None,
        })
    }

    /// Tokens of the largest batch that runs at once.
    #[must_use]
    pub fn largest_batch(&self) -> usize {
        self.buckets.last().map_or(0, |b| b.tokens)
    }

    /// Device time of each of `passes` passes over `batch`, in seconds, by device events: graph replays
    /// alone, without copies. The batch must fit one graph.
    pub fn pass_seconds(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        passes: usize,
    ) -> Result<Vec<f64>, EngineError> {
        self.time(model, batch, |device, room, (_, graph)| {
            timing::replays(&device.stream, room, graph, passes)
        })
    }

    /// Device time of the steps of one pass over `batch`, in seconds by their names and in their order; those
    /// of the same name, such as all layers' products of one kind, are added up. The batch must fit one graph.
    pub fn step_seconds(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
    ) -> Result<Vec<(&'static str, f64)>, EngineError> {
        self.time(model, batch, |device, room, of| {
            // SAFETY: the graph is the model's own, and was captured in the engine's room.
            unsafe { timing::steps(&device.stream, &mut device.matmul, room, of) }
        })
    }

    /// Measures by what `batch` leaves on the device.
    fn time<T>(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        measure: impl FnOnce(&mut Device, &Room, (&Network, &Graph)) -> Result<T, CudaError>,
    ) -> Result<T, EngineError> {
        self.run(model, batch, HeadSet::EMPTY)?;
        let (tokens, sequences) = (batch.tokens(), batch.lengths().len());
        let of = self.models.get(model.0).and_then(|loaded| {
            let mut graphs = loaded.graphs.iter();
            let graph = graphs.find(|graph| graph.bucket.holds(tokens, sequences))?;
            Some((&loaded.network, graph))
        });
        let (Some(of), Some(room)) = (of, &self.room) else {
            return Err(EngineError::Batch("more than one graph holds".into()));
        };
        measure(&mut self.device, room, of).map_err(|e| self.note(e))
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
        let room = self.room.as_ref().map_or(0, |room| {
            Room::bytes(room.workspace.sizes, room.workspace.bucket)
        });
        let left = self.budget.saturating_sub(self.weights() + room);
        let device = (&self.device.stream, &self.device.kernels);
        let network = Network::load(&plan, element, device, left)?;
        let mut loaded = Loaded {
            graphs: Vec::new(),
            network,
            element,
            model,
        };
        self.make_room(&mut loaded)?;
        Ok(loaded)
    }

    /// Bytes of the weights of all models.
    fn weights(&self) -> usize {
        self.models.iter().map(|m| m.network.bytes).sum()
    }

    /// Captures the graphs of `new`, in a larger room where the present one is too small. Where memory is
    /// short the largest batch shrinks, as long as it takes the longest window of every model. When that
    /// does not do, all is again as it was.
    fn make_room(&mut self, new: &mut Loaded) -> Result<(), CudaError> {
        let all = || self.models.iter().chain([&*new]);
        let sizes = all().fold(Sizes::default(), |s, m| s.union(m.network.sizes()));
        let least = all().map(|m| m.model.window().min(self.max_tokens)).max();
        if let Some(room) = &self.room
            && room.workspace.sizes == sizes
        {
            // SAFETY: the room was made for these sizes and buckets, and `clear` and the drop of the engine
            // drop graphs before it.
            let graphs = unsafe { room.capture(&new.network, &self.buckets, &mut self.device) };
            match graphs {
                Ok(graphs) => {
                    new.graphs = graphs;
                    return Ok(());
                }
                Err(error) if error.is_out_of_memory() => {}
                Err(error) => return Err(error),
            }
        }
        let buckets = self.buckets.clone();
        let failed = loop {
            let largest = self.largest_batch();
            match self.furnish(sizes, Some(new)) {
                Ok(()) => return Ok(()),
                Err(error) if error.is_out_of_memory() && Some(largest / 2) >= least => {
                    let max_tokens = largest / 2;
                    self.buckets = Bucket::all(max_tokens);
                    tracing::warn!(%error, max_tokens, "device memory is short: smaller batches");
                }
                Err(error) => break error,
            }
        };
        self.buckets = buckets;
        if !self.models.is_empty() {
            let sizes = self.models.iter().map(|m| m.network.sizes());
            self.furnish(sizes.fold(Sizes::default(), Sizes::union), None)?;
        }
        Err(failed)
    }

    /// Replaces the room by one for `sizes`, and captures all graphs in it, those of `new` too. On an error
    /// there is neither room nor graph.
    fn furnish(&mut self, sizes: Sizes, new: Option<&mut Loaded>) -> Result<(), CudaError> {
        let of_new = new.as_ref().map_or(0, |new| new.network.bytes);
        self.clear();
        let Some(&largest) = self.buckets.last() else {
            return Err(CudaError::Unsupported("no size of batch".into()));
        };
        let bytes = Room::bytes(sizes, largest);
        let left = self.budget.saturating_sub(self.weights() + of_new);
        if bytes > left {
            return Err(CudaError::Memory(format!(
                "batches of {} tokens need {} MiB of device memory and {} MiB are left of the budget",
                largest.tokens,
                bytes >> 20,
                left >> 20
            )));
        }
        let room = Room::new(&self.device, sizes, largest)?;
        self.device.matmul.set_most(largest.tokens);
        let mut captured = Vec::new();
        for loaded in self.models.iter().chain(new.as_deref()) {
            // SAFETY: the room was made for these buckets and for the sizes of all models; `captured` is
            // dropped before it on an error, and later `clear` and the drop of the engine see to that.
            captured
                .push(unsafe { room.capture(&loaded.network, &self.buckets, &mut self.device) }?);
        }
        for (loaded, graphs) in self.models.iter_mut().chain(new).zip(captured) {
            loaded.graphs = graphs;
        }
        self.room = Some(room);
        Ok(())
    }

    /// Drops all graphs, then the room that they run in.
    fn clear(&mut self) {
        self.models.iter_mut().for_each(|m| m.graphs.clear());
        self.room = None;
    }

    /// Waits for the part that runs first, and hands its scores to its batch.
    fn collect(&mut self) -> Result<(), CudaError> {
        let Some(batch) = self.begun.iter_mut().find(|batch| batch.running > 0) else {
            return Ok(());
        };
        batch.running -= 1;
        if let (Some(room), Some(loaded)) = (&mut self.room, self.models.get(batch.model.0)) {
            room.finish(&loaded.network, batch.heads, &mut batch.results)?;
        }
        Ok(())
    }

    /// Starts the sequences `part` of `batch`, the batch that was begun last, once there is a slot.
    fn start(&mut self, batch: &PackedBatch, part: Range<usize>) -> Result<(), CudaError> {
        while self.room.as_ref().is_some_and(Room::is_full) {
            self.collect()?;
        }
        let (Some(begun), Some(room)) = (self.begun.back_mut(), &mut self.room) else {
            return Err(CudaError::Memory(
                "a model that did not fit left no room".into(),
            ));
        };
        let Some(loaded) = self.models.get(begun.model.0) else {
            return Ok(());
        };
        let lengths = &batch.lengths()[part.clone()];
        let (tokens, sequences) = (lengths.iter().sum(), lengths.len());
        let mut graphs = loaded.graphs.iter();
        let Some(graph) = graphs.find(|graph| graph.bucket.holds(tokens, sequences)) else {
            let problem = format!("{tokens} tokens in {sequences} sequences fit no graph");
            return Err(CudaError::Unsupported(problem));
        };
        room.start(&self.device.stream, (&loaded.network, graph), batch, part)?;
        begun.running += 1;
        Ok(())
    }

    /// Refuses what needs the device for itself.
    fn check_idle(&self) -> Result<(), EngineError> {
        match self.begun.is_empty() {
            true => Ok(()),
            false => Err(EngineError::Batch("a batch is in flight".into())),
        }
    }

    /// What an error means: the device may be lost, and with it all that is in flight.
    fn note(&mut self, error: CudaError) -> EngineError {
        let error = EngineError::from(error);
        if let EngineError::DeviceLost(reason) = &error {
            self.lost = Some(reason.clone());
            self.begun.clear();
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
        self.check_idle()?;
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
            max_tokens = self.largest_batch(),
            "model on the GPU"
        );
        self.models.push(loaded);
        Ok(id)
    }

    fn widen(&mut self, model: ModelId) -> Result<bool, EngineError> {
        self.check_alive()?;
        self.check_idle()?;
        match self.models.get(model.0) {
            None => return Err(EngineError::UnknownModel(model)),
            Some(loaded) if loaded.element == Element::Bf16 => return Ok(false),
            Some(_) => {}
        }
        // Its memory is free before the wider weights, which are of the same size, need it.
        let Loaded { model: narrow, .. } = self.models.remove(model.0);
        let wide = self.place(narrow, Element::Bf16).map_err(|e| {
            let error = self.note(e);
            // The ids of the models after it are wrong now.
            self.lost.get_or_insert_with(|| error.to_string());
            error
        })?;
        self.models.insert(model.0, wide);
        Ok(true)
    }

    fn begin(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Begun, EngineError> {
        self.check_alive()?;
        let Some(loaded) = self.models.get(model.0) else {
            return Err(EngineError::UnknownModel(model));
        };
        let refused = |e: &dyn std::fmt::Display| EngineError::Batch(e.to_string());
        loaded.model.check(batch).map_err(|e| refused(&e))?;
        let parts = Bucket::split(&self.buckets, batch).ok_or_else(|| {
            let most = self.largest_batch();
            refused(&format!(
                "a sequence of more tokens than the largest batch, {most}"
            ))
        })?;
        self.count += 1;
        let id = BatchId(self.count);
        self.begun.push_back(InFlight {
            id,
            model,
            heads,
            running: 0,
            results: Vec::with_capacity(batch.lengths().len()),
        });
        for part in parts {
            self.start(batch, part).map_err(|e| self.note(e))?;
        }
        Ok(Begun::Running(id))
    }

    fn is_done(&self, _: BatchId) -> bool {
        self.room.as_ref().is_none_or(Room::is_done)
    }

    fn finish(&mut self, batch: BatchId) -> Result<Vec<SequenceScores>, EngineError> {
        self.check_alive()?;
        // Those that were begun before it and never finished go unheard.
        while let Some(first) = self.begun.front() {
            if first.running > 0 {
                self.collect().map_err(|e| self.note(e))?;
            } else if let Some(done) = self.begun.pop_front()
                && done.id == batch
            {
                return Ok(done.results);
            }
        }
        Err(EngineError::Batch("no such batch is in flight".into()))
    }

    fn run(
        &mut self,
        model: ModelId,
        batch: &PackedBatch,
        heads: HeadSet,
    ) -> Result<Vec<SequenceScores>, EngineError> {
        match self.begin(model, batch, heads)? {
            Begun::Done(scores) => Ok(scores),
            Begun::Running(id) => self.finish(id),
        }
    }
}
