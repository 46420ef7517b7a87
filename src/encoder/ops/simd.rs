//! SIMD: the instruction set in use, and the one register kernel all matrix products share.
//!
//! The kernel multiplies a few rows of `a` with one panel of the other matrix and keeps the whole
//! tile in registers over the full depth: AVX-512 12 rows x 32 columns (24 accumulators), AVX2 6 x
//! 16 (12 accumulators). Work per step of the depth: one row of the panel (128 or 64 bytes) is
//! loaded for 24 or 12 fused multiply-adds, so the panel may stream from the L2 cache.

#![allow(
    unsafe_code,
    reason = "vector intrinsics; every block states why it is sound"
)]

pub(super) mod amx;

use std::sync::OnceLock;

/// Instruction sets with a kernel of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust, vectorised by the compiler for the target's baseline.
    Portable,
}

impl Isa {
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Columns of a panel.
    pub(super) fn columns(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 32,
            _ => 16,
        }
    }

    /// Most rows of a tile.
    pub(super) fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 12,
            _ => 6,
        }
    }

    /// All that this machine can run, best first.
    pub(super) fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                all.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self::Avx2);
            }
        }
        all.push(Self::Portable);
        all
    }
}

/// The best instruction set of this machine, asked once.
pub(super) fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| Isa::available()[0])
}

/// One tile: `c[r][j] = sum_k a[r][k] * panel[k][j]` for `rows` rows and a panel's columns.
///
/// `a` holds `rows` rows of at least `depth` values, `lda` apart; `panel` is `[depth, columns]`;
/// `c` receives `rows` rows of `isa.columns()` values, `ldc` apart.
///
/// Panics if a slice is too short: the bounds the unsafe code relies on. `isa` must be one of
/// [`Isa::available`], the only place that makes one of the vector kinds.
#[allow(clippy::too_many_arguments, reason = "the operands of one matrix tile")]
pub(super) fn tile(
    isa: Isa,
    rows: usize,
    depth: usize,
    a: &[f32],
    lda: usize,
    panel: &[f32],
    c: &mut [f32],
    ldc: usize,
) {
    let columns = isa.columns();
    assert!(rows >= 1 && rows <= isa.rows());
    assert!(a.len() >= (rows - 1) * lda + depth);
    assert!(panel.len() >= depth * columns);
    assert!(ldc >= columns && c.len() >= (rows - 1) * ldc + columns);

    #[cfg(target_arch = "x86_64")]
    macro_rules! by_rows {
        ($kernel:ident: $($n:literal)*) => {
            match rows {
                $($n => {
                    // SAFETY: `isa` comes from `Isa::available`, so the CPU has the kernel's
                    // features; the asserts above give the bounds that the kernel reads
                    // (`a`: row r < rows at r*lda + k, k < depth; `panel`: k*columns + j) and
                    // writes (`c`: r*ldc + j, j < columns).
                    unsafe { x86::$kernel::<$n>(depth, a.as_ptr(), lda, panel.as_ptr(), c.as_mut_ptr(), ldc) }
                })*
                _ => unreachable!("rows were checked above"),
            }
        };
    }
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => by_rows!(tile_avx512: 1 2 3 4 5 6 7 8 9 10 11 12),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => by_rows!(tile_avx2: 1 2 3 4 5 6),
        Isa::Portable => tile_portable(rows, depth, a, lda, panel, c, ldc),
    }
}

