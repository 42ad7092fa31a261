"""Proofs on the reveal path of a client: the order of the reveals, and that Z intensities stay secret.

Both are of `Exchange` with the tables of sending-or-not-sending, in blocks of two heralds with one TYPES message, for any peer, any
ring entries at any clock, any back-pressure, and runs of any length, by induction.
"""

from collections.abc import Iterator, Sequence

from amaranth.hdl import Assert, Assume, Cat, Const, Fragment, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from twinphase_hdl.sift.exchange import Exchange
from twinphase_hdl.sift.peerqueue import PeerMessage
from twinphase_hdl.sift.recall import FinalPsi, Recalled
from twinphase_hdl.sift.tables import RULE_REGISTERS
from twinphase_hdl.sift.verdict import VerdictResult
from twinphase_hdl.sift.walk import BlockWalk
from twinphase_spec.digest import DIGEST_BITS
from twinphase_spec.rules import SNS, RuleTables, rule_tables
from twinphase_spec.sns import Kind

BLOCK = 2
PADS = (0x0123_4567_89AB_CDEF, 0xFEDC_BA98_0000_0001)
"""Alice's and Bob's in scripted runs; the digest is 0 there."""
Script = Sequence[tuple[int, int, int]]
WALKS = ("SEND", "GET", "SIFT")
"""States in which entries move."""


class Environment(wiring.Component):
    """Free inputs of an exchange; a message that is offered stays until it is taken, and pads that are shown until the next are wanted.

    ``script``: for runs of what must be rejected, the peer says these messages (kind, number, value), nothing pauses, pads are PADS, and
    digest and psi are 0: only the ring's entries are free then. ``spoilt``: so are its blocks. ``late``: this count of blocks stays 0.
    """

    def __init__(
        self,
        tables: RuleTables | None = None,
        exchange: type[Exchange] = Exchange,
        *,
        script: Script = (),
        spoilt: bool = False,
        late: str = "",
    ) -> None:
        super().__init__(
            {
                "spoilt": In(1),
                "blocks": In(9),
                "recalled_blocks": In(9),
                "digest": In(DIGEST_BITS),
                "pads_valid": In(1),
                "pads": In(data.ArrayLayout(DIGEST_BITS, 2)),
                "recalled": In(Recalled),
                "other": In(Recalled),
                "psi": In(FinalPsi),
                "peer": In(PeerMessage),
                "peer_valid": In(1),
                "ready": In(2),
                "hold": In(1),
            }
        )
        self._tables = tables or rule_tables(SNS, "alice")
        self._exchange = exchange
        self._script, self._spoilt, self._late = script, spoilt, late
        # A simulator looks at values that are on their way as well, but for those of a clock's end.
        self._domain = "sync" if script else "comb"

    def _add(self, m: Module, name: str) -> tuple[Exchange, Fragment]:
        dut = self._exchange(walk=BlockWalk(max_block_heralds=BLOCK, types_bits=1), settle_clocks=2)
        self._peeks = [dut.walk.revealed.read_port(domain="comb") for _ in range(BLOCK)]
        m.d.comb += [peek.addr.eq(address) for address, peek in enumerate(self._peeks)]
        fragment = Fragment.get(dut, None)
        m.submodules[name] = fragment
        registers = self._tables.registers()
        m.d.comb += [
            dut.i_block_heralds.eq(BLOCK),
            dut.i_slice_width.eq(8192),
            *(dut.i_rules[member].eq(registers[register]) for member, register in RULE_REGISTERS.items()),
            dut.i_recalled.eq(self.recalled),
        ]
        if not self._script:
            m.d.comb += [
                dut.i_blocks.eq(self.blocks),
                dut.i_recalled_blocks.eq(self.recalled_blocks),
                dut.i_digest.eq(self.digest),
                dut.i_spoilt.eq(self.spoilt),
                dut.i_pads_valid.eq(self.pads_valid),
                dut.i_pads.eq(self.pads),
                dut.i_psi.eq(self.psi),
                dut.i_peer.valid.eq(self.peer_valid),
                dut.i_peer.payload.eq(self.peer),
                dut.o_peer.ready.eq(self.ready[0]),
                dut.o_sifted.ready.eq(self.ready[1]),
                dut.i_hold.eq(self.hold),
            ]
        else:
            said = Signal(range(len(self._script) + 1), name=f"{name}_said")
            m.d.comb += [
                *(getattr(dut, name).eq(name != self._late) for name in ("i_blocks", "i_recalled_blocks")),
                dut.i_spoilt.eq(self._spoilt),
                dut.i_pads_valid.eq(1),
                *(pad.eq(value) for pad, value in zip(dut.i_pads, PADS, strict=True)),
                dut.i_peer.valid.eq(said != len(self._script)),
                dut.o_peer.ready.eq(1),
                dut.o_sifted.ready.eq(1),
            ]
            with m.If(dut.i_peer.valid & dut.i_peer.ready):
                m.d.sync += said.eq(said + 1)
            with m.Switch(said):
                for number, message in enumerate(self._script):
                    with m.Case(number):
                        fields = zip(("kind", "number", "value"), message, strict=True)
                        m.d.comb += [dut.i_peer.payload[field].eq(value) for field, value in fields]
            return dut, fragment
        held, offered = Signal(name=f"{name}_held"), Signal(PeerMessage, name=f"{name}_offered")
        m.d.sync += [held.eq(self.peer_valid & ~dut.i_peer.ready), offered.eq(self.peer)]
        m.d.comb += Assume(~held | (self.peer_valid & (self.peer.as_value() == offered.as_value())))
        self.shown, self.pads_shown = Signal(name=f"{name}_shown"), Signal.like(self.pads, name=f"{name}_pads_shown")
        m.d.sync += [self.shown.eq(self.pads_valid & ~dut.o_next), self.pads_shown.eq(self.pads)]
        m.d.comb += Assume(~self.shown | (self.pads_valid & (self.pads.as_value() == self.pads_shown.as_value())))
        return dut, fragment


