// Boost.Lockfree's spsc_queue in a Boost.Interprocess segment, behind a C interface for one message
// size each. The peer that uses it is src/peers/boost.rs.

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>

namespace {

namespace bi = boost::interprocess;
namespace lockfree = boost::lockfree;

using Segment = bi::managed_shared_memory;

/// What the segment needs beside the slots: its own book-keeping and the queue's cursors.
constexpr std::size_t overhead_bytes = 64 << 10;

template <std::size_t Words>
struct Message {
    std::uint64_t words[Words];
};

/// A queue of one message size, by calls that know the size no more.
struct Queue {
    virtual ~Queue() = default;
    virtual std::size_t push(const void* messages, std::size_t count) = 0;
    virtual std::size_t pop(void* messages, std::size_t count) = 0;
};

template <std::size_t Words>
struct Sized final : Queue {
    using Item = Message<Words>;
    using Allocator = bi::allocator<Item, Segment::segment_manager>;
    using Ring = lockfree::spsc_queue<Item, lockfree::allocator<Allocator>>;

    Segment segment;
    Ring* ring;

    Sized(bi::create_only_t, const char* name, std::size_t slots)
        : segment(bi::create_only, name, overhead_bytes + slots * sizeof(Item)),
          ring(segment.construct<Ring>("ring")(slots, Allocator(segment.get_segment_manager()))) {}

    Sized(bi::open_only_t, const char* name)
        : segment(bi::open_only, name), ring(segment.find<Ring>("ring").first) {}

    std::size_t push(const void* messages, std::size_t count) override {
        return ring->push(static_cast<const Item*>(messages), count);
    }

    std::size_t pop(void* messages, std::size_t count) override {
        return ring->pop(static_cast<Item*>(messages), count);
    }
};

template <std::size_t Words>
Queue* attach(const char* name, std::size_t slots) {
    if (slots > 0) {
        return new (std::nothrow) Sized<Words>(bi::create_only, name, slots);
    }
    auto* queue = new (std::nothrow) Sized<Words>(bi::open_only, name);
    if (queue != nullptr && queue->ring == nullptr) {
        delete queue;
        return nullptr;
    }
    return queue;
}

}  // namespace

extern "C" {

/// Creates a queue (`slots` > 0) or opens one (0); null when that fails or the size is unknown.
Queue* peers_boost_attach(const char* name, std::size_t words, std::size_t slots) {
    try {
        switch (words) {
            case 1: return attach<1>(name, slots);
            case 2: return attach<2>(name, slots);
            case 6: return attach<6>(name, slots);
            case 8: return attach<8>(name, slots);
            case 32: return attach<32>(name, slots);
            case 128: return attach<128>(name, slots);
            case 512: return attach<512>(name, slots);
            default: return nullptr;
        }
    } catch (const std::exception&) {
        return nullptr;
    }
}

/// Closes this process's view; the segment stays.
void peers_boost_detach(Queue* queue) { delete queue; }

/// Copies up to `count` messages in, and says how many.
std::size_t peers_boost_push(Queue* queue, const void* messages, std::size_t count) {
    return queue->push(messages, count);
}

/// Copies up to `count` messages out, and says how many.
std::size_t peers_boost_pop(Queue* queue, void* messages, std::size_t count) {
    return queue->pop(messages, count);
}

}