fn tile_portable(
    rows: usize,
    depth: usize,
    a: &[f32],
    lda: usize,
    panel: &[f32],
    c: &mut [f32],
    ldc: usize,
) {
    for r in 0..rows {
        let mut sum = [0f32; 16];
        for (x, b) in a[r * lda..][..depth].iter().zip(panel.chunks_exact(16)) {
            for (s, b) in sum.iter_mut().zip(b) {
                *s += x * b;
            }
        }
        c[r * ldc..][..16].copy_from_slice(&sum);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    /// `R` rows x 32 columns.
    ///
    /// # Safety
    /// AVX-512F must be present; `a`, `panel` and `c` must be valid for the indices that
    /// [`super::tile`] states.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn tile_avx512<const R: usize>(
        depth: usize,
        a: *const f32,
        lda: usize,
        panel: *const f32,
        c: *mut f32,
        ldc: usize,
    ) {
        let mut sum = [[_mm512_setzero_ps(); 2]; R];
        for k in 0..depth {
            // SAFETY: k < depth, r < R: inside `a` and `panel` by the caller's promise.
            unsafe {
                let b0 = _mm512_loadu_ps(panel.add(k * 32));
                let b1 = _mm512_loadu_ps(panel.add(k * 32 + 16));
                for (r, sum) in sum.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.add(r * lda + k));
                    sum[0] = _mm512_fmadd_ps(x, b0, sum[0]);
                    sum[1] = _mm512_fmadd_ps(x, b1, sum[1]);
                }
            }
        }
        for (r, sum) in sum.iter().enumerate() {
            // SAFETY: r < R, 32 columns: inside `c` by the caller's promise.
            unsafe {
                _mm512_storeu_ps(c.add(r * ldc), sum[0]);
                _mm512_storeu_ps(c.add(r * ldc + 16), sum[1]);
            }
        }
    }

    /// `R` rows x 16 columns.
    ///
    /// # Safety
    /// AVX2 and FMA must be present; `a`, `panel` and `c` must be valid for the indices that
    /// [`super::tile`] states.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn tile_avx2<const R: usize>(
        depth: usize,
        a: *const f32,
        lda: usize,
        panel: *const f32,
        c: *mut f32,
        ldc: usize,
    ) {
        let mut sum = [[_mm256_setzero_ps(); 2]; R];
        for k in 0..depth {
            // SAFETY: k < depth, r < R: inside `a` and `panel` by the caller's promise.
            unsafe {
                let b0 = _mm256_loadu_ps(panel.add(k * 16));
                let b1 = _mm256_loadu_ps(panel.add(k * 16 + 8));
                for (r, sum) in sum.iter_mut().enumerate() {
                    let x = _mm256_broadcast_ss(&*a.add(r * lda + k));
                    sum[0] = _mm256_fmadd_ps(x, b0, sum[0]);
                    sum[1] = _mm256_fmadd_ps(x, b1, sum[1]);
                }
            }
        }
        for (r, sum) in sum.iter().enumerate() {
            // SAFETY: r < R, 16 columns: inside `c` by the caller's promise.
            unsafe {
                _mm256_storeu_ps(c.add(r * ldc), sum[0]);
                _mm256_storeu_ps(c.add(r * ldc + 8), sum[1]);
            }
        }
    }
}

/// Defines a function over slices whose body is compiled once for each instruction set, so that the
/// compiler vectorises its loops for the machine at hand. `FUSED` in it says whether [`fma`] is one
/// instruction.
macro_rules! vectorised {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::extra_unused_type_parameters, reason = "not all multiply and add")]
            fn body<const FUSED: bool>($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
            fn avx512($($arg: $ty),*) { body::<true>($($arg),*) }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) { body::<true>($($arg),*) }

            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("fma")
                {
                    // SAFETY: every feature the function enables was just found on this CPU; the
                    // body itself is safe code.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body::<{ cfg!(target_arch = "aarch64") }>($($arg),*);
        }
    };
}

vectorised! {
    /// `x = exp(x - shift)`, and the sum of the results is added to `total`.
    ///
    /// Relative error under 2e-7 (degree 6 polynomial on [-ln2/2, ln2/2]); arguments under -87 give
    /// zero to within the smallest normal number.
    pub(super) fn exp_sum(xs: &mut [f32], shift: f32, total: &mut f32) {
        let mut sums = [0f32; 16];
        let mut chunks = xs.chunks_exact_mut(16);
        for chunk in &mut chunks {
            for (x, sum) in chunk.iter_mut().zip(&mut sums) {
                *x = exp::<FUSED>(*x - shift);
                *sum += *x;
            }
        }
        let mut sum = sums.iter().sum::<f32>();
        for x in chunks.into_remainder() {
            *x = exp::<FUSED>(*x - shift);
            sum += *x;
        }
        *total += sum;
    }
}

