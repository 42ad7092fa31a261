"""Proof that every gated click of the q band in a SIG slot is accounted for, on its way from the framer through live windows and marks to
the herald finder: at every clock, while the frame runs,

``signal = not_live + heralds + unjoined + clicks of the pulses in multiple + in flight``,

and ``pulses = heralds + unjoined + multiple + in flight`` over the pulses that the finder sees (a pulse: clicks one after the other that
it finds to be of the same, while it holds it). In flight are the clicks that really are in the registers. A herald is a pulse of one
click, and so is what is unjoined; multiple is one of several.

By induction from any state that the lemmas allow, for any clicks at any time. Counters have 4 bits and wrap. Marks are a delay here: of
their length nothing is used but that it is longer than that of the judgement.
"""

from amaranth.hdl import Assert, Cat, Const, Fragment, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In
from exchange_proof import registers_of

from twinphase_hdl.core.along import delayed
from twinphase_hdl.sift.herald import HeraldFinder
from twinphase_hdl.sift.live import LiveWindows
from twinphase_hdl.types import Click
from twinphase_spec.frame import SlotClass

COUNTER_BITS = 4
PULSE_BITS, RECOVERY_BITS, LENGTH_BITS = 6, 2, 4
BEHIND = 2
"""Clocks from a judgement to its click at the finder."""
MANY = 2


def _counts(click: data.View) -> Value:
    """It is a gated one of the q band in a SIG slot."""
    return click.framed & click.gated & (click.slot_class == SlotClass.SIG) & (click.channel[1:] == 0)