def registers_of(fragment: Fragment, path: str = "") -> Iterator[tuple[str, Signal]]:
    """Every register of a fragment and what is in it, with its path."""
    for statement in fragment.statements.get("sync", ()):
        for signal in statement._lhs_signals():
            yield f"{path}{signal.name}", signal
    for part, name, _ in fragment.subfragments:
        if isinstance(part, Fragment) and part.statements.get("sync"):
            yield from registers_of(part, f"{path}{name}.")


def state_in(fragment: Fragment, *names: str) -> Value:
    """The exchange is in one of the states."""
    fsm = fragment.find_generated("exchange_fsm")
    result: Value = Const(0)
    for name in names:
        result = result | (fsm._data["signal"] == fsm.encoding[name])
    return result


def walk_lemmas(m: Module, named: dict[str, Signal], fragment: Fragment) -> None:
    """Entries are there only in a pass, and none behind the last."""
    walk = [named[f"walk.{name}"] for name in ("fetching", "fetched", "staged", "coded", "o_valid")]
    lasts = [named[f"walk.{name}"] for name in ("fetched_last", "staged_last", "coded_last", "o_last")]
    for k, is_last in enumerate(lasts):
        with m.If(walk[k + 1] & is_last):
            m.d.comb += Assert(~Cat(walk[: k + 1]).any(), f"lemma: nothing behind {is_last.name}")
    empty = ~Cat(walk).any()
    m.d.comb += [
        Assert(empty | state_in(fragment, *WALKS), "lemma: entries between the walks"),
        *(
            Assert(named[name] == state_in(fragment, state), f"lemma: {state} has a register")
            for name, state in (("sending", "SEND"), ("getting", "GET"), ("sifting", "SIFT"))
        ),
        Assert(~named["start"] | (empty & state_in(fragment, *WALKS)), "lemma: start"),
        Assert(~named["ended"] | (empty & state_in(fragment, *WALKS) & ~named["start"]), "lemma: the end of a pass"),
    ]


