//! The device memory that passes work in: one for all models and sizes of batches, allocated at load.
//! Graphs hold its addresses, so it never moves while there are any.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::bucket::Bucket;
use super::element::Element;
use super::error::CudaError;
use super::image::ALIGNMENT;
use super::kernels::Address;

/// Batches, or parts of one, that may be in flight: one that runs and one whose copies overlap it. Each has
/// inputs and scores of its own, and a graph that knows where they are.
pub(super) const SLOTS: usize = 2;

/// What a network needs, in values a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) hidden: usize,
    /// Values of all attention heads; at least `hidden`.
    pub(super) attention: usize,
    /// What the feed-forward layer's first product makes.
    pub(super) up: usize,
    /// The same after the gate; 0 where there is none.
    pub(super) gated: usize,
    /// Logits of the widest head.
    pub(super) logits: usize,
    /// Scores of all heads that score tokens.
    pub(super) scores_a_token: usize,
    /// Scores of all heads that score sequences.
    pub(super) scores_a_sequence: usize,
}

impl Sizes {
    /// Enough for both.
    pub(super) fn union(self, other: Self) -> Self {
        Self {
            hidden: self.hidden.max(other.hidden),
            attention: self.attention.max(other.attention),
            up: self.up.max(other.up),
            gated: self.gated.max(other.gated),
            logits: self.logits.max(other.logits),
            scores_a_token: self.scores_a_token.max(other.scores_a_token),
            scores_a_sequence: self.scores_a_sequence.max(other.scores_a_sequence),
        }
    }

    /// Scores of a batch, in values.
    pub(super) fn scores(self, bucket: Bucket) -> usize {
        self.scores_a_token * bucket.tokens + self.scores_a_sequence * bucket.sequences
    }
}

/// Where the parts of the workspace begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Regions {
    /// `[tokens, hidden]`: the residual stream.
    pub(super) stream: Address,
    /// `[tokens, hidden]`: what is normalised, in networks whose stream is not.
    pub(super) normalised: Address,
    /// `[tokens, 3 * attention]`; then the products that are added to the stream.
    pub(super) qkv: Address,
    /// `[tokens, attention]`.
    pub(super) context: Address,
    /// `[tokens, up]`.
    pub(super) up: Address,
    /// `[tokens, gated]`.
    pub(super) gated: Address,
    /// `[sequences, hidden]`.
    pub(super) pooled: Address,
    /// `[tokens or sequences, hidden]`.
    pub(super) dense: Address,
    /// `[tokens or sequences, logits]`, f32.
    pub(super) logits: Address,
}

/// Where the parts of a batch's input begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct InputAddresses {
    pub(super) tiles: Address,
    pub(super) ids: Address,
    pub(super) places: Address,
    pub(super) starts: Address,
}

/// The memory of passes.
pub(super) struct Workspace {
    /// What it was made for.
    pub(super) sizes: Sizes,
    /// The largest batch it holds.
    pub(super) bucket: Bucket,
    _memory: CudaSlice<u8>,
    regions: Regions,
    inputs: [Address; SLOTS],
    scores: [Address; SLOTS],
}

impl Workspace {
    /// Bytes for batches of up to `bucket`.
    pub(super) fn bytes(sizes: Sizes, bucket: Bucket) -> usize {
        Self::layout(sizes, bucket).1
    }

    /// Offsets of the regions, of the inputs and of the scores of each slot, and the bytes of all.
    fn layout(sizes: Sizes, bucket: Bucket) -> ([usize; 9 + 2 * SLOTS], usize) {
        let Bucket { tokens, sequences } = bucket;
        let element = |rows: usize, width: usize| rows * width * Element::BYTES;
        let inputs = bucket.inputs().words() * size_of::<u32>();
        let scores = sizes.scores(bucket) * size_of::<f32>();
        let lengths = [
            element(tokens, sizes.hidden),
            element(tokens, sizes.hidden),
            element(tokens, 3 * sizes.attention),
            element(tokens, sizes.attention),
            element(tokens, sizes.up),
            element(tokens, sizes.gated),
            element(sequences, sizes.hidden),
            element(tokens.max(sequences), sizes.hidden),
            tokens.max(sequences) * sizes.logits * size_of::<f32>(),
            inputs,
            inputs,
            scores,
            scores,
        ];
        let mut at = 0;
        let offsets = lengths.map(|bytes| {
            let start = at;
            at += bytes.next_multiple_of(ALIGNMENT);
            start
        });
        (offsets, at)
    }

    /// Allocates, zeroed, so that rows that no sequence fills are numbers.
    pub(super) fn new(
        stream: &Arc<CudaStream>,
        sizes: Sizes,
        bucket: Bucket,
    ) -> Result<Self, CudaError> {
        let (offsets, bytes) = Self::layout(sizes, bucket);
        let memory = stream.alloc_zeros::<u8>(bytes.max(1))?;
        let base = memory.device_ptr(stream).0;
        let [
            stream,
            normalised,
            qkv,
            context,
            up,
            gated,
            pooled,
            dense,
            logits,
            input_0,
            input_1,
            scores_0,
            scores_1,
        ] = offsets.map(|offset| base + offset as u64);
        Ok(Self {
            sizes,
            bucket,
            _memory: memory,
            regions: Regions {
                stream,
                normalised,
                qkv,
                context,
                up,
                gated,
                pooled,
                dense,
                logits,
            },
            inputs: [input_0, input_1],
            scores: [scores_0, scores_1],
        })
    }

    pub(super) fn regions(&self) -> Regions {
        self.regions
    }

    /// Where the input of the batch of a slot goes: its words in the order of [`Bucket::inputs`].
    pub(super) fn input(&self, slot: usize) -> Address {
        self.inputs[slot]
    }

    /// Where the parts of the input of a batch of the size `bucket` are.
    pub(super) fn inputs(&self, bucket: Bucket, slot: usize) -> InputAddresses {
        let inputs = bucket.inputs();
        let at = |word: usize| self.inputs[slot] + (word * size_of::<u32>()) as u64;
        InputAddresses {
            tiles: at(inputs.tiles.start),
            ids: at(inputs.ids.start),
            places: at(inputs.places.start),
            starts: at(inputs.starts.start),
        }
    }

    /// Where the scores of a slot are left, head after head.
    pub(super) fn scores(&self, slot: usize) -> Address {
        self.scores[slot]
    }
}
