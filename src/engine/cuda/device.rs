//! Finding a GPU that can be used, or saying what is missing.

use std::sync::Arc;

use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, CudaStream, result as driver};

use super::error::CudaError;
use super::kernels::Kernels;
use super::matmul::Matmul;

/// Lowest compute capability with the instructions that the kernels use.
const LOWEST: (i32, i32) = (8, 0);
/// Version of the toolkit that compiled the kernels: `13.0`.
const TOOLKIT: &str = env!("CUDA_TOOLKIT");

/// An opened GPU.
pub(super) struct Device {
    pub(super) ordinal: usize,
    pub(super) name: String,
    pub(super) context: Arc<CudaContext>,
    pub(super) stream: Arc<CudaStream>,
    pub(super) kernels: Kernels,
    pub(super) matmul: Matmul,
}

/// Why there is no GPU to be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("no NVIDIA driver: libcuda.so.1 is not found")]
    NoDriver,
    #[error(
        "libcublasLt.so is not found: install CUDA {TOOLKIT}'s cuBLAS, or put its directory into \
         LD_LIBRARY_PATH"
    )]
    NoCublasLt,
    #[error(
        "the driver supports CUDA {}.{}; this build needs CUDA {TOOLKIT}: driver {} or later",
        .0 / 1000, .0 % 1000 / 10, oldest_driver()
    )]
    OldDriver(i32),
    #[error("no GPU number {0}; this machine has {1}")]
    NoSuchGpu(usize, i32),
    #[error(
        "GPU {ordinal} ({name}) has compute capability {}.{}; {}.{} (Ampere) or later is needed",
        .capability.0, .capability.1, LOWEST.0, LOWEST.1
    )]
    OldGpu {
        ordinal: usize,
        name: String,
        capability: (i32, i32),
    },
    #[error("GPU {0} cannot be opened: {1}")]
    Failed(usize, CudaError),
}

impl Device {
    /// Opens GPU `ordinal`.
    pub(super) fn open(ordinal: usize) -> Result<Self, Unusable> {
        check_driver()?;
        let failed = |error: CudaError| Unusable::Failed(ordinal, error);
        let count = CudaContext::device_count().map_err(|e| failed(e.into()))?;
        if i32::try_from(ordinal).is_ok_and(|o| o >= count) {
            return Err(Unusable::NoSuchGpu(ordinal, count));
        }
        let open = || -> Result<_, CudaError> {
            let context = CudaContext::new(ordinal)?;
            let name = context.name()?;
            Ok((context.compute_capability()?, context, name))
        };
        let (capability, context, name) = open().map_err(failed)?;
        if capability < LOWEST {
            return Err(Unusable::OldGpu {
                ordinal,
                name,
                capability,
            });
        }
        let start = || -> Result<_, CudaError> {
            // SAFETY: all work goes through one stream, so nothing needs to be ordered by events.
            unsafe { context.disable_event_tracking() };
            let stream = context.new_stream()?;
            let kernels = Kernels::load(&context)?;
            let matmul = Matmul::new(&stream)?;
            Ok((stream, kernels, matmul))
        };
        let (stream, kernels, matmul) = start().map_err(failed)?;
        Ok(Self {
            ordinal,
            name,
            context,
            stream,
            kernels,
            matmul,
        })
    }
}

/// cudarc panics at the first use of a library that is not there, so they are asked for first.
fn check_driver() -> Result<(), Unusable> {
    // SAFETY: loads the library, whose initialisers are the driver's own, and runs nothing else.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return Err(Unusable::NoDriver);
    }
    match driver::init() {
        Ok(()) => {}
        Err(error) if error.0 == CUresult::CUDA_ERROR_NO_DEVICE => {
            return Err(Unusable::NoSuchGpu(0, 0));
        }
        Err(error) => return Err(Unusable::Failed(0, error.into())),
    }
    let mut version = 0;
    // SAFETY: writes one integer.
    let asked = unsafe { cudarc::driver::sys::cuDriverGetVersion(&raw mut version) };
    asked.result().map_err(|e| Unusable::Failed(0, e.into()))?;
    if version < 1000 * toolkit_major() {
        return Err(Unusable::OldDriver(version));
    }
    // SAFETY: as above.
    if !unsafe { cudarc::cublaslt::sys::is_culib_present() } {
        return Err(Unusable::NoCublasLt);
    }
    Ok(())
}

fn toolkit_major() -> i32 {
    let major = TOOLKIT.split('.').next().unwrap_or_default();
    major.parse().unwrap_or(i32::MAX / 1000)
}

/// The first driver that runs code of this major version.
fn oldest_driver() -> &'static str {
    match toolkit_major() {
        12 => "525",
        13 => "580",
        _ => "a newer one",
    }
}