class OrderProof(Environment):
    """What is said comes after what must have been heard.

    ``phase`` follows the messages that the exchange takes and does not refuse: 0 nothing of the block, 1 the first half of its tag,
    2 both, each differs from what was said as the pads do, and the block is not spoilt, 3 its types, 4, 5, 6 that all of types,
    intensities, slices have come. ``there``: digest and symbols of the block have been complete in a clock; nothing is said before.
    """

    def __init__(
        self, exchange: type[Exchange] = Exchange, *, script: Script = (), spoilt: bool = False, late: str = ""
    ) -> None:
        super().__init__(exchange=exchange, script=script, spoilt=spoilt, late=late)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut, fragment = self._add(m, "dut")
        said, heard = dut.o_peer, dut.i_peer
        registers = dict(registers_of(fragment))
        phase, block, equal = Signal(range(7)), Signal(32), Signal()
        own = Signal(32), Signal(32)
        apart = dut.i_pads[0] ^ dut.i_pads[1]
        right_halves = own[0] ^ apart[:32], own[1] ^ apart[32:]
        message = heard.payload
        of_block, of_first = message.number == block, message.number == (block << 1)[:32]
        done = (message.kind == Kind.DONE) & of_block
        right = Signal()
        with m.Switch(phase):
            with m.Case(0, 1):
                m.d.comb += right.eq((message.kind == Kind.DIGEST_LOW + phase) & of_block)
            with m.Case(2):
                m.d.comb += right.eq((message.kind == Kind.TYPES) & of_first)
            with m.Case(3):
                m.d.comb += right.eq(done & (message.value == Kind.TYPES))
            for at, kind, limit in ((4, Kind.INTENSITY, 4), (5, Kind.SLICE, 16)):
                with m.Case(at):
                    m.d.comb += right.eq(
                        ((message.kind == kind) & (message.value < limit)) | (done & (message.value == kind))
                    )
        with m.If(heard.valid & heard.ready & ~dut.o_refused):
            m.d[self._domain] += Assert(right, "accepted what is not next")
            with m.If(phase == 0):
                m.d.sync += [phase.eq(1), equal.eq((message.value == right_halves[0]) & ~registers["spoilt"])]
            with m.Elif(phase == 1):
                with m.If(equal & (message.value == right_halves[1])):
                    m.d.sync += phase.eq(2)
                with m.Else():
                    m.d.sync += [phase.eq(0), block.eq(block + 1)]
            with m.Elif((phase < 4) | (message.kind == Kind.DONE)):
                m.d.sync += phase.eq(phase + 1)
        with m.If(said.valid & said.ready):
            for k, kind in enumerate((Kind.DIGEST_LOW, Kind.DIGEST_HIGH)):
                with m.If(said.payload.kind == kind):
                    m.d.sync += own[k].eq(said.payload.value)
            with m.If((said.payload.kind == Kind.DIGEST_LOW) & (phase == 6)):
                m.d.sync += [phase.eq(0), block.eq(block + 1)]

        complete, there = (
            Cat(count != registers["block"][:9] for count in (dut.i_blocks, dut.i_recalled_blocks)),
            Signal(),
        )
        with m.If(dut.o_next):
            m.d.sync += there.eq(0)
        with m.Elif(complete.all()):
            m.d.sync += there.eq(1)

        kind, value = said.payload.kind, said.payload.value
        with m.If(said.valid):
            m.d[self._domain] += Assert(there, "said before digest and symbols are there")
            m.d[self._domain] += Assert((kind >= Kind.DIGEST_LOW) & (kind <= Kind.DONE), "a kind that is none")
            with m.If((kind == Kind.DIGEST_LOW) | (kind == Kind.DIGEST_HIGH)):
                m.d[self._domain] += Assert((phase == 0) | (phase == 6), "tag in the middle of a block")
            with m.Else():
                m.d[self._domain] += Assert((phase >= 2) & (phase < 6), "said without a right tag")
            for step, after in ((Kind.TYPES, 2), (Kind.INTENSITY, 4), (Kind.SLICE, 5)):
                with m.If((kind == step) | ((kind == Kind.DONE) & (value == step))):
                    m.d[self._domain] += Assert(phase == after, f"{step.name} before the peer's DONE, or late")
        with m.If(dut.o_sifted.valid):
            m.d[self._domain] += Assert(phase == 6, "sifted before the peer's slices")
        if not self._script:
            self._induct(m, registers, fragment, phase, block, own, equal, there)
        return m

    def _induct(
        self,
        m: Module,
        registers: dict[str, Signal],
        fragment: Fragment,
        phase: Signal,
        block: Signal,
        own: tuple[Signal, Signal],
        equal: Signal,
        there: Signal,
    ) -> None:
        """Where the exchange is when it has heard what, and that it compares with the tag that it said."""
        inside, kind = registers["block"], registers["kind"]
        m.d.comb += Assert(registers["o_first"] == (inside << 1)[:32], "lemma: first herald")
        here, over = inside == block, (phase == 6) & (inside == (block + 1)[:32])
        for names, claim in (
            (("IDLE", "SETTLE", "SEND_DIGEST_LOW"), ((phase == 0) & here) | over),
            (("SEND_DIGEST_HIGH", "GET_DIGEST_LOW"), (phase == 0) & here),
            (("GET_DIGEST_HIGH",), (phase == 1) & here),
            (("SEND", "SEND_DONE", "GET", "GET_DONE"), here),
            (("SIFT",), (phase == 6) & here),
            (("NEXT",), ((phase == 6) & here) | ((phase == 0) & (block == (inside + 1)[:32]))),
        ):
            with m.If(state_in(fragment, *names)):
                m.d.comb += Assert(claim, f"lemma: {names[0]}")
        for which, at in ((Kind.TYPES, 2), (Kind.INTENSITY, 4), (Kind.SLICE, 5)):
            with m.If(state_in(fragment, "SEND", "SEND_DONE") & (kind == which)):
                m.d.comb += Assert(phase == at, f"lemma: {which.name} is sent")
            if which != Kind.TYPES:
                with m.If(state_in(fragment, "GET") & (kind == which)):
                    m.d.comb += Assert(phase == at, f"lemma: {which.name} is heard")
            with m.If(state_in(fragment, "GET_DONE") & (kind == which)):
                m.d.comb += Assert(phase == (3 if which == Kind.TYPES else at), f"lemma: {which.name} has been heard")
        tag, expected = registers["tag"], registers["expected"]
        with m.If(state_in(fragment, "SEND_DIGEST_LOW", "SEND_DIGEST_HIGH", "GET_DIGEST_LOW", "GET_DIGEST_HIGH")):
            m.d.comb += [
                Assert(self.shown, "lemma: pads stay"),
                Assert(tag ^ expected == self.pads_shown[0] ^ self.pads_shown[1], "lemma: tags differ by the pads"),
            ]
        with m.If(state_in(fragment, "SEND_DIGEST_HIGH", "GET_DIGEST_LOW", "GET_DIGEST_HIGH")):
            m.d.comb += Assert(own[0] == tag[:32], "lemma: the first half that was said")
        with m.If(state_in(fragment, "GET_DIGEST_LOW", "GET_DIGEST_HIGH")):
            m.d.comb += Assert(own[1] == tag[32:], "lemma: the second half that was said")
        with m.If(state_in(fragment, "GET_DIGEST_HIGH")):
            m.d.comb += Assert(equal == registers["low_agrees"], "lemma: first halves")
        m.d.comb += Assert(
            there | ((registers["rests"] != 0) & state_in(fragment, "IDLE")), "lemma: what is not there rests"
        )
        walk_lemmas(m, registers, fragment)
        at_end, waits = registers["walk.o_valid"], registers["walk.o_waits"]
        with m.If(state_in(fragment, "SIFT")):
            m.d.comb += [
                Assert(~at_end | waits, "lemma: all are sifted"),
                Assert(~registers["passed"] | (registers["verdict.step"] == 0), "lemma: verdict given"),
            ]
        with m.Else():
            m.d.comb += Assert(registers["verdict.step"] == 0, "lemma: no verdict")

        # The one TYPES message is heard with the first entry.
        index, remaining, started = Signal(32), Signal(2), ~registers["start"]
        fetching = registers["walk.fetching"]
        m.d.comb += [
            index.eq(registers["walk.o_number"] - registers["o_first"]),
            remaining.eq(Mux(fetching, BLOCK - registers["walk.fetch_index"], 0)),
        ]
        moving = sum((registers[f"walk.{name}"] for name in ("fetched", "staged", "coded")), start=at_end)
        with m.If(state_in(fragment, *WALKS) & started):
            m.d.comb += [
                Assert((index <= BLOCK) & (index[:2] + moving + remaining == BLOCK), "lemma: entries"),
                Assert(registers["walk.coded_index"] == (index + at_end)[0], "lemma: index"),
            ]
        with m.If(state_in(fragment, "GET") & (kind == Kind.TYPES)):
            m.d.comb += [
                Assert(phase == Mux(started & (index != 0), 3, 2), "lemma: TYPES are heard"),
                Assert(~at_end | (waits == (index == 0)), "lemma: TYPES are heard with the first"),
                Assert(started | ~at_end, "lemma: start"),
            ]
        with m.If(state_in(fragment, "SEND", "SEND_DONE", "GET", "GET_DONE")):
            m.d.comb += Assert((kind == Kind.TYPES) | (kind == Kind.INTENSITY) | (kind == Kind.SLICE), "lemma: kind")


