"""Delay lines clock by clock, read from docs/timetagger.md in plain integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from unittest import mock

from line_rig import WINDOW_LOG
from twinphase_spec import tdc

with mock.patch.multiple(tdc, WINDOW_LOG=WINDOW_LOG):
    TARGET = {lanes: tdc.scale_target(lanes) for lanes in (1, 2)}
    TENT_TARGET = {lanes: tdc.tent_target(lanes) for lanes in (1, 2)}
    UNEVEN_ERR = {lanes: tdc.uneven_err(lanes) for lanes in (1, 2)}
    GEAR_LIMIT = {lanes: tdc.gear_limit(lanes) for lanes in (1, 2)}


def shifted(x: int, k: int) -> int:
    return x << k if k >= 0 else x >> -k


def tent(y4: int, lanes: int) -> int:
    full, theta = tdc.full_scale(lanes), tdc.theta(lanes)
    if theta - full // 32 <= y4 < theta:
        return y4 - (theta - full // 32)
    return full - 1 - y4 if theta <= y4 < full else 0


def saturated(x: int) -> int:
    return max(-(1 << 23), min((1 << 23) - 1, x))


@dataclass
class Line:
    """One chain: histogram, tables, scale."""

    bits: int
    lanes: int
    step: int
    last: int
    shared: bool = False
    twins: bool = False
    tables: list[list[int]] = field(default_factory=list)
    refusals: int = 0
    acceptances: int = 0
    halvings: int = 0
    restarts: int = 0
    uneven_windows: int = 0

    def __post_init__(self) -> None:
        self.codes = 1 << self.bits
        self.tables = [[0] * self.codes for _ in range(2)]
        self.busy, self.job, self.dump_waits = 0, "", False
        self.nonuniform = self.calibrated = False
        self.dumped: list[tuple[int, int]] = []
        self.ends: list[tuple[int, int] | None] = [None, None]
        self.opened, self.opened_hits = False, 0
        self.clear_counts()
        self.clear_scale()

    def clear_counts(self) -> None:
        self.h = [[0] * self.codes for _ in range(2)]
        self.e = [[0] * self.codes for _ in range(2)]
        self.awaits: int | None = None  # polarity of a hit whose echo comes in the next clock
        self.n = 0

    def clear_scale(self) -> None:
        self.sigma = self.extended = self.start = self.rate = self.mean = self.acc = self.tents = self.hits = 0
        self.uneven = self.seen = False
        self.fast = tdc.FAST_WINDOWS
        self.limit = False
        self.due: int | None = None

    def y4(self, p: int, code: int) -> int:
        p = 0 if self.shared else p
        x = self.tables[p][code]
        end = self.ends[p]
        if self.opened and not self.busy and end is not None and end[0] == code:
            x = end[1]
            self.opened_hits += 1
        return x + (x * self.sigma >> tdc.SIGMA_SHIFT)

    def echo(self, p: int, code: int) -> None:
        if code != self.codes - 1:
            self.e[0 if self.shared else p][code] += 1

    def clock(
        self,
        now: int,
        hits: list[tuple[int, int] | None],
        hold: bool,
        reset: bool,
        dump: bool,
        codes: list[int],
    ) -> None:
        """What a clock changes for the next one; sigma acts from the beginning of the clock in which it is due."""
        self.dump_waits |= dump
        if self.twins and self.awaits is not None and hits[0] is None:
            self.echo(self.awaits, codes[0])
        self.awaits = None
        if reset:
            self.opened = False
            if self.job == "dump":
                self.dumped.clear()
            self.clear_counts()
            self.clear_scale()
            self.calibrated = self.nonuniform = False
            self.busy, self.job = tdc.busy_clocks(self.bits), "clear"
            return
        was_busy = self.busy > 0
        begins = ""
        if was_busy:
            self.busy -= 1
            if not self.busy:
                self.finish()
        elif not hold:
            chosen = next((hit for hit in hits if hit is not None), None)
            if chosen is not None:
                p, code = chosen
                self.follow(now, self.y4(p, code))
                self.h[0 if self.shared else p][code] += 1
                self.n += 1
                if self.twins and hits[0] is None:
                    self.awaits = p
                elif self.twins and hits[1] is None:
                    self.echo(p, codes[1])
                if self.n % (1 << self.step) == 0:
                    begins = "table"
        if not self.busy and not begins and self.dump_waits:
            begins, self.dump_waits = "dump", False
        moved = abs(self.extended - self.start) >= tdc.RESTART or self.uneven != self.seen
        if self.due is not None and now == self.due - 1 and moved and not (was_busy or hold or begins):
            begins = "clear"
            self.start, self.seen = self.extended, self.uneven
            self.restarts += 1
            self.opened = True
        if begins:
            if begins == "table":
                self.opened = False
            self.busy, self.job = tdc.busy_clocks(self.bits), begins
            if begins == "clear":
                self.clear_counts()
            if begins == "dump":
                self.dumped = [(self.h[p][code], self.tables[p][code]) for p in range(2) for code in range(self.codes)]

    def begin_clock(self, now: int) -> None:
        if self.due == now:
            self.sigma = self.extended >> tdc.EXTENDED_SHIFT
            self.nonuniform |= self.uneven
            self.due = None

    def follow(self, now: int, y4: int) -> None:
        if not self.calibrated:
            return
        lanes = self.lanes
        self.acc += max(0, y4 - tdc.theta(lanes))
        self.tents += tent(y4, lanes)
        self.hits += 1
        if self.hits < 1 << WINDOW_LOG:
            return
        error, bend = TARGET[lanes] - self.acc, TENT_TARGET[lanes] - self.tents
        self.acc = self.tents = self.hits = 0
        self.due = now + tdc.SCALE_CLOCKS
        limit = UNEVEN_ERR[lanes]
        self.uneven = not (-limit <= error < limit and -2 * limit <= bend < 2 * limit)
        self.uneven_windows += self.uneven
        if self.uneven:
            return
        self.mean += (error - self.mean) >> tdc.MEAN_SHIFT
        gear = "fastest"
        if abs(self.mean) >= GEAR_LIMIT[lanes]:
            self.fast = tdc.FAST_WINDOWS
        else:
            self.fast = max(0, self.fast - 1)
            gear = "fast" if self.fast else "slow"
        gain, rate = tdc.gains(lanes)[gear]
        self.rate = saturated(self.rate + shifted(error, rate))
        wanted = self.extended + self.rate + shifted(error, gain)
        self.extended = saturated(wanted)
        self.limit |= wanted != self.extended

    def finish(self) -> None:
        if self.job != "table":
            return
        self.ends = [None, None]
        made = self.made()
        self.nonuniform = made is None
        if made is None:
            self.ends = [None, None]
            self.refusals += 1
            self.clear_counts()
            return
        self.acceptances += 1
        self.tables, self.calibrated = made, True
        self.sigma = self.extended = self.start = self.acc = self.tents = self.hits = 0
        self.limit = self.uneven = self.seen = False
        if self.n == 1 << self.last:
            self.halvings += 1
            self.h = [[count >> 1 for count in row] for row in self.h]
            self.e = [[count >> 1 for count in row] for row in self.e]
            self.n = sum(map(sum, self.h))

    def made(self) -> list[list[int]] | None:
        tables = [[0] * self.codes for _ in range(2)]
        for p in range(1 if self.shared else 2):
            h = self.h[p]
            n = sum(h)
            if not n:
                return None
            size = 32 if self.twins else 16
            groups = [sum(h[g : g + size]) for g in range(0, self.codes, size)]
            used = [g for g, count in enumerate(groups) if count]
            interior = groups[used[0] + 1 : used[-1]]
            if len(interior) < tdc.MIN_GROUPS or not min(interior) or 2 * max(interior) > 3 * min(interior):
                return None
            if self.twins:
                tables[p], self.ends[p] = self.made_of_echoes(h, self.e[p])
                continue
            a, full = 0, tdc.full_scale(self.lanes)
            for code in range(self.codes):
                x = (2 * a + h[code]) * full // (2 * n)
                if code >= tdc.FIT_FAR and x >= full - tdc.MEASURED:
                    near, far = tables[p][code - tdc.FIT_NEAR], tables[p][code - tdc.FIT_FAR]
                    x = min(tdc.x_max(self.lanes), (5 * near - far) >> 2)
                tables[p][code] = x
                a += h[code]
        return tables

    def made_of_echoes(self, h: list[int], e: list[int]) -> tuple[list[int], tuple[int, int] | None]:
        """A table, and (code, entry) of the span's end."""
        n, full, most = sum(h), tdc.full_scale(self.lanes), tdc.x_max(self.lanes)
        table, end = [], None
        for code in range(self.codes):
            b = sum(h[:code]) + sum(e[:code])
            w = h[code] + e[code] if e[code] > 8 * h[code] else h[code]
            table.append(min(most, (2 * b + w) * full // (2 * n)))
            if end is None and b + h[code] + e[code] > n:
                end = (code, min(most, (2 * b + h[code] + e[code]) * full // (2 * n)))
        return table, end


@dataclass
class Channel:
    """Chains of a channel and its edges."""

    lines: list[Line]
    lanes: int

    def clock(
        self, now: int, valid: int, polarity: int, codes: list[list[int]], hold: bool, reset: bool, dump: int | None
    ) -> tuple[list[int | None], int]:
        """Fine times per lane, and hits without an edge. ``codes[chain][lane]``."""
        for line in self.lines:
            line.begin_clock(now)
        calibrated = all(line.calibrated for line in self.lines) and not reset
        fine: list[int | None] = [None] * self.lanes
        span = tdc.span_ticks(self.lanes)
        chains = len(self.lines)
        for k in range(self.lanes):
            if valid >> k & 1 and calibrated:
                total = sum(line.y4(polarity >> k & 1, codes[h][k]) for h, line in enumerate(self.lines))
                elapsed = (total + 2 * chains) // (4 * chains)
                fine[k] = (k + 1) * span - max(1, min(span, elapsed))
        for h, line in enumerate(self.lines):
            hits = [(polarity >> k & 1, codes[h][k]) if valid >> k & 1 else None for k in range(self.lanes)]
            line.clock(now, hits, hold, reset, dump == h, codes[h])
        return fine, 0 if calibrated else valid.bit_count()
