// The CUDA driver's interface, as far as the engine calls it, on the emulated GPU of emulated_cuda.h and
// streams.h. Device memory is host memory. A test loads this library in the driver's place, so the engine
// runs as it is.
//
// Device memory begins as 0xff bytes (NaN in every float type) and ends at a page that cannot be
// touched. emulated_set makes it another device, or one that fails:
//   memory      bytes of the device
//   graph       bytes of it that an executable graph takes
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
#include "streams.h"
#include "threads.h"

using namespace emulated;

namespace {

std::map<std::string, long> settings = {{"memory", 1l << 30}, {"graph", 1l << 10}, {"driver", 13000}, {"capability", 90}};

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

// Memory of the host that copies may use at any time until they are done; what else a copy is given is
// read, or written, before its call returns.
std::map<uintptr_t, size_t> pinned;

bool is_pinned(const void* at) {
    const auto after = pinned.upper_bound(reinterpret_cast<uintptr_t>(at));
    if (after == pinned.begin()) return false;
    const auto& [begin, bytes] = *std::prev(after);
    return reinterpret_cast<uintptr_t>(at) < begin + bytes;
}

// Users of the context.
int users;

}  // namespace

extern "C" {

void emulated_set(const char* name, long value) { settings[name] = value; }
long emulated_overtakes() { return overtakes; }

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
Result cuCtxSynchronize() {
    const std::lock_guard lock(device);
    return finish_all();
}
Result cuMemGetInfo_v2(size_t* free, size_t* total) {
    const std::lock_guard lock(device);
    *total = memory_of_device();
    *free = *total - std::min(allocated, *total);
    return SUCCESS;
}

Result cuMemAlloc_v2(uint64_t* at, size_t bytes) {
    const std::lock_guard lock(device);
    if (lost != SUCCESS) return lost;
    if (capturing()) return CAPTURE_UNSUPPORTED;
    const Result result = allocate(at, bytes);
    if (result != OUT_OF_MEMORY) return result;
    finish_all();  // what is to be freed is free then
    return allocate(at, bytes);
}
Result cuMemAllocAsync(uint64_t* at, size_t bytes, Stream*) { return cuMemAlloc_v2(at, bytes); }
Result cuMemFree_v2(uint64_t at) {
    const std::lock_guard lock(device);
    finish_all();
    return release(at);
}
Result cuMemFreeAsync(uint64_t at, Stream* stream) {
    const std::lock_guard lock(device);
    return lost == SUCCESS ? submit(stream, [=] { return release(at); }) : release(at);
}
Result cuMemHostAlloc(void** at, size_t bytes, unsigned) {
    const std::lock_guard lock(device);
    *at = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (*at != nullptr) pinned[reinterpret_cast<uintptr_t>(*at)] = bytes;
    return *at == nullptr ? OUT_OF_MEMORY : SUCCESS;
}
Result cuMemFreeHost(void* at) {
    const std::lock_guard lock(device);
    finish_all();
    pinned.erase(reinterpret_cast<uintptr_t>(at));
    std::free(at);
    return SUCCESS;
}
Result cuMemsetD8Async(uint64_t at, unsigned char value, size_t bytes, Stream* stream) {
    const std::lock_guard lock(device);
    return submit(stream, [=] { return std::memset(reinterpret_cast<void*>(at), value, bytes), SUCCESS; });
}
Result cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, Stream* stream) {
    const std::lock_guard lock(device);
    const auto* words = static_cast<const unsigned char*>(from);
    if (is_pinned(from))
        return submit(stream, [=] { return std::memcpy(reinterpret_cast<void*>(to), words, bytes), SUCCESS; },
                      Item::Kind::Copy);
    const std::vector<unsigned char> staged(words, words + bytes);
    return submit(stream, [=] { return std::memcpy(reinterpret_cast<void*>(to), staged.data(), bytes), SUCCESS; });
}
Result cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, Stream* stream) {
    const std::lock_guard lock(device);
    const Result result =
        submit(stream, [=] { return std::memcpy(to, reinterpret_cast<const void*>(from), bytes), SUCCESS; },
               Item::Kind::Copy);
    return result == SUCCESS && !is_pinned(to) ? finish(stream) : result;
}

