"""The phase's way through the server in plain integers, clock by clock: slow, and written from docs/phase.md line by line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from clicktracker_oracle import STARTING, TURN, Channel, Entry, Oracle, sat, signed

from twinphase_spec.tracking import WRITE


class Tag(NamedTuple):
    """A framed click. ``step`` is k of REF(k) if it is gated and its class is that, otherwise None."""

    t: int
    band: str
    port: int
    step: int | None
    applied: int = 0
    blank: bool = False
    late: bool = False


class Node(NamedTuple):
    channel: int
    e: int
    f: int
    g: int
    locked: int
    broke: int


def ld(value: int) -> int:
    """Binary logarithm in 1/8."""
    if value == 0:
        return 0
    place = value.bit_length() - 1
    return 8 * place + (value * 8 // 2**place) % 8


@dataclass
class Settings:
    configs: list
    epoch: int
    hold: int
    c: int
    """RATIO."""
    start: int
    every: int
    steps: tuple[int, int]
    later: tuple[int, int]
    """SMOOTH_LATER."""
    gains: tuple[tuple[int, int, int, int], tuple[int, int, int, int]]
    angles: tuple[int, int, int, int] = (0, 16384, 32768, 49152)
    """STEP_R."""
    table: list[int] | None = None
    """SMOOTH_TABLE, 64 words of each channel."""
    table_from: tuple[int, int] = (0, 0)
    follows: tuple[int, ...] = ()
    """Channels whose gains do."""

    def applied_q(self, applied: int) -> int:
        return (applied + ((applied * self.c) >> 32)) % 2**16


@dataclass
class Way:
    """`run` the tags, with turns to and with ``last``; then nodes, records, intervals, and psi of clicks can be asked for."""

    s: Settings
    nodes: dict[tuple[int, int], Node] = field(default_factory=dict)
    records: list[tuple[int, ...]] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    tracked: list[bool] = field(default_factory=list)
    told_until: int = 1 << 62
    """Events of turns let go later are not told."""
    events: dict[str, int] = field(default_factory=dict)

    def mark(self, t: int, applied: int) -> tuple[int, int, int]:
        """psi, rq, flags."""
        e = t >> self.s.epoch
        nodes = [self.nodes.get((channel, e - 1)) for channel in range(2)]
        r, d = (node if node and node.locked else None for node in nodes)
        reference = (r.f + ((r.g * (t - 2**self.s.epoch * (e - 1))) >> 12)) % 2**32 if r else 0
        psi = ((reference + (d.f if d else 0)) % 2**32 >> 16) - self.s.applied_q(applied)
        return psi % 2**16, reference >> 16, (r is not None) + 2 * (d is not None)

    def run(self, tags: list[Tag], last: int) -> None:
        s = self.s
        tracker = Oracle([Channel(config) for config in s.configs], s.epoch)
        self.clicks, self.broken = [0, 0], [0, 0]
        self.last_told = [(0, 0), (0, 0)]
        self.all_clicks, self.told = [0, 0], {}
        names = ("locked", "starts", "lost", "faded", "jumps", "unlocked")
        self.events = {f"{name}_{c}": 0 for name in names for c in "rd"}
        epoch = -(-s.start // 2**s.epoch)
        now, busy = 0, 0
        queue = list(tags)
        turning: list[dict] = []
        while queue or epoch <= last or turning or tracker.under_way:
            # an entry is let go HOLD clocks after its t and when the one before has cost what it costs; what is not tracked costs nothing
            while now >= busy and (queue or epoch <= last):
                if epoch <= last and (not queue or queue[0].t >= epoch * 2**s.epoch):
                    if epoch * 2**s.epoch + s.hold > now:
                        break
                    turning = [{"entry": Entry(now, epoch * 2**s.epoch), "number": number} for number in range(2)]
                    self.released.append(now)
                    epoch, busy = epoch + 1, now + 2
                elif queue[0].t + s.hold > now:
                    break
                else:
                    turning = self.taken(queue.pop(0), now)
                    busy = now + len(turning)
            event = turning.pop(0) if turning else None
            old = tracker.under_way.pop(now - WRITE, None)
            if event:
                tracker.issue(event, now)
                tracker.under_way[now] = event
            if old:
                tracker.write(old, now)
                self.came(tracker)
            now += 1
            if not turning and not tracker.under_way and (queue or epoch <= last):
                times = [tag.t for tag in queue[:1]] + [epoch * 2**s.epoch] * (epoch <= last)
                now = max(now, min(times) + s.hold)

    def taken(self, tag: Tag, now: int) -> list[dict]:
        """The tracker's event of a click, if it is tracked."""
        s = self.s
        _, rq, flags = self.mark(tag.t, tag.applied)
        early = tag.t < -(-s.start // 2**s.epoch) * 2**s.epoch
        good = not (tag.blank or tag.late or early) and (tag.band == "r" or flags & 1)
        self.tracked.append(bool(good))
        if not good:
            return []
        number = 0 if tag.band == "r" else 1
        added = tag.step * 2**14 + rq if number else s.angles[tag.step]
        reference = added - (s.applied_q(tag.applied) if number else tag.applied)
        return [{"entry": Entry(now, tag.t, number, tag.port, reference % 2**16), "number": number}]

    def came(self, tracker: Oracle) -> None:
        """The last output: a node and now and then a record, or a click that counts."""
        out, s = tracker.outputs[-1], self.s
        c = out.channel
        if out.kind != TURN or self.released[(out.t >> s.epoch) + (-s.start >> s.epoch)] <= self.told_until:
            self.tell("rd"[c], c, out)
        self.broken[c] |= out.broke
        if out.kind != TURN:
            self.clicks[c] += 1
            self.all_clicks[c] += 1
            return
        e = out.t >> s.epoch
        self.told[c, e] = (out.p, self.all_clicks[c])
        f = (out.phase + ((out.phase * s.c) >> 32)) % 2**32 if c == 0 else out.phase % 2**32
        self.nodes[c, e] = Node(c, e, f, out.b >> 8, out.locked, out.broke)
        if e % 2**s.every == 0:
            state = (out.phase, out.b >> 10, out.p, out.v >> 16, 0, self.clicks[c] % 2**32)
            self.records.append((out.t, c, out.locked, self.broken[c], *state))
            self.clicks[c] = self.broken[c] = 0

    def tell(self, name: str, c: int, out) -> None:
        """Events of one output."""
        was_locked, was_broke = self.last_told[c]
        self.last_told[c] = (out.locked, 0 if out.kind == TURN else out.broke)
        self.events[f"locked_{name}"] = out.locked
        found = {
            "starts": out.kind == STARTING,
            "lost": out.kind == TURN and was_locked and not out.locked,
            "faded": out.kind != TURN and was_locked and not out.locked,
            "jumps": was_locked and out.locked and not was_broke and out.broke and out.kind != STARTING,
            "unlocked": out.kind == TURN and not out.locked,
        }
        for event, is_so in found.items():
            self.events[f"{event}_{name}"] += bool(is_so)

    def entry(self, c: int, last: int) -> int:
        """Of channel c's table, after its smoother's node ``last``."""
        g, entry = self.s.steps[c], 8
        for m in range((self.s.start >> (self.s.epoch + g)) // 64, (last + 1) // 64):
            turns = [(64 * m + k) << g for k in range(64)]
            if not all((c, e) in self.nodes and self.nodes[c, e].locked for e in turns):
                continue
            clicks = self.told[c, turns[-1]][1] - self.told[c, turns[0] - (1 << g)][1]
            total = ld(sum(self.told[c, e][0] for e in turns)) + ld(clicks)
            entry = min(max((total - self.s.table_from[c]) >> 2, 0), 15)
        return entry

    def intervals(self, c: int, last: int) -> dict[int, tuple[int, int, bool]]:
        """(start, way, valid) by index, of the nodes up to the turn to ``last``."""
        s = self.s
        g = s.steps[c]
        h11, h12, h21, h22 = s.gains[c]
        low = s.start >> (s.epoch + g)
        known = {k: self.nodes[c, k << g] for k in range(low, (last >> g) + 1) if (c, k << g) in self.nodes}

        def node(k: int) -> tuple[int, int]:
            if k not in known:
                return 0, 0
            return known[k].f, sat(32, (known[k].g * 2 ** (s.epoch + g)) >> 12)

        def linked(k: int) -> bool:
            """Node k to the one before."""
            if not (k in known and k - 1 in known and known[k].locked and known[k - 1].locked):
                return False
            return not any(self.nodes[c, e].broke for e in range(((k - 1) << g) + 1, (k << g) + 1))

        found = {}
        for b in range(low // 16, max(known, default=0) // 16 - 1):
            k = 16 * (b + 2) + s.later[c]
            if k not in known:
                continue
            if s.table and c in s.follows:
                first = 64 * c + 4 * self.entry(c, k)
                h11, h12, h21, h22 = (signed(18, word) for word in s.table[first : first + 4])
            f, step = node(k)
            while k > 16 * b:
                k -= 1
                f_k, s_k = node(k)
                new, slope = f_k, s_k
                if linked(k + 1):
                    e1 = signed(32, f - f_k - s_k)
                    e2 = sat(32, step - s_k)
                    new = (f_k + ((h11 * e1 + h12 * e2) >> 16)) % 2**32
                    slope = sat(32, s_k + ((h21 * e1 + h22 * e2) >> 16))
                if k < 16 * (b + 1):
                    found[k] = (new, signed(32, f - new), linked(k + 1))
                f, step = new, slope
        return found

    def psi(self, tag: Tag, intervals: list[dict[int, tuple[int, int, bool]]]) -> tuple[int, int] | None:
        """psi and flags of a herald from the intervals of both channels, None if they do not cover it."""
        total, flags = 0, 0
        for c in range(2):
            bits = self.s.epoch + self.s.steps[c]
            if tag.t >> bits not in intervals[c]:
                return None
            start, way, valid = intervals[c][tag.t >> bits]
            total += start + ((way * (((tag.t % 2**bits) * 2**16) >> bits)) >> 16)
            flags |= valid << c
        if tag.blank:
            return 0, 0
        return ((total % 2**32 >> 16) - self.s.applied_q(tag.applied)) % 2**16, flags
