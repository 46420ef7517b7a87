//! The 16-bit types that weights and activations have on the device.

use cudarc::cublaslt::sys::cudaDataType_t;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::error::CudaError;

/// A 16-bit floating-point type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// 11 bits of precision, up to 65504.
    F16,
    /// 8 bits of precision, the range of f32.
    Bf16,
}

impl Element {
    /// Bytes of one.
    pub(super) const BYTES: usize = 2;

    /// As kernels are named.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// As cublasLt names it.
    pub(super) fn data_type(self) -> cudaDataType_t {
        match self {
            Self::F16 => cudaDataType_t::CUDA_R_16F,
            Self::Bf16 => cudaDataType_t::CUDA_R_16BF,
        }
    }

    /// `values` rounded to this type, as bits; fails on a value beyond its range.
    pub(super) fn convert(self, values: &[f32]) -> Result<Vec<u16>, CudaError> {
        let mut bits = vec![0u16; values.len()];
        match self {
            Self::F16 => {
                let most = f32::from(f16::MAX);
                if let Some(&value) = values.iter().find(|v| v.abs() > most) {
                    return Err(CudaError::Range(value));
                }
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                bits.iter_mut()
                    .zip(halves)
                    .for_each(|(b, h)| *b = h.to_bits());
            }
            Self::Bf16 => bits
                .iter_mut()
                .zip(values)
                .for_each(|(b, v)| *b = bf16::from_f32(*v).to_bits()),
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_f16_cannot_hold_is_refused_and_bf16_holds_it() {
        assert!(matches!(
            Element::F16.convert(&[1.0, -7e4]),
            Err(CudaError::Range(v)) if v == -7e4
        ));
        assert_eq!(
            Element::F16.convert(&[1.0, -2.0]).unwrap(),
            [0x3c00, 0xc000]
        );
        assert_eq!(
            Element::Bf16.convert(&[1.0, -7e4]).unwrap(),
            [0x3f80, 0xc789]
        );
    }
}
