//! Between host and device: pinned buffers that copies go through, and the events that order the copies and
//! the pass between them, each on a stream of its own.

use std::sync::Arc;

use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, PinnedHostSlice, result as driver};

use super::error::CudaError;
use super::kernels::Address;

/// The streams of copies.
pub(super) struct Copies {
    to_device: Arc<CudaStream>,
    to_host: Arc<CudaStream>,
}

impl Copies {
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self, CudaError> {
        Ok(Self {
            to_device: context.new_stream()?,
            to_host: context.new_stream()?,
        })
    }

    /// Waits for all that was enqueued.
    pub(super) fn wait(&self) -> Result<(), CudaError> {
        self.to_device.synchronize()?;
        Ok(self.to_host.synchronize()?)
    }
}

/// The buffers of one batch, or part of one.
pub(super) struct Staging {
    input: PinnedHostSlice<u32>,
    output: PinnedHostSlice<f32>,
    /// The input is on the device.
    sent: CudaEvent,
    /// The scores are there.
    computed: CudaEvent,
    /// They are here.
    received: CudaEvent,
}

impl Staging {
    /// Buffers of so many words in and scores out.
    pub(super) fn new(
        context: &Arc<CudaContext>,
        words: usize,
        scores: usize,
    ) -> Result<Self, CudaError> {
        // SAFETY: zeroed below before anything reads them. Without write-combining, the host reads
        // results at full speed.
        let (mut input, mut output) = unsafe {
            (
                context.alloc_pinned_with_flags::<u32>(words.max(1), 0)?,
                context.alloc_pinned_with_flags::<f32>(scores.max(1), 0)?,
            )
        };
        input.as_mut_slice()?.fill(0);
        output.as_mut_slice()?.fill(0.0);
        let event = || context.new_event(Some(CUevent_flags::CU_EVENT_DISABLE_TIMING));
        Ok(Self {
            input,
            output,
            sent: event()?,
            computed: event()?,
            received: event()?,
        })
    }

    /// The words to fill in; only while nothing of these buffers is in flight.
    pub(super) fn input(&mut self) -> Result<&mut [u32], CudaError> {
        Ok(self.input.as_mut_slice()?)
    }

    /// Enqueues the copy of the first `words` words to `to`, then what `pass` enqueues on `compute`, and
    /// then the copy of `scores` values from `from`.
    ///
    /// # Safety
    ///
    /// `to` and `from` must be of these sizes. Until [`Self::wait`] has returned, the buffers must neither
    /// be written nor dropped, and no other pass may use `to` and `from`.
    pub(super) unsafe fn enqueue(
        &mut self,
        (copies, compute): (&Copies, &CudaStream),
        (to, words): (Address, usize),
        (from, scores): (Address, usize),
        pass: impl FnOnce() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        let Copies { to_device, to_host } = copies;
        let input = &self.input.as_slice()?[..words];
        // SAFETY: pinned memory that is left alone until the copy is done, as the caller promises.
        unsafe { driver::memcpy_htod_async(to, input, to_device.cu_stream()) }?;
        self.sent.record(to_device)?;
        compute.wait(&self.sent)?;
        pass()?;
        self.computed.record(compute)?;
        to_host.wait(&self.computed)?;
        let output = &mut self.output.as_mut_slice()?[..scores];
        // SAFETY: as above.
        unsafe { driver::memcpy_dtoh_async(output, from, to_host.cu_stream()) }?;
        Ok(self.received.record(to_host)?)
    }

    /// Whether [`Self::wait`] would return at once, be it with an error.
    pub(super) fn is_done(&self) -> bool {
        !matches!(self.received.try_is_complete(), Ok(false))
    }

    /// Waits for the scores.
    pub(super) fn wait(&self) -> Result<&[f32], CudaError> {
        self.received.synchronize()?;
        Ok(self.output.as_slice()?)
    }
}
