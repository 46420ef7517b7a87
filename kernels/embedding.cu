// Embedding: out[r] = LayerNorm(words[id[r]] + places[position[r]]), r a row of the batch.
//
// `places` holds the position embedding with that of token type 0 added; null where the network has
// none. Widths are multiples of 8, up to 256 * VECTORS.
//
// Bytes: reads 2 rows, writes 1 (4.6 KB a token at width 768); 10 operations an element: bound by
// memory. Launch: a warp a row, NORM_WARPS rows a block; a row stays in registers, so one pass over
// memory is all, and no barrier is needed.
#include "norm.cuh"

struct EmbeddingArgs {
    const int* ids;          // [rows]
    const int* positions;    // [rows]
    const void* words;       // [vocabulary, width]
    const void* places;      // [max_length, width] or null
    const float* weight;     // [width]
    const float* bias;       // [width] or null
    void* out;               // [rows, width]
    int rows;
    int width;
    float eps;
};

template <typename T, int VECTORS> __device__ __forceinline__ void embedding(const EmbeddingArgs& args) {
    const int row = blockIdx.x * NORM_WARPS + threadIdx.x / 32;
    if (row >= args.rows) return;
    const int lane = threadIdx.x % 32;
    const size_t vectors = args.width / 8;
    const uint4* word = static_cast<const uint4*>(args.words) + args.ids[row] * vectors;
    const uint4* place = static_cast<const uint4*>(args.places);
    if (place != nullptr) place += args.positions[row] * vectors;
    float x[VECTORS][8];
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) {
        const int v = i * 32 + lane;
        if (v < args.width / 8) {
            unpack8<T>(x[i], word[v]);
            if (place != nullptr) {
                float p[8];
                unpack8<T>(p, place[v]);
#pragma unroll
                for (int k = 0; k < 8; ++k) x[i][k] += p[k];
            }
        }
    }
    uint4* out = static_cast<uint4*>(args.out) + row * vectors;
    normalise<T>(x, args.width, args.weight, args.bias, args.eps, out);
}

#define EMBEDDING(T, VECTORS)                                                           \
    extern "C" __global__ void __launch_bounds__(32 * NORM_WARPS, 1)                       \
        embedding_##T##_##VECTORS(const EmbeddingArgs args) { embedding<T, VECTORS>(args); }
EMBEDDING(f16, 2)
EMBEDDING(f16, 4)
EMBEDDING(f16, 8)
EMBEDDING(bf16, 2)
EMBEDDING(bf16, 4)
EMBEDDING(bf16, 8)
