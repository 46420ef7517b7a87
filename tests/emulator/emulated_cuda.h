// CUDA C++ on the host, as far as kernels/ uses it: every thread of a block is a fiber, and barriers,
// shuffles and matrix instructions do what the manuals say. Slow, exact about who waits for whom.
//
// Between two barriers threads run one after the other, in an order that changes at random, so a
// barrier that is missing shows as a wrong result. Shared memory begins as NaN and ends at a page that
// cannot be touched, so reads of what was not written and beyond the end show too.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(name) unsigned char* name = emulated::shared_memory()

// Accesses that are not aligned end the program: it is compiled with the sanitiser for them.
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { uint32_t x, y, z, w; };
struct dim3 { unsigned x, y, z; };

// === elements ===

struct f16 { uint16_t bits; };
struct bf16 { uint16_t bits; };

inline float to_float(f16 x) {
    _Float16 value;
    std::memcpy(&value, &x.bits, 2);
    return static_cast<float>(value);
}
inline float to_float(bf16 x) {
    const uint32_t bits = uint32_t{x.bits} << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
template <typename T> inline uint16_t round_to(float x);
template <> inline uint16_t round_to<f16>(float x) {
    const _Float16 value = static_cast<_Float16>(x);
    uint16_t bits;
    std::memcpy(&bits, &value, 2);
    return bits;
}
template <> inline uint16_t round_to<bf16>(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if (std::isnan(x)) return static_cast<uint16_t>(bits >> 16 | 0x40);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <typename T> inline uint32_t pack(float low, float high) {
    return round_to<T>(low) | uint32_t{round_to<T>(high)} << 16;
}
template <typename T> inline float2 unpack(uint32_t pair) {
    return {to_float(T{static_cast<uint16_t>(pair)}), to_float(T{static_cast<uint16_t>(pair >> 16)})};
}

// === threads ===

namespace emulated {

// What one lane shows the others of its warp in one instruction.
struct Shown { uint64_t words[4]; };

dim3 thread_index();
dim3 block_index();
unsigned char* shared_memory();
void block_barrier();
// Shows `mine` to the warp and waits for all lanes; the result holds until this lane's next call.
const Shown* exchange(const Shown& mine);
unsigned lane();
[[noreturn]] void fail(const char* what);

}  // namespace emulated

#define threadIdx (emulated::thread_index())
#define blockIdx (emulated::block_index())

inline void __syncthreads() { emulated::block_barrier(); }

inline float __shfl_xor_sync(unsigned mask, float x, int step) {
    if (mask != 0xffffffffu) emulated::fail("a shuffle of some lanes only");
    emulated::Shown mine = {};
    std::memcpy(&mine.words[0], &x, 4);
    float other;
    std::memcpy(&other, &emulated::exchange(mine)[emulated::lane() ^ step].words[0], 4);
    return other;
}

inline float power_of_2(float x) {
    const float y = std::exp2(x);
    return y < 1.17549435e-38f ? 0.0f : y;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
using std::isfinite;

// === matrix instructions ===

template <typename T> inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    emulated::Shown mine;
    mine.words[0] = a[0] | uint64_t{a[1]} << 32;
    mine.words[1] = a[2] | uint64_t{a[3]} << 32;
    mine.words[2] = b0 | uint64_t{b1} << 32;
    const emulated::Shown* all = emulated::exchange(mine);
    const auto half = [](uint64_t word, int i) {
        return to_float(T{static_cast<uint16_t>(word >> 16 * i)});
    };
    const int g = emulated::lane() / 4, t = emulated::lane() % 4;
    for (int i = 0; i < 4; ++i) {
        const int row = g + i / 2 * 8, column = 2 * t + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; ++k) {
            // a: register row / 8 + 2 * (k / 8) of lane (row % 8) * 4 + k % 8 / 2; b: register k / 8 of
            // lane column * 4 + k % 8 / 2; the lower half where k is even.
            const int a_at = row / 8 + k / 8 * 2;
            const uint64_t a_word = all[row % 8 * 4 + k % 8 / 2].words[a_at / 2] >> 32 * (a_at % 2);
            const uint64_t b_word = all[column * 4 + k % 8 / 2].words[2] >> 32 * (k / 8);
            sum += half(a_word, k % 2) * half(b_word, k % 2);
        }
        c[i] += sum;
    }
}

inline const emulated::Shown* show_row(const void* row) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) emulated::fail("a matrix row that is not aligned");
    emulated::Shown mine = {};
    mine.words[0] = reinterpret_cast<uintptr_t>(row);
    return emulated::exchange(mine);
}
inline uint16_t element_of(const emulated::Shown* rows, int matrix, int row, int column) {
    return reinterpret_cast<const uint16_t*>(rows[matrix * 8 + row].words[0])[column];
}
inline void load_matrices(uint32_t (&r)[4], const void* row) {
    const emulated::Shown* rows = show_row(row);
    const int g = emulated::lane() / 4, t = emulated::lane() % 4;
    for (int m = 0; m < 4; ++m)
        r[m] = element_of(rows, m, g, 2 * t) | uint32_t{element_of(rows, m, g, 2 * t + 1)} << 16;
    emulated::exchange({});  // nobody writes these rows before all have read them
}
inline void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
    const emulated::Shown* rows = show_row(row);
    const int g = emulated::lane() / 4, t = emulated::lane() % 4;
    for (int m = 0; m < 4; ++m)
        r[m] = element_of(rows, m, 2 * t, g) | uint32_t{element_of(rows, m, 2 * t + 1, g)} << 16;
    emulated::exchange({});
}
