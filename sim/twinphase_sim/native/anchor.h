// The timebase's anchor, stepped over many clocks at once: the closed form of what the gateware adds clock by clock.
// Members as in twinphase_spec.frame.Anchor; products of clocks and periods are 128 bits wide.
#pragma once
#include <cstdint>

namespace twinphase {

using u128 = unsigned __int128;

constexpr uint64_t mask(unsigned bits) { return (uint64_t(1) << bits) - 1; }

struct Anchor {
    uint64_t clock, pulse, remainder, frame_pulse, frame, window_frame, window, dwindow_window, dwindow;
};

struct Frame {
    uint64_t running, start_clock, period, frame_pulses, frames_per_window, windows_per_dwindow;
};

// The anchor `clocks` clocks later, while the frame runs.
inline Anchor advance(const Frame& f, Anchor a, uint64_t clocks) {
    a.clock = (a.clock + clocks) & mask(CLOCK_BITS);
    const u128 ticks = (u128(clocks) << (FRACTION_BITS + PERIOD_FRACTION_BITS)) + a.remainder;
    a.remainder = uint64_t(ticks % f.period);
    const uint64_t pulses = uint64_t(ticks / f.period);
    a.pulse = (a.pulse + pulses) & mask(PULSE_BITS);
    const uint64_t in_frame = a.frame_pulse + pulses;
    a.frame_pulse = in_frame % f.frame_pulses;
    const uint64_t frames = in_frame / f.frame_pulses;
    a.frame = (a.frame + frames) & mask(FRAME_BITS);
    const uint64_t in_window = a.window_frame + frames;
    a.window_frame = in_window % f.frames_per_window;
    const uint64_t windows = in_window / f.frames_per_window;
    a.window = (a.window + windows) & mask(WINDOW_BITS);
    const uint64_t in_dwindow = a.dwindow_window + windows;
    a.dwindow_window = in_dwindow % f.windows_per_dwindow;
    a.dwindow = (a.dwindow + in_dwindow / f.windows_per_dwindow) & mask(WINDOW_BITS);
    return a;
}

// Clocks from anchor `a` until the anchor first lies in the next window: at least 1.
inline uint64_t clocks_to_close(const Frame& f, const Anchor& a) {
    const u128 pulses = u128(f.frames_per_window - a.window_frame) * f.frame_pulses - a.frame_pulse;
    const u128 ticks = pulses * f.period - a.remainder;
    constexpr unsigned shift = FRACTION_BITS + PERIOD_FRACTION_BITS;
    return uint64_t((ticks + (u128(1) << shift) - 1) >> shift);
}

}  // namespace twinphase