Result cuStreamCreate(Stream** stream, unsigned) {
    const std::lock_guard lock(device);
    return *stream = open_stream(), SUCCESS;
}
Result cuStreamDestroy_v2(Stream* stream) {
    const std::lock_guard lock(device);
    return close_stream(stream), SUCCESS;
}
Result cuStreamSynchronize(Stream* stream) {
    const std::lock_guard lock(device);
    if (stream->capturing != nullptr) return CAPTURE_UNSUPPORTED;
    return finish(stream);
}
Result cuStreamWaitEvent(Stream* stream, SharedEvent* event, unsigned) {
    const std::lock_guard lock(device);
    return wait(stream, *event);
}
Result cuStreamIsCapturing(Stream* stream, int* status) {
    return *status = stream->capturing != nullptr, SUCCESS;
}
Result cuEventCreate(SharedEvent** event, unsigned) {
    return *event = new SharedEvent(std::make_shared<Event>()), lost;
}
Result cuEventDestroy_v2(SharedEvent* event) { return delete event, SUCCESS; }
Result cuEventRecord(SharedEvent* event, Stream* stream) {
    const std::lock_guard lock(device);
    return record(stream, *event);
}
Result cuEventSynchronize(SharedEvent* event) {
    const std::lock_guard lock(device);
    const Event& of = **event;
    return finish([&] { return of.reached >= of.recorded; });
}
Result cuEventQuery(SharedEvent* event) {
    const std::lock_guard lock(device);
    return lost != SUCCESS ? lost : (*event)->reached >= (*event)->recorded ? SUCCESS : NOT_READY;
}
Result cuEventElapsedTime_v2(float* ms, SharedEvent* begin, SharedEvent* end) {
    const std::lock_guard lock(device);
    return *ms = std::chrono::duration<float, std::milli>((*end)->when - (*begin)->when).count(), lost;
}

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
                      unsigned block_y, unsigned block_z, unsigned shared, Stream* stream, void** arguments,
                      void**) {
    if (grid_x == 0 || grid_y == 0 || grid_z != 1 || block_x == 0 || block_y != 1 || block_z != 1 ||
        shared > function->allowed_shared)
        return INVALID_VALUE;
    const auto* bytes = static_cast<const unsigned char*>(arguments[0]);
    std::vector<unsigned char> argument(bytes, bytes + function->argument_bytes);
    const std::lock_guard lock(device);
    return submit(stream, [=] {
        return function->run(function->name, {grid_x, grid_y, 1}, block_x, shared, argument.data());
    });
}

Result cuStreamBeginCapture_v2(Stream* stream, int) {
    const std::lock_guard lock(device);
    if (stream->capturing != nullptr) return INVALID_VALUE;
    stream->capturing = new Graph;
    return lost;
}
Result cuStreamEndCapture(Stream* stream, Graph** graph) {
    const std::lock_guard lock(device);
    *graph = std::exchange(stream->capturing, nullptr);
    return lost;
}
Result cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long) {
    const std::lock_guard lock(device);
    uint64_t memory;
    const Result result = cuMemAlloc_v2(&memory, settings["graph"]);
    if (result == SUCCESS) *executable = new Graph{graph->work, memory};
    return result;
}
Result cuGraphUpload(Graph*, Stream*) { return lost; }
Result cuGraphLaunch(Graph* graph, Stream* stream) {
    const std::lock_guard lock(device);
    for (const Work& work : graph->work)
        if (const Result result = submit(stream, work); result != SUCCESS) return result;
    return SUCCESS;
}
Result cuGraphExecDestroy(Graph* graph) {
    const std::lock_guard lock(device);
    const uint64_t memory = graph->memory;
    delete graph;
    return cuMemFree_v2(memory);
}
Result cuGraphDestroy(Graph* graph) { return delete graph, SUCCESS; }

}  // extern "C"
