//! Where batches run: the workspace, the staging buffers, and the way of a batch through them.

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaStream};

use super::bucket::Bucket;
use super::device::Device;
use super::error::CudaError;
use super::network::Network;
use super::staging::Staging;
use super::workspace::{Sizes, Workspace};
use crate::encoder::{HeadOutput, PackedBatch};
use crate::engine::{HeadSet, SequenceScores};

/// Parts of a batch in flight: one that runs and one that is being written.
const IN_FLIGHT: usize = 2;

/// The memory that batches of up to a size run in.
pub(super) struct Room {
    pub(super) workspace: Workspace,
    staging: [Staging; IN_FLIGHT],
}

/// A captured pass.
pub(super) struct Graph {
    pub(super) bucket: Bucket,
    graph: CudaGraph,
}

// SAFETY: a graph may be used by any one thread at a time; the engine owns it and is used by one.
unsafe impl Send for Graph {}

impl Graph {
    /// Enqueues the pass.
    pub(super) fn launch(&self) -> Result<(), CudaError> {
        Ok(self.graph.launch()?)
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
            workspace: Workspace::new(&device.stream, sizes, largest)?,
            staging: [staging()?, staging()?],
        })
    }

    /// Captures the pass of `network` for each of `buckets`. Each pass runs once outside a graph first:
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
                cudarc::driver::result::memcpy_htod_async(workspace.input(), words, stream)
            }?;
            // SAFETY: as the caller promises.
            unsafe { network.enqueue(bucket, workspace, stream, matmul) }?;
            stream.synchronize()?;
            stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED)?;
            // SAFETY: as the caller promises.
            let enqueued = unsafe { network.enqueue(bucket, workspace, stream, matmul) };
            // The capture is ended whatever came of it.
            let graph = stream.end_capture(CUgraphInstantiate_flags(0));
            enqueued?;
            let graph = graph?
                .ok_or_else(|| CudaError::Unsupported("the driver captured no graph".into()))?;
            graph.upload()?;
            graphs.push(Graph { bucket, graph });
        }
        stream.synchronize()?;
        Ok(graphs)
    }

    /// Runs the sequences `parts` of `batch`, each part by one of `graphs`, which were captured for
    /// `network` in this room. The host writes a part while the device runs the one before.
    pub(super) fn run(
        &mut self,
        stream: &Arc<CudaStream>,
        (network, graphs): (&Network, &[Graph]),
        batch: &PackedBatch,
        parts: &[Range<usize>],
        heads: HeadSet,
    ) -> Result<Vec<SequenceScores>, CudaError> {
        let mut results = Vec::with_capacity(batch.lengths().len());
        let mut running: Option<Part<'_>> = None;
        for (i, part) in parts.iter().enumerate() {
            let lengths = &batch.lengths()[part.clone()];
            let tokens = lengths.iter().sum();
            let Some(graph) = graphs
                .iter()
                .find(|graph| graph.bucket.holds(tokens, lengths.len()))
            else {
                return Err(CudaError::Unsupported(format!(
                    "{tokens} tokens in {} sequences fit no graph",
                    lengths.len()
                )));
            };
            let inputs = graph.bucket.inputs();
            let slot = i % IN_FLIGHT;
            let staging = &mut self.staging[slot];
            let words = staging.input()?;
            inputs.write(words, batch, part.clone(), network.numbering);
            let scores = network.sizes().scores(graph.bucket);
            // SAFETY: workspace and buffers were made for the largest bucket, and a slot is waited for
            // before it is written again: at most one part is running when another begins.
            unsafe { staging.send(stream, self.workspace.input(), inputs.words()) }?;
            graph.launch()?;
            // SAFETY: as above.
            unsafe { staging.receive(stream, self.workspace.scores(), scores) }?;
            let started = Part {
                slot,
                bucket: graph.bucket,
                lengths,
            };
            if let Some(part) = running.replace(started) {
                part.collect(
                    network,
                    heads,
                    self.staging[part.slot].wait()?,
                    &mut results,
                );
            }
        }
        if let Some(part) = running {
            part.collect(
                network,
                heads,
                self.staging[part.slot].wait()?,
                &mut results,
            );
        }
        Ok(results)
    }
}

/// A part of a batch on the device.
struct Part<'b> {
    slot: usize,
    bucket: Bucket,
    lengths: &'b [usize],
}

impl Part<'_> {
    /// Cuts what the device left (head after head, rows in order) by sequence, for the heads that are
    /// wanted.
    fn collect(
        &self,
        network: &Network,
        heads: HeadSet,
        scores: &[f32],
        results: &mut Vec<SequenceScores>,
    ) {
        let mut row = 0;
        for (sequence, &length) in self.lengths.iter().enumerate() {
            let mut first = 0;
            let of_head = network.outputs.iter().enumerate().map(|(i, head)| {
                let (at, rows) = match head.every_token {
                    true => (row, length),
                    false => (sequence, 1),
                };
                let own = first + at * head.labels..first + (at + rows) * head.labels;
                first += head.rows(self.bucket) * head.labels;
                heads.contains(i).then(|| {
                    let scores = scores.get(own).unwrap_or_default().to_vec();
                    HeadOutput {
                        finite: scores.iter().all(|s| s.is_finite()),
                        scores,
                    }
                })
            });
            results.push(of_head.collect());
            row += length;
        }
    }
}
