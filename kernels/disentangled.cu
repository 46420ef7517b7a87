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
// Launch: a block of 4 warps a (tile of 64 queries, head), as in attention.cu. Shared memory, DIM = 64: keys
// and values 18 KB, rows of Kr or Qr 18 KB, the two bands 22.5 KB: 59 KB, three blocks a multiprocessor on
// sm_90, two on sm_80 and one on sm_86, 89 and 120.
#include "attention.cuh"

struct DisentangledArgs {
    const void* qkv;                // [rows, 3 heads DIM]
    void* context;                  // [rows, heads DIM]
    const Tile* tiles;              // [gridDim.y]
    const void* key_positions;      // Kr: [slots, heads DIM] or null
    const void* query_positions;    // Qr: [slots, heads DIM] or null
    const uint16_t* slots;          // [2 reach - 1]: slot of distance -(reach - 1) .. reach - 1
    int reach;
    int heads;
    float scale;                    // log2(e) times that of the scores
};

// Bands are f16 whatever T is: no matrix instruction reads them, and bf16 would take a term of 16 off by up
// to a 32nd. One beyond f16 is infinite: then the row is no number, or the key's weight 0.

// Columns, in eights, whose products are made side by side before they are stored: each product waits for the
// one before it in its sum. More of them do not fit the registers.
constexpr int BAND_STEP = 5;
static_assert(BAND_COLUMNS / 8 % BAND_STEP == 0, "whole steps");

// The row of Kr or Qr for a row of the band that begins at distance `first`.
struct BandSlot {
    const uint16_t* slots;
    int reach;
    int first;
    __device__ __forceinline__ int operator()(int row) const { return slots[slot_index(first + row, reach)]; }
};

// band[row][c] = scale * (the warp's row `row` of the left operand) . (row begin + c of `positions`)
template <int DIM, typename T>
__device__ __forceinline__ void multiply_band(f16* band, const uint32_t (&a)[DIM / 16][4], const T* positions,
                                              int begin, float scale) {
    const int lane = threadIdx.x % 32;
    f16* at = band + (threadIdx.x / 32 * WARP_ROWS + lane / 4) * BAND_STRIDE + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < BAND_COLUMNS / 8; n += BAND_STEP) {
        float c[BAND_STEP][4] = {};
#pragma unroll
        for (int m = 0; m < BAND_STEP; ++m) multiply_rows<DIM>(c[m], a, positions, begin + (n + m) * 8);
#pragma unroll
        for (int m = 0; m < BAND_STEP; ++m) {
            f16* to = at + (n + m) * 8;
            *reinterpret_cast<uint32_t*>(to) = pack<f16>(c[m][0] * scale, c[m][1] * scale);
            *reinterpret_cast<uint32_t*>(to + 8 * BAND_STRIDE) = pack<f16>(c[m][2] * scale, c[m][3] * scale);
        }
    }
}

template <typename T, int DIM> __device__ __forceinline__ void disentangled(const DisentangledArgs& args) {
    const Tile tile = args.tiles[blockIdx.y];
    if (tile.length == 0) return;  // the whole block: no barrier is left behind
    DYNAMIC_SHARED(shared);
    T* keys = reinterpret_cast<T*>(shared);
    T* values = keys + TILE * STRIDE<DIM>;
    T* positions = values + TILE * STRIDE<DIM>;            // rows of Kr, then of Qr
    // q . Kr of each query, and k . Qr of each key, by distance.
    f16* query_terms = reinterpret_cast<f16*>(positions + BAND_ROWS * STRIDE<DIM>);
    f16* key_terms = query_terms + TILE * BAND_STRIDE;

    const int width = args.heads * DIM, stride = 3 * width;
    const T* query = static_cast<const T*>(args.qkv) + static_cast<size_t>(tile.row) * stride + blockIdx.x * DIM;
    const T* key = query + width;
    const T* key_positions = static_cast<const T*>(args.key_positions);
    const T* query_positions = static_cast<const T*>(args.query_positions);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

    load_tile<DIM, TILE>(keys, query + static_cast<size_t>(tile.query) * stride, stride, tile.length - tile.query, Straight{});
    __syncthreads();
    uint32_t queries[DIM / 16][4];
    load_left<DIM>(queries, keys, warp * WARP_ROWS);

    Context<DIM> context;
    for (int first = 0; first < tile.length; first += TILE) {
        const BandSlot slot = {args.slots, args.reach, band_first(tile.query, first)};
        __syncthreads();  // all warps are done with what shared memory holds
        load_tile<DIM, TILE>(keys, key + static_cast<size_t>(first) * stride, stride, tile.length - first, Straight{});
        load_tile<DIM, TILE>(values, key + width + static_cast<size_t>(first) * stride, stride, tile.length - first, Straight{});
        if (key_positions != nullptr) {
            load_tile<DIM, BAND_ROWS>(positions, key_positions + blockIdx.x * DIM, width, BAND_ROWS, slot);
            __syncthreads();
            multiply_band<DIM>(query_terms, queries, positions, query_band(warp * WARP_ROWS), args.scale);
            __syncthreads();  // all warps are done with Kr
        }
        if (query_positions != nullptr) {
            load_tile<DIM, BAND_ROWS>(positions, query_positions + blockIdx.x * DIM, width, BAND_ROWS, slot);
            __syncthreads();
            uint32_t own_keys[DIM / 16][4];
            load_left<DIM>(own_keys, keys, warp * WARP_ROWS);
            multiply_band<DIM>(key_terms, own_keys, positions, key_band(warp * WARP_ROWS), args.scale);
        }
        __syncthreads();  // every warp reads the terms of all keys

        float score[TILE / 8][4] = {};
        multiply_tile<DIM>(score, queries, keys);
        // The lane's scores are of query i + di and key j + dj of their tiles.
        const int i = warp * WARP_ROWS + lane / 4, j = lane % 4 * 2;
        const auto each = [&](auto change) {
#pragma unroll
            for (int n = 0; n < TILE / 8; ++n)
#pragma unroll
                for (int c = 0; c < 4; ++c) change(score[n][c], c / 2 * 8, n * 8 + c % 2);
        };
        each([&](float& x, int, int) { x *= args.scale; });
        if (key_positions != nullptr) {
            const f16* terms = query_terms + query_term(i, j);
            each([&](float& x, int di, int dj) { x += to_float(terms[query_term_step(di, dj)]); });
        }
        if (query_positions != nullptr) {
            const f16* terms = key_terms + key_term(i, j);
            each([&](float& x, int di, int dj) { x += to_float(terms[key_term_step(di, dj)]); });
        }
        if (first + TILE > tile.length)
            each([&](float& x, int, int dj) {
                if (first + j + dj >= tile.length) x = -INFINITY;
            });
        attend<DIM>(context, score, values);
    }
    T* out = static_cast<T*>(args.context) + static_cast<size_t>(tile.row + tile.query) * width + blockIdx.x * DIM;
    store<DIM>(context, out, width, tile.length - tile.query);
}

#define DISENTANGLED(T, DIM)                                                  \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, ATTENTION_BLOCKS)           \
        disentangled_##T##_##DIM(const DisentangledArgs args) { disentangled<T, DIM>(args); }
DISENTANGLED(f16, 32)
DISENTANGLED(f16, 64)
DISENTANGLED(bf16, 32)
DISENTANGLED(bf16, 64)
