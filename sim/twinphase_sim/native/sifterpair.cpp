// Two Verilated block sifters, Alice and Bob, played from arrays of heralds and psi, each the other's peer. The build puts before this
// file what `sifter.py` says of the model: its class, the places of counters, the lengths of its inputs.
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>

#include "clocks.h"

namespace {

using twinphase::Clocks;

struct Record {
    uint32_t word[3];
    uint64_t due;
};

}  // namespace

extern "C" {
// One side of a play. Counts are of records; a result that finds no room is counted and not kept.
struct Side {
    const uint32_t* setup;    // SETUP_WORDS
    const uint32_t* heralds;  // x 3
    const uint32_t* psi;      // x 2
    const uint32_t* live;     // x 3
    const uint64_t* live_due; // heralds that are taken before
    uint64_t herald_count, psi_count, live_count;
    uint32_t* sifted;  // x 2
    uint32_t* peer;    // x 3
    uint64_t sifted_room, peer_room;
    uint64_t sifted_count, peer_count;
    uint64_t late_clocks;   // before the first herald is offered
    uint64_t peer_clocks;   // a message to this side is on its way so long, at least
    uint64_t stepped;       // clocks in which this side was not at rest
    uint32_t* memories;     // CELL_WORDS + BIN_WORDS as they are at the end
    uint64_t* counters;     // COUNTERS, likewise
};
}

namespace {

class Player {
  public:
    Player() : model_(std::make_unique<Model>(&context_)), root_(model_->rootp), clocks_(model_.get()) {}
    ~Player() { model_->final(); }

    void start(Side* side, uint32_t block_heralds, uint32_t ring_heralds) {
        side_ = side;
        block_ = block_heralds;
        ring_ = ring_heralds;
        blocks_before_ = blocks();
        heralds_ = psi_ = live_ = next_live_clock_ = 0;
        held_ = 0;
        mail_.clear();
        side->sifted_count = side->peer_count = side->stepped = 0;
        root_->i_run = 0;
        root_->PEER_OUT(ready) = root_->SIFTED(ready) = 1;
        root_->HERALD(valid) = root_->PSI(valid) = root_->LIVE(valid) = root_->PEER_IN(valid) = 0;
        std::memcpy(&root_->i_setup, side->setup, sizeof(root_->i_setup));
        root_->i_load = 1;
        edge(true);
        root_->i_load = 0;
        edge(true);
        for (unsigned k = 0; k < 16 || !(root_->o_settled || k > MOST_START_CLOCKS); k++) edge(false);
        root_->i_run = 1;
        edge(true);
    }

    void deliver(const uint32_t* words, uint64_t clock) {
        mail_.push_back({{words[0], words[1], words[2]}, clock + side_->peer_clocks});
    }

    bool done() const {
        return heralds_ == side_->herald_count && psi_ == side_->psi_count && live_ == side_->live_count && mail_.empty() &&
               held_ == 0 && root_->o_idle && !root_->HERALD(valid) && !root_->PSI(valid) && !root_->LIVE(valid) && !root_->PEER_IN(valid);
    }

    // One clock; true if something moved.
    void step(uint64_t clock, Player& other) {
        bool changed = false;
        // What was offered in the clock before and taken goes; the next one comes.
        if (!root_->HERALD(valid) && heralds_ < side_->herald_count && clock >= side_->late_clocks) {
            const uint32_t* record = side_->heralds + 3 * heralds_;
            if (record[0] < limit_) {
                std::memcpy(&root_->HERALD(payload), record, 12);
                root_->HERALD(valid) = 1;
                changed = true;
            }
        }
        if (!root_->PSI(valid) && psi_ < side_->psi_count) {
            const uint32_t* record = side_->psi + 2 * psi_;
            if (record[0] < given_ || (heralds_ == side_->herald_count && !root_->HERALD(valid) && clock > last_clock_ + AFTER_CLOCKS)) {
                if (record[0] < limit_) {
                    std::memcpy(&root_->PSI(payload), record, 8);
                    root_->PSI(valid) = 1;
                    changed = true;
                }
            }
        }
        if (!root_->LIVE(valid) && live_ < side_->live_count && clock >= next_live_clock_ && heralds_ >= side_->live_due[live_]) {
            std::memcpy(&root_->LIVE(payload), side_->live + 3 * live_, 12);
            root_->LIVE(valid) = 1;
            changed = true;
        }
        const bool mail = !mail_.empty() && mail_.front().due <= clock;
        if (mail) {
            std::memcpy(&root_->PEER_IN(payload), mail_.front().word, 12);
            mail_.pop_front();
        }
        if (mail || root_->PEER_IN(valid)) {
            root_->PEER_IN(valid) = mail;
            changed = true;
        }
        if (!changed && root_->o_idle && !root_->HERALD(valid) && !root_->PSI(valid) && !root_->LIVE(valid)) {
            held_ = 0;
            return;  // nothing will change without new input
        }
        held_ = 1;
        side_->stepped++;
        if (changed) inputs();
        if (root_->PEER_OUT(valid)) {
            const auto* words = reinterpret_cast<const uint32_t*>(&root_->PEER_OUT(payload));
            keep(side_->peer, side_->peer_count, side_->peer_room, words, 3);
            other.deliver(words, clock);
        }
        if (root_->SIFTED(valid)) {
            keep(side_->sifted, side_->sifted_count, side_->sifted_room, reinterpret_cast<const uint32_t*>(&root_->SIFTED(payload)), 2);
            limit();
        }
        const bool herald_taken = root_->HERALD(valid) && root_->HERALD(ready), psi_taken = root_->PSI(valid) && root_->PSI(ready);
        const bool live_taken = root_->LIVE(valid) && root_->LIVE(ready);
        edge(false);
        if (herald_taken) {
            given_ = side_->heralds[3 * heralds_];
            last_clock_ = clock;
            heralds_++;
        }
        if (psi_taken) psi_++;
        if (live_taken) {
            live_++;
            next_live_clock_ = clock + LIVE_CLOCKS;
        }
        if (herald_taken || psi_taken || live_taken) {
            if (herald_taken) root_->HERALD(valid) = 0;
            if (psi_taken) root_->PSI(valid) = 0;
            if (live_taken) root_->LIVE(valid) = 0;
            inputs();
        }
        if ((clock & 63) == 0) limit();
    }