vectorised! {
    /// The largest value, written to `top` if it is above it.
    pub(super) fn maximum(xs: &[f32], top: &mut f32) {
        let mut tops = [f32::NEG_INFINITY; 16];
        let mut chunks = xs.chunks_exact(16);
        for chunk in &mut chunks {
            for (x, top) in chunk.iter().zip(&mut tops) {
                *top = if *x > *top { *x } else { *top };
            }
        }
        for x in tops.iter().chain(chunks.remainder()) {
            *top = if *x > *top { *x } else { *top };
        }
    }
}

vectorised! {
    /// `x = x * factor`.
    pub(super) fn scale(xs: &mut [f32], factor: f32) {
        for x in xs {
            *x *= factor;
        }
    }
}

vectorised! {
    /// `x = gelu(x + bias)`, the exact GELU `x * Phi(x)`, `xs` being rows of `bias.len()` values.
    ///
    /// Phi by Abramowitz and Stegun 7.1.26, used on the tail so that nothing cancels: absolute error
    /// under 2e-7 times |x|.
    pub(super) fn bias_gelu_erf(xs: &mut [f32], bias: &[f32]) {
        for row in xs.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                let v = *x + b;
                let z = v.abs() * std::f32::consts::FRAC_1_SQRT_2;
                let t = 1.0 / fma::<FUSED>(0.327_591_1, z, 1.0);
                let poly = fma::<FUSED>(t, 1.061_405_4, -1.453_152_1);
                let poly = fma::<FUSED>(t, poly, 1.421_413_8);
                let poly = fma::<FUSED>(t, poly, -0.284_496_72);
                let poly = t * fma::<FUSED>(t, poly, 0.254_829_6);
                let tail = 0.5 * poly * exp::<FUSED>(-z * z);
                let phi = if v >= 0.0 { 1.0 - tail } else { tail };
                *x = v * phi;
            }
        }
    }
}

vectorised! {
    /// As [`bias_gelu_erf`], for results that are rounded to bf16: absolute error under 1e-4.
    ///
    /// Phi is 1/2 plus an odd polynomial of degree 15, fitted so that it is 0 and 1 at -4.25 and 4.25.
    pub(super) fn bias_gelu_erf_rounded(xs: &mut [f32], bias: &[f32]) {
        const END: f32 = 4.25;
        for row in xs.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                let v = *x + b;
                // Comparisons that are false for a NaN leave it one.
                let z = if v > END { END } else { v };
                let z = if z < -END { -END } else { z };
                let t = z * z * (1.0 / (END * END));
                let poly = fma::<FUSED>(t, -0.534_457_6, 2.644_578_7);
                let poly = fma::<FUSED>(t, poly, -5.675_933);
                let poly = fma::<FUSED>(t, poly, 6.997_278_7);
                let poly = fma::<FUSED>(t, poly, -5.552_902);
                let poly = fma::<FUSED>(t, poly, 3.023_267_7);
                let poly = fma::<FUSED>(t, poly, -1.182_622_3);
                let poly = fma::<FUSED>(t, poly, 0.398_436_93);
                *x = v * fma::<FUSED>(z, poly, 0.5);
            }
        }
    }
}

vectorised! {
    /// `x = gelu(x + bias)` by the tanh formula (`gelu_new`, `gelu_pytorch_tanh`).
    pub(super) fn bias_gelu_tanh(xs: &mut [f32], bias: &[f32]) {
        for row in xs.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                let v = *x + b;
                // 0.5 (1 + tanh u) = 1 / (1 + exp(-2u))
                let u = 0.797_884_6 * fma::<FUSED>(0.044_715 * v * v, v, v);
                *x = v / (1.0 + exp::<FUSED>(-2.0 * u));
            }
        }
    }
}

vectorised! {
    /// `x = max(x + bias, 0)`.
    pub(super) fn bias_relu(xs: &mut [f32], bias: &[f32]) {
        for row in xs.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                let v = *x + b;
                *x = if v < 0.0 { 0.0 } else { v };
            }
        }
    }
}

