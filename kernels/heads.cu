// What a head needs around its matrix products, so that only scores leave the device.
//
//   pool:    out[s] = the first row of sequence s, or the mean of its rows   [sequences, width]
//   scores:  out[r] = softmax(logits[r] + bias), or the sigmoid of each, or each cut to 0 .. 1
//                                                                            [rows, labels], f32
//
// A row with a logit that is not finite becomes all NaN: then no score of it means anything.
// Sequences of length 0, after the last one of the batch, pool to zeros.
//
// Bytes: pool reads 1 row a sequence (its whole rows for the mean); scores 8 a label. Both are small
// beside one matrix product. Launch: pool a block a sequence and a thread a vector of 8 at a time;
// scores a warp a row, 4 rows a block.
#include "common.cuh"

constexpr int POOL_THREADS = 128;
constexpr int SCORES_WARPS = 4;

struct PoolArgs {
    const void* x;          // [rows, width]
    const int* starts;      // [sequences + 1]: first row of each sequence, then the number of rows
    void* out;              // [sequences, width]
    int width;              // a multiple of 8
    int mean;               // 0: the first row
};

template <typename T> __device__ __forceinline__ void pool(const PoolArgs& args) {
    const int sequence = blockIdx.x;
    const int start = args.starts[sequence];
    const int length = args.starts[sequence + 1] - start;
    const int rows = args.mean ? length : smaller(length, 1);
    const size_t vectors = args.width / 8;
    const uint4* x = static_cast<const uint4*>(args.x) + start * vectors;
    uint4* out = static_cast<uint4*>(args.out) + sequence * vectors;
    for (int v = threadIdx.x; v < args.width / 8; v += POOL_THREADS) {
        float sum[8] = {};
        for (int row = 0; row < rows; ++row) {
            float value[8];
            unpack8<T>(value, x[row * vectors + v]);
#pragma unroll
            for (int k = 0; k < 8; ++k) sum[k] += value[k];
        }
        if (rows > 1)
#pragma unroll
            for (int k = 0; k < 8; ++k) sum[k] /= rows;
        out[v] = pack8<T>(sum);
    }
}

extern "C" __global__ void __launch_bounds__(POOL_THREADS) pool_f16(const PoolArgs args) { pool<f16>(args); }
extern "C" __global__ void __launch_bounds__(POOL_THREADS) pool_bf16(const PoolArgs args) { pool<bf16>(args); }

// The same order as the host's.
enum class Scoring : int { Sigmoid, Softmax, Identity };

struct ScoresArgs {
    const float* logits;    // [rows, stride]
    const float* bias;      // [labels]
    float* out;             // [rows, labels]
    int rows;
    int labels;
    int stride;             // at least labels
    int scoring;
};

extern "C" __global__ void __launch_bounds__(32 * SCORES_WARPS) scores(const ScoresArgs args) {
    const int row = blockIdx.x * SCORES_WARPS + threadIdx.x / 32;
    if (row >= args.rows) return;
    const int lane = threadIdx.x % 32;
    const float* logits = args.logits + row * static_cast<size_t>(args.stride);
    float* out = args.out + row * static_cast<size_t>(args.labels);

    float top = -INFINITY;
    float broken = 0;
    for (int i = lane; i < args.labels; i += 32) {
        const float logit = logits[i] + args.bias[i];
        broken = isfinite(logit) ? broken : 1;
        top = fmaxf(top, logit);
    }
    top = warp_max(top);
    broken = warp_max(broken);
    const Scoring scoring = static_cast<Scoring>(args.scoring);
    float total = 0;
    if (scoring == Scoring::Softmax)
        for (int i = lane; i < args.labels; i += 32) total += expf(logits[i] + args.bias[i] - top);
    total = warp_sum(total);
    for (int i = lane; i < args.labels; i += 32) {
        const float logit = logits[i] + args.bias[i];
        float score = logit;
        switch (scoring) {
            case Scoring::Sigmoid: score = 1.0f / (1.0f + expf(-logit)); break;
            case Scoring::Softmax: score = expf(logit - top) / total; break;
            case Scoring::Identity: score = fminf(fmaxf(logit, 0.0f), 1.0f); break;
        }
        out[i] = broken != 0 ? NAN : score;
    }
}
