"""Calibration and scale of one chain while it tags: histogram, tables, bank switches, restarts, dumps, clock by clock.

Source: "Calibration", "Scale" and "Dump" of docs/timetagger.md. Clocks are system clocks at the input of calibrator and fine time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tdc import (
    DEFAULT_CAL_LAST,
    DEFAULT_CAL_STEP,
    ECHO_SHARE_LOG,
    EXTENDED_BITS,
    EXTENDED_SHIFT,
    FIT_FAR,
    FIT_NEAR,
    H_BITS,
    MAX_CAL_LAST,
    MEASURED,
    MIN_GROUPS,
    SCALE_CLOCKS,
    SIGMA_SHIFT,
    WINDOW_LOG,
    busy_clocks,
    code_bits,
    full_scale,
    group_codes,
    has_twins,
    span_ticks,
    x_max,
)

from . import calibration_kernel as kernel
from .scale import ScaleConstants


@dataclass(frozen=True)
class Dump:
    """What a dump gives: both of shape (2, codes)."""

    histogram: NDArray[np.int64]
    table: NDArray[np.int64]

    def words(self) -> NDArray[np.uint32]:
        """The words of CAL_BINS: word 2 i = H, word 2 i + 1 = X, i = p * codes + code."""
        return np.stack([self.histogram.ravel(), self.table.ravel()], axis=1).ravel().astype(np.uint32)


def kernel_constants(
    lanes: int, taps: int, step: int, last: int, shared: bool, scale: ScaleConstants
) -> NDArray[np.int64]:
    """What the kernel needs, in the order of its names C_FULL to C_NO_ECHO."""
    sizes = [full_scale(lanes), x_max(lanes), busy_clocks(code_bits(taps)), step, last, int(shared)]
    echo = [ECHO_SHARE_LOG, taps - 1 if has_twins(taps, lanes) else 0]
    loop = [
        scale.theta,
        scale.target,
        scale.gear_limit,
        scale.fast_gain,
        scale.fast_rate,
        scale.slow_gain,
        scale.slow_rate,
    ]
    loop += [scale.fast_windows, scale.mean_shift, scale.restart, scale.uneven_err, scale.tent_target]
    formats = [WINDOW_LOG, SCALE_CLOCKS, SIGMA_SHIFT, EXTENDED_SHIFT, (1 << (EXTENDED_BITS - 1)) - 1, (1 << H_BITS) - 1]
    fastest = [scale.fastest_gain, scale.fastest_rate]
    groups = [group_codes(taps, lanes), MIN_GROUPS]
    return np.array([*sizes, *loop, *formats, *groups, *fastest, MEASURED, FIT_NEAR, FIT_FAR, *echo], dtype=np.int64)


class Calibration:
    """One chain's calibrator.

    taps : multiple of 16 from 32 to 512; there are 2^bits codes, the next power of 2
    lanes : 1 or 2 TDC clocks per system clock
    step : log2 of the hits between tables
    last : log2 of the hits at which the histogram is halved, step .. 25
    shared : rising and falling use one table
    scale : constants of the scale's loop, by default the gateware's

    Hits and settings come in the order of their clocks; what happens in between (tables, scales, busy times) takes effect
    at its exact clock. Raises ValueError for sizes out of range and for clocks that go back.
    """

    def __init__(
        self,
        *,
        taps: int,
        lanes: int,
        step: int = DEFAULT_CAL_STEP,
        last: int = DEFAULT_CAL_LAST,
        shared: bool = False,
        scale: ScaleConstants | None = None,
    ):
        bits = code_bits(taps)
        if not 0 <= step <= last <= MAX_CAL_LAST:
            raise ValueError(
                f"calibration: step is {step} and last {last}; allowed: 0 <= step <= last <= {MAX_CAL_LAST}"
            )
        self.taps = taps
        self.lanes = lanes
        self.span_ticks = span_ticks(lanes)
        self.busy_clocks = busy_clocks(bits)
        self._counts = np.zeros((2, 2, 1 << bits), dtype=np.int64)
        self._tables = np.zeros((2, 2, 1 << bits), dtype=np.int64)
        of_lanes = scale or ScaleConstants.of_lanes(lanes)
        self._constants = kernel_constants(lanes, taps, step, last, shared, of_lanes)
        self._has_echoes = has_twins(taps, lanes)
        self._state = kernel.initial_state(self._constants)
        self._dumps: list[Dump] = []

    def run(
        self,
        clocks: NDArray[np.int64],
        lanes: NDArray[np.integer],
        polarities: NDArray[np.integer],
        codes: NDArray[np.integer],
        echoes: NDArray[np.integer] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(y4, calibrated) of each hit; hits in the order of (clock, lane), which rises strictly.

        A chain with twins, and no other, needs ``echoes``: of each hit the code of the TDC clock behind it, taps - 1 if there is none.
        """
        if (echoes is not None) != self._has_echoes:
            wants = "one per hit" if self._has_echoes else "None, as only chains with twins have them"
            raise ValueError(f"calibration: echoes are {'None' if echoes is None else 'given'}; allowed: {wants}")
        echoes = np.zeros_like(codes) if echoes is None else echoes
        arrays = [np.ascontiguousarray(a, dtype=np.int64) for a in (clocks, lanes, polarities, codes, echoes)]
        y4 = np.zeros(arrays[0].size, dtype=np.int64)
        calibrated = np.zeros(arrays[0].size, dtype=np.bool_)
        if arrays[0].size:
            self._check(*arrays)
            done = 0
            while done < y4.size:
                done = int(
                    kernel.run(*arrays, done, self._state, self._constants, self._counts, self._tables, y4, calibrated)
                )
                self._take_dump()
        return y4, calibrated

    def advance(self, clock: int) -> None:
        """Lets time pass: everything due in ``clock`` and before has happened."""
        if clock < self._state[kernel.NOW]:
            raise ValueError(
                f"calibration: clock {clock} after clock {self._state[kernel.NOW]}; allowed: rising clocks"
            )
        while kernel.settle(clock, self._state, self._constants, self._counts, self._tables):
            self._take_dump()
        self._state[kernel.NOW] = clock

    def hold(self, clock: int, on: bool) -> None:
        """HOLD from ``clock`` on: nothing is collected."""
        self.advance(clock)
        self._state[kernel.HOLD] = on

    def reset(self, first: int, last: int) -> None:
        """RESET in the clocks first .. last. Hits of these clocks have to come afterwards."""
        if last < first:
            raise ValueError(f"calibration: reset from clock {first} to {last}; allowed: first <= last")
        self.advance(first)
        kernel.reset(last, self._state, self._constants, self._counts)

    def request_dump(self, clock: int) -> None:
        """A dump asked for in ``clock``, whose own hit is collected: call it after the hits of that clock."""
        self.advance(clock)
        kernel.request_dump(clock, self._state, self._constants)

    def take_dumps(self) -> list[Dump]:
        """The dumps that are complete, once."""
        dumps, self._dumps = self._dumps, []
        return dumps

    @property
    def histogram(self) -> NDArray[np.int64]:
        """H, shape (2, codes), a copy."""
        return self._counts[kernel.HITS].copy()

    @property
    def echoes(self) -> NDArray[np.int64]:
        """E, shape (2, codes), a copy; zero without twins."""
        return self._counts[kernel.ECHOES].copy()

    @property
    def table(self) -> NDArray[np.int64]:
        """X of the bank in use, quarter ticks, shape (2, codes), a copy."""
        return self._tables[self._state[kernel.BANK]].copy()

    @property
    def acting_table(self) -> NDArray[np.int64]:
        """The entries that hits get now: those of `table`, but for the bin of the span's end where it is opened."""
        table = self.table
        if self._state[kernel.OPENED] and self._state[kernel.KIND] == kernel.IDLE:
            for p, (code, entry) in enumerate(zip(*self._state[kernel.END_CODE0 :].reshape(2, 2), strict=True)):
                if code != kernel.NONE:
                    table[p, code] = entry
        return table

    @property
    def hits(self) -> int:
        """n, hits in the histogram."""
        return int(self._state[kernel.N])

    @property
    def sigma(self) -> int:
        """The scale less 1 in 2^-18 that the fine time uses now."""
        return int(self._state[kernel.SIGMA])

    @property
    def extended(self) -> int:
        """The extended sigma (2^-26), which a new window has already moved."""
        return int(self._state[kernel.EXT])

    @property
    def rate(self) -> int:
        """Change of the extended sigma per window."""
        return int(self._state[kernel.RATE])

    @property
    def fast(self) -> bool:
        """The loop is in its fast gear, or in the fastest."""
        return bool(self._state[kernel.FAST] > 0)

    @property
    def calibrated(self) -> bool:
        return bool(self._state[kernel.CALIBRATED])

    @property
    def nonuniform(self) -> bool:
        """A table was refused or a window uneven since the last accepted table."""
        return bool(self._state[kernel.NONUNIFORM])

    @property
    def scale_limit(self) -> bool:
        """The scale has been at its limit since the last accepted table."""
        return bool(self._state[kernel.LIMIT])

    @property
    def now(self) -> int:
        """The clock that has been reached."""
        return int(self._state[kernel.NOW])

    @property
    def busy(self) -> bool:
        """The clock that has been reached is a busy one."""
        return bool(self._state[kernel.BUSY_LAST] >= self._state[kernel.NOW])

    @property
    def tables(self) -> int:
        """Accepted tables since construction."""
        return int(self._state[kernel.TABLES])

    @property
    def restarts(self) -> int:
        """Restarts of the histogram since construction."""
        return int(self._state[kernel.RESTARTS])

    def _take_dump(self) -> None:
        if self._state[kernel.DUMPED]:
            self._state[kernel.DUMPED] = 0
            self._dumps.append(Dump(histogram=self.histogram, table=self.table))

    def _check(
        self,
        clocks: NDArray[np.int64],
        lanes: NDArray[np.int64],
        polarities: NDArray[np.int64],
        codes: NDArray[np.int64],
        echoes: NDArray[np.int64],
    ) -> None:
        if not clocks.shape == lanes.shape == polarities.shape == codes.shape == echoes.shape or clocks.ndim != 1:
            raise ValueError(
                "calibration: clocks, lanes, polarities, codes and echoes differ in shape; allowed: one each per hit"
            )
        for name, values, most in (
            ("lane", lanes, self.lanes - 1),
            ("polarity", polarities, 1),
            ("code", codes, self.taps - 1),
            ("code of an echo", echoes, self.taps - 1),
        ):
            if values.min() < 0 or values.max() > most:
                raise ValueError(f"calibration: a {name} is {values.min()} or {values.max()}; allowed: 0 to {most}")
        if clocks[0] < self._state[kernel.NOW] or (np.diff(clocks * self.lanes + lanes) <= 0).any():
            raise ValueError(
                "calibration: hits are not in the order of (clock, lane); allowed: rising, after what came before"
            )
