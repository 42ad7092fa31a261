"""Plain-Python statement of the phase contract, and what the benches of this folder share."""

from collections.abc import Callable

from amaranth.sim import Simulator

from twinphase_spec.fixed import (
    CORDIC_ATAN,
    CORDIC_NORMAL_BITS,
    CORDIC_STAGES,
    COUNT_MAX,
    DEROTATE_SHIFT,
    TOTAL_MAX,
    wrap_signed,
)
from twinphase_spec.frame import SlotClass


def simulate(component, *benches: Callable) -> None:
    """Runs the benches (async functions of the context) on ``component`` until the first ends; the others are background."""
    simulator = Simulator(component)
    simulator.add_clock(8e-9)
    for place, bench in enumerate(benches):
        simulator.add_testbench(bench, background=place > 0)
    simulator.run()


def vectoring(x: int, y: int) -> int | None:
    """Angle of (x, y) in 2^-16 turn, None for (0, 0)."""
    if x == y == 0:
        return None
    shift = CORDIC_NORMAL_BITS - max(abs(x), abs(y)).bit_length()
    x, y = (x << shift, y << shift) if shift >= 0 else (x >> -shift, y >> -shift)
    z = 0
    if x < 0:
        x, y, z = -x, -y, 1 << 19
    for i in range(CORDIC_STAGES):
        if y >= 0:
            x, y, z = x + (y >> i), y - (x >> i), z + CORDIC_ATAN[i]
        else:
            x, y, z = x - (y >> i), y + (x >> i), z - CORDIC_ATAN[i]
    return (z + 8 >> 4) & 0xFFFF


def rotation(x: int, y: int, a: int) -> tuple[int, int]:
    """(x, y) rotated by a and scaled by the gain."""
    z = wrap_signed(a << 4, 20)
    if z >= 1 << 18:
        x, y, z = -x, -y, z - (1 << 19)
    elif z < -(1 << 18):
        x, y, z = -x, -y, z + (1 << 19)
    for i in range(CORDIC_STAGES):
        if z >= 0:
            x, y, z = x - (y >> i), y + (x >> i), z - CORDIC_ATAN[i]
        else:
            x, y, z = x + (y >> i), y - (x >> i), z + CORDIC_ATAN[i]
    return x, y


def scaled(unwrapped: int, ratio: int) -> int:
    """psi_rq."""
    return (unwrapped + (unwrapped * ratio >> 32)) & 0xFFFF


class Counts:
    """Reference counts of one band in one window."""

    def __init__(self) -> None:
        self.d, self.total = [0, 0, 0, 0], 0

    def add(self, step: int, right: int, times: int = 1) -> None:
        self.d[step] = max(-COUNT_MAX, min(COUNT_MAX, self.d[step] + (-times if right else times)))
        self.total = min(TOTAL_MAX, self.total + times)

    @property
    def vector(self) -> tuple[int, int]:
        return self.d[0] - self.d[2], self.d[3] - self.d[1]


class Tracker:
    """Steps 1 to 5 of the phase tracker."""

    def __init__(self, ratio: int, windows_per_dwindow: int) -> None:
        self.ratio, self.windows_per_dwindow = ratio, windows_per_dwindow
        self.unwrapped = self.psi_r = self.psi_d = self.clicks = 0
        self.sum = [0, 0]

    def close(self, w: int, q: Counts, r: Counts) -> tuple[dict, dict, dict | None]:
        """(PHASE fields, join fields, DPHASE fields or None) of window w."""
        psi_r = vectoring(*r.vector)
        if psi_r is not None:
            self.psi_r = psi_r
            self.unwrapped = wrap_signed(self.unwrapped + wrap_signed(psi_r - self.unwrapped, 16), 48)
        valid = int(psi_r is not None)
        psi_rq = scaled(self.unwrapped, self.ratio)
        if valid and q.vector != (0, 0):
            x, y = (v << DEROTATE_SHIFT for v in q.vector)
            for axis, value in enumerate(rotation(x, y, -psi_rq & 0xFFFF)):
                self.sum[axis] = wrap_signed(self.sum[axis] + value, 48)
            self.clicks = (self.clicks + q.total) & 0xFFFFFFFF
        phase = {
            "window": w,
            "psi_r_turns": self.psi_r,
            "flags": valid,
            "clicks_r": r.total,
            "clicks_q": q.total,
            "unwrapped_turns": self.unwrapped,
            "cosine_r": r.vector[0],
            "sine_r": r.vector[1],
        }
        join = {"window": w, "psi_rq": psi_rq, "r_valid": valid}
        if w % self.windows_per_dwindow != self.windows_per_dwindow - 1:
            return phase, join, None
        psi_d = vectoring(*self.sum)
        if psi_d is not None:
            self.psi_d = psi_d
        dphase = {
            "dwindow": w // self.windows_per_dwindow,
            "psi_d_turns": self.psi_d,
            "flags": 0 if psi_d is None else 2,
            "clicks_q": self.clicks,
            "reserved": 0,
            "cosine_d": self.sum[0],
            "sine_d": self.sum[1],
        }
        self.sum, self.clicks = [0, 0], 0
        return phase, join, dphase


def click(channel: int, slot_class: int, window: int, *, pulse: int = 0, dwindow: int = 0, framed=1, gated=1) -> dict:
    """Members of a Click."""
    return {
        "channel": channel,
        "framed": framed,
        "gated": gated,
        "slot_class": int(slot_class),
        "pulse": pulse,
        "position": 0,
        "window": window,
        "dwindow": dwindow,
    }


def reference_click(band: int, step: int, right: int, window: int) -> dict:
    """A gated click of REF(step); band 0 is q, 1 is r."""
    return click(2 * band + right, SlotClass.REF0 + step, window)


def marked(click: dict, *, time: int = 0, **mark: int) -> dict:
    """Members of a MarkedClick; fields of the mark that are left out are 0."""
    return {"click": click, "time": time, "mark": mark}
