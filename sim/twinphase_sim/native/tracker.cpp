// Plays entries to a Verilated click tracker, each after its own number of idle clocks, and keeps every output word with its clock.
// The build puts before this file `tracker.h` with the model's class as `Model` and the words of its ports.
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

// Verilator writes a name with two underscores so.
#define IN(name) i___05F##name

namespace {

template <typename Port>
void put(Port& port, const uint32_t* words) {
    std::memcpy(&port, words, sizeof(Port));
}

}  // namespace

extern "C" {
struct Play {
    uint64_t entries, configs, outputs;  // `outputs`: room for so many
    uint32_t epoch_bits;
    const uint32_t* config_words;  // configs x CONFIG_WORDS
    const uint32_t* entry_words;   // entries x ENTRY_WORDS
    const uint32_t* idle;          // clocks before each entry is offered, from the clock after the one before was taken
    uint64_t* taken;               // clock in which each was taken
    uint32_t* output_words;        // outputs x OUTPUT_WORDS
    uint64_t* output_clocks;
};

// Outputs that came, also those beyond the room for them.
uint64_t tracker_play(const Play* p) {
    auto context = std::make_unique<VerilatedContext>();
    auto dut = std::make_unique<Model>(context.get());
    uint64_t clock = 0, count = 0;
    auto step = [&] {
        dut->clk = 0;
        dut->eval();
        if (dut->o_valid) {
            if (count < p->outputs) {
                std::memcpy(p->output_words + count * OUTPUT_WORDS, &dut->o, sizeof(dut->o));
                p->output_clocks[count] = clock;
            }
            count++;
        }
        const bool taken = dut->IN(valid) && dut->IN(ready);
        dut->clk = 1;
        dut->eval();
        clock++;
        return taken;
    };
    dut->i_epoch_bits = p->epoch_bits;
    for (uint64_t k = 0; k < p->configs; k++) {
        put(dut->i_config, p->config_words + k * CONFIG_WORDS);
        dut->i_config_valid = 1;
        step();
    }
    dut->i_config_valid = 0;
    for (int k = 0; k < 8; k++) step();
    dut->i_run = 1;
    for (uint64_t k = 0; k < p->entries; k++) {
        for (uint32_t n = 0; n < p->idle[k]; n++) step();
        put(dut->IN(payload), p->entry_words + k * ENTRY_WORDS);
        dut->IN(valid) = 1;
        do p->taken[k] = clock;
        while (!step());
        dut->IN(valid) = 0;
    }
    for (int k = 0; k < DRAIN; k++) step();
    dut->final();
    return count;
}
}
