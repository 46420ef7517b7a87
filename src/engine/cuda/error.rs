//! What can go wrong on the device, and what it means for the engine.

use cudarc::cublaslt::result::CublasError;
use cudarc::cublaslt::sys::cublasStatus_t;
use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

use crate::engine::EngineError;

/// A failed call, or a network that does not fit.
#[derive(Debug, thiserror::Error)]
pub(super) enum CudaError {
    #[error("{0}")]
    Driver(#[from] DriverError),
    #[error("cublasLt: {0}")]
    Blas(#[from] CublasError),
    /// A weight that f16 cannot hold.
    #[error("a weight of {0} is beyond f16")]
    Range(f32),
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Memory(String),
}

impl CudaError {
    /// Whether less memory would have done.
    pub(super) fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Driver(error) => error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY,
            Self::Blas(error) => error.0 == cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED,
            Self::Memory(_) => true,
            _ => false,
        }
    }
}

impl From<CudaError> for EngineError {
    /// An error of a call that is not out-of-memory may have poisoned the context: every later call
    /// would fail or, worse, not. The device is given up.
    fn from(error: CudaError) -> Self {
        match error {
            CudaError::Unsupported(problem) => Self::Unsupported(problem),
            CudaError::Memory(problem) => Self::Memory(problem),
            error if error.is_out_of_memory() => Self::Memory(error.to_string()),
            error @ CudaError::Range(_) => Self::Unsupported(error.to_string()),
            CudaError::Blas(error) if error.0 == cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED => {
                Self::Unsupported("cublasLt has no algorithm for one of its products".into())
            }
            error => Self::DeviceLost(error.to_string()),
        }
    }
}
