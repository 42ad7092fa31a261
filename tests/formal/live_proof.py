"""Proof that the runs of live windows say what the judgements say, by induction, for pulses, R and runs of few bits:

a click's pulse is not live if and only if a click before it has it among its pulses; every pulse that is not live lies in exactly one
run, closed or open, and no other pulse in any; runs are shorter than the limit.

One pulse, any one, is followed. The frame starts once, with any R; clicks are any of q and r band in the order of pulse and position;
heartbeat ticks come whenever they like, as long as what silence closes was over: the next click does not touch it.
"""

from amaranth.hdl import Assert, Assume, Cat, Const, Fragment, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from exchange_proof import registers_of

from twinphase_hdl.sift.live import LiveWindows
from twinphase_spec.frame import SlotClass
from twinphase_spec.live import SILENT_HEARTBEATS
from twinphase_spec.units import CLOCK_BITS

PULSE_BITS, RECOVERY_BITS, LENGTH_BITS, RECORDS = 6, 2, 4, 2
OFFSET = 1 << RECOVERY_BITS + 1
LIMIT = (1 << LENGTH_BITS) - OFFSET
GATE_START = 1
JUDGED = 4
WIDE = PULSE_BITS + 2


class LiveProof(wiring.Component):
    """See the module. Without ``lemmas`` for simulated runs of what must be rejected."""

    def __init__(self, live: type[LiveWindows] = LiveWindows, *, lemmas: bool = True) -> None:
        self._live, self._lemmas = live, lemmas
        # A simulator looks at values that are on their way as well, but for those of a clock's end.
        self._domain = "comb" if lemmas else "sync"
        super().__init__(
            {
                "valid": In(1),
                "pulse": In(PULSE_BITS),
                "early": In(1),
                "band_r": In(1),
                "signal": In(1),
                "clock": In(1),
                "recovery": In(RECOVERY_BITS),
                "followed": In(PULSE_BITS),
                "ready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self._live(pulse_bits=PULSE_BITS, recovery_bits=RECOVERY_BITS, length_bits=LENGTH_BITS, records=RECORDS)
        fragment = Fragment.get(dut, None)
        m.submodules.dut = fragment
        named = dict(registers_of(fragment))
        valid, pulse, early = (
            [None, *(named[f"{name}_{k}"] for k in range(1, 5))] for name in ("valid", "pulse", "early")
        )
        pulse.append(named["pulse_5"])
        early.append(named["early_5"])
        silent = [named[f"silent_{k}"] for k in range(1, 5)]
        known, is_open = named["known"], named["is_open"]

        # The frame starts, R and the followed pulse stay.
        run, q, r = Signal(2), Signal(PULSE_BITS), named["recovery"]
        with m.If(run != 2):
            m.d.sync += [run.eq(run + 1), q.eq(self.followed)]
        running = run == 2
        comes = self.valid & ~self.band_r & running
        m.d.comb += [
            *(dut.i_run.eq(running), dut.i_recovery.eq(self.recovery), dut.o.ready.eq(self.ready)),
            *(dut.i_valid.eq(self.valid & running), dut.i.framed.eq(1), dut.i.channel.eq(Cat(0, self.band_r))),
            *(dut.i.gated.eq(1), dut.i.slot_class.eq(Mux(self.signal, SlotClass.SIG, SlotClass.VAC))),
            *(dut.i.pulse.eq(self.pulse), dut.i.position.eq(~self.early), dut.i_gate_start.eq(GATE_START)),
            # Either a tick or none.
            dut.i_clock.eq(Mux(self.clock, 0, (1 << CLOCK_BITS) - 1)),
        ]
        older = [Const(0), *(known | Cat(valid[k:]).any() for k in range(1, JUDGED + 1)), known]
        """Of stage k: a click has come so far or farther."""
        silenced, latched, beyond = Signal(), Signal(), Signal(WIDE)
        """What came last is silence."""
        m.d.comb += silenced.eq(silent[0] | latched)
        m.d.sync += latched.eq(silenced & ~comes)
        m.d.comb += [
            beyond.eq(pulse[1] + r + 1),
        ]
        m.d[self._domain] += [
            Assume(~comes | (self.pulse < (1 << PULSE_BITS) - OFFSET)),
            Assume(
                ~(comes & older[1]) | (self.pulse > pulse[1]) | ((self.pulse == pulse[1]) & (early[1] | ~self.early))
            ),
            Assume(~(comes & silenced) | (self.pulse > beyond)),
        ]

        # What clicks say of the followed pulse, and where it is recorded.
        said, closed = Signal(), Signal()
        n, e = Signal(WIDE), Signal(WIDE)
        m.d.comb += [n.eq(pulse[JUDGED]), e.eq(pulse[5] + r + 1)]
        with m.If(valid[JUDGED]), m.If((q > n - early[JUDGED]) & (q <= n + r)):
            m.d.sync += said.eq(1)
        told, told_dead = Signal(), Signal()
        m.d.sync += [told.eq(valid[JUDGED] & named["counts_4"]), told_dead.eq(said)]
        followed_now = Signal()
        m.d.sync += followed_now.eq(valid[JUDGED] & (pulse[JUDGED] == q))
        with m.If(followed_now):
            m.d[self._domain] += Assert(dut.o_not_live == (told & told_dead), "judged")
        closing, p, length = named["i_valid"], named["i_pulse"], named["i_length"]
        in_closing, in_open, first = Signal(), Signal(), Signal(WIDE)
        closing_end = Signal(WIDE)
        m.d.comb += [
            closing_end.eq(p + r + 1),
            in_closing.eq(closing & (q < closing_end) & (q + length >= closing_end + OFFSET)),
            first.eq(e + OFFSET - named["length"]),
            in_open.eq(is_open & (q < e) & (q >= first)),
        ]
        m.d[self._domain] += [
            Assert(said == (closed | in_closing | in_open), "a pulse that is not live lies in a run, and no other"),
            Assert(closed + in_closing + in_open <= 1, "runs do not overlap"),
            Assert(~closing | ((length > OFFSET) & (length < LIMIT + OFFSET)), "length"),
        ]
        with m.If(in_closing):
            m.d.sync += closed.eq(1)
        if self._lemmas:
            self._induct(
                m,
                named,
                (running, silenced, latched),
                valid,
                pulse,
                early,
                older,
                silent,
                (said, closed | in_closing, q, e, first),
            )
        return m

    def _induct(
        self,
        m: Module,
        named: dict[str, Signal],
        state: tuple,
        valid: list,
        pulse: list,
        early: list,
        older: list,
        silent: list,
        ghost: tuple,
    ) -> None:
        """Stages hold clicks in order and their distances; what the last click says; a closed run lies below the open one."""
        said, closed, q, e, first = ghost
        running, silenced, latched = state
        r, known, is_open = named["recovery"], named["known"], named["is_open"]
        half, near = PULSE_BITS // 2, RECOVERY_BITS + 1
        for k in range(1, JUDGED + 1):
            same = (pulse[k] == pulse[k + 1]) & (early[k] == early[k + 1])
            order = (pulse[k] > pulse[k + 1]) | ((pulse[k] == pulse[k + 1]) & (early[k + 1] | ~early[k]))
            m.d.comb += [
                Assert(valid[k] | same, f"lemma: stage {k} has passed on"),
                Assert(~older[k + 1] | order, f"lemma: order of stage {k}"),
            ]
        low, high, less, reach = (named[name] for name in ("low", "high", "less", "reach"))
        d2, d3, d4 = (Signal(PULSE_BITS, name=f"distance_{k}") for k in (2, 3, 4))
        m.d.comb += [d.eq(pulse[k] - pulse[k + 1]) for k, d in ((2, d2), (3, d3), (4, d4))]
        borrow = pulse[2][:half] < pulse[3][:half]
        with m.If(valid[2]):
            m.d.comb += Assert(low == Cat(d2[:half], borrow), "lemma: lower half")
        with m.If(valid[3]):
            m.d.comb += Assert((Cat(less, high) == d3) & (reach == r + early[3]), "lemma: distance")
        with m.If(valid[4]):
            m.d.comb += [
                Assert(named["far"] == (d4 >= 1 << near), "lemma: far"),
                Assert(named["near"] == (d4[:near] <= r), "lemma: near"),
                Assert(named["joins"] == (d4[:near] <= r + early[4]), "lemma: joins"),
                Assert(named["same"] == (d4[:near] == 0), "lemma: same"),
                Assert((named["distance"] == d4[:near]) & (named["fresh"] == r + early[4]), "lemma: lengths"),
            ]
        m.d.comb += [
            Assert(named["beyond"] == r + (named["beyond"] != 0), "lemma: R + 1"),
            Assert(named["on"] == (r != 0), "lemma: on"),
            Assert(~Cat(valid[1:], known).any() | (named["on"] & (named["beyond"] != 0)), "lemma: clicks that count"),
            Assert(
                running | ~Cat(valid[1:], known, is_open, said, closed, latched, *silent).any(),
                "lemma: before the start",
            ),
            Assert(~is_open | known, "lemma: an open run has a click"),
            Assert(known | ~(said | closed | named["i_valid"]), "lemma: nothing without clicks"),
            Assert(Cat(*(valid[k] & silent[k - 1] for k in range(1, 5))) == 0, "lemma: a click or silence"),
            *(Assert(pulse[k] < (1 << PULSE_BITS) - OFFSET, f"lemma: pulse {k}") for k in range(1, 6)),
        ]
        with m.If(known):
            m.d.comb += [
                Assert((q <= pulse[5]) | (said == (q < e)), "lemma: pulses to come"),
                Assert((q != pulse[5]) | (said == (named["dead"] | early[5])), "lemma: the last click's pulse"),
                Assert(~closed | (q < Mux(is_open, first, e)), "lemma: closed runs lie below"),
            ]
        length = named["length"]
        with m.If(is_open):
            m.d.comb += [
                Assert((length > OFFSET) & (length < LIMIT + OFFSET), "lemma: length"),
                Assert(length - OFFSET <= e, "lemma: no wrap"),
                Assert((q + early[5] <= pulse[5]) | (q >= first) | closed, "lemma: no gap before the open run"),
            ]
        # Silence: nothing that comes behind it touches what it closes.
        left, none_left = named["left"], named["left"] == 0
        for k, is_silent in enumerate((*silent, known & ~is_open & ~Cat(silent).any()), start=1):
            with m.If(is_silent):
                behind = Cat(valid[1:k]).any()
                m.d.comb += Assert(silenced == ~behind, f"lemma: last is silence {k}")
                for j in range(1, k):
                    oldest = valid[j] & ~Cat(valid[j + 1 : k]).any()
                    m.d.comb += Assert(~oldest | (pulse[j] > pulse[j + 1] + r + 1), f"lemma: behind silence {j} {k}")
        m.d.comb += [
            Assert(~(silent[0] | silent[1]) | none_left, "lemma: silence once"),
            Assert(~silent[2] | none_left | (left == SILENT_HEARTBEATS), "lemma: silence once, then a click"),
            Assert(~silent[3] | none_left | (left >= SILENT_HEARTBEATS - 1), "lemma: silence once, then a tick"),
            Assert(left <= SILENT_HEARTBEATS, "lemma: ticks left"),
            Assert(none_left | known | Cat(valid[2:]).any(), "lemma: ticks are counted from a click on"),
            *(Assert(~silent[k - 1] | older[k], f"lemma: silence {k} behind a click") for k in range(1, JUDGED + 1)),
            Assert(sum(silent) <= 1, "lemma: silence in one stage"),
            Assert(~latched | known | Cat(silent).any(), "lemma: silence has been"),
            *(Assert(~valid[k] | (left >= 8 - k), f"lemma: ticks left behind {k}") for k in range(2, JUDGED + 1)),
        ]
