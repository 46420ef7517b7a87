// cublasLt's interface, as far as the engine calls it, on the emulated GPU: products of 16-bit
// matrices with f32 sums, summed in order.
#include <cstring>
#include <vector>

#include "driver.h"
#include "emulated_cuda.h"

namespace {

constexpr int SUCCESS = 0, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15;
constexpr int R_32F = 0, R_16F = 2, R_16BF = 14;

struct Operation {
    int transpose_a = 0, transpose_b = 0;
    unsigned epilogue = 1;
    const void* bias = nullptr;
};
struct Layout { int type; uint64_t rows, columns; int64_t stride; };
struct Algorithm { uint64_t data[8]; };
struct Found {
    Algorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

float load(int type, const void* from, size_t i) {
    if (type == R_32F) return static_cast<const float*>(from)[i];
    const uint16_t bits = static_cast<const uint16_t*>(from)[i];
    return type == R_16F ? to_float(f16{bits}) : to_float(bf16{bits});
}
void store(int type, void* to, size_t i, float x) {
    if (type == R_32F) static_cast<float*>(to)[i] = x;
    else static_cast<uint16_t*>(to)[i] = type == R_16F ? round_to<f16>(x) : round_to<bf16>(x);
}

bool supported(const Operation* operation, const Layout* a, const Layout* b, const Layout* d) {
    return operation->transpose_a == 1 && operation->transpose_b == 0 && a->rows == b->rows &&
           a->columns == d->rows && b->columns == d->columns && a->type == b->type &&
           (operation->epilogue == 1 || operation->epilogue == 4);
}

}  // namespace

extern "C" {

int cublasLtCreate(void** handle) { return *handle = new char, SUCCESS; }
int cublasLtDestroy(void* handle) { return delete static_cast<char*>(handle), SUCCESS; }
int cublasLtMatmulDescCreate(Operation** made, int, int) { return *made = new Operation, SUCCESS; }
int cublasLtMatmulDescDestroy(Operation* operation) { return delete operation, SUCCESS; }
int cublasLtMatmulDescSetAttribute(Operation* operation, int attribute, const void* value, size_t bytes) {
    const auto set = [&](void* to, size_t size) {
        if (bytes != size) return INVALID_VALUE;
        std::memcpy(to, value, size);
        return SUCCESS;
    };
    switch (attribute) {
        case 3: return set(&operation->transpose_a, 4);
        case 4: return set(&operation->transpose_b, 4);
        case 7: return set(&operation->epilogue, 4);
        case 8: return set(&operation->bias, 8);
        default: return INVALID_VALUE;
    }
}
int cublasLtMatrixLayoutCreate(Layout** made, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    return *made = new Layout{type, rows, columns, stride}, SUCCESS;
}
int cublasLtMatrixLayoutDestroy(Layout* layout) { return delete layout, SUCCESS; }
int cublasLtMatmulPreferenceCreate(void** made) { return *made = new char, SUCCESS; }
int cublasLtMatmulPreferenceDestroy(void* preference) { return delete static_cast<char*>(preference), SUCCESS; }
int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return SUCCESS; }
int cublasLtMatmulAlgoGetHeuristic(void*, Operation* operation, Layout* a, Layout* b, Layout*, Layout* d, void*,
                                   int wanted, Found* found, int* count) {
    *count = wanted > 0 && supported(operation, a, b, d) ? 1 : 0;
    if (*count == 1) found[0] = {};
    return *count == 1 ? SUCCESS : NOT_SUPPORTED;
}
int cublasLtMatmulAlgoCheck(void*, Operation* operation, Layout* a, Layout* b, Layout*, Layout* d,
                            const Algorithm*, Found* found) {
    *found = {};
    return supported(operation, a, b, d) ? SUCCESS : NOT_SUPPORTED;
}
int cublasLtMatmulAlgoConfigGetAttribute(const Algorithm*, int, void* value, size_t bytes, size_t* written) {
    std::memset(value, 0, bytes);
    *written = bytes;
    return SUCCESS;
}

int cublasLtMatmul(void*, Operation* operation, const float* alpha, const void* a, Layout* a_layout, const void* b,
                   Layout* b_layout, const float* beta, const void*, Layout*, void* d, Layout* d_layout,
                   const Algorithm*, void*, size_t, void* stream) {
    if (!supported(operation, a_layout, b_layout, d_layout) || *alpha != 1 || *beta != 0) return INVALID_VALUE;
    const Operation by = *operation;
    const Layout of_a = *a_layout, of_b = *b_layout, of_d = *d_layout;
    const int error = emulated_submit(stream, [=] {
        std::vector<float> weights(of_a.rows * of_a.columns);
        for (size_t n = 0; n < of_a.columns; ++n)
            for (size_t k = 0; k < of_a.rows; ++k)
                weights[k * of_a.columns + n] = load(of_a.type, a, n * of_a.stride + k);
        std::vector<float> sums(of_a.columns);
        for (size_t row = 0; row < of_b.columns; ++row) {
            for (size_t n = 0; n < of_a.columns; ++n)
                sums[n] = by.epilogue == 4 ? load(of_a.type, by.bias, n) : 0.0f;
            for (size_t k = 0; k < of_b.rows; ++k) {
                const float x = load(of_b.type, b, row * of_b.stride + k);
                const float* weight = &weights[k * of_a.columns];
                for (size_t n = 0; n < of_a.columns; ++n) sums[n] += x * weight[n];
            }
            for (size_t n = 0; n < of_a.columns; ++n) store(of_d.type, d, row * of_d.stride + n, sums[n]);
        }
        return 0;
    });
    return error == 0 ? SUCCESS : EXECUTION_FAILED;
}

}  // extern "C"
