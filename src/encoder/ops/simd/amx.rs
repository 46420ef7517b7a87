//! AMX: products of f32 matrices by way of bf16 tiles.
//!
//! AMX multiplies bf16 alone, sixteen times as fast as AVX-512 multiplies f32. An f32 value is the sum
//! of three bf16 values, so six tile products (all but the three that are smaller than the rounding of an
//! f32 sum), summed in f32, give a product that is as good as an f32 one, more than twice as fast. A
//! matrix whose values are f16 is exact in two parts and needs five products, one of bf16 values three.
//! Where bf16 is good enough, one product does.
//!
//! Few rows wait for memory. Parts of f32 values would be half as much again to read as the values, so
//! those are kept whole, and cut into parts while the step before is multiplied.
//!
//! Parts of values above bf16's largest (3.39e38, f32's is 3.40e38) are infinite, and sums with them
//! are NaN where f32 would have been finite or infinite: not a number either way for a score.

use std::cell::Cell;
use std::ops::Range;
use std::sync::OnceLock;

/// Rows of a tile of the left matrix, and columns of a tile of the right one.
pub(in crate::encoder::ops) const SIDE: usize = 16;
/// Steps of the depth that one tile holds.
pub(in crate::encoder::ops) const DEPTH: usize = 32;
/// Columns of a [`Block`].
pub(in crate::encoder::ops) const COLUMNS: usize = 2 * SIDE;

/// A tile of bf16 values. Of the left matrix: 16 rows of 32 steps. Of the right one: 16 rows of two steps
/// for each of 16 columns, the steps of a column side by side.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(in crate::encoder::ops) struct Tile([u16; SIDE * DEPTH]);

impl Tile {
    pub(in crate::encoder::ops) const ZERO: Self = Self([0; SIDE * DEPTH]);

    /// Sets the value at `index` to the bf16 nearest to `value`; what is left of `value`.
    pub(in crate::encoder::ops) fn set(&mut self, index: usize, value: f32) -> f32 {
        self.0[index] = to_bf16(value);
        value - self.get(index)
    }

    /// A tile of the left matrix as one of the right matrix's transpose: pairs of steps change places with
    /// rows.
    pub(in crate::encoder::ops) fn pairs_transposed(&self) -> Self {
        let mut tile = Self::ZERO;
        for (row, values) in self.0.chunks_exact(DEPTH).enumerate() {
            for (pair, steps) in values.chunks_exact(2).enumerate() {
                tile.0[pair * DEPTH + 2 * row..][..2].copy_from_slice(steps);
            }
        }
        tile
    }

    /// A tile of the right matrix, of 16 columns from `column` on, from the rows of its 32 steps.
    pub(in crate::encoder::ops) fn paired(upper: &Self, lower: &Self, column: usize) -> Self {
        let mut tile = Self::ZERO;
        let rows = upper.0.chunks_exact(2 * DEPTH);
        let rows = rows.chain(lower.0.chunks_exact(2 * DEPTH));
        for (to, steps) in tile.0.chunks_exact_mut(DEPTH).zip(rows) {
            let (even, odd) = steps.split_at(DEPTH);
            let pairs = even[column..][..SIDE].iter().zip(&odd[column..][..SIDE]);
            for (to, (even, odd)) in to.chunks_exact_mut(2).zip(pairs) {
                to[0] = *even;
                to[1] = *odd;
            }
        }
        tile
    }

    /// The value at `index`.
    pub(in crate::encoder::ops) fn get(&self, index: usize) -> f32 {
        from_bf16(self.0[index])
    }
}

/// A tile of the right matrix as f32 values: 16 rows, each of two steps of 16 columns, one after the other.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(in crate::encoder::ops) struct Whole(pub [f32; SIDE * DEPTH]);

impl Whole {
    pub(in crate::encoder::ops) const ZERO: Self = Self([0.0; SIDE * DEPTH]);

