// The CUDA driver's interface, as far as the engine calls it, on the emulated GPU of emulated_cuda.h.
// Device memory is host memory; everything runs at once, in order. A test loads this library in the
// driver's place, so the engine runs as it is.
//
// Device memory begins as 0xff bytes (NaN in every float type) and ends at a page that cannot be
// touched. emulated_set makes it another device, or one that fails:
//   memory      bytes of the device
//   driver      version that the driver reports
//   capability  compute capability, times 10
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#define KERNELS_ON_HOST
#include "../../kernels/activation.cu"
#include "../../kernels/attention.cu"
#include "../../kernels/disentangled.cu"
#include "../../kernels/embedding.cu"
#include "../../kernels/heads.cu"
#include "../../kernels/residual_norm.cu"
#include "driver.h"
#include "threads.h"

namespace {

using Result = int;
constexpr Result SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NOT_FOUND = 500,
                 ILLEGAL_ADDRESS = 700;

std::map<std::string, long> settings = {{"memory", 1l << 30}, {"driver", 13000}, {"capability", 90}};

// === kernels ===

struct Entry {
    const char* name;
    // Runs the kernel for the arguments that cuLaunchKernel is given.
    Result (*run)(const char* name, dim3 grid, unsigned threads, size_t shared, const void* argument);
    size_t argument_bytes;
    size_t allowed_shared = 48 << 10;
};

template <typename Args> bool reads_null(const Args&) { return false; }
bool reads_null(const EmbeddingArgs& args) { return args.ids == nullptr; }

template <auto KERNEL> struct Unpack;
template <typename Args, void (*KERNEL)(Args)> struct Unpack<KERNEL> {
    using Value = std::remove_const_t<Args>;
    static Result run(const char* name, dim3 grid, unsigned threads, size_t shared, const void* argument) {
        Value args;
        std::memcpy(&args, argument, sizeof args);
        if (reads_null(args)) return ILLEGAL_ADDRESS;
        emulated::run(name, grid, threads, shared, [&] { KERNEL(args); });
        return SUCCESS;
    }
    static constexpr size_t bytes = sizeof(Value);
};

#define FUNCTION(name) Entry{#name, &Unpack<&name>::run, Unpack<&name>::bytes}
#define BOTH(name) FUNCTION(name##_f16), FUNCTION(name##_bf16)
#define BOTH_SIZES(name, size) FUNCTION(name##_f16_##size), FUNCTION(name##_bf16_##size)
Entry entries[] = {
    BOTH(activation), BOTH(gated_activation), BOTH(pool), FUNCTION(scores),
    BOTH_SIZES(attention, 32), BOTH_SIZES(attention, 64),
    BOTH_SIZES(rotary_attention, 32), BOTH_SIZES(rotary_attention, 64),
    BOTH_SIZES(disentangled, 32), BOTH_SIZES(disentangled, 64),
    BOTH_SIZES(embedding, 2), BOTH_SIZES(embedding, 4), BOTH_SIZES(embedding, 8),
    BOTH_SIZES(residual_norm, 2), BOTH_SIZES(residual_norm, 4), BOTH_SIZES(residual_norm, 8),
};

// === memory ===

struct Allocation { void* mapped; size_t mapped_bytes; size_t bytes; };
std::map<uintptr_t, Allocation> allocations;
size_t allocated;

size_t memory_of_device() { return settings["memory"]; }

Result allocate(uint64_t* to, size_t bytes) {
    if (bytes > memory_of_device() - std::min(allocated, memory_of_device())) return OUT_OF_MEMORY;
    const size_t page = sysconf(_SC_PAGESIZE);
    const size_t rounded = std::max<size_t>((bytes + 255) / 256 * 256, 256);
    const size_t pages = (rounded + page - 1) / page * page;
    void* mapped = mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(static_cast<char*>(mapped) + pages, page, PROT_NONE);
    const auto begin = reinterpret_cast<uintptr_t>(mapped) + pages - rounded;
    std::memset(reinterpret_cast<void*>(begin), 0xff, rounded);
    allocations[begin] = {mapped, pages + page, bytes};
    allocated += bytes;
    *to = begin;
    return SUCCESS;
}

Result release(uint64_t at) {
    const auto found = allocations.find(at);
    if (found == allocations.end()) return INVALID_VALUE;
    munmap(found->second.mapped, found->second.mapped_bytes);
    allocated -= found->second.bytes;
    allocations.erase(found);
    return SUCCESS;
}

// === streams and graphs ===

struct Graph { std::vector<std::function<Result()>> work; };
std::recursive_mutex device;
Graph* capturing;
// Once a kernel has faulted, nothing works until the last user of the context has gone.
Result lost = SUCCESS;
int users;

}  // namespace

int emulated_submit(std::function<int()> work) {
    const std::lock_guard lock(device);
    if (lost != SUCCESS) return lost;
    if (capturing != nullptr) {
        capturing->work.push_back(std::move(work));
        return SUCCESS;
    }
    const Result result = work();
    if (result == ILLEGAL_ADDRESS) {
        lost = result;
        return SUCCESS;  // as on a real device, the next call says so
    }
    return result;
}

