//! The weights of a model as they will lie in device memory: put together on the host, copied once.

use std::collections::HashMap;
use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::element::Element;
use super::error::CudaError;
use super::kernels::Address;
use crate::encoder::ops::{LayerNorm, Linear};

/// Alignment of every tensor: what cublasLt's best algorithms ask for.
pub(super) const ALIGNMENT: usize = 256;

/// Where a tensor lies, in bytes from the beginning of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset(usize);

/// A linear layer's tensors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix {
    /// `[outputs, inputs]`.
    pub(super) weight: Offset,
    /// `[outputs]`, f32.
    pub(super) bias: Offset,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

/// A normalisation's tensors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    /// `[width]`, f32.
    pub(super) weight: Offset,
    /// `[width]`, f32; `None` where there is none.
    pub(super) bias: Option<Offset>,
    pub(super) eps: f32,
}

/// Tensors one after the other.
pub(super) struct Image {
    element: Element,
    bytes: Vec<u8>,
    /// Tables that several layers share, by where they lie on the host.
    shared: HashMap<*const f32, Offset>,
}

impl Image {
    pub(super) fn new(element: Element) -> Self {
        Self {
            element,
            bytes: Vec::new(),
            shared: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn begin(&mut self) -> Offset {
        let at = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(at, 0);
        Offset(at)
    }

    /// 16-bit integers.
    pub(super) fn integers(&mut self, values: &[u16]) -> Offset {
        let at = self.begin();
        self.bytes
            .extend(values.iter().flat_map(|v| v.to_ne_bytes()));
        at
    }

    /// f32 values.
    pub(super) fn floats(&mut self, values: impl IntoIterator<Item = f32>) -> Offset {
        let at = self.begin();
        self.bytes
            .extend(values.into_iter().flat_map(f32::to_ne_bytes));
        at
    }

    /// f32 values of a table that may be given again; `key` is where it lies on the host.
    pub(super) fn floats_once(
        &mut self,
        key: &[f32],
        values: impl IntoIterator<Item = f32>,
    ) -> Offset {
        if let Some(&known) = self.shared.get(&key.as_ptr()) {
            return known;
        }
        let at = self.floats(values);
        self.shared.insert(key.as_ptr(), at);
        at
    }

    /// Values rounded to the element type.
    pub(super) fn elements(&mut self, values: &[f32]) -> Result<Offset, CudaError> {
        Ok(self.integers(&self.element.convert(values)?))
    }

    /// A linear layer whose outputs are those of `parts` side by side, filled up with zeros to a
    /// multiple of `multiple`.
    pub(super) fn linear(
        &mut self,
        parts: &[&Linear],
        multiple: usize,
    ) -> Result<Matrix, CudaError> {
        let inputs = parts.first().map_or(0, |p| p.inputs());
        let mut weight: Vec<f32> = parts.iter().flat_map(|p| p.weight()).collect();
        let mut bias: Vec<f32> = parts.iter().flat_map(|p| p.bias()).copied().collect();
        let outputs = bias.len().next_multiple_of(multiple);
        weight.resize(outputs * inputs, 0.0);
        bias.resize(outputs, 0.0);
        Ok(Matrix {
            weight: self.elements(&weight)?,
            bias: self.floats(bias),
            inputs,
            outputs,
        })
    }

    pub(super) fn norm(&mut self, norm: &LayerNorm) -> Norm {
        let bias = norm.bias.iter().any(|b| *b != 0.0);
        Norm {
            weight: self.floats(norm.weight.iter().copied()),
            bias: bias.then(|| self.floats(norm.bias.iter().copied())),
            eps: norm.eps,
        }
    }

    /// Copies the image to the device.
    pub(super) fn upload(self, stream: &Arc<CudaStream>) -> Result<Uploaded, CudaError> {
        let memory = stream.clone_htod(&self.bytes)?;
        stream.synchronize()?;
        let base = memory.device_ptr(stream).0;
        Ok(Uploaded {
            _memory: memory,
            base,
        })
    }
}

/// An image in device memory.
pub(super) struct Uploaded {
    _memory: CudaSlice<u8>,
    base: Address,
}

impl Uploaded {
    pub(super) fn at(&self, offset: Offset) -> Address {
        self.base + offset.0 as u64
    }

    /// The address, or 0 for what is not there.
    pub(super) fn maybe(&self, offset: Option<Offset>) -> Address {
        offset.map_or(0, |o| self.at(o))
    }
}