    /// The three tiles whose sum this is, from the largest part to the smallest, by cutting digits off.
    pub(in crate::encoder::ops) fn split(&self, to: &mut [Tile; 3]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was just found.
            unsafe { x86::cut(self, to) };
            return;
        }
        for (row, values) in self.0.chunks_exact(2 * SIDE).enumerate() {
            for (i, value) in values.iter().enumerate() {
                let mut rest = *value;
                for tile in to.iter_mut() {
                    let bits = rest.to_bits() >> 16;
                    tile.0[row * DEPTH + i % SIDE * 2 + i / SIDE] = bits as u16;
                    rest -= f32::from_bits(bits << 16);
                }
            }
        }
    }
}

/// How many bf16 values must be summed to give `value`, from the nearest on: 1 to 3.
pub(in crate::encoder::ops) fn parts(value: f32) -> usize {
    let rest = value - from_bf16(to_bf16(value));
    match rest - from_bf16(to_bf16(rest)) {
        _ if rest == 0.0 => 1,
        0.0 => 2,
        _ => 3,
    }
}

/// Sets the first `rows` rows of the left matrix's tiles `to`, whose sum is a tile of f32 values from rows
/// `stride` apart: from the largest part to the smallest, as many as there are tiles; the last is rounded.
///
/// Panics if there are more than 16 rows, or `values` is too short: what the unsafe code relies on.
pub(in crate::encoder::ops) fn split_rows(
    values: &[f32],
    stride: usize,
    rows: usize,
    to: &mut [Tile],
) {
    assert!((1..=SIDE).contains(&rows) && values.len() >= (rows - 1) * stride + DEPTH);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        let values = values.as_ptr();
        // SAFETY: the features were just found; the assertion bounds what is read.
        unsafe {
            match to {
                [tile] => x86::split(values, stride, rows, [tile]),
                [a, b, c] => x86::split(values, stride, rows, [a, b, c]),
                _ => unreachable!("one part, or three"),
            }
        };
        return;
    }
    for row in 0..rows {
        for (k, value) in values[row * stride..][..DEPTH].iter().enumerate() {
            let mut rest = *value;
            for part in to.iter_mut() {
                rest = part.set(row * DEPTH + k, rest);
            }
        }
    }
}

/// The nearest bf16, ties to even; a NaN stays one.
fn to_bf16(value: f32) -> u16 {
    if value.is_nan() {
        return 0x7fc0;
    }
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Products of up to 32 rows and 32 columns.
#[repr(C, align(64))]
pub(in crate::encoder::ops) struct Block(pub [f32; 2 * SIDE * COLUMNS]);

impl Default for Block {
    fn default() -> Self {
        Self([0.0; 2 * SIDE * COLUMNS])
    }
}

/// `exp((x - max) * scale)` of the scores `seen` in row `row` of `scores`, blocks side by side, rounded into
/// that row of `to`, a tile for each block; zero for the others. Returns the sum before rounding.
///
/// `scale` is positive. Relative error under 1e-4, a twentieth of bf16's. Panics if `seen` is empty or not in
/// the scores, or there are fewer tiles: what the unsafe code relies on.
pub(in crate::encoder::ops) fn exponentials(
    scores: &[Block],
    row: usize,
    seen: Range<usize>,
    scale: f32,
    to: &mut [Tile],
) -> f32 {
    assert!(row < 2 * SIDE && !seen.is_empty() && seen.end <= scores.len() * COLUMNS);
    assert!(available() && to.len() == scores.len());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `available` asks for the features; the assertions bound rows and columns.
    return unsafe { x86::exponentials(scores, row, seen, scale, to) };
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("there is no AMX")
}

/// Whether this machine has AMX for bf16 and the kernel lets this process use it. Asked once.
pub(in crate::encoder::ops) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bf16")
                && x86::has_tiles()
                && x86::may_use_tiles()
        }
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        false
    })
}

/// The tile registers of this thread, set up until this is dropped.
pub(in crate::encoder::ops) struct Tiles {
    _on_this_thread: std::marker::PhantomData<*mut ()>,
}

