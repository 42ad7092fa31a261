// Light that the node's own actuator acts on: candidates for clicks become edges or not when their time has come.
//
// A candidate with phase theta (turns, without the actuator), energy E, mean photons `base + amplitude cos(2 pi theta)` clicks if
// E < base + amplitude cos(2 pi (theta - ratio x)), x the turns of the modulator, and if its detector lives and has recovered
// (twinphase_sim.physics.detectors). Dark counts have base 1, amplitude 0 and the needed fraction of the efficiency as energy.
#pragma once
#include <cmath>
#include <cstdint>
#include <deque>
#include <vector>

namespace twinphase {

struct LightSetup {
    const double* turns;  // of the modulator by code
    uint64_t codes;
    uint64_t delay_clocks;  // from a code on the node's output to the clock count of the clicks on which it has acted
    const double* dead_ticks;
    const double* recovery_ticks;
    const double* ratio;  // per channel: turns of its light per turn of `turns`
    uint64_t channels;
};

struct Candidate {
    double theta, energy, base, amplitude;
};

class Light {
  public:
    bool on() const { return !turns_.empty(); }

    void set(const LightSetup& setup) {
        turns_.assign(setup.turns, setup.turns + setup.codes);
        delay_ = setup.delay_clocks;
        channels_.clear();
        for (uint64_t c = 0; c < setup.channels; c++)
            channels_.push_back({setup.dead_ticks[c], setup.recovery_ticks[c], setup.ratio[c], 0, false});
        past_.clear();
    }

    // The code on the node's output in clock `now`.
    void see(uint64_t now, unsigned code) {
        const double turns = turns_[code < turns_.size() ? code : turns_.size() - 1];
        if (past_.empty() || past_.back().turns != turns) past_.push_back({now, turns});
    }

    // Whether the candidate clicks at `tick` of clock `now`; to be asked in the order of time.
    bool clicks(uint64_t now, uint64_t tick, unsigned channel, const Candidate& candidate) {
        while (past_.size() > 1 && past_[1].clock + delay_ <= now) past_.pop_front();
        Channel& detector = channels_[channel];
        const double theta = candidate.theta - detector.ratio * (past_.empty() ? 0 : past_.front().turns);
        const double photons = candidate.base + candidate.amplitude * std::cos(2 * M_PI * theta);
        if (candidate.energy >= photons) return false;
        if (detector.clicked) {
            const double rest = double(int64_t(tick - detector.last)) - detector.dead;
            if (rest < 0) return false;
            if (detector.recovery > 0 && -std::expm1(-rest / detector.recovery) < candidate.energy / photons) return false;
        }
        detector.last = tick;
        detector.clicked = true;
        return true;
    }

  private:
    struct Acted {
        uint64_t clock;
        double turns;
    };
    struct Channel {
        double dead, recovery, ratio;
        uint64_t last;
        bool clicked;
    };

    std::vector<double> turns_;
    uint64_t delay_ = 0;
    std::vector<Channel> channels_;
    std::deque<Acted> past_;
};

}  // namespace twinphase
