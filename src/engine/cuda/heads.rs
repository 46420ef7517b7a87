//! Attention heads as the kernels take them: of 32 or 64 values. Smaller ones are filled up with zeros,
//! which add nothing to any product.

use super::error::CudaError;

/// The attention heads of a network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) count: usize,
    dim: usize,
    /// Values of a head on the device.
    pub(super) filled: usize,
}

impl Heads {
    pub(super) fn new(hidden: usize, count: usize) -> Result<Self, CudaError> {
        let dim = hidden / count.max(1);
        let filled = match dim {
            1..=32 => 32,
            33..=64 => 64,
            _ => {
                return Err(CudaError::Unsupported(format!(
                    "hidden_size / num_attention_heads is {dim}; heads of up to 64 values are \
                     supported"
                )));
            }
        };
        Ok(Self { count, dim, filled })
    }

    /// Values of all heads on the device.
    pub(super) fn width(self) -> usize {
        self.count * self.filled
    }

    /// Where value `at` of all heads goes. The halves of a head stay halves, as rotary positions need.
    fn place(self, at: usize) -> usize {
        let (head, k) = (at / self.dim, at % self.dim);
        let half = self.dim.div_ceil(2);
        let k = match k < half {
            true => k,
            false => self.filled / 2 + k - half,
        };
        head * self.filled + k
    }

    /// Fills up the heads in each row of `values`, which has `parts` times all heads.
    pub(super) fn fill_columns(self, values: &[f32], parts: usize) -> Vec<f32> {
        let own = self.count * self.dim;
        let mut filled = vec![0.0; values.len() / own * self.width()];
        debug_assert_eq!(values.len() % (own * parts), 0);
        for (to, from) in filled
            .chunks_exact_mut(self.width())
            .zip(values.chunks_exact(own))
        {
            for (at, value) in from.iter().enumerate() {
                to[self.place(at)] = *value;
            }
        }
        filled
    }

    /// Fills up the heads that are rows of `values`, each of `width` values.
    pub(super) fn fill_rows(self, values: &[f32], width: usize) -> Vec<f32> {
        let own = self.count * self.dim;
        let mut filled = vec![0.0; values.len() / own * self.width()];
        for (at, row) in values.chunks_exact(width).enumerate() {
            let to = at / own * self.width() + self.place(at % own);
            filled[to * width..][..width].copy_from_slice(row);
        }
        filled
    }

    /// Cosine and sine of each position and pair of values, for filled heads.
    pub(super) fn rotation(self, cosines: &[f32], sines: &[f32]) -> Vec<f32> {
        let (half, filled) = (self.dim / 2, self.filled / 2);
        let mut pairs = Vec::with_capacity(cosines.len() / half.max(1) * filled * 2);
        for (cosines, sines) in cosines
            .chunks_exact(half.max(1))
            .zip(sines.chunks_exact(half.max(1)))
        {
            pairs.extend(cosines.iter().zip(sines).flat_map(|(c, s)| [*c, *s]));
            pairs.extend(std::iter::repeat_n([1.0, 0.0], filled - half).flatten());
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_heads_keep_their_halves_apart() {
        let heads = Heads::new(8, 2).unwrap(); // two heads of 4
        assert_eq!((heads.filled, heads.width()), (32, 64));
        let filled = heads.fill_columns(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 1);
        let nonzero: Vec<(usize, f32)> = (0..64).zip(filled).filter(|(_, v)| *v != 0.0).collect();
        assert_eq!(
            nonzero,
            [
                (0, 1.0),
                (1, 2.0),
                (16, 3.0),
                (17, 4.0),
                (32, 5.0),
                (33, 6.0),
                (48, 7.0),
                (49, 8.0)
            ]
        );
    }

    #[test]
    fn full_heads_stay_as_they_are() {
        let heads = Heads::new(128, 2).unwrap();
        let values: Vec<f32> = (0..3 * 128 * 2).map(|i| i as f32).collect();
        assert_eq!(heads.fill_rows(&values, 2), values);
        assert_eq!(heads.fill_columns(&values, 3), values);
        let refused = Heads::new(256, 2).unwrap_err().to_string();
        assert!(
            refused.contains("hidden_size / num_attention_heads is 128"),
            "{refused}"
        );
    }
}
