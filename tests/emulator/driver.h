// What the emulated libraries share.
#pragma once

#include <functional>

// Enqueues `work` on `stream`, or keeps it for the graph that is being captured there. Returns a CUDA
// driver error.
int emulated_submit(void* stream, std::function<int()> work);
