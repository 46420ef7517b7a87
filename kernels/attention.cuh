// What the attention kernels share: tiles in shared memory, products of fragments, online softmax.
//
// A block has four warps and 64 queries of one sequence and head; a warp owns 16 of them and all 64
// keys of each key tile. In a warp's accumulators lane l holds rows g = l / 4 and g + 8, columns 2t and
// 2t + 1 of every 8 (t = l % 4); see mma in common.cuh.
#pragma once

#include "common.cuh"

constexpr int ATTENTION_THREADS = 4 * 32;
// Blocks that are to share a multiprocessor: bounds the registers of a thread to 168.
constexpr int ATTENTION_BLOCKS = 3;

// Elements from one row of a tile to the next: 16 bytes more than the row, so that the 8 rows of a
// matrix that is loaded lie in different banks.
template <int DIM> constexpr int STRIDE = DIM + 8;

// A row of a tile that is the row'th of a matrix.
struct Straight {
    __device__ __forceinline__ int operator()(int row) const { return row; }
};

// Copies ROWS rows of DIM elements, `stride` elements apart in memory, into a tile. Row r of the tile
// is row `index(r)` of `from`; rows from `rows` on are zeros, so that nothing unwritten is multiplied.
template <int DIM, int ROWS, typename T, typename Index>
__device__ __forceinline__ void load_tile(T* tile, const T* from, int stride, int rows, Index index) {
    constexpr int VECTORS = DIM / 8;
    static_assert(ROWS * VECTORS % ATTENTION_THREADS == 0, "every thread copies as many vectors");
#pragma unroll 4  // more at a time do not fit the registers
    for (int step = 0; step < ROWS * VECTORS / ATTENTION_THREADS; ++step) {
        const int i = step * ATTENTION_THREADS + threadIdx.x;
        const int row = i / VECTORS, v = i % VECTORS;
        uint4 value = {0, 0, 0, 0};
        if (row < rows) value = *reinterpret_cast<const uint4*>(from + index(row) * stride + 8 * v);
        *reinterpret_cast<uint4*>(tile + row * STRIDE<DIM> + 8 * v) = value;
    }
}

// The same for 64 rows with rotary positions (Su et al., arXiv:2104.09864): elements d and d + DIM/2
// of a row turn by the angle whose cosine and sine are rotation[position][d].
template <int DIM, typename T>
__device__ __forceinline__ void load_rotated(T* tile, const T* from, int stride, int rows,
                                             const float2* rotation, int position) {
    constexpr int VECTORS = DIM / 16;  // of half a row
    static_assert(TILE * VECTORS % ATTENTION_THREADS == 0, "every thread copies as many vectors");
#pragma unroll 1  // unrolled, the loop costs registers that spill on sm_100
    for (int step = 0; step < TILE * VECTORS / ATTENTION_THREADS; ++step) {
        const int i = step * ATTENTION_THREADS + threadIdx.x;
        const int row = i / VECTORS, v = i % VECTORS;
        uint4 low = {0, 0, 0, 0}, high = {0, 0, 0, 0};
        if (row < rows) {
            const T* at = from + row * stride + 8 * v;
            float x[8], y[8], turned_x[8], turned_y[8];
            unpack8<T>(x, *reinterpret_cast<const uint4*>(at));
            unpack8<T>(y, *reinterpret_cast<const uint4*>(at + DIM / 2));
            const float2* turn = rotation + static_cast<size_t>(position + row) * (DIM / 2) + 8 * v;
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                const float2 angle = turn[k];
                turned_x[k] = x[k] * angle.x - y[k] * angle.y;
                turned_y[k] = y[k] * angle.x + x[k] * angle.y;
            }
            low = pack8<T>(turned_x);
            high = pack8<T>(turned_y);
        }
        T* to = tile + row * STRIDE<DIM> + 8 * v;
        *reinterpret_cast<uint4*>(to) = low;
        *reinterpret_cast<uint4*>(to + DIM / 2) = high;
    }
}

// Rows row .. row + 16 of a tile as left operands, one for each 16 columns.
template <int DIM, typename T>
__device__ __forceinline__ void load_left(uint32_t (&a)[DIM / 16][4], const T* tile, int row) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < DIM / 16; ++k)
        load_matrices(a[k], tile + (row + lane % 16) * STRIDE<DIM> + k * 16 + lane / 16 * 8);
}

