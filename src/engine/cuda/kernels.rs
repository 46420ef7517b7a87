//! The kernels of `kernels/` and their arguments. Each struct repeats one of the same name there.

use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaStream, DeviceRepr, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::Ptx;

use super::element::Element;
use super::error::CudaError;
use crate::encoder::ops::Activation;
use crate::package;

/// An address in device memory; 0 where a kernel takes none.
pub(super) type Address = u64;

/// Machine code of all kernels for all supported GPUs.
static FATBIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// Threads of a block: four warps, or eight for activations.
const THREADS: u32 = 128;
const ACTIVATION_THREADS: u32 = 256;
/// Rows of a block where a warp takes a row.
const ROWS: u32 = 4;

/// The kernels, loaded into a context.
pub(super) struct Kernels {
    module: Arc<CudaModule>,
}

impl Kernels {
    pub(super) fn load(context: &Arc<CudaContext>) -> Result<Self, CudaError> {
        Ok(Self {
            module: context.load_module(Ptx::from_binary(FATBIN.to_vec()))?,
        })
    }

    fn get(&self, name: &str, threads: u32, shared: usize) -> Result<Kernel, CudaError> {
        let function = self.module.load_function(name)?;
        // Beyond 48 KB a kernel must ask first.
        if shared > 48 << 10 {
            let bytes = shared as i32;
            function.set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes)?;
        }
        Ok(Kernel {
            function,
            threads,
            shared: shared as u32,
        })
    }

    /// `out = LayerNorm(words + places)` for rows of `width`.
    pub(super) fn embedding(&self, element: Element, width: usize) -> Result<Kernel, CudaError> {
        let name = format!("embedding_{}_{}", element.name(), norm_vectors(width)?);
        self.get(&name, THREADS, 0)
    }

    /// `out = LayerNorm(x + bias + residual)` for rows of `width`.
    pub(super) fn residual_norm(
        &self,
        element: Element,
        width: usize,
    ) -> Result<Kernel, CudaError> {
        let name = format!("residual_norm_{}_{}", element.name(), norm_vectors(width)?);
        self.get(&name, THREADS, 0)
    }

    /// `out = f(x + bias)`, times the second half of each row where `gated`.
    pub(super) fn activation(&self, element: Element, gated: bool) -> Result<Kernel, CudaError> {
        let prefix = if gated { "gated_" } else { "" };
        let name = format!("{prefix}activation_{}", element.name());
        self.get(&name, ACTIVATION_THREADS, 0)
    }

    /// Attention with heads of `dim` values.
    pub(super) fn attention(
        &self,
        element: Element,
        dim: usize,
        rotary: bool,
    ) -> Result<Kernel, CudaError> {
        let dim = head_dimension(dim)?;
        let prefix = if rotary { "rotary_" } else { "" };
        let name = format!("{prefix}attention_{}_{dim}", element.name());
        self.get(&name, THREADS, 2 * 64 * (dim + 8) * Element::BYTES)
    }

    /// Disentangled attention with heads of `dim` values.
    pub(super) fn disentangled(&self, element: Element, dim: usize) -> Result<Kernel, CudaError> {
        let dim = head_dimension(dim)?;
        let name = format!("disentangled_{}_{dim}", element.name());
        let tiles = (2 * 64 + 128) * (dim + 8);
        let bands = 2 * 64 * (80 + 8);
        self.get(&name, THREADS, (tiles + bands) * Element::BYTES)
    }

    /// The first row of each sequence, or the mean of its rows.
    pub(super) fn pool(&self, element: Element) -> Result<Kernel, CudaError> {
        self.get(&format!("pool_{}", element.name()), THREADS, 0)
    }

    /// Logits to scores.
    pub(super) fn scores(&self) -> Result<Kernel, CudaError> {
        self.get("scores", THREADS, 0)
    }
}

/// Vectors of 8 that a lane of the normalising kernels holds: 2, 4 or 8.
fn norm_vectors(width: usize) -> Result<usize, CudaError> {
    if !width.is_multiple_of(8) || width > 2048 {
        return Err(CudaError::Unsupported(format!(
            "hidden_size is {width}; multiples of 8 up to 2048 are supported"
        )));
    }
    Ok((width.div_ceil(256)).next_power_of_two().max(2))
}

#[cfg(test)]
#[test]
fn hidden_vectors_that_no_kernel_takes_are_refused_by_their_field() {
    for (width, vectors) in [(8, 2), (384, 2), (768, 4), (1024, 4), (1536, 8), (2048, 8)] {
        assert_eq!(norm_vectors(width).unwrap(), vectors);
    }
    for width in [12, 2056] {
        let refused = norm_vectors(width).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("hidden_size is {width}")),
            "{refused}"
        );
    }
}

fn head_dimension(dim: usize) -> Result<usize, CudaError> {
    match dim {
        32 | 64 => Ok(dim),
        _ => Err(CudaError::Unsupported(format!(
            "attention heads of {dim} values; 32 and 64 are supported"
        ))),
    }
}

