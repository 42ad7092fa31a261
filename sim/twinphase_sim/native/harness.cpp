// Drives one Verilated node through batches of clocks. The build puts before this file a header `node.h` with the constants of
// the spec (widths, register addresses), NODE_EDGES or NODE_CLIENT, and the model's class as `Model`.
//
// NODE_EDGES: the node has INPUTS = channels * lanes inputs for edges; input channel * LANES + lane. An edge at tick t is presented in
// clock t >> FRACTION_BITS, in the lane that its fine time falls into, by its fine time; with NODE_LINES by a delay line's hit: bit 0 of
// its value is the polarity, the codes of the chains follow, of HIT_WORD_CHAINS each in a word of its own from bit 1 on. With ECHOES as
// many words more have at the same places the codes of the TDC clock behind the hit, which are presented there unless it has a hit, too.
// NODE_QRNG: a client that takes bits from a generator.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <type_traits>
#include <vector>

#include "anchor.h"
#include "clocks.h"
#include "light.h"
#include "qrng.h"
#include "registers.h"

using namespace twinphase;

namespace {

constexpr uint64_t CLOCK_MASK = mask(CLOCK_BITS);
constexpr uint64_t NEVER = ~uint64_t(0);
// Waking early costs a few clocks in 8192 and leaves the gateware room to look ahead of a tick by registers.
constexpr uint64_t LEAD = 4, SETTLE = 4;
constexpr uint64_t CODES_LEAD = 128;

struct Packet {
    uint64_t clock;  // unwrapped; fed from this clock on
    std::vector<uint32_t> words;
};

// Bits [offset, offset + width) of a port of any width.
template <typename Port>
void put(Port& port, unsigned offset, unsigned width, uint64_t value) {
    if constexpr (std::is_integral_v<Port>) {
        port = Port((port & ~(mask(width) << offset)) | value << offset);
    } else {
        for (unsigned bit = 0; bit < width;) {
            const unsigned word = (offset + bit) / 32, low = (offset + bit) % 32, part = std::min(width - bit, 32 - low);
            const uint32_t bits = uint32_t(mask(part)) << low;
            port[word] = (port[word] & ~bits) | (uint32_t(value >> bit) << low & bits);
            bit += part;
        }
    }
}

}  // namespace

// What a run gave. Words of packet p are words[ends[p-1]:ends[p]].
struct Output {
    std::vector<uint32_t> words;
    std::vector<uint64_t> ends, clocks, word_clocks;
    std::vector<uint64_t> codes_clock, codes_pulse;
    std::vector<uint32_t> codes_q, codes_r;
    std::vector<uint64_t> acted_clock, acted;
};

struct Request {
    uint64_t until;
    const uint64_t* edge_ticks;
    const uint8_t* edge_channels;
    const uint64_t* edge_values;  // with NODE_LINES
    uint64_t edges;
    const uint64_t* rx_clocks;
    const uint64_t* rx_ends;
    const uint32_t* rx_words;
    uint64_t rx_packets;
    const uint8_t* tx_ready;
    uint64_t tx_ready_length;
    uint64_t codes_first, codes_last;
    uint32_t skip, word_clocks;
    const Candidate* light;  // with the edges: they are candidates
    uint8_t* clicked;        // per edge: whether it was one
};

class Node {
  public:
    Node() : context_(new VerilatedContext), dut_(new Model(context_.get())), clocks_(dut_.get()) {}

    ~Node() { dut_->final(); }

    uint64_t clock() const { return now_ & CLOCK_MASK; }
    uint64_t cycles() const { return cycles_; }
    uint64_t model_clock() const { return dut_->o_clock; }
    bool idle() const { return dut_->o_idle; }
    uint64_t source() const {
#ifdef NODE_PINS
        return dut_->o_source;
#else
        return 0;
#endif
    }

    void load(const Anchor& anchor) {
        const bool started = frame_.running && now_ >= start_clock_;
        quiet_inputs();
#ifdef NODE_EDGES
        if (echoing()) present_echoes();
#endif
        load_and_step(anchor, clocks_.all());
        now_ = anchor.clock;
        base_ = anchor;
        base_clock_ = now_;
        wake_ = 0;
        if (started) start_clock_ = now_;
        else if (frame_.running) start_clock_ = now_ + ((frame_.start_clock + LAG_CLOCKS - now_) & CLOCK_MASK);
    }