// c += a * transpose(rows row .. row + 8 of a tile)
template <int DIM, typename T>
__device__ __forceinline__ void multiply_rows(float (&c)[4], const uint32_t (&a)[DIM / 16][4], const T* tile,
                                              int row) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < DIM / 32; ++k) {
        uint32_t b[4];
        load_matrices(b, tile + (row + lane % 8) * STRIDE<DIM> + k * 32 + lane / 8 * 8);
        mma<T>(c, a[2 * k], b[0], b[1]);
        mma<T>(c, a[2 * k + 1], b[2], b[3]);
    }
}

// Rows of all scores: score += queries * transpose(keys), the products of different columns side by side.
template <int DIM, typename T>
__device__ __forceinline__ void multiply_tile(float (&score)[TILE / 8][4], const uint32_t (&queries)[DIM / 16][4],
                                              const T* keys) {
#pragma unroll
    for (int n = 0; n < TILE / 8; ++n) multiply_rows<DIM>(score[n], queries, keys, n * 8);
}

// A warp's 16 queries: their running softmax and their context so far.
template <int DIM> struct Context {
    float top[2] = {-INFINITY, -INFINITY};  // largest score, in powers of 2, of rows g and g + 8
    float total[2] = {0, 0};                // this lane's part of the sum of weights
    float sum[DIM / 8][4] = {};             // weighted values
};

// Adds 64 keys: `score` are the scaled scores in powers of 2 (-inf: not seen), `values` the tile of
// their values. Weights are relative to the largest score so far; what was summed before shrinks.
template <int DIM, typename T>
__device__ __forceinline__ void attend(Context<DIM>& context, float (&score)[TILE / 8][4], const T* values) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float top = context.top[half];
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n)
            top = fmaxf(top, fmaxf(score[n][2 * half], score[n][2 * half + 1]));
        top = quad_max(top);
        // A row that has seen no key yet has no largest score: any finite one serves.
        const float base = top == -INFINITY ? 0.0f : top;
        const float shrink = power_of_2(context.top[half] - base);
        context.top[half] = top;
        context.total[half] *= shrink;
#pragma unroll
        for (int n = 0; n < DIM / 8; ++n) {
            context.sum[n][2 * half] *= shrink;
            context.sum[n][2 * half + 1] *= shrink;
        }
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n) {
            score[n][2 * half] = power_of_2(score[n][2 * half] - base);
            score[n][2 * half + 1] = power_of_2(score[n][2 * half + 1] - base);
            context.total[half] += score[n][2 * half] + score[n][2 * half + 1];
        }
    }
    // The accumulators of 16 keys are, as they lie, a left operand.
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < TILE / 16; ++k) {
        const uint32_t weights[4] = {
            pack<T>(score[2 * k][0], score[2 * k][1]),
            pack<T>(score[2 * k][2], score[2 * k][3]),
            pack<T>(score[2 * k + 1][0], score[2 * k + 1][1]),
            pack<T>(score[2 * k + 1][2], score[2 * k + 1][3]),
        };
#pragma unroll
        for (int n = 0; n < DIM / 16; ++n) {
            uint32_t b[4];
            load_matrices_transposed(b, values + (k * 16 + lane % 16) * STRIDE<DIM> + n * 16 + lane / 16 * 8);
            mma<T>(context.sum[2 * n], weights, b[0], b[1]);
            mma<T>(context.sum[2 * n + 1], weights, b[2], b[3]);
        }
    }
}

// Writes the warp's rows that exist: `out` is where query 0 of the tile goes, `rows` how many there
// are, `stride` the elements from one row to the next.
template <int DIM, typename T>
__device__ __forceinline__ void store(const Context<DIM>& context, T* out, size_t stride, int rows) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int row = threadIdx.x / 32 * WARP_ROWS + lane / 4 + 8 * half;
        const float scale = 1.0f / quad_sum(context.total[half]);
        if (row < rows)
#pragma unroll
            for (int n = 0; n < DIM / 8; ++n)
                *reinterpret_cast<uint32_t*>(out + row * stride + 8 * n + lane % 4 * 2) =
                    pack<T>(context.sum[n][2 * half] * scale, context.sum[n][2 * half + 1] * scale);
    }
}
