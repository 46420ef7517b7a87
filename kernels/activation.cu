// Bias and activation, plain or gated:
//
//   activation:        out[r][c] = f(x[r][c] + bias[c])                                x [rows, width]
//   gated_activation:  out[r][c] = f(x[r][c] + bias[c]) * (x[r][width + c] + bias[width + c])
//                                                                                   x [rows, 2 width]
//
// `bias` may be null; `out` may be `x` itself where it is not gated. Erf-GELU is exact: cublasLt's own
// epilogue is the tanh approximation, which is another function.
//
// Bytes: 4 (gated 6) an element of `out`; about 30 operations an element: bound by memory. Launch: a
// thread 8 elements, 256 threads a block; rows * width / 8 threads in all.
#include "common.cuh"

constexpr int ACTIVATION_THREADS = 256;

// The same order as the host's enum.
enum class Function : int { None, GeluErf, GeluTanh, Relu, Silu, Tanh };

struct ActivationArgs {
    const void* x;        // [rows, width], gated [rows, 2 width]
    const float* bias;    // [width], gated [2 width]; or null
    void* out;            // [rows, width]
    int rows;
    int width;            // a multiple of 8
    int function;
};

__device__ __forceinline__ float apply(Function function, float x) {
    switch (function) {
        case Function::GeluErf: return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
        case Function::GeluTanh:
            return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
        case Function::Relu: return x < 0.0f ? 0.0f : x;  // not fmaxf, which makes 0 of NaN
        case Function::Silu: return x / (1.0f + expf(-x));
        case Function::Tanh: return tanhf(x);
        case Function::None: break;
    }
    return x;
}

template <typename T, bool GATED> __device__ __forceinline__ void activation(const ActivationArgs& args) {
    const size_t vectors = args.width / 8;
    const size_t i = blockIdx.x * static_cast<size_t>(ACTIVATION_THREADS) + threadIdx.x;
    if (i >= args.rows * vectors) return;
    const size_t row = i / vectors, v = i % vectors;
    const uint4* from = static_cast<const uint4*>(args.x) + row * (GATED ? 2 * vectors : vectors);
    const Function function = static_cast<Function>(args.function);
    float x[8];
    unpack8<T>(x, from[v]);
    if (args.bias != nullptr) add8(x, args.bias + 8 * v);
#pragma unroll
    for (int k = 0; k < 8; ++k) x[k] = apply(function, x[k]);
    if (GATED) {
        float gate[8];
        unpack8<T>(gate, from[vectors + v]);
        if (args.bias != nullptr) add8(gate, args.bias + args.width + 8 * v);
#pragma unroll
        for (int k = 0; k < 8; ++k) x[k] *= gate[k];
    }
    static_cast<uint4*>(args.out)[i] = pack8<T>(x);
}

#define ACTIVATION(NAME, T, GATED)                                            \
    extern "C" __global__ void __launch_bounds__(ACTIVATION_THREADS)          \
        NAME##_##T(const ActivationArgs args) { activation<T, GATED>(args); }
ACTIVATION(activation, f16, false)
ACTIVATION(activation, bf16, false)
ACTIVATION(gated_activation, f16, true)
ACTIVATION(gated_activation, bf16, true)
