// Layer normalisation of a row that one warp holds in registers.
#pragma once

#include "common.cuh"

constexpr int NORM_WARPS = 4;  // rows of a block

// Normalises `x`, the vectors of a row of `width` elements that this lane holds (vector v of the row
// is x[v / 32] of lane v % 32), and writes it. Two passes over registers: the mean, then the variance
// around it. A row with a value that is not finite becomes all NaN. `bias` may be null.
template <typename T, int VECTORS>
__device__ __forceinline__ void normalise(float (&x)[VECTORS][8], int width, const float* weight,
                                          const float* bias, float eps, uint4* out) {
    const int lane = threadIdx.x % 32;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i)
        if (i * 32 + lane < width / 8)
#pragma unroll
            for (int k = 0; k < 8; ++k) sum += x[i][k];
    const float mean = warp_sum(sum) / width;
    sum = 0;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i)
        if (i * 32 + lane < width / 8)
#pragma unroll
            for (int k = 0; k < 8; ++k) sum += (x[i][k] - mean) * (x[i][k] - mean);
    const float variance = warp_sum(sum) / width;
    // Where it is beyond f32 the row is lost, and must not look as if it were all zeros.
    const float scale = isfinite(variance) ? rsqrtf(variance + eps) : NAN;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) {
        const int v = i * 32 + lane;
        if (v < width / 8) {
            float w[8] = {}, y[8];
            add8(w, weight + 8 * v);
#pragma unroll
            for (int k = 0; k < 8; ++k) y[k] = (x[i][k] - mean) * scale * w[k];
            if (bias != nullptr) add8(y, bias + 8 * v);
            out[v] = pack8<T>(y);
        }
    }
}