vectorised! {
    /// `x = silu(x + bias) = v / (1 + exp(-v))`.
    pub(super) fn bias_silu(xs: &mut [f32], bias: &[f32]) {
        for row in xs.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                let v = *x + b;
                *x = v / (1.0 + exp::<FUSED>(-v));
            }
        }
    }
}

vectorised! {
    /// `x = tanh(x + bias)`, to 2e-7.
    pub(super) fn bias_tanh(xs: &mut [f32], bias: &[f32]) {
        for row in xs.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                *x = 1.0 - 2.0 / (1.0 + exp::<FUSED>(2.0 * (*x + b)));
            }
        }
    }
}

vectorised! {
    /// `x = x + bias`, `xs` being rows of `bias.len()` values.
    pub(super) fn add_bias(xs: &mut [f32], bias: &[f32]) {
        for row in xs.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                *x += b;
            }
        }
    }
}

vectorised! {
    /// Each of `lines` from `at` on is a row of `block` plus `bias`: `wide` values of [`amx::COLUMNS`].
    pub(super) fn biased_lines(
        block: &[f32],
        bias: &[f32],
        lines: &mut [&mut [f32]],
        at: usize,
        wide: usize,
    ) {
        let bias = &bias[..amx::COLUMNS];
        for (line, row) in lines.iter_mut().zip(block.chunks_exact(amx::COLUMNS)) {
            let to = &mut line[at..][..wide];
            // All of a row, nearly always: a length that the compiler knows.
            if let Ok(to) = <&mut [f32; amx::COLUMNS]>::try_from(&mut *to) {
                for ((to, x), b) in to.iter_mut().zip(row).zip(bias) {
                    *to = x + b;
                }
            } else {
                for ((to, x), b) in to.iter_mut().zip(row).zip(bias) {
                    *to = x + b;
                }
            }
        }
    }
}

vectorised! {
    /// `x = LayerNorm(x)` in place, row by row of `weight.len()` values.
    pub(super) fn layer_norm(xs: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
        let n = weight.len();
        for row in xs.chunks_exact_mut(n) {
            let mut sums = [0f32; 16];
            let chunks = row.chunks_exact(16);
            let mut total = chunks.remainder().iter().sum::<f32>();
            for chunk in chunks {
                for (s, x) in sums.iter_mut().zip(chunk) {
                    *s += x;
                }
            }
            total += sums.iter().sum::<f32>();
            let mean = total / n as f32;

            let mut squares = [0f32; 16];
            let chunks = row.chunks_exact(16);
            let mut total = chunks
                .remainder()
                .iter()
                .map(|x| (x - mean) * (x - mean))
                .sum::<f32>();
            for chunk in chunks {
                for (s, x) in squares.iter_mut().zip(chunk) {
                    *s = fma::<FUSED>(x - mean, x - mean, *s);
                }
            }
            total += squares.iter().sum::<f32>();
            let scale = 1.0 / (total / n as f32 + eps).sqrt();
            for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
                *x = fma::<FUSED>((*x - mean) * scale, *w, *b);
            }
        }
    }
}

vectorised! {
    /// `x = x + y`.
    pub(super) fn add(xs: &mut [f32], ys: &[f32]) {
        for (x, y) in xs.iter_mut().zip(ys) {
            *x += y;
        }
    }
}

