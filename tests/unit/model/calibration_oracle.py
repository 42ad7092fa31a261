"""One chain's calibrator in plain Python, one clock at a time: slow, and written from docs/timetagger.md line by line."""

from __future__ import annotations

from twinphase_spec import tdc


class ScalarCalibration:
    """`clock(hit or None)` for every clock; a hit is (p, code), with twins (p, code, echo's code). Returns (y4, calibrated) of the hit.

    Lanes, dumps and HOLD are inputs of the clock: ``second`` is a hit of lane 1, which gets the same table and sigma.
    """

    def __init__(self, taps, lanes, step, last, shared):
        self.taps, self.lanes, self.step, self.last, self.shared = taps, lanes, step, last, shared
        self.busy_time = tdc.busy_clocks(tdc.code_bits(taps))
        self.full = 4 * tdc.span_ticks(lanes)
        self.gains = tdc.gains(lanes)
        self.x = [[0] * taps, [0] * taps]
        self.twins = lanes == 2 and taps >= 448
        self.ends = [(-1, 0), (-1, 0)]
        self.opened_hits = 0
        self.now = 0
        self.dumps = []
        self.dump_waits = False
        self.tables = 0
        self.refusals = 0
        self.restarts = 0
        self.uneven_windows = 0
        self.forget()

    def clear(self):
        self.h = [[0] * self.taps, [0] * self.taps]
        self.e = [[0] * self.taps, [0] * self.taps]
        self.n = 0

    def forget(self):
        self.clear()
        self.opened = False
        self.sigma = self.ext = self.rate = self.mean = self.start = 0
        self.acc = self.tent = self.window = 0
        self.uneven = self.seen = False
        self.fast = tdc.FAST_WINDOWS
        self.calibrated = self.nonuniform = self.limit = False
        self.countdown = None  # clocks until a new sigma acts
        self.busy = 0  # busy clocks that are left
        self.work = None

    def clock(self, hit=None, second=None, *, hold=False, dump=False, reset=False):
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown == 0:
                self.countdown = None
                self.sigma = self.ext >> 8
                self.nonuniform |= self.uneven
                moved = abs(self.ext - self.start) >= tdc.RESTART
                changed = self.uneven != self.seen
                if (moved or changed) and not self.held and not self.was_busy and not self.busy:
                    self.start, self.seen = self.ext, self.uneven
                    self.clear()
                    self.busy, self.work = self.busy_time, "clear"
                    self.opened = True
                    self.restarts += 1
        if reset:
            self.forget()
            self.busy, self.work = self.busy_time + 1, "clear"
        answers = []
        for each in (hit, second):
            if each is not None:
                p = 0 if self.shared else each[0]
                x = self.x[p][each[1]]
                if self.opened and not self.busy and each[1] == self.ends[p][0]:
                    x = self.ends[p][1]
                    self.opened_hits += 1
                answers.append((x + (x * self.sigma >> 18), self.calibrated))
        one = hit if hit is not None else second
        self.was_busy = self.busy > 0
        self.held = hold
        if self.busy:
            self.busy -= 1
            self.dump_waits |= dump
            if not self.busy:
                self.finish()
                if self.dump_waits:
                    self.dump_waits = False
                    self.busy, self.work = self.busy_time, "dump"
            return answers
        if one is not None and not hold:
            self.collect(0 if self.shared else one[0], *one[1:], y4=answers[0][0])
        if dump:
            if self.busy:
                self.dump_waits = True
            else:
                self.busy, self.work = self.busy_time, "dump"
        return answers

    def collect(self, p, code, echo=None, *, y4):
        self.h[p][code] += 1
        if self.twins and echo != self.taps - 1:
            self.e[p][echo] += 1
        self.n += 1
        if self.calibrated:
            self.acc += max(0, y4 - tdc.theta(self.lanes))
            wide, within = self.full // 32, y4 % (self.full // 32)
            self.tent += {30: within, 31: wide - 1 - within}.get(y4 // wide, 0)
            self.window += 1
            if self.window == 1 << tdc.WINDOW_LOG:
                self.end_window()
        if self.n % (1 << self.step) == 0:
            self.busy, self.work = self.busy_time, "table"
            self.opened = False

    def end_window(self):
        def shift(x, k):
            return x * 2**k if k >= 0 else x // 2**-k

        def saturate(x):
            return max(-(2**23), min(2**23 - 1, x))

        err = tdc.scale_target(self.lanes) - self.acc
        bend = tdc.tent_target(self.lanes) - self.tent
        bound = tdc.uneven_err(self.lanes)
        self.acc = self.tent = self.window = 0
        self.countdown = tdc.SCALE_CLOCKS
        self.uneven = not -bound <= err < bound or not -2 * bound <= bend < 2 * bound
        if self.uneven:
            self.uneven_windows += 1
            return
        self.mean += (err - self.mean) // 4
        large = abs(self.mean) >= tdc.gear_limit(self.lanes)
        if large:
            self.fast = tdc.FAST_WINDOWS
        elif self.fast:
            self.fast -= 1
        gain, rate = self.gains["fastest" if large else "fast" if self.fast else "slow"]
        self.rate = saturate(self.rate + shift(err, rate))
        self.ext = saturate(self.ext + self.rate + shift(err, gain))
        self.limit |= self.ext in (-(2**23), 2**23 - 1)

    def finish(self):
        if self.work == "dump":
            self.dumps.append(([list(row) for row in self.h], [list(row) for row in self.x]))
        if self.work != "table":
            return
        used = [0] if self.shared else [0, 1]
        if not all(self.even(self.h[p]) for p in used):
            self.nonuniform = True
            self.clear()
            self.ends = [(-1, 0), (-1, 0)]
            self.refusals += 1
            return
        for p in used:
            if self.twins:
                self.x[p], self.ends[p] = self.table_of_echoes(self.h[p], self.e[p])
            else:
                self.x[p] = self.new_table(self.h[p])
        self.calibrated, self.nonuniform, self.limit = True, False, False
        self.ext = self.sigma = self.start = self.acc = self.tent = self.window = 0
        self.uneven = self.seen = False
        self.tables += 1
        if self.n == 1 << self.last:
            self.h, self.e = ([[value // 2 for value in row] for row in rows] for rows in (self.h, self.e))
            self.n = sum(map(sum, self.h))

    def even(self, row):
        size = 32 if self.lanes == 2 and self.taps >= 448 else 16  # with twins, whose codes are half as long
        groups = [sum(row[i : i + size]) for i in range(0, self.taps, size)]
        full = [g for g, value in enumerate(groups) if value]
        if not full:
            return False
        interior = groups[full[0] + 1 : full[-1]]
        return len(interior) >= 4 and 2 * max(interior) <= 3 * min(interior)

    def new_table(self, row):
        n_p = sum(row)
        table = []
        for code in range(self.taps):
            table.append((2 * sum(row[:code]) + row[code]) * self.full // (2 * n_p))
            if code >= 80 and table[code] >= self.full - 8:
                table[code] = min(2 * self.full - 1, (5 * table[code - 16] - table[code - 80]) // 4)
        return table

    def table_of_echoes(self, hits, echoes):
        """A table, and the code with its entry in which the span ends."""
        n, most = sum(hits), 2 * self.full - 1
        table, end = [], (-1, 0)
        for code, (h, e) in enumerate(zip(hits, echoes, strict=True)):
            b = sum(hits[:code]) + sum(echoes[:code])
            w = h + e if e > 8 * h else h
            table.append(min(most, (2 * b + w) * self.full // (2 * n)))
            if end[0] < 0 and b + h + e > n:
                end = (code, min(most, (2 * b + h + e) * self.full // (2 * n)))
        return table, end
