// Streams, events and graphs of the emulated GPU.
//
// As on a real one, work is done some time after it was enqueued: at the latest when somebody waits for it,
// and in any order that streams and events allow. Which one is chosen at random, so work that is not
// ordered by an event, and memory that is used again too early, show as wrong results.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace emulated {

using Result = int;
constexpr Result SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NOT_FOUND = 500,
                 NOT_READY = 600, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900;

using Work = std::function<Result()>;

// How often an event was recorded, and how often the streams have come to that.
struct Event {
    uint64_t recorded = 0, reached = 0;
    std::chrono::steady_clock::time_point when;  // it was reached last
};
using SharedEvent = std::shared_ptr<Event>;

// Work, or one end of an event: `nth` is the record that is meant.
struct Item {
    enum class Kind { Work, Copy, Record, Wait } kind;
    Work work;
    SharedEvent event;
    uint64_t nth;
    uint64_t number;  // in order of submission, over all streams
};

struct Graph {
    std::vector<Work> work;
    uint64_t memory = 0;  // of an executable one
};

struct Stream {
    std::deque<Item> items;
    Graph* capturing = nullptr;
};

// Held by every call.
extern std::recursive_mutex device;
// Once a kernel has faulted, nothing works until the last user of the context has gone.
extern Result lost;
// Copies that were done before work of other streams that was enqueued earlier.
extern long overtakes;

// Whether a graph is being captured on any stream.
bool capturing();
Stream* open_stream();
void close_stream(Stream* stream);
Result submit(Stream* stream, Work work, Item::Kind kind = Item::Kind::Work);
Result record(Stream* stream, const SharedEvent& event);
Result wait(Stream* stream, const SharedEvent& event);
// Works until `done` says so.
Result finish(const std::function<bool()>& done);
Result finish(const Stream* stream);
Result finish_all();

}  // namespace emulated
