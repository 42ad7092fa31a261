"""The click tracker in plain Python integers, one clock at a time: slow, and written from docs/tracking.md line by line."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor, log2
from typing import NamedTuple

from twinphase_spec.tracking import ANGLE, FADE, JUMP, OUTPUT, RECIPROCAL, SINE, SQUARE, WORDS, WRITE
from twinphase_spec.tracking_config import ChannelConfig

TURN, ACQUIRING, STARTING, IGNORED, TRACKING = range(5)


def sat(bits: int, value: int) -> int:
    return min(max(value, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


def signed(bits: int, value: int) -> int:
    value %= 2**bits
    return value - 2**bits if value >= 2 ** (bits - 1) else value


def fits(bits: int, value: int) -> int:
    """The page's widths, held."""
    assert -(2 ** (bits - 1)) <= value < 2 ** (bits - 1), (bits, value)
    return value


def unsigned(bits: int, value: int) -> int:
    assert 0 <= value < 2**bits, (bits, value)
    return value


class Entry(NamedTuple):
    """A click, or (channel None) the turn to the epoch of t."""

    arrival: int
    t: int
    channel: int | None = None
    port: int = 0
    r: int = 0


class Output(NamedTuple):
    clock: int
    t: int
    channel: int
    kind: int
    phase: int
    b: int
    p: int
    v: int
    locked: int
    broke: int


@dataclass
class Channel:
    config: ChannelConfig
    a: int = 0
    b: int = 0
    p: int = 0
    v: int = 0
    e0: int = 0
    locked: int = 0
    n: int = 0
    c: int = 0
    s: int = 0
    last: int = 0
    quiet: int = 0
    j: int = 0
    w: int = 0
    jump: int = 0
    lose: int = 0
    broke: int = 0
    z: int = 0
    sway: int = 0  # the page's w beside z
    told: int = 0  # its a
    g: int = 2**14
    d_now: int = -1
    kappa_now: int = -1
    d_next: int = -1
    kappa_next: int = -1
    next_from: int = 0

    def __post_init__(self):
        self.v = self.v or self.config.v_start << 16
        if self.d_now < 0:
            self.d_now = self.d_next = self.config.d
            self.kappa_now = self.kappa_next = self.config.kappa

    def ahead(self, y: int) -> int:
        return self.a + (((self.b >> 8) * y) >> 12)

    def give_up(self) -> None:
        self.locked = self.n = self.c = self.s = self.b = self.p = self.j = self.w = self.z = self.sway = 0
        self.broke = 1


