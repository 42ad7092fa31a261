// Gives a model its clock edges. The model's own eval() compares inputs with what they were before and works in rounds until
// nothing changes; here it is known beforehand what happens, and only that is evaluated:
//  * all changes are at rising edges, and no output depends on an input combinationally, so that falling edges need nothing;
//  * the logic behind the inputs is evaluated only when an input has changed;
//  * rooms (twinphase_hdl.core.rooms) that rest get no edge.
#pragma once
#include <cstdint>

namespace twinphase {

class Clocks {
  public:
    // Settles the model with all inputs at zero.
    explicit Clocks(Model* model) : model_(model), root_(model->rootp) {
        model->eval();
        unsigned clock = 0;
        // Which trigger is a clock's? Raise it and ask the model.
#define FIND_TRIGGER(name)                          \
    root_->name = 1;                            \
    MODEL_TRIGGERS(root_);                      \
    room_[clock++] = root_->__VactTriggered[0]; \
    root_->name = 0;                            \
    MODEL_TRIGGERS(root_);
        CLOCKS(FIND_TRIGGER)
#undef FIND_TRIGGER
        root_->__VactTriggered[0] = 0;
        for (unsigned k = 0; k < clock; k++) all_ |= room_[k];
        for (unsigned half = 0; half < 2; half++)
            for (unsigned bits = 0; bits < HALF; bits++)
                for (unsigned k = 0; k < HALF_BITS; k++)
                    if (const unsigned room = half * HALF_BITS + k; bits >> k & 1 && room < ROOMS)
                        triggers_[half][bits] |= room == CONTROL_ROOM ? all_ : room_[room + 1];
    }

    // Edges for every room; for the timebase and one room more, the k-th from 1.
    uint64_t all() const { return all_; }
    uint64_t room(unsigned k) const { return room_[0] | (k <= ROOMS ? room_[k] : 0); }

    // Edges for the rooms that are awake or were in one of the last three clocks. To be asked once per clock.
    uint64_t due() {
        if constexpr (ROOMS == 0) return all_;
        const uint64_t awake = triggers();
        const uint64_t edges = room_[0] | awake | before_[0] | before_[1] | before_[2];
        before_[2] = before_[1];
        before_[1] = before_[0];
        before_[0] = awake;
        return edges;
    }

    void step(uint64_t edges, bool inputs_changed) {
        if (inputs_changed) {
            root_->__VicoTriggered[0] = 1;
            MODEL_INPUTS(root_);
        }
        root_->__VnbaTriggered[0] = edges;
        MODEL_EDGE(root_);
    }

  private:
    static constexpr unsigned HALF_BITS = 8, HALF = 1 << HALF_BITS;
    static_assert(ROOMS <= 2 * HALF_BITS);

    uint64_t triggers() const {
#ifdef NODE_ROOMS
        return triggers_[0][root_->o_awake & (HALF - 1)] | triggers_[1][root_->o_awake >> HALF_BITS];
#else
        return 0;
#endif
    }

    Model* model_;
    Root* root_;
    uint64_t room_[ROOMS + 1], all_ = 0;
    uint64_t triggers_[2][HALF] = {};
    uint64_t before_[3] = {};
};

}  // namespace twinphase
