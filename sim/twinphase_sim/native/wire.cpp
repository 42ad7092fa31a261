// A Verilated node with an Ethernet core: bytes of its GMII side in and out, frame by frame. The build puts before this file a header with
// the model's class as `Model`.
//
// 16 ns are one clock of `net`, two of `sync` and two of `gmii`; those of gmii lie half a clock from those of sync, so that what
// crosses is seen in between.
#include <cstdint>
#include <memory>
#include <vector>

namespace {

constexpr unsigned GAP = 12;  // bytes between two frames

class Wire {
  public:
    Wire() : context_(new VerilatedContext), dut_(new Model(context_.get())) { dut_->eval(); }

    // Clocks of 125 MHz so far.
    uint64_t now() const { return now_; }
    // Bytes that are still to go in, gaps included.
    uint64_t waiting() const { return in_.size() - at_; }

    void put(const uint8_t* bytes, const uint32_t* lengths, uint32_t count) {
        if (at_ == in_.size()) in_.clear(), at_ = 0;
        for (uint32_t k = 0; k < count; k++) {
            for (uint32_t b = 0; b < lengths[k]; b++) in_.push_back(0x100 | *bytes++);
            in_.insert(in_.end(), GAP, 0);
        }
    }

    // Runs `clocks`, or until a frame has left if `one`. Bytes that left lie in out(), their numbers per frame in lengths().
    void run(uint64_t clocks, bool one) {
        out_.erase(out_.begin(), out_.end() - length_);  // of a frame that has begun
        lengths_.clear();
        for (const uint64_t end = now_ + clocks; now_ < end; now_++) {
            dut_->clk = 1;
            dut_->net_clk = ~now_ & 1;
            dut_->gmii_clk = 0;
            dut_->eval();
            dut_->clk = 0;
            const uint16_t byte = at_ < in_.size() ? in_[at_++] : 0;
            dut_->gmii_clk = 1;
            dut_->eval();
            dut_->i_rx_dv = byte >> 8;
            dut_->i_rx_data = byte & 0xFF;
            if (dut_->o_tx_en) {
                out_.push_back(dut_->o_tx_data);
                length_++;
            } else if (length_) {
                lengths_.push_back(length_);
                length_ = 0;
                if (one) {
                    now_++;
                    return;
                }
            }
        }
    }

    const std::vector<uint8_t>& out() const { return out_; }
    const std::vector<uint32_t>& lengths() const { return lengths_; }

  private:
    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Model> dut_;
    uint64_t now_ = 0;
    std::vector<uint16_t> in_;
    size_t at_ = 0;
    std::vector<uint8_t> out_;
    std::vector<uint32_t> lengths_;
    uint32_t length_ = 0;
};

}  // namespace

extern "C" {
Wire* wire_create() { return new Wire; }
void wire_destroy(Wire* wire) { delete wire; }
void wire_put(Wire* wire, const uint8_t* bytes, const uint32_t* lengths, uint32_t count) { wire->put(bytes, lengths, count); }
uint64_t wire_now(const Wire* wire) { return wire->now(); }
uint64_t wire_waiting(const Wire* wire) { return wire->waiting(); }
// Number of frames that left; their bytes and lengths until the next run.
uint32_t wire_run(Wire* wire, uint64_t clocks, uint32_t one, const uint8_t** bytes, const uint32_t** lengths) {
    wire->run(clocks, one);
    *bytes = wire->out().data();
    *lengths = wire->lengths().data();
    return wire->lengths().size();
}
}
