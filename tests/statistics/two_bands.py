"""Clicks of both bands of a built-in lab, through the model of feed, tracker and smoother, bit for bit as gateware has it.

Psi_r is a random walk here, without the lab's slope noise, which over seconds would take its slope beyond what fibres do: of the D that
makes the loop as fast as the lab's own D and Q, ``K^2 / (R F)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_sim.model.phase.feed import FeedSettings, References, feed
from twinphase_sim.model.phase.nodes import Nodes
from twinphase_sim.model.phase.path import WORDS
from twinphase_sim.model.phase.smooth import smooth
from twinphase_sim.model.phase.smoothfollow import GainTable
from twinphase_sim.tracking.clicks import PhaseWalk
from twinphase_sim.tracking.scenario import Scenario
from twinphase_spec import smooth_follow
from twinphase_spec.lab import parse_lab
from twinphase_spec.track_channel import ChannelSetup, gains_of
from twinphase_spec.track_setup import TrackSetup, track_setup
from twinphase_spec.units import CLOCK_HZ

LABS = ("seed-370km", "metro-50km")
RATIO = 27_000_000
SLOT_CLOCKS = 16
TESTS_HZ = 20_000
"""Times per second at which the phases are judged."""
PARTS = 12
"""Of a run, whose paired errors tell how sure their ratio is."""
TURN = 2 * np.pi / 2**32


def setup_of(lab: str, **tracking: float | bool) -> TrackSetup:
    """Of ``lab`` with these lines of its ``[tracking]``."""
    r, _ = channels_of(track_setup(parse_lab(f'base = "{lab}"\nname = "told"\n', "told.toml")))
    walk = r.gain_hz**2 / (r.light.click_rate_hz * r.light.information)
    lines = {"diffusion_r_rad2_per_s": walk, "slope_noise_r_rad2_per_s3": 0.0, **tracking}
    text = "".join(f"{name} = {str(value).lower()}\n" for name, value in lines.items())
    return track_setup(parse_lab(f'base = "{lab}"\nname = "told"\n[tracking]\n{text}', "told.toml"))


def channels_of(setup: TrackSetup) -> tuple[ChannelSetup, ChannelSetup]:
    """Both, which these labs have."""
    r, d = setup.channels
    assert r is not None
    assert d is not None
    return r, d


@dataclass(frozen=True)
class Errors:
    """Squared errors in rad^2 at the times that count."""

    psi_q: NDArray[np.float64]
    psi_d: NDArray[np.float64]

    @classmethod
    def of(cls, told: list[NDArray[np.int64]], true: NDArray[np.float64], used: NDArray[np.bool_]) -> Errors:
        """Of psi_r at the quantum wavelength and psi_d, told in 2^-32 turn, true in rad, shape (2, n)."""
        off = [np.angle(np.exp(1j * (t % 2**32 * TURN - psi))) for t, psi in zip(told, true, strict=True)]
        return cls(psi_q=np.angle(np.exp(1j * (off[0] + off[1])))[used] ** 2, psi_d=off[1][used] ** 2)


@dataclass(frozen=True)
class Light:
    """Clicks of both bands, and true phases in rad at random times, shape (2, n): psi_r at the quantum wavelength, and psi_d."""

    clicks: References
    epoch_bits: int
    time: NDArray[np.int64]
    psi: NDArray[np.float64]

    @classmethod
    def draw(cls, setup: TrackSetup, seconds: float, seed: int) -> Light:
        rng = np.random.default_rng((seed, 3))
        clocks = int(seconds * CLOCK_HZ)
        channels = channels_of(setup)
        rates = [channel.light.click_rate_hz for channel in channels]
        of_bands = [rng.integers(0, clocks, rng.poisson(rate * seconds)) for rate in rates]
        time = np.sort(rng.integers(0, clocks, int(TESTS_HZ * seconds)))
        asked = np.concatenate([*of_bands, time])
        order, count = np.argsort(asked, kind="stable"), sum(each.size for each in of_bands)
        psi = np.empty((2, asked.size))
        for c, channel in enumerate(channels):
            scenario = Scenario(
                diffusion_rad2_per_s=channel.diffusion_rad2_per_s,
                slope_noise_rad2_per_s3=channel.slope_noise_rad2_per_s3,
                count_rate_hz=rates[c],
            )
            psi[c, order] = PhaseWalk(scenario, (seed, c)).at(asked[order])
        quantum = psi[0] * (1 + RATIO / 2**32)
        band, step = (np.arange(count) >= of_bands[0].size).astype(np.int64), asked[:count] // SLOT_CLOCKS % 4
        seen = np.where(band == 1, quantum[:count] + psi[1, :count], psi[0, :count])
        visibility = np.array([channel.light.visibility for channel in channels])[band]
        right = rng.uniform(size=count) > (1 + visibility * np.cos(seen + step * np.pi / 2)) / 2
        order, zero = np.argsort(asked[:count], kind="stable"), np.zeros(count, dtype=np.int64)
        clock, band, port, step = (each[order] for each in (asked[:count], band, right.astype(np.int64), step))
        clicks = References(clock, band, port, step, zero, zero)
        return cls(clicks, setup.epoch_bits, time, np.stack([quantum[count:], psi[1, count:]]))

    def tracked(self, setup: TrackSetup) -> Nodes:
        assert setup.epoch_bits == self.epoch_bits
        registers = setup.registers()
        words = [[registers[f"{name.upper()}_{c}"] for name in WORDS] for c in "RD"]
        settings = FeedSettings(words=np.array(words), epoch_bits=setup.epoch_bits, hold=96, ratio=RATIO, start_clock=0)
        return feed(self.clicks, settings, until_epoch=0).nodes

    def _used(self, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Without the first third of the run, in which gains settle, and its last 3 %, in which smoothing ends."""
        used = (self.time > self.time[-1] // 3) & (self.time < int(0.97 * self.time[-1]))
        assert valid[used].mean() > 0.999, "the lock was lost for long"
        return used

    def causal(self, nodes: Nodes) -> Errors:
        """Of psi as clicks of these times would be marked with ("Marks" of docs/phase.md)."""
        node = (self.time >> self.epoch_bits) - 1 - nodes.first_epoch
        used = self._used(nodes.locked[:, np.clip(node, 0, None)].all(axis=0) & (node >= 0))
        node = np.clip(node, 0, None)
        since = self.time - (node + nodes.first_epoch << self.epoch_bits)
        moved = nodes.slope[0, node] * since >> 12
        return Errors.of([nodes.phase[0, node] + moved, nodes.phase[1, node]], self.psi, used)

    def smoothed(self, nodes: Nodes, bits: tuple[int, int], later: tuple[int, int], gains: list[Gains]) -> Errors:
        """Of the smoothed psi ("Smooth join" there)."""
        told, valid = [], np.ones(self.time.size, dtype=bool)
        for c in (0, 1):
            log = bits[c] - self.epoch_bits
            intervals = smooth(nodes, c, step_log=log, gains=gains[c], from_clock=0, later=later[c])
            k = np.clip((self.time >> bits[c]) - intervals.first, 0, intervals.start.size - 1)
            part = (self.time % (1 << bits[c]) << 16) >> bits[c]
            told.append(intervals.start[k] + (intervals.way[k] * part >> 16))
            valid &= intervals.valid[k]
        return Errors.of(told, self.psi, self._used(valid))


Gains = tuple[int, int, int, int] | GainTable


def fixed_gains(setup: TrackSetup, bits: tuple[int, int]) -> list[Gains]:
    """For what ``setup`` is told, at node steps of 2^bits clocks."""
    return [gains_of(channel, each).words() for channel, each in zip(channels_of(setup), bits, strict=True)]


def following_gains(setup: TrackSetup) -> list[Gains]:
    """The tables that ``setup`` loads, and where they start."""
    table, registers = setup.memories()["SMOOTH_TABLE"], setup.registers()
    halves = table[: smooth_follow.WORDS], table[smooth_follow.WORDS :]
    return [GainTable(words=half, start=registers[f"SMOOTH_FROM_{c}"]) for half, c in zip(halves, "RD", strict=True)]


def cost(errors: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[float, float]:
    """How much more the mean is than that of ``right``, and its standard error by PARTS parts of the run."""
    ratio = errors.mean() / right.mean()
    parts = [(e - ratio * r).mean() for e, r in zip(*(np.array_split(x, PARTS) for x in (errors, right)), strict=True)]
    return float(ratio - 1), float(np.std(parts, ddof=1) / np.sqrt(PARTS) / right.mean())