    void set_frame(const Frame& frame) {
        frame_ = frame;
        base_ = Anchor{};
        base_clock_ = now_;
        const uint64_t to_start = (frame.start_clock + LAG_CLOCKS - now_) & CLOCK_MASK;
        // A start that has passed is missed: the timebase stays at rest.
        if (to_start >> (CLOCK_BITS - 1)) frame_.running = 0;
        start_clock_ = frame_.running ? now_ + to_start : NEVER;
        wake_ = 0;
    }

    void set_light(const LightSetup& setup) {
        light_.set(setup);
        acted_ = NEVER;
    }

    void set_qrng(uint64_t seed, uint64_t starved_every) {
        qrng_.set(seed, starved_every);
        group_changed_ = true;
    }

    // Index of the first edge that cannot be presented, plus 1; 0 if all can. `kind`: 1 outside of the run or out of order, 2 two edges.
    uint64_t check(const Request& r, uint32_t* kind) const {
        const uint64_t length = (r.until - now_) & CLOCK_MASK;
        uint64_t last = 0, inputs = 0;
        for (uint64_t i = 0; i < r.edges; i++) {
            const uint64_t at = ((r.edge_ticks[i] >> FRACTION_BITS) - now_) & CLOCK_MASK;
            if (at >= length || at < last || r.edge_channels[i] >= CHANNELS) {
                *kind = 1;
                return i + 1;
            }
            if (at != last) inputs = 0;
            const uint64_t bit = uint64_t(1) << input_of(r, i);
            if (inputs & bit && !r.light) {
                *kind = 2;
                return i + 1;
            }
            inputs |= bit;
            last = at;
        }
        return 0;
    }

    void run(const Request& r, Output& out) {
        const uint64_t until = now_ + ((r.until - now_) & CLOCK_MASK);
        enqueue(r);
        out.words = std::move(partial_);
        out.word_clocks = std::move(partial_clocks_);
        partial_.clear();
        partial_clocks_.clear();
        const bool codes = r.codes_first != r.codes_last;
        const uint64_t codes_first = codes ? now_ + ((r.codes_first - now_) & CLOCK_MASK) : NEVER;
        const uint64_t codes_last = codes ? codes_first + ((r.codes_last - r.codes_first) & CLOCK_MASK) : NEVER;
        uint64_t edge = 0;
        uint64_t edge_clock = r.edges ? edge_at(r, 0) : NEVER;
        while (now_ != until) {
            if (r.skip && dut_->o_idle && !dut_->tx_valid && !in_packet() && now_ >= rested_ && !echoing()) {
                uint64_t target = edge_clock < until ? edge_clock : until;
                if (!rx_.empty() && rx_.front().clock < target) target = rx_.front().clock;
                if (codes && now_ < codes_last) {
                    const uint64_t first = codes_first - CODES_LEAD;
                    if (codes_first < CODES_LEAD || first <= now_) target = now_;
                    else if (first < target) target = first;
                }
#ifdef NODE_WAITS
                if (now_ + dut_->o_wait < target) target = now_ + dut_->o_wait;
#endif
                if (target > now_ + 1) {
                    const uint64_t wake = wake_clock();
                    if (wake < target) target = wake;
                    if (target > now_ + 1) {
                        jump(target);
                        continue;
                    }
                }
            }
            uint64_t edges = r.skip ? clocks_.due() : clocks_.all();
#ifdef NODE_EDGES
            uint64_t valid = 0;
            if (light_.on()) see(out);
            if (echoing()) edges |= present_echoes();
            if (edge_clock == now_) {
                do {
                    if (!r.light || candidate_clicks(r, edge)) {
                        valid |= uint64_t(1) << input_of(r, edge);
                        if (ROOMS) edges |= clocks_.room(EDGES_ROOM + r.edge_channels[edge]);
                        present(r, edge, valid);
                    }
                    edge++;
                    edge_clock = edge < r.edges ? edge_at(r, edge) : NEVER;
                } while (edge_clock == now_);
                dirty_ = true;
            }
            set(dut_->i_valid, valid);
#else
            (void)edge;
            if (codes && now_ >= codes_first && now_ < codes_last) capture(out);
#endif
            const bool rx = !rx_.empty() && (rx_word_ || rx_.front().clock <= now_);
            set(dut_->rx_valid, rx);
            if (rx) {
                const Packet& packet = rx_.front();
                set(dut_->rx_data, packet.words[rx_word_]);
                set(dut_->rx_last, rx_word_ + 1 == packet.words.size());
                edges = clocks_.all();
            }
            const bool taken = rx && dut_->rx_ready;
            const bool ready = r.tx_ready_length ? r.tx_ready[(now_ & CLOCK_MASK) % r.tx_ready_length] : true;
            set(dut_->tx_ready, ready);
            if (dut_->tx_valid && ready) {
                out.words.push_back(dut_->tx_data);
                if (r.word_clocks) out.word_clocks.push_back(now_ & CLOCK_MASK);
                if (dut_->tx_last) {
                    out.ends.push_back(out.words.size());
                    out.clocks.push_back(now_ & CLOCK_MASK);
                }
            }
            const bool drawn = offer_bits();
            step(edges);
            now_++;
            if (drawn) qrng_.taken(QRNG_LANES);
            if (taken && ++rx_word_ == rx_.front().words.size()) {
                watch(rx_.front());
                rx_.pop_front();
                rx_word_ = 0;
            }
        }
        // The words of a packet that is not complete yet belong to the next run's output.
        const uint64_t complete = out.ends.empty() ? 0 : out.ends.back();
        partial_.assign(out.words.begin() + complete, out.words.end());
        out.words.resize(complete);
        if (r.word_clocks) {
            partial_clocks_.assign(out.word_clocks.begin() + complete, out.word_clocks.end());
            out.word_clocks.resize(complete);
        }
    }

