"""The same physics with every pulse evaluated: slow, simple, and written apart from `link`, to judge it on short links.

Fields instead of intensities: the users' amplitudes ``sqrt(eta k) e^(i theta)`` meet at the beam splitter, the fraction V of the
light interferes and the rest adds up incoherently. Dark counts are a Bernoulli draw per pulse. A detector that recovers is asked
anew at each raw click, with the conditional probability of one at its reduced efficiency.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.sift.symbols import modulator_codes, slot_bytes
from twinphase_spec.configure import frame_config
from twinphase_spec.frame import SlotClass
from twinphase_spec.lab import Lab
from twinphase_spec.registers import CHANNELS
from twinphase_spec.symbols import PHASE_CODE_BITS, Level, SymbolConfig
from twinphase_spec.units import TICK_PS, TICKS_PER_CLOCK, ps_to_ticks

from .clicks import DARK, Clicks, join_clicks
from .optics import LEFT, Band, level_photons, ports
from .phase import LinkPhase
from .power import LinkPower

MAX_PULSES = 1 << 24


def click_probabilities(
    lab: Lab, seed: int, alice: SymbolConfig, bob: SymbolConfig, pulses: NDArray[np.int64], *, start_clock: int = 0
) -> NDArray[np.float64]:
    """Probability that the light of each pulse clicks, shape (4 channels, pulses), dead time and dark counts aside."""
    frame = frame_config(lab, start_clock)
    period = frame.period_q32 / 2**32
    middle = start_clock * TICKS_PER_CLOCK + np.floor((pulses + 0.5) * period).astype(np.int64)
    phase = LinkPhase(lab, seed, start_clock * TICKS_PER_CLOCK)
    arms = LinkPower(lab, seed, start_clock * TICKS_PER_CLOCK).transmittances(middle)
    codes_a = modulator_codes(frame, "alice", alice, pulses.astype(np.uint64))
    codes_b = modulator_codes(frame, "bob", bob, pulses.astype(np.uint64))
    result = np.zeros((len(CHANNELS), pulses.size))
    bands: tuple[tuple[Band, NDArray[np.float64]], ...] = (
        ("q", phase.quantum(middle)),
        ("r", phase.reference(middle)),
    )
    signal = slot_bytes(frame, pulses.astype(np.uint64)) & 15 == SlotClass.SIG
    for index, (band, phi) in enumerate(bands):
        fields = []
        for client, codes, arm in (
            (lab.clients.alice, codes_a[index], arms[0]),
            (lab.clients.bob, codes_b[index], arms[1]),
        ):
            level = codes >> PHASE_CODE_BITS
            photons = level_photons(client, band)[level] * arm
            photons[(level == Level.VAC) & ~signal] = 0.0
            turns = (codes & ((1 << PHASE_CODE_BITS) - 1)) / (1 << PHASE_CODE_BITS)
            fields.append(np.sqrt(photons) * np.exp(2j * np.pi * turns))
        from_alice, from_bob = fields[0] * np.exp(1j * phi), fields[1]
        for port in ports(lab, band):
            combined = from_alice + from_bob if port.sign == LEFT else from_alice - from_bob
            bright = port.visibility * np.abs(combined) ** 2 / 2
            dim = (1 - port.visibility) * (np.abs(from_alice) ** 2 + np.abs(from_bob) ** 2) / 2
            result[port.channel] = 1 - np.exp(-port.detector.efficiency * (bright + dim))
    return result


def clicks_pulse_by_pulse(
    lab: Lab,
    seed: int,
    alice: SymbolConfig,
    bob: SymbolConfig,
    start_pulse: int,
    stop_pulse: int,
    *,
    start_clock: int = 0,
    draw_seed: int = 0,
) -> Clicks:
    """All clicks of the pulses [start, stop), at most MAX_PULSES of them. Raises ValueError for a larger range.

    ``seed`` sets the phases exactly as in `Link`; ``draw_seed`` the draws.
    """
    if not 0 <= start_pulse < stop_pulse <= start_pulse + MAX_PULSES:
        raise ValueError(
            f"pulse by pulse: pulses {start_pulse} to {stop_pulse}; allowed: a range of 1 to {MAX_PULSES} pulses"
        )
    generator = np.random.default_rng([seed, 4, draw_seed])
    pulses = np.arange(start_pulse, stop_pulse, dtype=np.int64)
    probabilities = click_probabilities(lab, seed, alice, bob, pulses, start_clock=start_clock)
    period = round(1e12 / lab.frame.pulse_rate_hz / TICK_PS)
    starts = start_clock * TICKS_PER_CLOCK + pulses * period
    parts = []
    for channel, name in enumerate(CHANNELS):
        detector = getattr(lab.detectors, name)
        light = pulses[generator.random(pulses.size) < probabilities[channel]]
        dark = starts[generator.random(pulses.size) < detector.dark_hz / lab.frame.pulse_rate_hz]
        centre_ps = 0.5e12 / lab.frame.pulse_rate_hz + detector.offset_ps
        late_ps = centre_ps + detector.jitter_ps * generator.standard_normal(light.size)
        light_times = start_clock * TICKS_PER_CLOCK + light * period + np.rint(late_ps / TICK_PS).astype(np.int64)
        dark_times = dark + generator.integers(0, period, dark.size)
        times = np.concatenate((light_times, dark_times))
        truth = np.concatenate((light, np.full(dark.size, DARK, np.int64)))
        order = np.argsort(times, kind="stable")
        # a dark count's rate recovers in proportion: as light of hardly any photons
        raw = np.concatenate((probabilities[channel][light - start_pulse], np.full(dark.size, 1e-6)))
        kept, last = [], None
        for index in order:
            if last is not None:
                rest_ps = (times[index] - last - ps_to_ticks(detector.dead_time_ns * 1000)) * TICK_PS
                if rest_ps < 0:
                    continue
                if detector.recovery_ns:
                    relative = 1 - math.exp(-rest_ps / (detector.recovery_ns * 1000))
                    if generator.random() >= _survival(float(raw[index]), relative):
                        continue
            kept.append(index)
            last = times[index]
        chosen = np.array(kept, dtype=np.intp)
        parts.append(Clicks(times[chosen], np.full(chosen.size, channel, np.uint8), truth[chosen]))
    return join_clicks(parts)


def _survival(raw: float, relative: float) -> float:
    """Probability that a click of a rested detector, of probability ``raw``, clicks at the relative efficiency, given that it did.

    With ``raw = 1 - exp(-I)``: ``(1 - exp(-relative I)) / raw``.
    """
    return (1 - (1 - raw) ** relative) / raw
