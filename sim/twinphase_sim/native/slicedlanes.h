// What is kept of each lane and pair of `slicedpair.cpp`.
#pragma once
#include <cstdint>
#include <deque>

#include "slices.h"

extern "C" {
// As in sifterpair.cpp; `stepped`: clocks from the start to rest.
struct Side {
    const uint32_t* setup;
    const uint32_t* heralds;
    const uint32_t* psi;
    const uint32_t* live;
    const uint64_t* live_due;
    uint64_t herald_count, psi_count, live_count;
    uint32_t* sifted;
    uint32_t* peer;
    uint64_t sifted_room, peer_room;
    uint64_t sifted_count, peer_count;
    uint64_t late_clocks;
    uint64_t peer_clocks;
    uint64_t stepped;
    uint32_t* memories;
    uint64_t* counters;
};
}

namespace {

enum class Phase { FREE, LOADED, RUN, COPY, READ, DONE };

struct Message {
    uint32_t word[3];
    uint64_t due;
};

struct Lane {
    Side* side = nullptr;
    uint64_t heralds = 0, psi = 0, live = 0, read = 0;  // taken
    uint64_t limit = 0, given = 0, last_clock = 0;      // heralds that the ring has room for; number and clock of the last one
    std::deque<Message> mail;
};

struct PairState {
    Phase phase = Phase::FREE;
    uint64_t since = 0, most = 0, moved = 0;  // its phase's first clock; clocks that it may run; records that moved, when it rests
    uint64_t block = 0, ring = 0;
    uint32_t through[2] = {};  // blocks agreed and discarded before, modulo 2^32
    bool stuck = false;
};

// An input stream of all lanes. `more`: lanes with a record left; `blocked`: whose next one may not come before it is looked at again.
struct Input {
    unsigned valid, ready, payload, words;
    V more{}, blocked{};
    Words<uint32_t> word[3]{};
};

}  // namespace