  private:
    uint64_t edge_at(const Request& r, uint64_t i) const {
        return now_ + (((r.edge_ticks[i] >> FRACTION_BITS) - now_) & CLOCK_MASK);
    }

    static unsigned input_of(const Request& r, uint64_t i) {
        const uint64_t fine = r.edge_ticks[i] & mask(FRACTION_BITS);
        return r.edge_channels[i] * LANES + unsigned(fine * LANES >> FRACTION_BITS);
    }

#ifdef NODE_EDGES
    // `valid`: inputs that have an edge in this clock, as far as they have been presented.
    void present(const Request& r, uint64_t i, [[maybe_unused]] uint64_t valid) {
        const unsigned input = input_of(r, i);
#ifdef NODE_LINES
        const uint64_t* words = r.edge_values + i * WORDS * (1 + ECHOES);
        put(dut_->i_polarity, input, 1, words[0] & 1);
        put_codes(input, words);
        if constexpr (ECHOES) {
            const unsigned channel = input / LANES;
            if (input % LANES + 1 == LANES) {
                std::copy_n(words + WORDS, WORDS, echoes_[channel]);
                echoing_ |= uint64_t(1) << channel;
            } else if (!(valid >> (input + 1) & 1)) {
                put_codes(input + 1, words + WORDS);
            }
        }
#else
        put(dut_->i_fine, input * FRACTION_BITS, FRACTION_BITS, r.edge_ticks[i] & mask(FRACTION_BITS));
#endif
    }

    // Codes of the first lane behind hits of the last one in the clock before; edges for the rooms that see them.
    uint64_t present_echoes() {
        uint64_t edges = 0;
#ifdef NODE_LINES
        for (unsigned channel = 0; channel < CHANNELS; channel++) {
            if (!(echoing_ >> channel & 1)) continue;
            put_codes(channel * LANES, echoes_[channel]);
            if (ROOMS) edges |= clocks_.room(EDGES_ROOM + channel);
        }
        echoing_ = 0;
        dirty_ = true;
#endif
        return edges;
    }
#endif

#ifdef NODE_LINES
    void put_codes(unsigned input, const uint64_t* words) {
        const unsigned channel = input / LANES, lane = input % LANES;
        for (unsigned chain = 0; chain < CHAINS; chain++)
            put(dut_->i_code, ((channel * CHAINS + chain) * LANES + lane) * LINE_CODE_BITS, LINE_CODE_BITS,
                words[chain / HIT_WORD_CHAINS] >> (1 + chain % HIT_WORD_CHAINS * LINE_CODE_BITS) & mask(LINE_CODE_BITS));
    }
#endif

    // Whether codes are left that this clock must show.
    bool echoing() const {
#ifdef NODE_LINES
        return ECHOES && echoing_;
#else
        return false;
#endif
    }