class SecrecyProof(Environment):
    """Two exchanges hear and recall the same but for intensity, slice and key bit of Z windows: they say the same at every clock."""

    def __init__(
        self, tables: RuleTables | None = None, exchange: type[Exchange] = Exchange, *, script: Script = ()
    ) -> None:
        super().__init__(tables, exchange, script=script)

    OWN = ("intensity", "slice", "key")
    """Members of an entry that are secret where it is Z."""
    RESULTS = ("verdict.slice_difference", "verdict.shifted", "verdict.in_slice", "verdict.branch", "verdict.word")
    """Registers that only the sifted word, which stays here, and the counters come from; and ``verdict.result``."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, first = self._add(m, "a")
        peeks = [self._peeks]
        b, second = self._add(m, "b")
        peeks.append(self._peeks)
        with m.If(~self.recalled.x):
            m.d.comb += [b.i_recalled[name].eq(self.other[name]) for name in self.OWN]
        m.d[self._domain] += [
            Assert(a.o_peer.valid == b.o_peer.valid, "when it is said"),
            Assert(a.i_peer.ready == b.i_peer.ready, "when it is heard"),
            Assert(a.o_sifted.valid == b.o_sifted.valid, "when it is sifted"),
        ]
        with m.If(a.o_peer.valid):
            m.d[self._domain] += Assert(a.o_peer.payload.as_value() == b.o_peer.payload.as_value(), "what is said")
        # What a read port shows before its first read is the same as well: block RAM begins as it is loaded.
        shown = [dut.walk.revealed.read_ports[-1].data.as_value() for dut in (a, b)]
        began = Signal()
        m.d.sync += began.eq(1)
        m.d.comb += Assume(began | (shown[0] == shown[1]))
        if not self._script:
            m.d.comb += Assert(shown[0] == shown[1], "lemma: same word read")
            self._induct(m, first, second)
            for one, other in zip(*peeks, strict=True):
                m.d.comb += Assert(one.data.as_value() == other.data.as_value(), "lemma: same memory")
        return m

    def _induct(self, m: Module, first: Fragment, second: Fragment) -> None:
        """Both are in the same state but for what may differ, and an entry that gives a message is X."""
        for (name, one), (_, other) in zip(registers_of(first), registers_of(second), strict=True):
            if name in ("walk.o_own", "walk.coded_own"):
                entry, same = data.View(Recalled, one), data.View(Recalled, other)
                for member, _ in Recalled.as_shape():
                    secret = ~entry.x if member in self.OWN else Const(0)
                    m.d.comb += Assert(secret | (entry[member] == same[member]), f"lemma: same {name}.{member}")
            elif name == "verdict.result":
                result, same_result = data.View(VerdictResult, one), data.View(VerdictResult, other)
                for member in ("z_record", "x_record"):
                    m.d.comb += Assert(result[member] == same_result[member], f"lemma: same {name}.{member}")
            elif name not in self.RESULTS:
                m.d.comb += Assert(one == other, f"lemma: same {name}")

        named = dict(registers_of(first))
        walk_lemmas(m, named, first)
        entry, level = data.View(Recalled, named["walk.coded_own"]), named["walk.level"]
        by_levels = named["walk.by_levels"]
        m.d.comb += [
            Assert(~level[0] | entry.x, "lemma: reveals only X"),
            Assert(~by_levels[:16].any() | entry.x, "lemma: slices only of X"),
        ]
        gives = named["walk.o_valid"] & named["walk.o_waits"] & state_in(first, "SEND")
        with m.If(gives & (named["kind"] != Kind.TYPES)):
            m.d.comb += Assert(data.View(Recalled, named["walk.o_own"]).x, "lemma: a message of a Z window")
