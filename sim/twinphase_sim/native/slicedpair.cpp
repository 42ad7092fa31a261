// 256 pairs of block sifters at once, played from arrays of heralds, psi and LIVE records: lane k is Alice of pair k, lane 256 + k her
// Bob. The same play as sifterpair.cpp, but for the clocks: a message takes a clock more, what a ring has room for is known 64 clocks
// later at most. The build puts the places of counters and the lengths of memories before the netlist (`slicedsifters.py`).
#include <memory>
#include <vector>

#include "gates.h"
#include "slicedlanes.h"

namespace {

constexpr unsigned PAIRS = LANES / 2;
constexpr uint64_t REFRESH = 64;         // clocks from look to look at limits, phases and ends
constexpr unsigned LOOKS = 64;
constexpr uint64_t AFTER_CLOCKS = 4096;  // after the last herald, before its psi
constexpr uint64_t LIVE_CLOCKS = 17;     // from record to record, as in sifterpair.cpp
constexpr uint64_t READ_CLOCKS = 4;      // of a cell or bin, from address to address

#define INPUT(name, words) {Gates::I_##name##__VALID, Gates::I_##name##__READY, Gates::I_##name##__PAYLOAD, words}

class Slices {
  public:
    explicit Slices(bool stalls) : gates_(std::make_unique<Gates>()), stalls_(stalls) {
        for (unsigned k = 0; k < 8; k++) noise_[k] = 0x9E3779B97F4A7C15 * (k + 1);
        in(Gates::O_PEER__READY) = in(Gates::O_SIFTED__READY) = ONES;
        for (int k = 0; k < 4; k++) gates_->clock();
    }

    // Pair `k`, which must be free, gets its settings and then runs; it is given back by `run`.
    void start(unsigned k, Side* alice, Side* bob, uint32_t block, uint32_t ring, uint64_t most) {
        pairs_[k] = PairState{Phase::LOADED, clock_, most, 0, block, ring};
        for (unsigned l : {k, k + PAIRS}) {
            Lane& lane = lanes_[l] = Lane{l == k ? alice : bob};
            lane.side->sifted_count = lane.side->peer_count = 0;
            for (unsigned bit = 0; bit < SETUP_BITS; bit++) put(in(Gates::I_SETUP + bit), l, lane.side->setup[bit / 32] >> bit % 32 & 1);
            put(in(Gates::I_LOAD), l, true);
            put(in(Gates::I_RUN), l, false);
        }
    }

    // Until one pair or more are done: their numbers, how many. 0 if none is after LOOKS looks.
    unsigned run(uint32_t* finished, uint8_t* stuck) {
        unsigned count = 0;
        for (unsigned look = 0; look < LOOKS && !count; look++) {
            for (uint64_t k = 0; k < REFRESH; k++) step();
            refresh();
            for (unsigned k = 0; k < PAIRS; k++) {
                if (pairs_[k].phase != Phase::DONE) continue;
                pairs_[k].phase = Phase::FREE;
                finished[count] = k;
                stuck[count++] = pairs_[k].stuck;
            }
        }
        return count;
    }

    void stick(unsigned flipflop, unsigned lane) { stuck_.push_back({flipflop % Gates::FLIPFLOPS, lane}); }

  private:
    V& in(unsigned port) { return gates_->in[port]; }
    const V& out(unsigned port) const { return gates_->out[port]; }

    void step() {
        gates_->clock();
        for (auto [flipflop, lane] : stuck_) put(gates_->state[gates_->now][flipflop], lane, true);
        in(Gates::I_LOAD) = in(Gates::I_SNAPSHOT) = ZEROS;
        take_outputs();
        taken(herald_, [&](Lane& lane, unsigned l) {
            lane.given = lane.side->heralds[3 * lane.heralds];
            lane.last_clock = clock_;
            put(psi_.blocked, l, false);
            return ++lane.heralds < lane.side->herald_count;
        });
        taken(psi_, [](Lane& lane, unsigned) { return ++lane.psi < lane.side->psi_count; });
        taken(live_, [](Lane& lane, unsigned) { return ++lane.live < lane.side->live_count; });
        taken(mail_, [](Lane& lane, unsigned) {
            lane.mail.pop_front();
            return !lane.mail.empty();
        });
        clock_++;
        offer(herald_, [&](const Lane& lane, unsigned l) {
            const uint32_t* record = lane.side->heralds + 3 * lane.heralds;
            return record[0] < lane.limit && clock_ - pairs_[l % PAIRS].since >= lane.side->late_clocks ? record : nullptr;
        });
        offer(psi_, [&](const Lane& lane, unsigned) {
            const uint32_t* record = lane.side->psi + 2 * lane.psi;
            const bool last = lane.heralds == lane.side->herald_count && clock_ > lane.last_clock + AFTER_CLOCKS;
            return (record[0] < lane.given || last) && record[0] < lane.limit ? record : nullptr;
        });
        mail_.blocked = ZEROS;
        offer(mail_, [&](const Lane& lane, unsigned) { return lane.mail.front().due < clock_ ? lane.mail.front().word : nullptr; });
        if (clock_ % LIVE_CLOCKS == 0) {
            live_.blocked = ZEROS;
            offer(live_, [](const Lane& lane, unsigned) {
                return lane.heralds >= lane.side->live_due[lane.live] ? lane.side->live + 3 * lane.live : nullptr;
            });
        }
        read();
    }

