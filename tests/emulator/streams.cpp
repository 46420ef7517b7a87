#include "streams.h"

#include <algorithm>
#include <random>

#include "driver.h"
#include "emulated_cuda.h"

namespace emulated {

std::recursive_mutex device;
Result lost = SUCCESS;
long overtakes;

namespace {

std::vector<std::unique_ptr<Stream>> streams;
std::mt19937 random_choice(20261123);
uint64_t submitted;

bool ready(const Stream& stream) {
    if (stream.items.empty()) return false;
    const Item& first = stream.items.front();
    return first.kind != Item::Kind::Wait || first.event->reached >= first.nth;
}

void lose(Result error) {
    lost = error;
    for (auto& stream : streams) stream->items.clear();
}

// Does the first item of one of the streams that can go on; whether there was one.
bool step() {
    std::vector<Stream*> able;
    for (auto& stream : streams)
        if (ready(*stream)) able.push_back(stream.get());
    if (able.empty()) return false;
    Stream& stream = *able[random_choice() % able.size()];
    const Item item = std::move(stream.items.front());
    stream.items.pop_front();
    if (item.kind == Item::Kind::Record) {
        item.event->reached = std::max(item.event->reached, item.nth);
        item.event->when = std::chrono::steady_clock::now();
    }
    if (!item.work) return true;
    if (item.kind == Item::Kind::Copy)
        for (const auto& other : streams)
            overtakes += !other->items.empty() && other->items.front().number < item.number;
    if (const Result result = item.work(); result != SUCCESS) lose(result);
    return true;
}

Result enqueue(Stream* stream, Item item) {
    if (lost != SUCCESS) return lost;
    item.number = ++submitted;
    stream->items.push_back(std::move(item));
    // Some work is done at once, most when somebody waits for it.
    if (random_choice() % 4 == 0)
        for (unsigned steps = random_choice() % 8; steps > 0 && step(); --steps) {}
    return SUCCESS;  // as on a real device, a fault is told by a later call
}

}  // namespace

bool capturing() {
    return std::any_of(streams.begin(), streams.end(), [](auto& s) { return s->capturing != nullptr; });
}

Stream* open_stream() {
    streams.push_back(std::make_unique<Stream>());
    return streams.back().get();
}

void close_stream(Stream* stream) {
    finish(stream);
    streams.erase(std::find_if(streams.begin(), streams.end(), [&](auto& s) { return s.get() == stream; }));
}

Result submit(Stream* stream, Work work, Item::Kind kind) {
    if (lost != SUCCESS) return lost;
    if (stream->capturing != nullptr) {
        stream->capturing->work.push_back(std::move(work));
        return SUCCESS;
    }
    return enqueue(stream, {kind, std::move(work), nullptr, 0, 0});
}

Result record(Stream* stream, const SharedEvent& event) {
    return enqueue(stream, {Item::Kind::Record, nullptr, event, ++event->recorded, 0});
}

Result wait(Stream* stream, const SharedEvent& event) {
    return enqueue(stream, {Item::Kind::Wait, nullptr, event, event->recorded, 0});
}

Result finish(const std::function<bool()>& done) {
    while (lost == SUCCESS && !done())
        if (!step()) fail("streams wait for each other");
    return lost;
}

Result finish(const Stream* stream) {
    return finish([=] { return stream->items.empty(); });
}

Result finish_all() {
    return finish([] { return std::all_of(streams.begin(), streams.end(), [](auto& s) { return s->items.empty(); }); });
}

}  // namespace emulated

int emulated_submit(void* stream, std::function<int()> work) {
    const std::lock_guard lock(emulated::device);
    return emulated::submit(static_cast<emulated::Stream*>(stream), std::move(work));
}
