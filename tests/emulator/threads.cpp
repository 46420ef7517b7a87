// The threads of a block as fibers of one host thread; see emulated_cuda.h. x86-64, System V.
#include "threads.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <vector>

#include "emulated_cuda.h"

namespace emulated {
namespace {

constexpr size_t STACK = 128 << 10;
constexpr unsigned WARP = 32;

enum class State { Ready, AtWarp, AtBlock, Done };

struct Fiber {
    void* stack_pointer;
    State state;
    unsigned exchanges;  // how many this lane has taken part in
};

struct Warp {
    Shown shown[2][WARP];  // of the current exchange and the one before
    unsigned arrived;
};

void* scheduler_stack;
std::vector<unsigned char> stacks;
std::vector<Fiber> fibers;
std::vector<Warp> warps;
unsigned current;
unsigned at_block;
dim3 block;
const std::function<void()>* body;
const char* kernel_name;
unsigned char* shared_begin;
std::mt19937 random_order(20240607);

// Saves the callee-saved registers on this stack, and goes on where `to` was left.
extern "C" void emulated_switch(void** from, void* to);
asm(R"(
.text
.globl emulated_switch
.hidden emulated_switch
.type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulated_switch, .-emulated_switch
)");

void yield() { emulated_switch(&fibers[current].stack_pointer, scheduler_stack); }

void enter() {
    (*body)();
    fibers[current].state = State::Done;
    yield();
    fail("a thread went on after its end");
}

void start(unsigned i) {
    auto top = reinterpret_cast<uintptr_t>(stacks.data() + (i + 1) * STACK) / 16 * 16;
    auto* stack = reinterpret_cast<void**>(top);
    *--stack = nullptr;  // where a return address would be: keeps the stack aligned as after a call
    *--stack = reinterpret_cast<void*>(&enter);
    for (int saved = 0; saved < 6; ++saved) *--stack = nullptr;
    fibers[i] = {stack, State::Ready, 0};
}

// Runs each lane that can go on, once; whether there was one.
bool run_ready(unsigned warp, bool backwards) {
    bool ran = false;
    for (unsigned i = 0; i < WARP; ++i) {
        current = warp * WARP + (backwards ? WARP - 1 - i : i);
        if (fibers[current].state != State::Ready) continue;
        ran = true;
        emulated_switch(&scheduler_stack, fibers[current].stack_pointer);
    }
    return ran;
}

}  // namespace

dim3 thread_index() { return {current, 0, 0}; }
dim3 block_index() { return block; }
unsigned char* shared_memory() { return shared_begin; }
unsigned lane() { return current % WARP; }

void fail(const char* what) {
    std::fprintf(stderr, "%s, block (%u, %u), thread %u: %s\n", kernel_name, block.x, block.y, current, what);
    std::abort();
}

void block_barrier() {
    fibers[current].state = State::AtBlock;
    if (++at_block == fibers.size()) {
        at_block = 0;
        for (Fiber& fiber : fibers) fiber.state = State::Ready;
    }
    yield();
}

const Shown* exchange(const Shown& mine) {
    Fiber& fiber = fibers[current];
    Warp& warp = warps[current / WARP];
    Shown* shown = warp.shown[fiber.exchanges++ % 2];
    shown[current % WARP] = mine;
    if (++warp.arrived == WARP) {
        warp.arrived = 0;
        for (unsigned i = 0; i < WARP; ++i) fibers[current / WARP * WARP + i].state = State::Ready;
    } else {
        fiber.state = State::AtWarp;
        yield();
    }
    return shown;
}

void run(const char* name, dim3 grid, unsigned threads, size_t shared, const std::function<void()>& kernel) {
    kernel_name = name;
    body = &kernel;
    if (threads % WARP != 0) fail("a block of broken warps");
    stacks.resize(threads * STACK);
    fibers.resize(threads);
    warps.resize(threads / WARP);

    const size_t page = sysconf(_SC_PAGESIZE);
    const size_t pages = (shared + page - 1) / page * page;
    void* mapped = mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) fail("no memory");
    mprotect(static_cast<char*>(mapped) + pages, page, PROT_NONE);
    shared_begin = static_cast<unsigned char*>(mapped) + pages - shared;

    std::vector<unsigned> order(threads / WARP);
    for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
    for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) {
            block = {x, y, 0};
            std::memset(shared_begin, 0xff, shared);
            at_block = 0;
            for (unsigned i = 0; i < threads; ++i) start(i);
            for (Warp& warp : warps) warp.arrived = 0;
            unsigned done = 0;
            while (done < threads) {
                std::shuffle(order.begin(), order.end(), random_order);
                bool moved = false;
                for (unsigned warp : order)
                    // A warp may run far ahead of the others.
                    for (unsigned steps = 1u << random_order() % 9; steps > 0; --steps) {
                        if (!run_ready(warp, random_order() % 2)) break;
                        moved = true;
                    }
                done = 0;
                for (const Fiber& fiber : fibers) done += fiber.state == State::Done;
                if (!moved) fail("the block waits for threads that have ended or wait elsewhere");
            }
        }
    munmap(mapped, pages + page);
}

}  // namespace emulated
