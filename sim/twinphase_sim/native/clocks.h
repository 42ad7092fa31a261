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
        for (unsigned part = 0; part < PARTS; part++)
            for (unsigned bits = 0; bits < 1 << PART_BITS; bits++)
                for (unsigned k = 0; k < PART_BITS; k++)
                    if (const unsigned room = part * PART_BITS + k; bits >> k & 1 && room < ROOMS)
                        triggers_[part][bits] |= room == CONTROL_ROOM ? all_ : room_[room + 1];
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
    // Edges are looked up by the rooms that are awake, a few of them at a time.
    static constexpr unsigned PART_BITS = 7, PARTS = 3;
    static_assert(ROOMS <= PARTS * PART_BITS);

    uint64_t triggers() const {
        uint64_t edges = 0;
#ifdef NODE_ROOMS
        for (unsigned part = 0; part < PARTS; part++)
            edges |= triggers_[part][root_->o_awake >> part * PART_BITS & ((1 << PART_BITS) - 1)];
#endif
        return edges;
    }

    Model* model_;
    Root* root_;
    uint64_t room_[ROOMS + 1], all_ = 0;
    uint64_t triggers_[PARTS][1 << PART_BITS] = {};
    uint64_t before_[3] = {};
};

}  // namespace twinphase