    void begin() {
        given_ = 0;
        last_clock_ = 0;
        limit();
    }

    // Cells and bins in full, by a snapshot, and counters.
    void finish() {
        root_->i_snapshot = 1;
        edge(true);
        root_->i_snapshot = 0;
        edge(true);
        while (root_->o_copying) edge(false);
        for (unsigned k = 0; k < CELL_WORDS; k++) side_->memories[k] = read(k, root_->i_cell_address, root_->o_cell);
        for (unsigned k = 0; k < BIN_WORDS; k++) side_->memories[CELL_WORDS + k] = read(k, root_->i_bin_address, root_->o_bin);
        for (unsigned k = 0; k < COUNTERS; k++) side_->counters[k] = counter(k);
    }

  private:
    static constexpr unsigned MOST_START_CLOCKS = 1 << 16;  // the keys take fewer
    static constexpr uint64_t AFTER_CLOCKS = 4096;          // after the last herald, before its psi
    static constexpr uint64_t LIVE_CLOCKS = 17;  // from record to record: one is hashed in 16, a list's end takes 14 more, a block has 32 or more

    template <typename Address, typename Data>
    uint32_t read(unsigned k, Address& address, Data& data) {
        address = k;
        edge(true);
        edge(false);
        return data;
    }

    void inputs() {
        root_->__VicoTriggered[0] = 1;
        MODEL_INPUTS(root_);
    }

    void edge(bool changed) { clocks_.step(clocks_.all(), changed); }

    uint64_t counter(unsigned k) const {
        uint64_t value;
        std::memcpy(&value, reinterpret_cast<const uint32_t*>(&root_->o_counters) + 2 * k, 8);
        return value;
    }

    uint64_t blocks() const { return counter(AGREED) + counter(DISCARDED); }

    // Heralds that the ring has room for: the block before the last one that was agreed or discarded is through.
    void limit() {
        const uint64_t through = blocks() - blocks_before_;
        limit_ = (through ? through - 1 : 0) * block_ + ring_;
    }

    static void keep(uint32_t* to, uint64_t& count, uint64_t room, const uint32_t* words, int length) {
        if (count < room) std::memcpy(to + length * count, words, 4 * length);
        count++;
    }

    VerilatedContext context_;
    std::unique_ptr<Model> model_;
    Root* root_;
    Clocks clocks_;
    Side* side_ = nullptr;
    std::deque<Record> mail_;
    uint64_t heralds_ = 0, psi_ = 0, live_ = 0, next_live_clock_ = 0, given_ = 0, last_clock_ = 0, limit_ = 0, blocks_before_ = 0, held_ = 0;
    uint32_t block_ = 0, ring_ = 0;
};

struct Pair {
    Player alice, bob;
};

}  // namespace

extern "C" {
Pair* pair_new() { return new Pair; }

void pair_delete(Pair* pair) { delete pair; }

// Clocks until both are at rest with all their inputs in; 0 if they are not after `most`.
uint64_t pair_play(Pair* pair, Side* alice, Side* bob, uint32_t block_heralds, uint32_t ring_heralds, uint64_t most) {
    pair->alice.start(alice, block_heralds, ring_heralds);
    pair->bob.start(bob, block_heralds, ring_heralds);
    pair->alice.begin();
    pair->bob.begin();
    uint64_t clock = 1, quiet = 0;
    for (; clock <= most && quiet < 64; clock++) {
        pair->alice.step(clock, pair->bob);
        pair->bob.step(clock, pair->alice);
        quiet = pair->alice.done() && pair->bob.done() ? quiet + 1 : 0;
    }
    pair->alice.finish();
    pair->bob.finish();
    return quiet < 64 ? 0 : clock;
}
}