    bool candidate_clicks(const Request& r, uint64_t i) {
        r.clicked[i] = light_.clicks(now_, r.edge_ticks[i], r.edge_channels[i], r.light[i]);
        return r.clicked[i];
    }

    // What the actuator does in this clock, where the node has one.
    void see(Output& out) {
#ifdef NODE_ACTUATOR
        light_.see(now_, dut_->o_code);
        const uint64_t acted = dut_->o_acting | uint64_t(dut_->o_blank) << ACTING_BITS;
        if (acted == acted_) return;
        acted_ = acted;
        out.acted_clock.push_back(now_ & CLOCK_MASK);
        out.acted.push_back(acted);
#else
        (void)out;
#endif
    }

    // Bits of the generator; whether the node takes them in this clock.
    bool offer_bits() {
#ifdef NODE_QRNG
        if (group_changed_) {
            for (unsigned lane = 0; lane < QRNG_LANES; lane++) put(dut_->i_qrng, 16 * lane, 16, qrng_.word(lane));
            dirty_ = true;
        }
        set(dut_->i_qrng_valid, qrng_.offers(now_));
        group_changed_ = dut_->i_qrng_valid && dut_->o_qrng_ready;
        return group_changed_;
#else
        return false;
#endif
    }

    bool in_packet() const { return rx_word_ != 0; }

    void enqueue(const Request& r) {
        uint64_t first = 0;
        for (uint64_t p = 0; p < r.rx_packets; p++) {
            // A clock that has passed means "at once": distances of half the count's range and more are the past.
            uint64_t ahead = (r.rx_clocks[p] - now_) & CLOCK_MASK;
            if (ahead >> (CLOCK_BITS - 1)) ahead = 0;
            rx_.push_back({now_ + ahead, {r.rx_words + first, r.rx_words + r.rx_ends[p]}});
            first = r.rx_ends[p];
        }
    }

    template <typename Port, typename Value>
    void set(Port& port, Value value) {
        dirty_ |= port != static_cast<Port>(value);
        port = static_cast<Port>(value);
    }

    void quiet_inputs() {
        set(dut_->rx_valid, 0);
        set(dut_->tx_ready, 0);
#ifdef NODE_EDGES
        set(dut_->i_valid, 0);
#endif
    }

    void step(uint64_t edges) {
        cycles_++;
        clocks_.step(edges, dirty_);
        dirty_ = false;
    }

    void load_and_step(const Anchor& a, uint64_t edges) {
        dut_->sim_load = 1;
        dirty_ = true;
        dut_->sim_anchor_clock = a.clock;
        dut_->sim_anchor_pulse = a.pulse;
        dut_->sim_anchor_remainder = a.remainder;
        dut_->sim_anchor_frame_pulse = a.frame_pulse;
        dut_->sim_anchor_frame = a.frame;
        dut_->sim_anchor_window_frame = a.window_frame;
        dut_->sim_anchor_window = a.window;
        dut_->sim_anchor_dwindow_window = a.dwindow_window;
        dut_->sim_anchor_dwindow = a.dwindow;
        step(edges);
        dut_->sim_load = 0;
        dirty_ = true;
    }

    // The anchor when the clock count is `clock` (unwrapped, not before the last one asked for).
    const Anchor& anchor(uint64_t clock) {
        const uint64_t from = base_clock_ > start_clock_ ? base_clock_ : start_clock_;
        if (frame_.running && clock > from) base_ = advance(frame_, base_, clock - from);
        base_.clock = clock & CLOCK_MASK;
        base_clock_ = clock;
        return base_;
    }

    void jump(uint64_t target) {
        quiet_inputs();
        load_and_step(anchor(target), clocks_.due());
        now_ = target;
        rested_ = target + JUMP_GAP;
    }

    // Where a jump must end at the latest: LEAD before the next tick, turn to an epoch, window close or frame start; `now` within SETTLE
    // after one. Epochs have turns only while a frame runs or is going to.
    uint64_t wake_clock() {
        if (now_ < wake_) return wake_;
        if (now_ <= wake_ + LEAD + SETTLE && wake_) return now_;
        const unsigned epoch_bits = frame_.running ? registers_.epoch_bits() : TICK_BITS;
        const uint64_t period = uint64_t(1) << std::min(epoch_bits, TICK_BITS);
        uint64_t event = (now_ + period - 1) & ~(period - 1);
        if (frame_.running) {
            if (now_ <= start_clock_) {
                if (start_clock_ < event) event = start_clock_;
            } else {
                const uint64_t close = now_ + clocks_to_close(frame_, anchor(now_));
                if (close < event) event = close;
            }
        }
        wake_ = event > LEAD ? event - LEAD : 0;
        return wake_ > now_ ? wake_ : now_;
    }

