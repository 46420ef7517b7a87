// Variable-length attention: context = softmax(Q K^T scale) V within each sequence of a packed batch,
// each query seeing all keys or only those up to `window` tokens away, with rotary positions or none.
//
// Online softmax over tiles of 64 keys (Dao, arXiv:2307.08691): no score leaves the chip.
//
// For n tokens and head dimension d: 4 n^2 d operations a head; bytes: Q, K, V read once and the context
// written once (8 n d), K and V again for every 64 queries, from L2. At n = 512, d = 64 that is 64
// operations a byte of L2 traffic: bound by the matrix units and exponentials, not memory.
//
// Launch: a block of 4 warps a (tile of 64 queries, head): x = head, y = tile of the work list, so that
// surplus tiles come after all that have work. Shared memory: tiles of keys and of values,
// 2 * 64 * (DIM + 8) * 2 bytes: 10 or 18 KB, so that several blocks share a multiprocessor and hide each
// other's loads. The queries pass through the keys' tile into registers.
#include "attention.cuh"

struct AttentionArgs {
    const void* qkv;           // [rows, 3 heads DIM]: query, key and value of a token side by side
    void* context;             // [rows, heads DIM]
    const Tile* tiles;         // [gridDim.y]
    const float2* rotation;    // [max_length, DIM / 2]: cosine and sine; null for no rotary positions
    int heads;
    int window;                // keys further away are not seen
    float scale;               // log2(e) times that of the scores
};

template <typename T, int DIM, bool ROTARY> __device__ __forceinline__ void attention(const AttentionArgs& args) {
    const Tile tile = args.tiles[blockIdx.y];
    if (tile.length == 0) return;  // the whole block: no barrier is left behind
    DYNAMIC_SHARED(shared);
    T* keys = reinterpret_cast<T*>(shared);
    T* values = keys + TILE * STRIDE<DIM>;

    const int width = args.heads * DIM, stride = 3 * width;
    const T* query = static_cast<const T*>(args.qkv) + static_cast<size_t>(tile.row) * stride + blockIdx.x * DIM;
    const T* key = query + width;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

    const auto load = [&](T* to, const T* from, int first) {
        const int rows = tile.length - first;
        if (ROTARY)
            load_rotated<DIM>(to, from + static_cast<size_t>(first) * stride, stride, rows, args.rotation, first);
        else
            load_tile<DIM, TILE>(to, from + static_cast<size_t>(first) * stride, stride, rows, Straight{});
    };

    load(keys, query, tile.query);
    __syncthreads();
    uint32_t queries[DIM / 16][4];
    load_left<DIM>(queries, keys, warp * WARP_ROWS);

    Context<DIM> context;
    const int end = keys_end(tile.query, tile.length, args.window);
    for (int first = keys_begin(tile.query, args.window); first < end; first += TILE) {
        __syncthreads();  // all warps are done with what the tiles hold
        load(keys, key, first);
        load_tile<DIM, TILE>(values, key + width + static_cast<size_t>(first) * stride, stride, tile.length - first, Straight{});
        __syncthreads();

        float score[TILE / 8][4] = {};
        multiply_tile<DIM>(score, queries, keys);
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n)
#pragma unroll
            for (int c = 0; c < 4; ++c) score[n][c] *= args.scale;
        if (!sees_whole_tile(tile.query, first, tile.length, args.window)) {
#pragma unroll
            for (int n = 0; n < TILE / 8; ++n)
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    const int i = tile.query + warp * WARP_ROWS + lane / 4 + c / 2 * 8;
                    const int j = first + n * 8 + lane % 4 * 2 + c % 2;
                    const bool seen = j < tile.length && i - j <= args.window && j - i <= args.window;
                    if (!seen) score[n][c] = -INFINITY;
                }
        }
        attend<DIM>(context, score, values);
    }
    T* out = static_cast<T*>(args.context) + static_cast<size_t>(tile.row + tile.query) * width + blockIdx.x * DIM;
    store<DIM>(context, out, width, tile.length - tile.query);
}

#define ATTENTION(NAME, T, DIM, ROTARY)                                       \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, ATTENTION_BLOCKS)           \
        NAME##_##T##_##DIM(const AttentionArgs args) { attention<T, DIM, ROTARY>(args); }
ATTENTION(attention, f16, 32, false)
ATTENTION(attention, f16, 64, false)
ATTENTION(attention, bf16, 32, false)
ATTENTION(attention, bf16, 64, false)
ATTENTION(rotary_attention, f16, 32, true)
ATTENTION(rotary_attention, f16, 64, true)
ATTENTION(rotary_attention, bf16, 32, true)
ATTENTION(rotary_attention, bf16, 64, true)