/// `a * b + c`, rounded once where that is an instruction.
#[inline(always)]
fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `exp(x)` without branches, for [`vectorised`] loops. Clamped to about 1e-38 .. 2e38.
#[inline(always)]
fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Clamp written so that a NaN stays a NaN: a broken model must be seen, not hidden.
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    // 1.5 * 2^23: adding it rounds to the nearest integer.
    const MAGIC: f32 = 12_582_912.0;
    let rounded = fma::<FUSED>(x, std::f32::consts::LOG2_E, MAGIC);
    let n = rounded - MAGIC;
    let r = fma::<FUSED>(n, -0.693_359_4, x);
    let r = fma::<FUSED>(n, 2.121_944_4e-4, r);
    // Cephes' expf.
    let p = fma::<FUSED>(r, 1.987_569_1e-4, 0.001_398_2);
    let p = fma::<FUSED>(r, p, 0.008_333_452);
    let p = fma::<FUSED>(r, p, 0.041_665_795);
    let p = fma::<FUSED>(r, p, 0.166_666_65);
    let p = fma::<FUSED>(r, p, 0.5);
    let p = fma::<FUSED>(r * r, p, 1.0 + r);
    // `rounded` holds n in its low mantissa bits; moved to the exponent it is 2^n.
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    p * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_available_kernel_agrees_with_plain_sums() {
        let mut value = 0.37f32;
        let mut next = || {
            value = (value * 997.0 + 0.123).fract();
            value - 0.5
        };
        for isa in Isa::available() {
            let (columns, depth) = (isa.columns(), 37);
            for rows in 1..=isa.rows() {
                let a: Vec<f32> = (0..rows * 40).map(|_| next()).collect();
                let panel: Vec<f32> = (0..depth * columns).map(|_| next()).collect();
                let mut c = vec![f32::NAN; rows * columns];
                tile(isa, rows, depth, &a, 40, &panel, &mut c, columns);
                for r in 0..rows {
                    for j in 0..columns {
                        let exact: f64 = (0..depth)
                            .map(|k| f64::from(a[r * 40 + k]) * f64::from(panel[k * columns + j]))
                            .sum();
                        assert!((f64::from(c[r * columns + j]) - exact).abs() < 1e-5);
                    }
                }
            }
        }
    }

    #[test]
    fn exp_tanh_and_gelu_are_exact_to_single_precision() {
        for i in -8_000..=8_000 {
            let x = i as f32 * 0.01;
            let exact = f64::from(x).exp();
            assert!(
                [exp::<false>(x), exp::<true>(x)]
                    .iter()
                    .all(|got| ((f64::from(*got) - exact) / exact).abs() < 3e-7),
                "exp({x})"
            );
        }
        for i in -2_000..=2_000 {
            let x = i as f32 * 0.01;
            let mut xs = [x];
            bias_tanh(&mut xs, &[0.0]);
            assert!(
                (f64::from(xs[0]) - f64::from(x).tanh()).abs() < 2e-7,
                "tanh({x})"
            );
        }
        for i in -12_000..=12_000 {
            let x = i as f32 * 0.001;
            let (mut exact, mut rounded) = ([x], [x]);
            bias_gelu_erf(&mut exact, &[0.0]);
            bias_gelu_erf_rounded(&mut rounded, &[0.0]);
            assert!((exact[0] - rounded[0]).abs() < 1e-4, "gelu({x})");
        }
        // Reference values of x * Phi(x) in double precision.
        let known = [
            (-6.0f32, -5.919_52e-9f64),
            (-3.0, -0.004_049_694_1),
            (-1.0, -0.158_655_253_9),
            (-0.1, -0.046_017_216_3),
            (0.0, 0.0),
            (0.5, 0.345_731_230_6),
            (2.0, 1.954_499_736_1),
            (8.0, 8.0),
        ];
        for (x, exact) in known {
            let mut xs = [x];
            bias_gelu_erf(&mut xs, &[0.0]);
            assert!(
                (f64::from(xs[0]) - exact).abs() < 5e-7,
                "gelu({x}) = {}",
                xs[0]
            );
        }
    }

    #[test]
    fn a_nan_is_never_hidden() {
        let mut xs = [f32::NAN];
        for function in [
            bias_gelu_erf,
            bias_gelu_erf_rounded,
            bias_gelu_tanh,
            bias_relu,
            bias_silu,
            bias_tanh,
            add_bias,
        ] {
            function(&mut xs, &[0.0]);
            assert!(xs[0].is_nan());
            xs = [f32::NAN];
        }
        layer_norm(&mut xs, &[1.0], &[0.0], 1e-5);
        assert!(xs[0].is_nan());
        let mut total = 0.0;
        exp_sum(&mut [f32::NAN, 1.0], 0.0, &mut total);
        assert!(total.is_nan());
    }
}