@dataclass
class Oracle:
    """`run` the entries: events are issued one per clock, each is written WRITE clocks later."""

    channels: list[Channel]
    epoch: int = 16
    under_way: dict[int, dict] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)

    def run(self, entries: list[Entry]) -> list[Output]:
        waiting = list(entries)
        turning: list[dict] = []
        now = 0
        while waiting or turning or self.under_way:
            if not turning and not self.under_way:
                now = max(now, waiting[0].arrival)
            if not turning and waiting and waiting[0].arrival <= now:
                entry = waiting.pop(0)
                numbers = range(len(self.channels)) if entry.channel is None else [entry.channel]
                turning = [{"entry": entry, "number": number} for number in numbers]
            event = turning.pop(0) if turning else None
            old = self.under_way.pop(now - WRITE, None)
            if event:
                self.issue(event, now)
                self.under_way[now] = event
            if old:
                self.write(old, now)
            now += 1
        return self.outputs

    def issue(self, event: dict, now: int) -> None:
        entry, ch = event["entry"], self.channels[event["number"]]
        x, e = entry.t % 2**self.epoch, entry.t >> self.epoch
        if entry.channel is None:
            passed, x = 2**self.epoch - ch.last, 0
            ch.quiet = min(ch.quiet + passed, 2**24 - 1)
            event["silent"] = ch.config.dark > 0 and ch.quiet > ch.config.dark
        else:
            passed = x - ch.last
            ch.quiet = 0
        ch.last = unsigned(16, x)
        if now >= ch.next_from:
            ch.d_now, ch.kappa_now = ch.d_next, ch.kappa_next
        event["grow"] = grow = min((ch.d_now * unsigned(17, passed)) >> 12, 2**32 - 1)
        event["adv"] = (ch.sway * passed) >> 14 if ch.config.a_gain else 0
        if entry.channel is None:
            ch.d_next = min((ch.config.d * ((ch.g * ch.g) >> 12)) >> 16, 2**34 - 1)
            follows = ch.config.k_follows
            ch.kappa_next = min((ch.config.kappa * ch.g) >> 14, 2**17 - 1) if follows else ch.config.kappa
            ch.next_from = now + WORDS
            event["kind"] = TURN
            return
        y = unsigned(17, x + 2**self.epoch * ((e % 2) ^ ch.e0))
        psi = ch.ahead(y)
        if ch.locked:
            event["kind"] = TRACKING
            self.track(event, ch, psi, x, entry, grow)
        elif ch.n == 24:
            event["kind"] = IGNORED
        else:
            k = ((entry.r + 2**13) >> 14) % 4
            a = -1 if entry.port else 1
            if k == 0:
                ch.c += a
            elif k == 1:
                ch.s -= a
            elif k == 2:
                ch.c -= a
            else:
                ch.s += a
            ch.n += 1
            event["kind"] = STARTING if ch.n == 24 else ACQUIRING
            if ch.n == 24:
                f = ANGLE[abs(ch.c) * 2**5 + abs(ch.s)]
                if ch.c < 0:
                    f = 2**15 - 1 - f
                if ch.s < 0:
                    f = -1 - f
                event["dA"] = signed(32, 2**16 * f - psi)

    def track(self, event: dict, ch: Channel, psi: int, x: int, entry: Entry, grow: int) -> None:
        i = ((psi + 2**16 * entry.r) % 2**32) >> 20
        sin, cos = fits(18, SINE[i]), fits(18, SINE[(i + 1024) % 4096])
        q = unsigned(17, min((ch.p + grow) >> 12, 2**17 - 1))
        u = min(unsigned(16, ch.v >> 16), 65407)
        blur = unsigned(14, (201 * q) >> 11)
        w = unsigned(16, u - ((u * blur) >> 16))
        v = fits(17, -1 - w if entry.port else w)
        along = fits(18, (v * cos) >> 16)
        g = unsigned(18, 2**17 + along)
        assert g >= 256
        h = 17 - floor(log2(g))
        assert 0 <= h <= 9
        m = unsigned(8, ((g << h) >> 9) - 2**8)
        j, k = h // 4, h % 4
        rho, sigma = unsigned(17, RECIPROCAL[2**8 * k + m]), unsigned(17, SQUARE[2**8 * k + m])
        across = fits(18, ((-1 - v) * sin) >> 16)
        s = sat(18, (across * rho) >> (17 - 4 * j))
        bend = fits(18, (along + ((w * w) >> 15)) >> 1)
        c = sat(18, (bend * sigma) >> (17 - 8 * j))
        kq = unsigned(34, ch.kappa_now * q)
        gain = fits(35, (q << 12) - ((kq * x) >> 16))
        z = fits(18, -1 - cos if entry.port else cos)
        gr = sat(18, (z * rho) >> (23 - 4 * j))
        event["dA"] = (gain * s) >> 16
        event["dB"] = (kq * s) >> 12
        event["dp"] = grow - ((unsigned(34, q * q) * c) >> 17)
        event["dz"] = event["dsway"] = event["da"] = 0
        if ch.config.a_gain:
            zr = sat(18, ch.z + event["adv"])
            event["dz"] = sat(18, (event["dA"] >> 12) - ((zr * blur) >> 16))
            event["dsway"] = sat(18, (ch.kappa_now * event["dz"] + 2**13) >> 14)
            event["da"] = sat(18, (s * zr) >> 16)
        along10 = unsigned(10, (along + 2**17) >> 8)
        event["dJ"], event["dW"] = fits(14, JUMP[along10]), fits(14, FADE[along10])
        event["dV"] = gr * 2 ** (15 - ch.config.v_gain) if ch.config.v_gain else 0

    def write(self, event: dict, now: int) -> None:
        entry, ch = event["entry"], self.channels[event["number"]]
        jump, lose = ch.jump, ch.lose
        ch.jump = ch.lose = 0
        if event["kind"] == TURN:
            ch.a = signed(64, ch.a + (((ch.b >> 8) * 2**self.epoch) >> 12))
            ch.e0 = (entry.t >> self.epoch) % 2
            ch.p = min(ch.p + event["grow"], 2**32 - 1)
            ch.z = sat(18, ch.z + sat(18, event["adv"]))
            if ch.config.a_gain > 0:
                aa = fits(18, ch.told >> 8)
                ch.told -= 2**8 * aa
                moved = ch.g + ((ch.g * aa + 2 ** (11 + ch.config.a_gain)) >> (12 + ch.config.a_gain))
                ch.g = min(max(moved, 2**11), 2**17 - 1)
            if ch.p > ch.config.p_lost or event["silent"]:
                ch.give_up()
        elif event["kind"] == STARTING:
            ch.a = signed(64, ch.a + event["dA"])
            ch.p = ch.config.p_start
            ch.locked = 1
            ch.j = ch.w = 0
            ch.broke = 1
        elif event["kind"] == TRACKING:
            ch.a = signed(64, ch.a + event["dA"])
            ch.b = sat(42, ch.b + event["dB"])
            ch.p = max(min(ch.p + event["dp"], 2**32 - 1), ch.config.p_min)
            ch.v = min(max(ch.v + event["dV"], 2**30), 2**32 - 1)
            ch.j = min(max(ch.j + event["dJ"], 0), 2**16 - 1)
            ch.w = min(max(ch.w + event["dW"], 0), 2**16 - 1)
            ch.z = sat(18, ch.z + sat(18, event["adv"] + event["dz"]))
            ch.sway = sat(18, ch.sway + event["dsway"])
            ch.told = sat(26, ch.told + event["da"])
            if ch.config.j_alarm > 0 and ch.j >= ch.config.j_alarm:
                ch.jump, ch.j, ch.w = 1, 0, 0
            elif ch.config.w_alarm > 0 and ch.w >= ch.config.w_alarm:
                ch.lose, ch.j, ch.w = 1, 0, 0
        if jump:
            ch.a = signed(64, ch.a + 2**31)
            ch.broke = 1
        if lose:
            ch.give_up()
        phase = signed(64, ch.ahead(entry.t % 2**self.epoch))
        fits(7, ch.c), fits(7, ch.s)
        state = (ch.b, ch.p, ch.v, ch.locked, ch.broke)
        self.outputs.append(Output(now - WRITE + OUTPUT, entry.t, event["number"], event["kind"], phase, *state))
        if event["kind"] == TURN:
            ch.broke = 0