    // Follows the register writes that the node executes, for the anchor and the epochs: the node obeys them within a few clocks.
    void watch(const Packet& packet) {
        if (registers_.write(packet.words)) set_frame(registers_.frame());
    }

#ifdef NODE_CLIENT
    template <typename Port>
    static void append(std::vector<uint32_t>& to, const Port& port) {
        uint32_t words[(sizeof(Port) + 3) / 4] = {};
        std::memcpy(words, &port, sizeof(Port));
        to.insert(to.end(), words, words + CODES_WORDS);
    }

    void capture(Output& out) {
        if (!dut_->o_codes_valid) return;
        out.codes_clock.push_back(now_ & CLOCK_MASK);
        out.codes_pulse.push_back(dut_->o_codes_pulse);
        append(out.codes_q, dut_->o_codes_q);
        append(out.codes_r, dut_->o_codes_r);
    }
#endif

    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Model> dut_;
    Clocks clocks_;
    bool dirty_ = true;  // an input has changed since the last evaluation
    uint64_t now_ = 0, cycles_ = 0, wake_ = 0;  // now_ counts on beyond CLOCK_BITS; the gateware's count is its low bits
    uint64_t rested_ = 0;  // a jump may follow another one from here on
    std::deque<Packet> rx_;
    size_t rx_word_ = 0;
    std::vector<uint32_t> partial_;
    std::vector<uint64_t> partial_clocks_;
    Registers registers_;
    Frame frame_{};
    Anchor base_{};
    uint64_t base_clock_ = 0, start_clock_ = NEVER;
    Light light_;
    Qrng qrng_;
    bool group_changed_ = true;
    uint64_t acted_ = NEVER;
#ifdef NODE_LINES
    static constexpr unsigned WORDS = (CHAINS + HIT_WORD_CHAINS - 1) / HIT_WORD_CHAINS;  // for one code of each chain
    uint64_t echoing_ = 0;  // bit per channel: `echoes_` is due in the clock that comes
    uint64_t echoes_[CHANNELS][WORDS];
#endif
};

extern "C" {
Node* node_create() { return new Node; }
void node_destroy(Node* node) { delete node; }
uint64_t node_clock(const Node* node) { return node->clock(); }
uint64_t node_model_clock(const Node* node) { return node->model_clock(); }
uint64_t node_cycles(const Node* node) { return node->cycles(); }
int node_idle(const Node* node) { return node->idle(); }
uint64_t node_source(const Node* node) { return node->source(); }
void node_load(Node* node, const Anchor* anchor) { node->load(*anchor); }
void node_set_light(Node* node, const LightSetup* setup) { node->set_light(*setup); }
void node_set_frame(Node* node, const Frame* frame) { node->set_frame(*frame); }
void node_set_qrng(Node* node, uint64_t seed, uint64_t starved_every) { node->set_qrng(seed, starved_every); }
uint64_t node_check(const Node* node, const Request* request, uint32_t* kind) { return node->check(*request, kind); }

Output* node_run(Node* node, const Request* request) {
    auto* out = new Output;
    node->run(*request, *out);
    return out;
}

void output_free(Output* out) { delete out; }

// Address and element count of one vector of an output.
const void* output_vector(const Output* out, int which, uint64_t* count) {
    const std::vector<uint32_t>* narrow[] = {&out->words, &out->codes_q, &out->codes_r};
    const std::vector<uint64_t>* wide[] = {&out->ends, &out->clocks, &out->word_clocks, &out->codes_clock, &out->codes_pulse,
                                           &out->acted_clock, &out->acted};
    if (which < 3) {
        *count = narrow[which]->size();
        return narrow[which]->data();
    }
    *count = wide[which - 3]->size();
    return wide[which - 3]->data();
}

void frame_advance(const Frame* frame, const Anchor* from, uint64_t clocks, Anchor* to) { *to = advance(*frame, *from, clocks); }
uint64_t frame_clocks_to_close(const Frame* frame, const Anchor* anchor) { return clocks_to_close(*frame, *anchor); }
}