    // `act` of each lane whose record was taken says whether there are more.
    template <typename Act>
    void taken(Input& input, Act act) {
        const V lanes = in(input.valid) & out(input.ready);
        in(input.valid) &= ~lanes;
        for_lanes(lanes, [&](unsigned l) { put(input.more, l, act(lanes_[l], l)); });
    }

    // `next` of each lane that has more gives its record, or nothing.
    template <typename Next>
    void offer(Input& input, Next next) {
        const V wanted = input.more & ~in(input.valid) & ~input.blocked;
        if (!any(wanted)) return;
        for_lanes(wanted, [&](unsigned l) {
            const uint32_t* record = next(lanes_[l], l);
            put(record ? in(input.valid) : input.blocked, l, true);
            if (record)
                for (unsigned k = 0; k < input.words; k++) input.word[k][l] = record[k];
        });
        for (unsigned k = 0; k < input.words; k++) to_planes(input.word[k], 32, &in(input.payload + 32 * k));
    }

    void take_outputs() {
        take(Gates::O_PEER__VALID, Gates::O_PEER__READY, Gates::O_PEER__PAYLOAD, 3, [&](unsigned l, const uint32_t* words) {
            Side* side = lanes_[l].side;
            keep(side->peer, side->peer_count, side->peer_room, words, 3);
            Lane& other = lanes_[l ^ PAIRS];
            other.mail.push_back({{words[0], words[1], words[2]}, clock_ + other.side->peer_clocks});
            put(mail_.more, l ^ PAIRS, true);
        });
        take(Gates::O_SIFTED__VALID, Gates::O_SIFTED__READY, Gates::O_SIFTED__PAYLOAD, 2, [&](unsigned l, const uint32_t* words) {
            Side* side = lanes_[l].side;
            keep(side->sifted, side->sifted_count, side->sifted_room, words, 2);
        });
        if (!stalls_) return;
        noise_ ^= noise_ << 13;
        noise_ ^= noise_ >> 7;
        noise_ ^= noise_ << 17;
        in(Gates::O_PEER__READY) = noise_;
        in(Gates::O_SIFTED__READY) = noise_ << 1 | noise_ >> 63;
    }

    template <typename Act>
    void take(unsigned valid, unsigned ready, unsigned payload, unsigned count, Act act) {
        const V lanes = out(valid) & in(ready) & running_;
        if (!any(lanes)) return;
        Words<uint32_t> word[3];
        for (unsigned k = 0; k < count; k++) to_words(&gates_->out[payload + 32 * k], 32, word[k]);
        for_lanes(lanes, [&](unsigned l) {
            uint32_t words[3];
            for (unsigned k = 0; k < count; k++) words[k] = word[k][l];
            act(l, words);
        });
    }

    static void keep(uint32_t* to, uint64_t& count, uint64_t room, const uint32_t* words, int length) {
        if (count < room) std::memcpy(to + length * count, words, 4 * length);
        count++;
    }

    // All lanes have the same address, one after the other without end; a lane reads until it has seen all.
    void read() {
        const unsigned at = clock_ / READ_CLOCKS % CELL_WORDS;
        if (clock_ % READ_CLOCKS == 0) {
            for (unsigned b = 0; b < CELL_BITS; b++) in(Gates::I_CELL_ADDRESS + b) = at >> b & 1 ? ONES : ZEROS;
            for (unsigned b = 0; b < BIN_BITS; b++) in(Gates::I_BIN_ADDRESS + b) = at >> b & 1 ? ONES : ZEROS;
        }
        if (clock_ % READ_CLOCKS != READ_CLOCKS - 1 || !any(reading_)) return;
        Words<uint32_t> cell, bin;
        to_words(&out(Gates::O_CELL), 32, cell);
        to_words(&out(Gates::O_BIN), 32, bin);
        for_lanes(reading_, [&](unsigned l) {
            lanes_[l].side->memories[at] = cell[l];
            if (at < BIN_WORDS) lanes_[l].side->memories[CELL_WORDS + at] = bin[l];
            if (++lanes_[l].read == CELL_WORDS) put(reading_, l, false);
        });
    }

