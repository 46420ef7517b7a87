//! Where batches run: the workspace, the staging buffers, and the way of a batch through them.

use std::collections::VecDeque;
use std::ops::Range;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaStream};

use super::bucket::Bucket;
use super::device::Device;
use super::error::CudaError;
use super::network::Network;
use super::staging::{Copies, Staging};
use super::workspace::{SLOTS, Sizes, Workspace};
use crate::encoder::{HeadOutput, PackedBatch};
use crate::engine::{HeadSet, SequenceScores};

/// The memory that batches of up to a size run in, and those that do.
pub(super) struct Room {
    staging: [Staging; SLOTS],
    copies: Copies,
    /// In the order in which they were started.
    running: VecDeque<Part>,
    /// Where the next one goes.
    slot: usize,
    pub(super) workspace: Workspace,
}

/// A captured pass, one for each slot.
pub(super) struct Graph {
    pub(super) bucket: Bucket,
    slots: [CudaGraph; SLOTS],
}

// SAFETY: a graph may be used by any one thread at a time; the engine owns it and is used by one.
unsafe impl Send for Graph {}

impl Graph {
    /// Enqueues the pass of a slot.
    pub(super) fn launch(&self, slot: usize) -> Result<(), CudaError> {
        Ok(self.slots[slot].launch()?)
    }
}

impl Room {
    /// Bytes of device memory.
    pub(super) fn bytes(sizes: Sizes, largest: Bucket) -> usize {
        Workspace::bytes(sizes, largest)
    }

    pub(super) fn new(device: &Device, sizes: Sizes, largest: Bucket) -> Result<Self, CudaError> {
        let staging = || {
            let (words, scores) = (largest.inputs().words(), sizes.scores(largest));
            Staging::new(&device.context, words, scores)
        };
        Ok(Self {
            staging: [staging()?, staging()?],
            copies: Copies::new(&device.context)?,
            running: VecDeque::with_capacity(SLOTS),
            slot: 0,
            workspace: Workspace::new(&device.stream, sizes, largest)?,
        })
    }