extern "C" {

void emulated_set(const char* name, long value) { settings[name] = value; }

Result cuInit(unsigned) { return SUCCESS; }
Result cuDriverGetVersion(int* version) {
    *version = static_cast<int>(settings["driver"]);
    return SUCCESS;
}
Result cuGetErrorName(Result error, const char** name) {
    switch (error) {
        case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
        case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
        default: *name = "CUDA_ERROR_EMULATED";
    }
    return SUCCESS;
}
Result cuGetErrorString(Result error, const char** text) { return cuGetErrorName(error, text); }

Result cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
Result cuDeviceGet(int* found, int ordinal) {
    *found = ordinal;
    return ordinal == 0 ? SUCCESS : INVALID_DEVICE;
}
Result cuDeviceGetName(char* name, int bytes, int) {
    std::snprintf(name, bytes, "emulated GPU");
    return SUCCESS;
}
Result cuDeviceGetAttribute(int* value, int attribute, int) {
    const int capability = static_cast<int>(settings["capability"]);
    switch (attribute) {
        case 75: *value = capability / 10; break;  // compute capability, major
        case 76: *value = capability % 10; break;  // minor
        case 115: *value = 1; break;               // memory pools
        default: *value = 0;
    }
    return SUCCESS;
}
Result cuDevicePrimaryCtxRetain(void** context, int) { return ++users, *context = &device, SUCCESS; }
Result cuDevicePrimaryCtxRelease_v2(int) {
    if (--users == 0) lost = SUCCESS;
    return SUCCESS;
}
Result cuCtxGetCurrent(void** context) { return *context = &device, SUCCESS; }
Result cuCtxSetCurrent(void*) { return SUCCESS; }
Result cuCtxSynchronize() { return lost; }
Result cuMemGetInfo_v2(size_t* free, size_t* total) {
    const std::lock_guard lock(device);
    *total = memory_of_device();
    *free = *total - std::min(allocated, *total);
    return SUCCESS;
}

Result cuMemAlloc_v2(uint64_t* at, size_t bytes) {
    const std::lock_guard lock(device);
    return lost != SUCCESS ? lost : allocate(at, bytes);
}
Result cuMemAllocAsync(uint64_t* at, size_t bytes, void*) { return cuMemAlloc_v2(at, bytes); }
Result cuMemFree_v2(uint64_t at) {
    const std::lock_guard lock(device);
    return release(at);
}
Result cuMemFreeAsync(uint64_t at, void*) { return cuMemFree_v2(at); }
Result cuMemHostAlloc(void** at, size_t bytes, unsigned) {
    *at = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    return *at == nullptr ? OUT_OF_MEMORY : SUCCESS;
}
Result cuMemFreeHost(void* at) {
    std::free(at);
    return SUCCESS;
}
Result cuMemsetD8Async(uint64_t at, unsigned char value, size_t bytes, void*) {
    return emulated_submit([=] { return std::memset(reinterpret_cast<void*>(at), value, bytes), SUCCESS; });
}
Result cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
    return emulated_submit([=] { return std::memcpy(reinterpret_cast<void*>(to), from, bytes), SUCCESS; });
}
Result cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
    return emulated_submit([=] { return std::memcpy(to, reinterpret_cast<void*>(from), bytes), SUCCESS; });
}

Result cuStreamCreate(void** stream, unsigned) { return *stream = &device, SUCCESS; }
Result cuStreamDestroy_v2(void*) { return SUCCESS; }
Result cuStreamSynchronize(void*) { return lost; }
Result cuStreamWaitEvent(void*, void*, unsigned) { return lost; }
Result cuStreamIsCapturing(void*, int* status) { return *status = capturing != nullptr, SUCCESS; }
Result cuEventCreate(void** event, unsigned) { return *event = &device, lost; }
Result cuEventDestroy_v2(void*) { return SUCCESS; }
Result cuEventRecord(void*, void*) { return lost; }
Result cuEventSynchronize(void*) { return lost; }
Result cuEventQuery(void*) { return lost; }
Result cuEventElapsedTime_v2(float* ms, void*, void*) { return *ms = 0, SUCCESS; }

Result cuModuleLoadData(void** module, const void*) { return *module = &device, SUCCESS; }
Result cuModuleUnload(void*) { return SUCCESS; }
Result cuModuleGetFunction(Entry** found, void*, const char* name) {
    for (Entry& entry : entries)
        if (std::strcmp(entry.name, name) == 0) return *found = &entry, SUCCESS;
    return NOT_FOUND;
}
Result cuFuncSetAttribute(Entry* function, int attribute, int value) {
    if (attribute == 8) function->allowed_shared = value;  // most dynamic shared memory
    return SUCCESS;
}
Result cuLaunchKernel(Entry* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared, void*, void** arguments, void**) {
    if (grid_x == 0 || grid_y == 0 || grid_z != 1 || block_x == 0 || block_y != 1 || block_z != 1 ||
        shared > function->allowed_shared)
        return INVALID_VALUE;
    const auto* bytes = static_cast<const unsigned char*>(arguments[0]);
    std::vector<unsigned char> argument(bytes, bytes + function->argument_bytes);
    return emulated_submit([=] {
        return function->run(function->name, {grid_x, grid_y, 1}, block_x, shared, argument.data());
    });
}

Result cuStreamBeginCapture_v2(void*, int) {
    const std::lock_guard lock(device);
    if (capturing != nullptr) return INVALID_VALUE;
    capturing = new Graph;
    return lost;
}
Result cuStreamEndCapture(void*, Graph** graph) {
    const std::lock_guard lock(device);
    *graph = std::exchange(capturing, nullptr);
    return lost;
}
Result cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long) {
    return *executable = new Graph(*graph), SUCCESS;
}
Result cuGraphUpload(Graph*, void*) { return lost; }
Result cuGraphLaunch(Graph* graph, void*) {
    for (const auto& work : graph->work)
        if (const Result result = emulated_submit(work); result != SUCCESS) return result;
    return SUCCESS;
}
Result cuGraphExecDestroy(Graph* graph) { return delete graph, SUCCESS; }
Result cuGraphDestroy(Graph* graph) { return delete graph, SUCCESS; }

}  // extern "C"