    // Every REFRESH clocks.
    void refresh() {
        herald_.blocked = psi_.blocked = ZEROS;
        to_words(&out(Gates::O_COUNTERS + 64 * AGREED), 32, agreed_);
        to_words(&out(Gates::O_COUNTERS + 64 * DISCARDED), 32, discarded_);
        for (unsigned k = 0; k < PAIRS; k++) {
            PairState& pair = pairs_[k];
            const Phase phase = pair.phase;
            const unsigned lanes[2] = {k, k + PAIRS};
            const bool late = clock_ - pair.since >= REFRESH;
            if (phase == Phase::LOADED && late && both(Gates::O_SETTLED, k)) enter(pair, lanes);
            if (phase == Phase::RUN && rests(pair, lanes)) leave(pair, lanes);
            if (phase == Phase::COPY && late && !bit(out(Gates::O_COPYING), k) && !bit(out(Gates::O_COPYING), k + PAIRS)) {
                for (unsigned l : lanes) put(reading_, l, true);
                pair.phase = Phase::READ;
            }
            if (phase == Phase::READ && !bit(reading_, k) && !bit(reading_, k + PAIRS)) {
                for (unsigned l : lanes)
                    for (unsigned j = 0; j < COUNTERS; j++) {
                        uint64_t value = 0;
                        for (unsigned b = 0; b < 64; b++) value |= uint64_t(bit(out(Gates::O_COUNTERS + 64 * j + b), l)) << b;
                        lanes_[l].side->counters[j] = value;
                    }
                pair.phase = Phase::DONE;
            }
        }
    }

    bool both(unsigned port, unsigned k) const { return bit(out(port), k) && bit(out(port), k + PAIRS); }

    void enter(PairState& pair, const unsigned (&lanes)[2]) {
        pair.phase = Phase::RUN;
        pair.since = clock_;
        for (unsigned who = 0; who < 2; who++) {
            const unsigned l = lanes[who];
            Lane& lane = lanes_[l];
            pair.through[who] = agreed_[l] + discarded_[l];
            lane.limit = pair.ring;
            lane.last_clock = clock_;
            put(in(Gates::I_RUN), l, true);
            put(running_, l, true);
            put(herald_.more, l, lane.side->herald_count);
            put(psi_.more, l, lane.side->psi_count);
            put(live_.more, l, lane.side->live_count);
        }
    }

    // At rest at two looks with nothing between them, or for too long on its way.
    bool rests(PairState& pair, const unsigned (&lanes)[2]) {
        bool rest = both(Gates::O_IDLE, lanes[0]);
        uint64_t moved = 1;
        for (unsigned who = 0; who < 2; who++) {
            const unsigned l = lanes[who];
            Lane& lane = lanes_[l];
            const uint64_t through = uint32_t(agreed_[l] + discarded_[l] - pair.through[who]);
            lane.limit = (through ? through - 1 : 0) * pair.block + pair.ring;
            moved += lane.heralds + lane.psi + lane.live + lane.side->peer_count + lane.side->sifted_count;
            for (const Input* input : inputs_) rest = rest && !bit(input->more, l);
        }
        const bool rested = pair.moved == moved;
        pair.moved = rest ? moved : 0;
        pair.stuck = clock_ - pair.since > pair.most;
        return (rest && rested) || pair.stuck;
    }

    void leave(PairState& pair, const unsigned (&lanes)[2]) {
        for (unsigned l : lanes) {
            put(running_, l, false);
            for (Input* input : inputs_) {
                put(input->more, l, false);
                put(in(input->valid), l, false);
            }
            put(in(Gates::I_SNAPSHOT), l, true);
            lanes_[l].side->stepped = clock_ - pair.since;
        }
        pair.phase = Phase::COPY;
        pair.since = clock_;
    }

    std::unique_ptr<Gates> gates_;
    Lane lanes_[LANES];
    PairState pairs_[PAIRS];
    Input herald_ INPUT(HERALD, 3), psi_ INPUT(PSI, 2), live_ INPUT(LIVE, 3), mail_ INPUT(PEER, 3);
    Input* const inputs_[4] = {&herald_, &psi_, &live_, &mail_};
    Words<uint32_t> agreed_, discarded_;
    V running_{}, reading_{}, noise_{};
    bool stalls_;
    std::vector<std::pair<unsigned, unsigned>> stuck_;
    uint64_t clock_ = 0;
};

}  // namespace

extern "C" {
// `stalls`: PEER and SIFTED are taken in half of the clocks, drawn for each lane.
Slices* slices_new(int stalls) { return new Slices(stalls); }
void slices_delete(Slices* slices) { delete slices; }

// From now on a flip-flop of a lane is 1, whatever it takes: an error for the comparison to find.
void slices_stick(Slices* slices, uint32_t flipflop, uint32_t lane) { slices->stick(flipflop, lane); }

void slices_start(Slices* slices, uint32_t pair, Side* alice, Side* bob, uint32_t block, uint32_t ring, uint64_t most) {
    slices->start(pair, alice, bob, block, ring, most);
}

uint32_t slices_run(Slices* slices, uint32_t* finished, uint8_t* stuck) { return slices->run(finished, stuck); }
}
