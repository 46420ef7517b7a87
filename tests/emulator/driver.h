// What the emulated libraries share.
#pragma once

#include <functional>

// Runs `work` now, or keeps it for the graph that is being captured. Returns a CUDA driver error.
int emulated_submit(std::function<int()> work);