/// One kernel with the launch configuration that does not depend on the batch.
pub(super) struct Kernel {
    function: CudaFunction,
    threads: u32,
    shared: u32,
}

impl Kernel {
    /// Launches the kernel.
    ///
    /// # Safety
    ///
    /// `args` must be of the struct this kernel takes, and every address in it that of device memory
    /// of the size its comment in `kernels/` gives, alive until the work is done.
    pub(super) unsafe fn launch<A: DeviceRepr>(
        &self,
        stream: &CudaStream,
        grid: (u32, u32),
        args: &A,
    ) -> Result<(), CudaError> {
        if grid.0 == 0 || grid.1 == 0 {
            return Ok(());
        }
        let config = LaunchConfig {
            grid_dim: (grid.0, grid.1, 1),
            block_dim: (self.threads, 1, 1),
            shared_mem_bytes: self.shared,
        };
        // SAFETY: the caller's promise is this call's requirement.
        unsafe {
            stream
                .launch_builder(&self.function)
                .arg(args)
                .launch(config)
        }?;
        Ok(())
    }
}

/// Blocks for `rows` rows where a warp takes a row.
pub(super) fn row_blocks(rows: usize) -> (u32, u32) {
    ((rows as u32).div_ceil(ROWS), 1)
}

/// Blocks for `rows` rows of `width` elements where a thread takes 8.
pub(super) fn element_blocks(rows: usize, width: usize) -> (u32, u32) {
    (((rows * width / 8) as u32).div_ceil(ACTIVATION_THREADS), 1)
}

/// The number `activation.cu` knows the function by.
pub(super) fn function_number(activation: Activation) -> i32 {
    match activation {
        Activation::None => 0,
        Activation::GeluErf => 1,
        Activation::GeluTanh => 2,
        Activation::Relu => 3,
        Activation::Silu => 4,
        Activation::Tanh => 5,
    }
}

/// The number `heads.cu` knows the way from logits to scores by.
pub(super) fn scoring_number(activation: package::Activation) -> i32 {
    match activation {
        package::Activation::Sigmoid => 0,
        package::Activation::Softmax => 1,
        package::Activation::Identity => 2,
    }
}

/// Arguments of `embedding.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct EmbeddingArgs {
    pub(super) ids: Address,
    pub(super) positions: Address,
    pub(super) words: Address,
    pub(super) places: Address,
    pub(super) weight: Address,
    pub(super) bias: Address,
    pub(super) out: Address,
    pub(super) rows: i32,
    pub(super) width: i32,
    pub(super) eps: f32,
}

/// Arguments of `residual_norm.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct ResidualNormArgs {
    pub(super) x: Address,
    pub(super) x_bias: Address,
    pub(super) residual: Address,
    pub(super) sum: Address,
    pub(super) weight: Address,
    pub(super) bias: Address,
    pub(super) out: Address,
    pub(super) rows: i32,
    pub(super) width: i32,
    pub(super) eps: f32,
}

/// Arguments of `activation.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct ActivationArgs {
    pub(super) x: Address,
    pub(super) bias: Address,
    pub(super) out: Address,
    pub(super) rows: i32,
    pub(super) width: i32,
    pub(super) function: i32,
}

/// Arguments of `attention.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionArgs {
    pub(super) qkv: Address,
    pub(super) context: Address,
    pub(super) tiles: Address,
    pub(super) rotation: Address,
    pub(super) heads: i32,
    pub(super) window: i32,
    pub(super) scale: f32,
}

/// Arguments of `disentangled.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct DisentangledArgs {
    pub(super) qkv: Address,
    pub(super) context: Address,
    pub(super) tiles: Address,
    pub(super) key_positions: Address,
    pub(super) query_positions: Address,
    pub(super) slots: Address,
    pub(super) reach: i32,
    pub(super) heads: i32,
    pub(super) scale: f32,
}

/// Arguments of `pool` in `heads.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct PoolArgs {
    pub(super) x: Address,
    pub(super) starts: Address,
    pub(super) out: Address,
    pub(super) width: i32,
    pub(super) mean: i32,
}

/// Arguments of `scores` in `heads.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct ScoresArgs {
    pub(super) logits: Address,
    pub(super) bias: Address,
    pub(super) out: Address,
    pub(super) rows: i32,
    pub(super) labels: i32,
    pub(super) stride: i32,
    pub(super) scoring: i32,
}

macro_rules! passed_by_value {
    ($($args:ty),* $(,)?) => {$(
        // SAFETY: `repr(C)`, of integers and floats alone, laid out as C lays out its namesake.
        unsafe impl DeviceRepr for $args {}
    )*};
}
passed_by_value!(
    EmbeddingArgs,
    ResidualNormArgs,
    ActivationArgs,
    AttentionArgs,
    DisentangledArgs,
    PoolArgs,
    ScoresArgs,
);
