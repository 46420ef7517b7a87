// Variable-length disentangled attention (DeBERTa; He et al., arXiv:2006.03654):
//
//   score(i, j) = (q_i . k_j + q_i . Kr[s] + k_j . Qr[s]) * scale,   s = slots[i - j]
//   context     = softmax(score) V
//
// Kr and Qr are the projected relative positions, which do not depend on the input; the model loads
// them. Either may be null: then its term is absent.
//
// Between 64 queries and 64 keys lie only 127 distances, so for each tile pair the rows of Kr and Qr in
// use, at most 127, are multiplied with the queries and keys on chip, and each score reads its two
// terms skewed, at its distance. Nothing of size n x n or n x slots goes to memory. Each warp computes
// the 80 distances that its own 16 rows can meet (index.cuh).
//
// For n tokens and head dimension d: 4 n^2 d operations a head for scores and values, 5 n^2 d for the
// bands; bytes as in attention.cu, and 128 rows of Kr and Qr a tile pair from L2.
//
// Launch: a block of 4 warps a (tile of 64 queries, head). Shared memory, DIM = 64: keys and values 18
// KB, rows of Kr or Qr 18 KB, the two bands 22.5 KB: 59 KB, three blocks a multiprocessor on sm_90 and
// one on sm_86.
#include "attention.cuh"

struct DisentangledArgs {
    const void* qkv;                // [rows, 3 heads DIM]
    void* context;                  // [rows, heads DIM]
    const Tile* tiles;              // [gridDim.x]
    const void* key_positions;      // Kr: [slots, heads DIM] or null
    const void* query_positions;    // Qr: [slots, heads DIM] or null
    const uint16_t* slots;          // [2 reach - 1]: slot of distance -(reach - 1) .. reach - 1
    int reach;
    int heads;
    float scale;                    // log2(e) times that of the scores
};

// Elements from one row of a band to the next.
constexpr int BAND_STRIDE = BAND_COLUMNS + 8;

// The row of Kr or Qr for a row of the band that begins at distance `first`.
struct BandSlot {
    const uint16_t* slots;
    int reach;
    int first;
    __device__ __forceinline__ int operator()(int row) const { return slots[slot_index(first + row, reach)]; }
};

// band[row][c] = scale * (the warp's row `row` of the left operand) . (row begin + c of `positions`)
template <int DIM, typename T>
__device__ __forceinline__ void multiply_band(T* band, const uint32_t (&a)[DIM / 16][4], const T* positions,
                                              int begin, float scale) {
    const int lane = threadIdx.x % 32;
    T* at = band + (threadIdx.x / 32 * WARP_ROWS + lane / 4) * BAND_STRIDE + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < BAND_COLUMNS / 8; ++n) {
        float c[4] = {0, 0, 0, 0};
        multiply_rows<DIM>(c, a, positions, begin + n * 8);
        *reinterpret_cast<uint32_t*>(at + n * 8) = pack<T>(c[0] * scale, c[1] * scale);
        *reinterpret_cast<uint32_t*>(at + 8 * BAND_STRIDE + n * 8) = pack<T>(c[2] * scale, c[3] * scale);
    }
}

template <typename T, int DIM> __device__ __forceinline__ void disentangled(const DisentangledArgs& args) {
    const Tile tile = args.tiles[blockIdx.x];
    if (tile.length == 0) return;  // the whole block: no barrier is left behind
    DYNAMIC_SHARED(shared);
    T* keys = reinterpret_cast<T*>(shared);
    T* values = keys + TILE * STRIDE<DIM>;
    T* positions = values + TILE * STRIDE<DIM>;            // rows of Kr, then of Qr
    T* query_terms = positions + BAND_ROWS * STRIDE<DIM>;  // q . Kr of each query, by distance
    T* key_terms = query_terms + TILE * BAND_STRIDE;       // k . Qr of each key, by distance

    const size_t width = static_cast<size_t>(args.heads) * DIM;
    const size_t stride = 3 * width;
    const T* query = static_cast<const T*>(args.qkv) + tile.row * stride + blockIdx.y * DIM;
    const T* key = query + width;
    const T* value = key + width;
    const T* key_positions = static_cast<const T*>(args.key_positions);
    const T* query_positions = static_cast<const T*>(args.query_positions);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

    load_tile<DIM, TILE>(keys, query + tile.query * stride, stride, tile.length - tile.query, Straight{});
    __syncthreads();
    uint32_t queries[DIM / 16][4];
    load_left<DIM>(queries, keys, warp * WARP_ROWS);

    Context<DIM> context;
    for (int first = 0; first < tile.length; first += TILE) {
        const BandSlot slot = {args.slots, args.reach, band_first(tile.query, first)};
        __syncthreads();  // all warps are done with what shared memory holds
        load_tile<DIM, TILE>(keys, key + first * stride, stride, tile.length - first, Straight{});
        load_tile<DIM, TILE>(values, value + first * stride, stride, tile.length - first, Straight{});
        if (key_positions != nullptr) {
            load_tile<DIM, BAND_ROWS>(positions, key_positions + blockIdx.y * DIM, width, BAND_ROWS, slot);
            __syncthreads();
            multiply_band<DIM>(query_terms, queries, positions, query_band(warp * WARP_ROWS), args.scale);
            __syncthreads();  // all warps are done with Kr
        }
        if (query_positions != nullptr) {
            load_tile<DIM, BAND_ROWS>(positions, query_positions + blockIdx.y * DIM, width, BAND_ROWS, slot);
            __syncthreads();
            uint32_t own_keys[DIM / 16][4];
            load_left<DIM>(own_keys, keys, warp * WARP_ROWS);
            multiply_band<DIM>(key_terms, own_keys, positions, key_band(warp * WARP_ROWS), args.scale);
        }
        __syncthreads();  // every warp reads the terms of all keys

        float score[TILE / 8][4];
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n) {
#pragma unroll
            for (int c = 0; c < 4; ++c) score[n][c] = 0;
            multiply_rows<DIM>(score[n], queries, keys, n * 8);
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                const int i = warp * WARP_ROWS + lane / 4 + c / 2 * 8;
                const int j = n * 8 + lane % 4 * 2 + c % 2;
                const int row = band_row(i, j);
                score[n][c] *= args.scale;
                if (key_positions != nullptr)
                    score[n][c] += to_float(query_terms[i * BAND_STRIDE + row - query_band(i)]);
                if (query_positions != nullptr)
                    score[n][c] += to_float(key_terms[j * BAND_STRIDE + row - key_band(j)]);
                if (first + j >= tile.length) score[n][c] = -INFINITY;
            }
        }
        attend<DIM>(context, score, values);
    }
    T* out = static_cast<T*>(args.context) + (tile.row + tile.query) * width + blockIdx.y * DIM;
    store<DIM>(context, out, width, tile.length - tile.query);
}

#define DISENTANGLED(T, DIM)                                                  \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, ATTENTION_BLOCKS)           \
        disentangled_##T##_##DIM(const DisentangledArgs args) { disentangled<T, DIM>(args); }
DISENTANGLED(f16, 32)
DISENTANGLED(f16, 64)
DISENTANGLED(bf16, 32)
DISENTANGLED(bf16, 64)
