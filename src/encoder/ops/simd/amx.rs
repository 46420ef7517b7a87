//! AMX: products of f32 matrices by way of bf16 tiles.
//!
//! AMX multiplies bf16 alone, sixteen times as fast as AVX-512 multiplies f32. An f32 value is the sum
//! of three bf16 values, so six tile products (all but the three that are smaller than the rounding of an
//! f32 sum), summed in f32, give a product that is as good as an f32 one, more than twice as fast.

use std::sync::OnceLock;

/// Rows of a tile of the left matrix, and columns of a tile of the right one.
pub(in crate::encoder::ops) const SIDE: usize = 16;
/// Steps of the depth that one tile holds.
pub(in crate::encoder::ops) const DEPTH: usize = 32;
/// Columns of a [`Block`].
pub(in crate::encoder::ops) const COLUMNS: usize = 2 * SIDE;

/// Three bf16 tiles whose sum is a tile of f32 values, from the largest part to the smallest. Of the
/// left matrix: 16 rows of 32 steps. Of the right one: 16 rows of two steps for each of 16 columns, the
/// steps of a column side by side.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(in crate::encoder::ops) struct Split([[u16; SIDE * DEPTH]; 3]);

impl Split {
    pub(in crate::encoder::ops) const ZERO: Self = Self([[0; SIDE * DEPTH]; 3]);

    /// Sets the value at `index` of the tile.
    pub(in crate::encoder::ops) fn set(&mut self, index: usize, value: f32) {
        let mut rest = value;
        for part in &mut self.0 {
            part[index] = to_bf16(rest);
            rest -= from_bf16(part[index]);
        }
    }

    /// The value at `index`.
    pub(in crate::encoder::ops) fn get(&self, index: usize) -> f32 {
        let [large, middle, small] = self.0.each_ref().map(|part| from_bf16(part[index]));
        large + (middle + small)
    }

