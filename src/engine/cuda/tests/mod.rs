//! The engine and its kernels against plain f32 arithmetic, on a GPU where there is one and on the
//! emulated one of `tests/emulator` elsewhere.

#![allow(clippy::print_stdout, reason = "tests say what they measured")]

mod accuracy;
mod index;
mod kernels;
mod machine;
mod models;
mod reference;
mod report;

/// Numbers that look random and are the same in every run of a test, in -1 to 1.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn one(&mut self) -> f32 {
        // xorshift64*, Vigna (arXiv:1402.6246).
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        bits as f32 / (1 << 23) as f32 - 1.0
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((f64::from(self.one()) + 1.0) / 2.0 * bound as f64) as usize % bound
    }

    pub(super) fn many(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.one() * scale).collect()
    }
}

/// `|a - b| / |b|`; not a number where anything is not.
pub(super) fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |v: f64| v * v;
    let difference: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let size: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    (difference / size.max(1e-30)).sqrt()
}
