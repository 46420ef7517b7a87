// Runs a kernel's body for every thread of every block.
#pragma once

#include <cstddef>
#include <functional>

struct dim3;

namespace emulated {
void run(const char* name, dim3 grid, unsigned threads, size_t shared, const std::function<void()>& kernel);
}