    /// Sets the first `rows` rows of a tile of the left matrix from rows `stride` apart.
    ///
    /// Panics if there are more than 16, or `values` is too short: what the unsafe code relies on.
    pub(in crate::encoder::ops) fn set_rows(&mut self, values: &[f32], stride: usize, rows: usize) {
        assert!((1..=SIDE).contains(&rows) && values.len() >= (rows - 1) * stride + DEPTH);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
            // SAFETY: the features were just found; the assertion bounds what is read.
            unsafe { x86::split(values.as_ptr(), stride, rows, self) };
            return;
        }
        for row in 0..rows {
            for (k, value) in values[row * stride..][..DEPTH].iter().enumerate() {
                self.set(row * DEPTH + k, *value);
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

/// The tile registers of this thread, set up.
pub(in crate::encoder::ops) struct Tiles {
    _on_this_thread: std::marker::PhantomData<*mut ()>,
}

/// Runs `work` with this thread's tile registers set up. Not to be nested.
pub(in crate::encoder::ops) fn with_tiles<T>(work: impl FnOnce(&Tiles) -> T) -> T {
    assert!(available());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction exists, by the assertion.
    unsafe {
        x86::configure();
    }
    let result = work(&Tiles {
        _on_this_thread: std::marker::PhantomData,
    });
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        x86::release();
    }
    result
}

impl Tiles {
    /// `block = left x right`: one or two row tiles, `[row tiles, depth / 32]`, and the two column
    /// tiles of a panel, `[depth / 32, 2]`. Every value is one sum in order of the depth.
    pub(in crate::encoder::ops) fn product(
        &self,
        left: &[Split],
        right: &[Split],
        block: &mut Block,
    ) {
        let steps = right.len() / 2;
        assert!(steps > 0 && right.len() == 2 * steps);
        assert!(left.len() == steps || left.len() == 2 * steps);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Tiles` exist only where the instructions do and after the set-up; `left` holds
        // `steps` splits for each row tile, `right` two for each step, and `block` 32 x 32 values.
        unsafe {
            if left.len() == steps {
                x86::product_1(steps, left.as_ptr(), right.as_ptr(), block);
            } else {
                x86::product_2(steps, left.as_ptr(), right.as_ptr(), block);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::{
        __cpuid_count, __m256bh, __m256i, __m512i, _mm256_storeu_si256, _mm512_castsi512_ps,
        _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh, _mm512_loadu_ps, _mm512_slli_epi32,
        _mm512_sub_ps,
    };

    use super::{Block, DEPTH, Split};

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

    /// One row tile.
    ///
    /// # Safety
    /// After [`configure`]; `left` must hold `steps` splits and `right` twice as many.
    pub(super) unsafe fn product_1(
        steps: usize,
        left: *const Split,
        right: *const Split,
        block: &mut Block,
    ) {
        // SAFETY: each step reads a split of `left` (3072 bytes) and two of `right` (6144 bytes);
        // the stores write the first 16 rows of 128 bytes of `block`.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "2:",
                "tileloadd tmm4, [{left} + {line} + 2048]",
                "tileloadd tmm6, [{right} + {line} + 0]",
                "tileloadd tmm7, [{right} + {line} + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm4, [{left} + {line} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm4, [{left} + {line} + 0]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm6, [{right} + {line} + 2048]",
                "tileloadd tmm7, [{right} + {line} + 5120]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm6, [{right} + {line} + 1024]",
                "tileloadd tmm7, [{right} + {line} + 4096]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm4, [{left} + {line} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {left}, 3072",
                "add {right}, 6144",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{block} + {row}], tmm0",
                "tilestored [{block} + {row} + 64], tmm1",
                left = inout(reg) left => _,
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

    /// Two row tiles.
    ///
    /// # Safety
    /// After [`configure`]; `left` and `right` must hold twice `steps` splits each.
    pub(super) unsafe fn product_2(
        steps: usize,
        left: *const Split,
        right: *const Split,
        block: &mut Block,
    ) {
        // SAFETY: each step reads a split of each row tile (3072 bytes each, the second tile
        // `steps` splits after the first) and two of `right` (6144 bytes); the stores write 32 rows of
        // 128 bytes, which is `block`.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{left} + {line} + 2048]",
                "tileloadd tmm5, [{second} + {line} + 2048]",
                "tileloadd tmm6, [{right} + {line} + 0]",
                "tileloadd tmm7, [{right} + {line} + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{left} + {line} + 1024]",
                "tileloadd tmm5, [{second} + {line} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{left} + {line} + 0]",
                "tileloadd tmm5, [{second} + {line} + 0]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm6, [{right} + {line} + 2048]",
                "tileloadd tmm7, [{right} + {line} + 5120]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm6, [{right} + {line} + 1024]",
                "tileloadd tmm7, [{right} + {line} + 4096]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{left} + {line} + 1024]",
                "tileloadd tmm5, [{second} + {line} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {left}, 3072",
                "add {second}, 3072",
                "add {right}, 6144",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{block} + {row}], tmm0",
                "tilestored [{block} + {row} + 64], tmm1",
                "tilestored [{block} + {row} + 2048], tmm2",
                "tilestored [{block} + {row} + 2112], tmm3",
                left = inout(reg) left => _,
                second = inout(reg) left.add(steps) => _,
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

    /// Splits `rows` rows of 32 values, `stride` apart.
    ///
    /// # Safety
    /// The features must be present; `rows` at most 16, and `values` valid for every row.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn split(values: *const f32, stride: usize, rows: usize, to: &mut Split) {
        for row in 0..rows {
            for half in [0, DEPTH / 2] {
                let at = row * DEPTH + half;
                // SAFETY: 16 of a row's 32 values are read, and written to the tiles, which hold 16
                // rows of 32; __m256bh is 16 u16.
                unsafe {
                    let mut rest = _mm512_loadu_ps(values.add(row * stride + half));
                    for part in &mut to.0 {
                        let part16: __m256i =
                            std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(rest));
                        let back: __m512i = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(part16));
                        rest = _mm512_sub_ps(rest, _mm512_castsi512_ps(back));
                        _mm256_storeu_si256(part.as_mut_ptr().add(at).cast(), part16);
                    }
                }
            }
        }
    }
}
