//! Matrix products through cublasLt: `y = x W^T (+ bias)`, with an algorithm that is chosen once a
//! shape and size class, so that a row's result does not depend on the other rows.
//!
//! Products are enqueued while a graph is captured, never on the way of a request, so descriptors
//! live as long as a call.

use std::collections::HashMap;
use std::ffi::c_void;
use std::mem::MaybeUninit;

use cudarc::cublaslt::result::{self as lt, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t, cublasLtEpilogue_t, cublasLtMatmulAlgo_t,
    cublasLtMatmulAlgoConfigAttributes_t as Config, cublasLtMatmulDescAttributes_t as Attribute,
    cublasLtMatmulHeuristicResult_t, cublasLtMatmulPreferenceAttributes_t as Preference,
    cublasStatus_t, cudaDataType_t,
};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use std::sync::Arc;

use super::element::Element;
use super::error::CudaError;
use super::kernels::Address;

/// Bytes cublasLt may use beside its operands.
const WORKSPACE: usize = 32 << 20;
/// Algorithms to choose from.
const CANDIDATES: usize = 16;
/// Products of up to so many rows share an algorithm; larger ones are a class of their own.
pub(super) const SIZE_CLASSES: [usize; 3] = [128, 512, 2048];

/// `CUBLAS_OP_N` and `CUBLAS_OP_T`.
const OP_N: i32 = 0;
const OP_T: i32 = 1;

/// One product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) element: Element,
    pub(super) rows: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// `[rows, inputs]`.
    pub(super) x: Address,
    /// `[outputs, inputs]`.
    pub(super) weight: Address,
    /// `[outputs]` of the element type, or 0.
    pub(super) bias: Address,
    /// `[rows, outputs]`.
    pub(super) y: Address,
    /// Whether `y` is f32.
    pub(super) wide: bool,
}

/// What products with one algorithm have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Class {
    size: usize,
    inputs: usize,
    outputs: usize,
    bf16: bool,
    bias: bool,
    wide: bool,
}

/// A cublasLt handle, its workspace and the algorithms in use.
pub(super) struct Matmul {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    algorithms: HashMap<Class, cublasLtMatmulAlgo_t>,
    /// Rows of the largest product.
    most: usize,
}

// SAFETY: a cublasLt handle may be used from any thread, one at a time; it is used through `&mut`.
unsafe impl Send for Matmul {}

impl Matmul {
    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self, CudaError> {
        let workspace = stream.alloc_zeros(WORKSPACE)?;
        Ok(Self {
            handle: lt::create_handle()?,
            workspace,
            algorithms: HashMap::new(),
            most: 0,
        })
    }

    /// Tells how many rows products have at most: the size of the largest class.
    pub(super) fn set_most(&mut self, rows: usize) {
        if self.most != rows {
            self.most = rows;
            self.algorithms.clear();
        }
    }

    /// Enqueues `y = x W^T (+ bias)`.
    ///
    /// # Safety
    ///
    /// The addresses must be those of device memory of the sizes that `product` states, alive until
    /// the work is done, and `y` must not overlap what is read.
    pub(super) unsafe fn enqueue(
        &mut self,
        stream: &Arc<CudaStream>,
        product: &Product,
    ) -> Result<(), CudaError> {
        let call = Call::new(product, product.rows)?;
        let algorithm = self.algorithm(product, &call)?;
        let (workspace, _guard) = self.workspace.device_ptr(stream);
        let (alpha, beta) = (1.0f32, 0.0f32);
        // SAFETY: descriptors and layouts live until the call returns, which copies what it needs of
        // them and of alpha and beta; the operands are the caller's promise.
        unsafe {
            lt::matmul(
                self.handle,
                call.operation,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                product.weight as *const c_void,
                call.weight,
                product.x as *const c_void,
                call.x,
                product.y as *const c_void,
                call.y,
                product.y as *mut c_void,
                call.y,
                &raw const algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                stream.cu_stream().cast(),
            )
        }?;
        Ok(())
    }

    /// The algorithm of the product's class.
    fn algorithm(
        &mut self,
        product: &Product,
        call: &Call,
    ) -> Result<cublasLtMatmulAlgo_t, CudaError> {
        let size = SIZE_CLASSES
            .into_iter()
            .find(|&size| product.rows <= size)
            .unwrap_or(self.most.max(product.rows));
        let class = Class {
            size,
            inputs: product.inputs,
            outputs: product.outputs,
            bf16: product.element == Element::Bf16,
            bias: product.bias != 0,
            wide: product.wide,
        };
        let algorithm = match self.algorithms.get(&class) {
            Some(known) => *known,
            None => {
                let chosen = self.choose(&Call::new(product, size)?)?;
                self.algorithms.insert(class, chosen);
                chosen
            }
        };
        if self.runs(&algorithm, call) {
            return Ok(algorithm);
        }
        // The class's algorithm does not take this number of rows: the result stays right, but its
        // last bits may differ from the rest of the class.
        let rows = product.rows;
        tracing::warn!(
            rows,
            ?class,
            "an algorithm of its own: last bits depend on the batch"
        );
        self.choose(call)
    }