class HeraldAccounts(wiring.Component):
    """See the module. Without ``lemmas`` for simulated runs of what must be rejected."""

    def __init__(
        self,
        live: type[LiveWindows] = LiveWindows,
        finder: type[HeraldFinder] = HeraldFinder,
        *,
        behind: int = BEHIND,
        lemmas: bool = True,
    ) -> None:
        self._make_live, self._make_finder, self._behind, self._lemmas = live, finder, behind, lemmas
        # A simulator looks at values that are on their way as well, but for those of a clock's end.
        self._domain = "comb" if lemmas else "sync"
        super().__init__(
            {
                "valid": In(1),
                "pulse": In(PULSE_BITS),
                "early": In(1),
                "channel": In(2),
                "gated": In(1),
                "signal": In(1),
                "recovery": In(RECOVERY_BITS),
                "refuse": In(1),
                "ready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        live = self._make_live(pulse_bits=PULSE_BITS, recovery_bits=RECOVERY_BITS, length_bits=LENGTH_BITS, records=2)
        finder = self._make_finder(queue_heralds=4)
        parts = {"live": Fragment.get(live, None), "finder": Fragment.get(finder, None)}
        for name, fragment in parts.items():
            m.submodules[name] = fragment
        of_live, of_finder = (dict(registers_of(fragment)) for fragment in parts.values())

        run = Signal(2)
        m.d.sync += run.eq(run + ~run.all())
        running = run.all()
        comes = self.valid & running
        m.d.comb += [
            *(live.i_run.eq(running), live.i_valid.eq(comes), live.i_recovery.eq(self.recovery), live.o.ready.eq(1)),
            *(live.i.framed.eq(1), live.i.channel.eq(self.channel), live.i.gated.eq(self.gated)),
            live.i.slot_class.eq(Mux(self.signal, SlotClass.SIG, SlotClass.VAC)),
            *(live.i.pulse.eq(self.pulse), live.i.position.eq(~self.early), live.i_gate_start.eq(1)),
            live.i_clock.eq(1),
        ]
        # Beside the judgement.
        there, clicks = [comes], [live.i.as_value()]
        for stage in range(1, live.latency + BEHIND + 1):
            there.append(delayed(m, there[-1], 1, f"there_{stage}"))
            clicks.append(delayed(m, clicks[-1], 1, f"click_{stage}"))
        counting = [_counts(data.View(Click, click)) for click in clicks]
        refused = [live.o_not_live]
        for stage in range(1, self._behind + 1):
            refused.append(delayed(m, refused[-1], 1, f"refused_{stage}"))
        m.d.comb += [
            *(finder.i_run.eq(running), finder.i_valid.eq(there[-1] & ~refused[-1])),
            finder.i.click.eq(clicks[-1]),
            *(finder.i_period.eq(1 << 45), finder.i_refuse.eq(self.refuse), finder.o.ready.eq(self.ready)),
        ]

        # Clicks of the pulse that the finder holds and of the one that it judges, and whether they are several.
        arrived, same, holding, judged = (of_finder[name] for name in ("arrived", "same", "holding", "judged"))
        goes_on = arrived & same & holding
        held, judging = Signal(COUNTER_BITS), Signal(COUNTER_BITS)
        held_many, judging_many = Signal(), Signal()
        with m.If(goes_on):
            m.d.sync += [held.eq(held + 1), held_many.eq(1)]
        with m.Elif(arrived):
            m.d.sync += [held.eq(1), held_many.eq(0)]
        m.d.sync += [judging.eq(held), judging_many.eq(held_many)]

        counted = self._counters(
            m,
            {
                "signal": comes & counting[0],
                "not_live": live.o_not_live,
                "heralds": finder.o_heralds,
                "unjoined": finder.o_unjoined,
                "multiple": finder.o_multiple,
                "clicks_multiple": Mux(finder.o_multiple, judging, 0),
                "pulses": arrived & ~goes_on,
            },
        )
        judgements = live.latency
        places = [there[k] & counting[k] for k in range(1, judgements + 1)]
        places += [
            there[judgements + j] & counting[judgements + j] & ~refused[min(j, self._behind)]
            for j in range(1, BEHIND + 1)
        ]
        places += [of_finder["kept"] & of_finder["is_signal"], of_finder["clicked"], arrived]
        places += [Mux(holding, held, 0), Mux(judged, judging, 0)]
        balance, inside, pulses = (Signal(COUNTER_BITS, name=name) for name in ("balance", "inside", "open_pulses"))
        ended = counted["not_live"] + counted["heralds"] + counted["unjoined"] + counted["clicks_multiple"]
        closed = counted["heralds"] + counted["unjoined"] + counted["multiple"]
        m.d.comb += [
            balance.eq(counted["signal"] - ended),
            inside.eq(sum(places, Const(0))),
            pulses.eq(counted["pulses"] - closed),
        ]
        strobes = finder.o_heralds + finder.o_unjoined + finder.o_multiple
        m.d[self._domain] += [
            Assert(balance == inside, "every click is accounted for"),
            Assert(pulses == holding + judged, "every pulse is accounted for"),
            Assert(strobes == judged, "a pulse is one of three"),
            Assert(~(finder.o_heralds | finder.o_unjoined) | ~judging_many, "a herald of one click"),
            Assert(~finder.o_multiple | judging_many, "several clicks"),
        ]
        if self._lemmas:
            self._induct(
                m,
                of_live,
                of_finder,
                there,
                counting,
                refused,
                (running, holding, held, held_many, judging, judging_many),
            )
        return m

    def _counters(self, m: Module, events: dict[str, Value]) -> dict[str, Signal]:
        counters = {name: Signal(COUNTER_BITS, name=f"count_{name}") for name in events}
        m.d.sync += [counters[name].eq(counters[name] + event) for name, event in events.items()]
        return counters

    def _induct(
        self,
        m: Module,
        of_live: dict[str, Signal],
        of_finder: dict[str, Signal],
        there: list,
        counting: list,
        refused: list,
        state: tuple,
    ) -> None:
        """What the live windows judge is the click beside them."""
        running, holding, held, held_many, judging, judging_many = state
        beside = [(of_live[f"valid_{k}"], of_live[f"counts_{k}"]) for k in range(1, len(there) - BEHIND - 1)]
        for k, (valid, counts) in enumerate(beside, start=1):
            m.d.comb += Assert(~valid | (there[k] & (counts == counting[k])), f"lemma: beside stage {k}")
        judgements = len(there) - 1 - BEHIND
        for j, bit in enumerate(refused):
            m.d.comb += Assert(~bit | (there[judgements + j] & counting[judgements + j]), f"lemma: refused {j}")
        m.d.comb += [
            Assert(~holding | (of_finder["more"] == held_many), "lemma: more"),
            Assert(~holding | held_many | (held == 1), "lemma: one click is held"),
            Assert(~of_finder["judged"] | judging_many | (judging == 1), "lemma: one click is judged"),
            Assert(~of_finder["judged"] | (of_finder["multiple"] == judging_many), "lemma: multiple"),
            Assert(
                running
                | ~Cat(
                    there[1:], refused[0], *(of_finder[n] for n in ("kept", "clicked", "arrived", "holding", "judged"))
                ).any(),
                "lemma: before the start",
            ),
        ]
