// Shadow of a node's registers of the frame and of the tracker's epochs, kept from the request packets that go into it.
#pragma once
#include <algorithm>
#include <array>
#include <vector>

#include "anchor.h"

namespace twinphase {

class Registers {
  public:
    // Takes a packet as the node sees it. True if it was a write that concerns the frame or the epochs and changed them.
    bool write(const std::vector<uint32_t>& words) {
        if (words.size() < HEADER_WORDS || (words[0] & 0xFF) != STREAM_REGISTER_REQUEST) return false;
        const uint32_t id = words[1], op = words[2] >> 16, length = words[2] & 0xFFFF, address = words[3], count = words[4];
        const bool good = words[0] >> 8 == (MAGIC << 8 | VERSION) && op == OP_WRITE && count && count <= MAX_REGISTER_WORDS &&
                          length == count && words.size() == HEADER_WORDS + count;
        if (!good || (executed_ && id == last_id_)) return false;
        executed_ = true;
        last_id_ = id;
        bool changed = false;
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t offset = address + i - FRAME_FIRST;
            uint32_t* const value = address + i == TRACK_EPOCH ? &epoch_bits_ : offset < values_.size() ? &values_[offset] : nullptr;
            if (!value || *value == words[HEADER_WORDS + i]) continue;
            *value = words[HEADER_WORDS + i];
            changed = true;
        }
        return changed;
    }

    Frame frame() const {
        return {get(CONTROL) & 1, wide(START_CLOCK) & mask(CLOCK_BITS), wide(PERIOD) & mask(PERIOD_BITS),
                get(FRAME_PULSES) & mask(FRAME_PULSE_BITS), get(FRAMES_PER_WINDOW) & mask(FRAMES_PER_WINDOW_BITS),
                get(WINDOWS_PER_DWINDOW) & mask(WINDOWS_PER_DWINDOW_BITS)};
    }

    // log2 of the clocks of an epoch, as the node takes the register.
    unsigned epoch_bits() const {
        return std::clamp(unsigned(epoch_bits_ & mask(EPOCH_CHOICE_BITS)), EPOCH_LEAST, EPOCH_MOST);
    }

  private:
    uint64_t get(unsigned address) const { return values_[address - FRAME_FIRST]; }
    uint64_t wide(unsigned address) const { return get(address) | get(address + 1) << 32; }

    std::array<uint32_t, FRAME_WORDS> values_ = FRAME_RESET;
    uint32_t epoch_bits_ = EPOCH_RESET;
    bool executed_ = false;
    uint32_t last_id_ = 0;
};

}  // namespace twinphase