    /// The best algorithm without split sums, by cublasLt's own estimate.
    fn choose(&self, call: &Call) -> Result<cublasLtMatmulAlgo_t, CudaError> {
        let preference = Limits::new()?;
        let mut found =
            [const { MaybeUninit::<cublasLtMatmulHeuristicResult_t>::zeroed() }; CANDIDATES];
        let mut count = 0;
        // SAFETY: all descriptors are alive, and `found` has room for as many results as are asked for.
        unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                self.handle,
                call.operation,
                call.weight,
                call.x,
                call.y,
                call.y,
                preference.0,
                CANDIDATES as i32,
                found.as_mut_ptr().cast(),
                &raw mut count,
            )
            .result()?;
        }
        found
            .iter()
            .take(usize::try_from(count).unwrap_or(0))
            // SAFETY: zeroed is a valid value of this plain struct, and cublasLt filled in `count`.
            .map(|result| unsafe { result.assume_init_ref() })
            .find(|result| {
                result.state == cublasStatus_t::CUBLAS_STATUS_SUCCESS && !splits_sums(&result.algo)
            })
            .map(|result| result.algo)
            .ok_or(CublasError(cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED).into())
    }

    fn runs(&self, algorithm: &cublasLtMatmulAlgo_t, call: &Call) -> bool {
        let mut result = MaybeUninit::<cublasLtMatmulHeuristicResult_t>::zeroed();
        // SAFETY: all descriptors are alive; zeroed is a valid value of the plain result struct.
        unsafe {
            sys::cublasLtMatmulAlgoCheck(
                self.handle,
                call.operation,
                call.weight,
                call.x,
                call.y,
                call.y,
                algorithm,
                result.as_mut_ptr(),
            ) == cublasStatus_t::CUBLAS_STATUS_SUCCESS
                && result.assume_init_ref().workspaceSize <= WORKSPACE
        }
    }
}

impl Drop for Matmul {
    fn drop(&mut self) {
        // SAFETY: the handle is this struct's own. After a device error this may fail: no matter.
        let _ = unsafe { lt::destroy_handle(self.handle) };
    }
}

/// Whether the sum over the inputs is cut into parts that are added up later.
fn splits_sums(algorithm: &cublasLtMatmulAlgo_t) -> bool {
    let mut parts = 0i32;
    let mut written = 0;
    // SAFETY: the attribute is an integer of 4 bytes.
    let status = unsafe {
        sys::cublasLtMatmulAlgoConfigGetAttribute(
            algorithm,
            Config::CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
            (&raw mut parts).cast(),
            size_of::<i32>(),
            &raw mut written,
        )
    };
    status == cublasStatus_t::CUBLAS_STATUS_SUCCESS && parts > 1
}

/// Descriptors of one product. cublasLt counts in columns: it computes `y^T = W x^T`, where a
/// row-major matrix is the transpose of a column-major one.
struct Call {
    operation: sys::cublasLtMatmulDesc_t,
    weight: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
}

impl Call {
    /// The descriptors of `product` with so many rows.
    fn new(product: &Product, rows: usize) -> Result<Self, CudaError> {
        let (rows, inputs, outputs) = (rows as u64, product.inputs as u64, product.outputs as u64);
        let element = product.element.data_type();
        let result = match product.wide {
            true => cudaDataType_t::CUDA_R_32F,
            false => element,
        };
        let null = std::ptr::null_mut();
        let mut call = Self {
            operation: null as _,
            weight: null as _,
            x: null as _,
            y: null as _,
        };
        call.operation = lt::create_matmul_desc(
            cublasComputeType_t::CUBLAS_COMPUTE_32F,
            cudaDataType_t::CUDA_R_32F,
        )?;
        call.weight = lt::create_matrix_layout(element, inputs, outputs, inputs as i64)?;
        call.x = lt::create_matrix_layout(element, inputs, rows, inputs as i64)?;
        call.y = lt::create_matrix_layout(result, outputs, rows, outputs as i64)?;
        call.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &OP_T)?;
        call.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, &OP_N)?;
        if product.bias != 0 {
            let epilogue = cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as u32;
            call.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            call.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &product.bias)?;
        }
        Ok(call)
    }

    /// Sets an attribute of the operation, whose type must be `T`.
    fn set<T>(&self, attribute: Attribute, value: &T) -> Result<(), CudaError> {
        // SAFETY: the operation is alive, and the attribute's size is checked by cublasLt.
        unsafe {
            lt::set_matmul_desc_attribute(
                self.operation,
                attribute,
                std::ptr::from_ref(value).cast(),
                size_of::<T>(),
            )
        }?;
        Ok(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // SAFETY: what is not null was made by `new` and is destroyed once.
        unsafe {
            if !self.operation.is_null() {
                let _ = lt::destroy_matmul_desc(self.operation);
            }
            for layout in [self.weight, self.x, self.y] {
                if !layout.is_null() {
                    let _ = lt::destroy_matrix_layout(layout);
                }
            }
        }
    }
}

/// What algorithms may do: use the workspace, and no split sums.
struct Limits(sys::cublasLtMatmulPreference_t);

impl Limits {
    fn new() -> Result<Self, CudaError> {
        let limits = Self(lt::create_matmul_pref()?);
        let set = |attribute, value: *const c_void, bytes| {
            // SAFETY: the preference is alive, and the attribute's size is checked by cublasLt.
            unsafe { lt::set_matmul_pref_attribute(limits.0, attribute, value, bytes) }
        };
        let workspace: usize = WORKSPACE;
        set(
            Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            (&raw const workspace).cast(),
            size_of::<usize>(),
        )?;
        let no_reduction = 0u32;
        set(
            Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
            (&raw const no_reduction).cast(),
            size_of::<u32>(),
        )?;
        Ok(limits)
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        let _ = unsafe { lt::destroy_matmul_pref(self.0) };
    }
}