    /// Captures the passes of `network` for each of `buckets`. A pass runs once outside a graph first:
    /// that loads the kernels, which must not happen during a capture, and shows that it runs.
    ///
    /// # Safety
    ///
    /// The room must outlive the graphs, and have been made for at least the network's sizes and the
    /// largest bucket.
    pub(super) unsafe fn capture(
        &self,
        network: &Network,
        buckets: &[Bucket],
        device: &mut Device,
    ) -> Result<Vec<Graph>, CudaError> {
        let Device { stream, matmul, .. } = device;
        let workspace = &self.workspace;
        let empty = vec![0u32; workspace.bucket.inputs().words()];
        let mut graphs = Vec::with_capacity(buckets.len());
        for &bucket in buckets {
            let words = &empty[..bucket.inputs().words()];
            // SAFETY: the workspace has room, as the caller promises. The copy is from ordinary memory,
            // which the driver stages before it returns.
            unsafe {
                let stream = stream.cu_stream();
                cudarc::driver::result::memcpy_htod_async(workspace.input(0), words, stream)
            }?;
            // SAFETY: as the caller promises.
            unsafe { network.enqueue((bucket, 0), workspace, stream, matmul, &mut |_| Ok(())) }?;
            stream.synchronize()?;
            let mut capture = |slot| -> Result<CudaGraph, CudaError> {
                stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED)?;
                // SAFETY: as the caller promises.
                let enqueued = unsafe {
                    network.enqueue((bucket, slot), workspace, stream, matmul, &mut |_| Ok(()))
                };
                // The capture is ended whatever came of it.
                let graph = stream.end_capture(CUgraphInstantiate_flags(0));
                enqueued?;
                let graph = graph?
                    .ok_or_else(|| CudaError::Unsupported("the driver captured no graph".into()))?;
                graph.upload()?;
                Ok(graph)
            };
            let slots = [capture(0)?, capture(1)?];
            graphs.push(Graph { bucket, slots });
        }
        stream.synchronize()?;
        Ok(graphs)
    }

    /// Whether all slots are taken.
    pub(super) fn is_full(&self) -> bool {
        self.running.len() == SLOTS
    }

    /// The slot of the part that was started last.
    pub(super) fn last_slot(&self) -> usize {
        (self.slot + SLOTS - 1) % SLOTS
    }

    /// Starts the sequences `part` of `batch` by `graph`, which was captured for `network` in this room, in
    /// a free slot: there must be one. Its copies do not wait for the parts that run.
    pub(super) fn start(
        &mut self,
        compute: &CudaStream,
        (network, graph): (&Network, &Graph),
        batch: &PackedBatch,
        part: Range<usize>,
    ) -> Result<(), CudaError> {
        debug_assert!(!self.is_full());
        let (slot, bucket) = (self.slot, graph.bucket);
        let (inputs, scores) = (bucket.inputs(), network.sizes().scores(bucket));
        let staging = &mut self.staging[slot];
        inputs.write(staging.input()?, batch, part.clone(), network.numbering);
        let to = (self.workspace.input(slot), inputs.words());
        let from = (self.workspace.scores(slot), scores);
        // SAFETY: workspace and buffers were made for the largest bucket; a slot is taken again only after
        // it was waited for, after an error here too, and `drop` waits for all.
        let enqueued =
            unsafe { staging.enqueue((&self.copies, compute), to, from, || graph.launch(slot)) };
        if enqueued.is_err() {
            let _ = (compute.synchronize(), self.copies.wait());
        }
        enqueued?;
        self.slot = (slot + 1) % SLOTS;
        self.running.push_back(Part {
            slot,
            bucket,
            lengths: batch.lengths()[part].to_vec(),
        });
        Ok(())
    }

    /// Whether the part that was started first is done.
    pub(super) fn is_done(&self) -> bool {
        let first = self.running.front();
        first.is_none_or(|part| self.staging[part.slot].is_done())
    }

    /// Waits for the part that was started first, by `network`, and appends its scores to `results`.
    pub(super) fn finish(
        &mut self,
        network: &Network,
        heads: HeadSet,
        results: &mut Vec<SequenceScores>,
    ) -> Result<(), CudaError> {
        if let Some(part) = self.running.pop_front() {
            part.collect(network, heads, self.staging[part.slot].wait()?, results)?;
        }
        Ok(())
    }
}

impl Drop for Room {
    /// Waits for the copies: the buffers and the workspace are theirs until then. Passes are ordered before
    /// the workspace is freed, on their own stream.
    fn drop(&mut self) {
        let _ = self.copies.wait();
    }
}

/// A part of a batch on the device.
struct Part {
    slot: usize,
    bucket: Bucket,
    lengths: Vec<usize>,
}

impl Part {
    /// Cuts what the device left (head after head, rows in order) by sequence, for the heads that are
    /// wanted.
    fn collect(
        &self,
        network: &Network,
        heads: HeadSet,
        scores: &[f32],
        results: &mut Vec<SequenceScores>,
    ) -> Result<(), CudaError> {
        let mut row = 0;
        for (sequence, &length) in self.lengths.iter().enumerate() {
            let mut first = 0;
            let mut of_head = Vec::with_capacity(network.outputs.len());
            for (i, head) in network.outputs.iter().enumerate() {
                let (at, rows) = match head.every_token {
                    true => (row, length),
                    false => (sequence, 1),
                };
                let own = first + at * head.labels..first + (at + rows) * head.labels;
                first += head.rows(self.bucket) * head.labels;
                let Some(scores) = scores.get(own) else {
                    return Err(CudaError::Unsupported("a batch beyond its buffers".into()));
                };
                of_head.push(heads.contains(i).then(|| HeadOutput {
                    finite: scores.iter().all(|s| s.is_finite()),
                    scores: scores.to_vec(),
                }));
            }
            results.push(of_head);
            row += length;
        }
        Ok(())
    }
}
