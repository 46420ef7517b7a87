//! Between host and device: pinned buffers that copies go through, so that the host writes the next
//! part of a batch while the device runs the one before.

use std::sync::Arc;

use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, PinnedHostSlice, result as driver};

use super::error::CudaError;
use super::kernels::Address;

/// The buffers of one part of a batch.
pub(super) struct Staging {
    input: PinnedHostSlice<u32>,
    output: PinnedHostSlice<f32>,
    done: CudaEvent,
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
        Ok(Self {
            input,
            output,
            done: context.new_event(Some(CUevent_flags::CU_EVENT_DISABLE_TIMING))?,
        })
    }

    /// The words to fill in; only while no copy is on its way.
    pub(super) fn input(&mut self) -> Result<&mut [u32], CudaError> {
        Ok(self.input.as_mut_slice()?)
    }

    /// Enqueues the copy of the first `words` words to `to`.
    ///
    /// # Safety
    ///
    /// `to` must have room for them, and [`Self::wait`] must come before the next [`Self::input`] and
    /// before the buffers are dropped.
    pub(super) unsafe fn send(
        &self,
        stream: &CudaStream,
        to: Address,
        words: usize,
    ) -> Result<(), CudaError> {
        let input = &self.input.as_slice()?[..words];
        // SAFETY: pinned memory that is left alone until the copy is done, as the caller promises.
        unsafe { driver::memcpy_htod_async(to, input, stream.cu_stream()) }?;
        Ok(())
    }

    /// Enqueues the copy of `scores` values from `from`.
    ///
    /// # Safety
    ///
    /// As for [`Self::send`].
    pub(super) unsafe fn receive(
        &mut self,
        stream: &CudaStream,
        from: Address,
        scores: usize,
    ) -> Result<(), CudaError> {
        let output = &mut self.output.as_mut_slice()?[..scores];
        // SAFETY: as above.
        unsafe { driver::memcpy_dtoh_async(output, from, stream.cu_stream()) }?;
        self.done.record(stream)?;
        Ok(())
    }

    /// Waits until the copies are done; the scores.
    pub(super) fn wait(&self) -> Result<&[f32], CudaError> {
        self.done.synchronize()?;
        Ok(self.output.as_slice()?)
    }
}

impl Drop for Staging {
    /// Waits for the copies that were enqueued last: the buffers are theirs until then.
    fn drop(&mut self) {
        let _ = self.done.synchronize();
    }
}
