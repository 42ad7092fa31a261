// The generator of a client whose symbols a QRNG gives: words that its seed tells (`twinphase_sim.model.sift.qrng`).
#pragma once
#include <cstdint>

namespace twinphase {

class Qrng {
  public:
    // No word is offered in clocks that are multiples of `starved_every`; 0: in all.
    void set(uint64_t seed, uint64_t starved_every) {
        seed_ = seed;
        every_ = starved_every;
        number_ = 0;
    }

    bool offers(uint64_t clock) const { return !every_ || clock % every_; }

    // Word `lane` of the group that is next.
    uint64_t word(unsigned lane) const {
        const uint64_t number = number_ + lane;
        uint64_t mixed = seed_ + (number / 4 + 1) * 0x9E3779B97F4A7C15u;
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9u;
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBu;
        mixed ^= mixed >> 31;
        return mixed >> 16 * (number % 4) & 0xFFFF;
    }

    void taken(unsigned lanes) { number_ += lanes; }

  private:
    uint64_t seed_ = 0, every_ = 0, number_ = 0;
};

}  // namespace twinphase