thread_local! {
    static IN_USE: Cell<bool> = const { Cell::new(false) };
}

impl Drop for Tiles {
    fn drop(&mut self) {
        IN_USE.set(false);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Tiles` exist only where the instruction does.
        unsafe {
            x86::release();
        }
    }
}

/// Runs `work` with this thread's tile registers set up.
///
/// Panics if they are in use: the inner one's end would take them from the outer one.
pub(in crate::encoder::ops) fn with_tiles<T>(work: impl FnOnce(&Tiles) -> T) -> T {
    assert!(available() && !IN_USE.replace(true));
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction exists, by the assertion.
    unsafe {
        x86::configure();
    }
    work(&Tiles {
        _on_this_thread: std::marker::PhantomData,
    })
}

impl Tiles {
    /// `block = left x right`: one or two row tiles, `[row tiles, depth / 32, parts.0]`, and the two column
    /// tiles of a panel, `[depth / 32, 2, parts.1]`. Every value is one sum in order of the depth.
    pub(in crate::encoder::ops) fn product(
        &self,
        left: &[Tile],
        right: &[Tile],
        parts: (usize, usize),
        block: &mut Block,
    ) {
        let steps = right.len() / (2 * parts.1);
        assert!(steps > 0 && right.len() == 2 * parts.1 * steps);
        assert!(left.len() == parts.0 * steps || left.len() == 2 * parts.0 * steps);
        #[cfg(target_arch = "x86_64")]
        {
            let product = match (left.len() / (parts.0 * steps), parts) {
                (1, (1, 1)) => x86::product_1_rounded,
                (1, (3, 1)) => x86::product_1_1,
                (1, (3, 2)) => x86::product_1_2,
                (1, (3, 3)) => x86::product_1_3,
                (2, (1, 1)) => x86::product_2_rounded,
                (2, (3, 1)) => x86::product_2_1,
                (2, (3, 2)) => x86::product_2_2,
                (2, (3, 3)) => x86::product_2_3,
                _ => unreachable!("one part of each, or three and one to three"),
            };
            // SAFETY: `Tiles` exist only where the instructions do and after the set-up; `left` holds
            // `parts.0` tiles for each of `steps` steps of each row tile, `right` two of `parts.1` for
            // each step, and `block` 32 x 32 values.
            unsafe { product(steps, left.as_ptr(), right.as_ptr(), block) };
        }
    }

    /// As [`Self::product`] of three parts each, of whole values, which are split on the way, two steps in
    /// `scratch` at once.
    pub(in crate::encoder::ops) fn product_whole(
        &self,
        left: &[Tile],
        right: &[Whole],
        scratch: &mut [[Tile; 3]; 4],
        block: &mut Block,
    ) {
        let steps = right.len() / 2;
        assert!(steps > 0 && right.len() == 2 * steps);
        assert!(left.len() == 3 * steps || left.len() == 6 * steps);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above; `left` holds three tiles for each step, `right` two.
        unsafe {
            if left.len() == 3 * steps {
                x86::product_whole_1(steps, left.as_ptr(), right.as_ptr(), scratch, block);
            } else {
                x86::product_whole_2(steps, left.as_ptr(), right.as_ptr(), scratch, block);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::{
        __cpuid_count, __m256bh, __m256i, __m512bh, __m512i, _mm256_storeu_si256, _mm512_add_ps,
        _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cvtepu16_epi32,
        _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_fmadd_ps, _mm512_load_ps, _mm512_loadu_ps,
        _mm512_mask_max_ps, _mm512_maskz_scalef_ps, _mm512_or_si512, _mm512_reduce_add_ps,
        _mm512_reduce_max_ps, _mm512_roundscale_ps, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_slli_epi32, _mm512_srli_epi32, _mm512_store_si512, _mm512_sub_ps,
    };
    use std::ops::Range;

    use super::{Block, COLUMNS, DEPTH, SIDE, Tile, Whole};

    /// AMX-TILE and AMX-BF16.
    pub(super) fn has_tiles() -> bool {
        let leaf = __cpuid_count(7, 0);
        leaf.edx >> 24 & 1 == 1 && leaf.edx >> 22 & 1 == 1
    }

    /// Asks Linux for the tile registers: they are large, and a process has to say that it wants them.
    #[cfg(target_os = "linux")]
    pub(super) fn may_use_tiles() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
        const XFEATURE_XTILEDATA: i64 = 18;
        let answer: i64;
        // SAFETY: the call takes two numbers and touches no memory of ours; `syscall` changes rcx
        // and r11, which are declared.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => answer,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XFEATURE_XTILEDATA,
                out("rcx") _, out("r11") _,
                options(nostack),
            );
        }
        answer == 0
    }

    #[repr(C, align(64))]
    struct Configuration([u8; 64]);

    /// Palette 1; eight tiles of 16 rows of 64 bytes.
    static CONFIGURATION: Configuration = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = 16;
            tile += 1;
        }
        Configuration(bytes)
    };

    /// # Safety
    /// [`super::available`].
    pub(super) unsafe fn configure() {
        // SAFETY: the instruction reads the 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly))
        };
    }

    /// # Safety
    /// [`super::available`].
    pub(super) unsafe fn release() {
        // SAFETY: the instruction touches no memory.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }

    /// Loads a part of the row tiles.
    macro_rules! left {
        (1, $part:literal) => {
            concat!("tileloadd tmm4, [{left} + {line} + ", $part, " * 1024]\n")
        };
        (2, $part:literal) => {
            concat!(
                left!(1, $part),
                "tileloadd tmm5, [{second} + {line} + ",
                $part,
                " * 1024]\n",
            )
        };
    }

    /// Loads a part of both column tiles, which have `$parts`.
    macro_rules! right {
        ($part:literal of $parts:literal) => {
            concat!(
                "tileloaddt1 tmm6, [{right} + {line} + ",
                $part,
                " * 1024]\n",
                "tileloaddt1 tmm7, [{right} + {line} + (",
                $part,
                " + ",
                $parts,
                ") * 1024]\n",
            )
        };
    }

    /// Adds the products of what was loaded last.
    macro_rules! dot {
        (1) => {
            "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\n"
        };
        (2) => {
            concat!(
                dot!(1),
                "tdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7\n"
            )
        };
    }

    /// A step of the depth: the products of all parts but the smallest, each part loaded once if it can be;
    /// rounded values have but one.
    macro_rules! step {
        ($rows:tt, rounded) => {
            concat!(right!(0 of 1), left!($rows, 0), dot!($rows))
        };
        ($rows:tt, 1) => {
            concat!(
                right!(0 of 1),
                left!($rows, 2), dot!($rows), left!($rows, 1), dot!($rows), left!($rows, 0), dot!($rows),
            )
        };
        ($rows:tt, 2) => {
            concat!(
                right!(0 of 2),
                left!($rows, 2), dot!($rows), left!($rows, 1), dot!($rows), left!($rows, 0), dot!($rows),
                right!(1 of 2), dot!($rows), left!($rows, 1), dot!($rows),
            )
        };
        ($rows:tt, 3) => {
            concat!(
                right!(0 of 3),
                left!($rows, 2), dot!($rows), left!($rows, 1), dot!($rows), left!($rows, 0), dot!($rows),
                right!(2 of 3), dot!($rows),
                right!(1 of 3), dot!($rows), left!($rows, 1), dot!($rows),
            )
        };
    }

    macro_rules! store {
        (1) => {
            "tilestored [{block} + {row}], tmm0\ntilestored [{block} + {row} + 64], tmm1\n"
        };
        (2) => {
            concat!(
                store!(1),
                "tilestored [{block} + {row} + 2048], tmm2\n",
                "tilestored [{block} + {row} + 2112], tmm3\n",
            )
        };
    }

    /// A product of `$rows` row tiles of `$left` parts with a panel of two column tiles of `$right` parts.
    macro_rules! product {
        ($name:ident, $rows:tt, $step:tt, $left:literal x $right:literal) => {
            /// # Safety
            /// After [`configure`]; `left` must hold `$left` tiles for each of `steps` steps of each row
            /// tile, and `right` twice `$right` for each step.
            pub(super) unsafe fn $name(
                steps: usize,
                left: *const Tile,
                right: *const Tile,
                block: &mut Block,
            ) {
                // SAFETY: each step reads `$left` tiles of 1024 bytes of each row tile (the second one
                // `steps` steps after the first) and twice `$right` of `right`; the stores write 16
                // rows of 128 bytes of `block` for each row tile, which has 32.
                unsafe {
                    asm!(
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        "2:",
                        step!($rows, $step),
                        concat!("add {left}, 1024 * ", $left),
                        concat!("add {second}, 1024 * ", $left),
                        concat!("add {right}, 2 * 1024 * ", $right),
                        "dec {steps}",
                        "jnz 2b",
                        store!($rows),
                        left = inout(reg) left => _,
                        second = inout(reg) left.wrapping_add(steps * $left) => _,
                        right = inout(reg) right => _,
                        steps = inout(reg) steps => _,
                        line = in(reg) 64_usize,
                        row = in(reg) 128_usize,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        block = in(reg) block.0.as_mut_ptr(),
                        options(nostack),
                    );
                }
            }
        };
    }

    product!(product_1_rounded, 1, rounded, 1 x 1);
    product!(product_1_1, 1, 1, 3 x 1);
    product!(product_1_2, 1, 2, 3 x 2);
    product!(product_1_3, 1, 3, 3 x 3);
    product!(product_2_rounded, 2, rounded, 1 x 1);
    product!(product_2_1, 2, 1, 3 x 1);
    product!(product_2_2, 2, 2, 3 x 2);
    product!(product_2_3, 2, 3, 3 x 3);

    /// Cuts rows of a tile of the next step into three parts, as [`cut`] does.
    macro_rules! cuts {
        ($tile:literal: $($row:literal)*) => {
            concat!($(
                "vmovaps zmm0, [{right} + ", $tile, " * 2048 + ", $row, " * 128]\n",
                "vmovaps zmm1, [{right} + ", $tile, " * 2048 + ", $row, " * 128 + 64]\n",
                "vpandd zmm2, zmm1, zmm31\n",
                "vpandd zmm5, zmm0, zmm31\n",
                "vpsrld zmm3, zmm0, 16\n",
                "vpord zmm3, zmm3, zmm2\n",
                "vmovaps [{next} + ", $tile, " * 3072 + ", $row, " * 64], zmm3\n",
                "vsubps zmm1, zmm1, zmm2\n",
                "vsubps zmm0, zmm0, zmm5\n",
                "vpandd zmm2, zmm1, zmm31\n",
                "vpandd zmm5, zmm0, zmm31\n",
                "vpsrld zmm3, zmm0, 16\n",
                "vpord zmm3, zmm3, zmm2\n",
                "vmovaps [{next} + ", $tile, " * 3072 + 1024 + ", $row, " * 64], zmm3\n",
                "vsubps zmm1, zmm1, zmm2\n",
                "vsubps zmm0, zmm0, zmm5\n",
                "vpsrld zmm3, zmm0, 16\n",
                "vpord zmm3, zmm3, zmm1\n",
                "vmovaps [{next} + ", $tile, " * 3072 + 2048 + ", $row, " * 64], zmm3\n",
            )*)
        };
    }

    /// Loads a part of both column tiles of this step.
    macro_rules! cut_right {
        ($part:literal) => {
            concat!(
                "tileloadd tmm6, [{now} + {line} + ",
                $part,
                " * 1024]\n",
                "tileloadd tmm7, [{now} + {line} + (",
                $part,
                " + 3) * 1024]\n",
            )
        };
    }

    /// As [`product`], of whole values: while a step is multiplied, the next one is cut.
    macro_rules! product_whole {
        ($name:ident, $rows:tt) => {
            /// # Safety
            /// After [`configure`]; `left` must hold three tiles for each of `steps` steps of each row
            /// tile, `right` two for each step, and `scratch` two of three parts for each of two steps.
            #[target_feature(enable = "avx512f")]
            pub(super) unsafe fn $name(
                steps: usize,
                left: *const Tile,
                right: *const Whole,
                scratch: &mut [[Tile; 3]; 4],
                block: &mut Block,
            ) {
                // SAFETY: the first step is cut before the loop, which cuts one step ahead but for the
                // last step, so that no step beyond `steps` is read; parts go to the half of `scratch`
                // that is not multiplied; otherwise as in `product`.
                unsafe {
                    cut(&*right, &mut scratch[0]);
                    cut(&*right.add(1), &mut scratch[1]);
                    asm!(
                        "vpternlogd zmm31, zmm31, zmm31, 0xff",
                        "vpslld zmm31, zmm31, 16",
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        "dec {steps}",
                        "jz 3f",
                        "2:",
                        cut_right!(0), left!($rows, 2), dot!($rows), cuts!(0: 0 1 2 3 4),
                        left!($rows, 1), dot!($rows), cuts!(0: 5 6 7 8 9),
                        left!($rows, 0), dot!($rows), cuts!(0: 10 11 12 13 14 15),
                        cut_right!(2), dot!($rows), cuts!(1: 0 1 2 3 4),
                        cut_right!(1), dot!($rows), cuts!(1: 5 6 7 8 9),
                        left!($rows, 1), dot!($rows), cuts!(1: 10 11 12 13 14 15),
                        "add {left}, 3072",
                        "add {second}, 3072",
                        "add {right}, 4096",
                        "xchg {now}, {next}",
                        "dec {steps}",
                        "jnz 2b",
                        "3:",
                        cut_right!(0), left!($rows, 2), dot!($rows),
                        left!($rows, 1), dot!($rows),
                        left!($rows, 0), dot!($rows),
                        cut_right!(2), dot!($rows),
                        cut_right!(1), dot!($rows),
                        left!($rows, 1), dot!($rows),
                        store!($rows),
                        left = inout(reg) left => _,
                        second = inout(reg) left.wrapping_add(3 * steps) => _,
                        right = inout(reg) right.wrapping_add(2) => _,
                        now = inout(reg) scratch.as_mut_ptr() => _,
                        next = inout(reg) scratch.as_mut_ptr().wrapping_add(2) => _,
                        steps = inout(reg) steps => _,
                        line = in(reg) 64_usize,
                        row = in(reg) 128_usize,
                        out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                        out("zmm5") _, out("zmm31") _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        block = in(reg) block.0.as_mut_ptr(),
                        options(nostack),
                    );
                }
            }
        };
    }

    product_whole!(product_whole_1, 1);
    product_whole!(product_whole_2, 2);

    /// [`super::split_rows`].
    ///
    /// # Safety
    /// The features must be present; `rows` at most 16, and `values` valid for every row.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn split<const PARTS: usize>(
        values: *const f32,
        stride: usize,
        rows: usize,
        mut to: [&mut Tile; PARTS],
    ) {
        for row in 0..rows {
            for half in [0, DEPTH / 2] {
                let at = row * DEPTH + half;
                // SAFETY: 16 of a row's 32 values are read, and written to the tiles, which hold 16
                // rows of 32; __m256bh is 16 u16.
                unsafe {
                    let mut rest = _mm512_loadu_ps(values.add(row * stride + half));
                    for part in &mut to {
                        let part16: __m256i =
                            std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(rest));
                        let back: __m512i = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(part16));
                        rest = _mm512_sub_ps(rest, _mm512_castsi512_ps(back));
                        _mm256_storeu_si256(part.0.as_mut_ptr().add(at).cast(), part16);
                    }
                }
            }
        }
    }

    /// Which of 16 values from `first` on are in `seen`.
    fn lanes(seen: &Range<usize>, first: usize) -> u16 {
        let below = |end: usize| (1_u32 << end.saturating_sub(first).min(16)) - 1;
        (below(seen.end) & !below(seen.start)) as u16
    }

    /// [`super::exponentials`].
    ///
    /// # Safety
    /// The features must be present; `row` below 32, and `to` as long as `scores`.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn exponentials(
        scores: &[Block],
        row: usize,
        seen: Range<usize>,
        scale: f32,
        to: &mut [Tile],
    ) -> f32 {
        let halves = |block: &Block, at: usize| {
            let line = block.0.as_ptr().wrapping_add(row * COLUMNS);
            // SAFETY: a row of a block has two halves of 16 values, aligned to 64 bytes.
            let values = unsafe { [_mm512_load_ps(line), _mm512_load_ps(line.add(SIDE))] };
            let first = at * COLUMNS;
            (
                values,
                [first, first + SIDE].map(|first| lanes(&seen, first)),
            )
        };
        let mut top = _mm512_set1_ps(f32::NEG_INFINITY);
        for (at, block) in scores.iter().enumerate() {
            let (values, lanes) = halves(block, at);
            for (x, lanes) in values.into_iter().zip(lanes) {
                top = _mm512_mask_max_ps(top, lanes, x, top);
            }
        }
        let factor = scale * std::f32::consts::LOG2_E;
        let shift = _mm512_set1_ps(-_mm512_reduce_max_ps(top) * factor);
        let factor = _mm512_set1_ps(factor);
        let mut sum = _mm512_setzero_ps();
        for ((at, block), tile) in scores.iter().enumerate().zip(to) {
            let (values, lanes) = halves(block, at);
            let [low, high] = [0, 1].map(|half| {
                let power = _mm512_fmadd_ps(values[half], factor, shift);
                let whole = _mm512_roundscale_ps::<0>(power);
                let x = _mm512_sub_ps(power, whole);
                let mut poly = _mm512_set1_ps(0.055_171_67);
                for c in [0.242_611_13, 0.693_261, 0.999_928_06] {
                    poly = _mm512_fmadd_ps(poly, x, _mm512_set1_ps(c));
                }
                _mm512_maskz_scalef_ps(lanes[half], poly, whole)
            });
            sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
            // SAFETY: a row of a tile is 32 values of two bytes, aligned to 64 bytes, and `row` is below 32.
            unsafe {
                let pairs =
                    std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                let line = tile.0.as_mut_ptr().add(row % SIDE * DEPTH);
                _mm512_store_si512(line.cast(), pairs);
            }
        }
        _mm512_reduce_add_ps(sum)
    }

    /// [`Whole::split`].
    ///
    /// # Safety
    /// The feature must be present.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn cut(whole: &Whole, to: &mut [Tile; 3]) {
        let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
        for row in 0..SIDE {
            // SAFETY: both hold 16 rows of 32 values, which are aligned to 64 bytes and 16 f32 values
            // or 32 bf16 values apart.
            unsafe {
                let values = whole.0.as_ptr().add(row * 2 * SIDE);
                let mut even = _mm512_load_ps(values);
                let mut odd = _mm512_load_ps(values.add(SIDE));
                for tile in to.iter_mut() {
                    let (a, b) = (_mm512_castps_si512(even), _mm512_castps_si512(odd));
                    let b = _mm512_and_si512(b, upper);
                    let pairs = _mm512_or_si512(_mm512_srli_epi32::<16>(a), b);
                    _mm512_store_si512(tile.0.as_mut_ptr().add(row * DEPTH).cast(), pairs);
                    let a = _mm512_and_si512(a, upper);
                    even = _mm512_sub_ps(even, _mm512_castsi512_ps(a));
                    odd = _mm512_sub_ps(odd, _mm512_castsi512_ps(b));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_in_use_are_not_set_up_again() {
        if !available() {
            eprintln!("skipped: AMX");
            return;
        }
        let nested = std::panic::catch_unwind(|| with_tiles(|_| with_tiles(|_| ())));
        assert!(nested.is_err());
        with_tiles(|_| ());
    }
}
