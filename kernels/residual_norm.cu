// Bias, residual and layer normalisation in one pass:
//
//   sum = x + bias + residual        (written where `sum` is not null: pre-norm networks carry it on)
//   out = LayerNorm(sum)
//
// `bias` and `residual` may be null. `out` and `sum` may be `x` or `residual` themselves: a warp reads
// its whole row before it writes. Widths are multiples of 8, up to 256 * VECTORS.
//
// Bytes: reads 2 rows, writes 1 or 2 (4.6 KB a token at width 768); 12 operations an element: bound by
// memory. Launch: a warp a row, NORM_WARPS rows a block, as for the embedding.
#include "norm.cuh"

struct ResidualNormArgs {
    const void* x;           // [rows, width]
    const float* x_bias;     // [width] or null
    const void* residual;    // [rows, width] or null
    void* sum;               // [rows, width] or null
    const float* weight;     // [width]
    const float* bias;       // [width] or null
    void* out;               // [rows, width]
    int rows;
    int width;
    float eps;
};

template <typename T, int VECTORS> __device__ __forceinline__ void residual_norm(const ResidualNormArgs& args) {
    const int row = blockIdx.x * NORM_WARPS + threadIdx.x / 32;
    if (row >= args.rows) return;
    const int lane = threadIdx.x % 32;
    const size_t first = row * static_cast<size_t>(args.width / 8);
    const uint4* from = static_cast<const uint4*>(args.x) + first;
    const uint4* residual = static_cast<const uint4*>(args.residual);
    uint4* sum = static_cast<uint4*>(args.sum);
    float x[VECTORS][8];
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) {
        const int v = i * 32 + lane;
        if (v < args.width / 8) {
            unpack8<T>(x[i], from[v]);
            if (args.x_bias != nullptr) add8(x[i], args.x_bias + 8 * v);
            if (residual != nullptr) {
                float r[8];
                unpack8<T>(r, residual[first + v]);
#pragma unroll
                for (int k = 0; k < 8; ++k) x[i][k] += r[k];
            }
            if (sum != nullptr) sum[first + v] = pack8<T>(x[i]);
        }
    }
    uint4* out = static_cast<uint4*>(args.out) + first;
    normalise<T>(x, args.width, args.weight, args.bias, args.eps, out);
}

#define RESIDUAL_NORM(T, VECTORS)                                                       \
    extern "C" __global__ void __launch_bounds__(32 * NORM_WARPS, 1)                       \
        residual_norm_##T##_##VECTORS(const ResidualNormArgs args) { residual_norm<T, VECTORS>(args); }
RESIDUAL_NORM(f16, 2)
RESIDUAL_NORM(f16, 4)
RESIDUAL_NORM(f16, 8)
RESIDUAL_NORM(bf16, 2)
RESIDUAL_NORM(bf16, 4)
RESIDUAL_NORM(bf16, 8)
