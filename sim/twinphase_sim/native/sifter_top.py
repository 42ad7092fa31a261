"""The block sifter with its recall as one module whose settings are registers: what `twinphase_sim.native.sifter` compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from amaranth.back import rtlil, verilog
from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.sift.block import BlockSifter
from twinphase_hdl.sift.counter import CounterRecall
from twinphase_hdl.sift.keyschedule import KeySchedule
from twinphase_hdl.sift.symbols import SymbolSettings
from twinphase_hdl.sift.tables import RULE_REGISTERS, RuleTables
from twinphase_spec.registers import CLIENT

BETWEEN = ("o_recall", "i_symbol_valid", "i_symbol", "i_symbol_refused", "i_starved", "o_stopped")
"""Members of the sifter that join it with its recall; one in counter mode refuses nothing and is never without bits."""
MOVING = ("i_run", "i_snapshot", "i_cell_address", "i_bin_address")
"""Its inputs that are no settings and no streams."""
WRITTEN, READY = "i_digest_written", "o_ready"
"""Strobe in the first clock of new digest settings, and whether their keys are there."""


@dataclass(frozen=True)
class Setup:
    """Bits of the top's ``i_setup``: of each field the register, its first bit and its width."""

    fields: tuple[tuple[str, int, int], ...]
    size: int

    def pack(self, registers: Mapping[str, int]) -> bytes:
        """From a client's registers; the others have their reset values."""
        value = 0
        for name, first, width in self.fields:
            value |= (registers.get(name, CLIENT[name].reset) & (1 << width) - 1) << first
        return value.to_bytes(-(-self.size // 32) * 4, "little")


class SifterTop(wiring.Component):
    """A block sifter with a recall of its own.

    Members: those of `BlockSifter`, but settings and recall, and

    i_load, i_setup : In(1), In(settings of sifter and symbols), taken at the strobe; only while ``i_run`` is 0
    o_settled : Out(1), all keys are expanded; not in the clock after ``i_load``

    Input streams pass a register, so that little hangs on the inputs: a record in two clocks, ``i_peer`` in one.
    """

    def __init__(self) -> None:
        self._sifter = BlockSifter()
        members = self._sifter.signature.members
        self._settings = [
            name
            for name, member in members.items()
            if not member.is_signature and member.flow is In and name not in (*BETWEEN, *MOVING, WRITTEN)
        ]
        self.layout = data.StructLayout(
            {**{name: members[name].shape for name in self._settings}, "i_settings": SymbolSettings}
        )
        self._keyed = WRITTEN in members
        shown = {
            name: member for name, member in members.items() if name not in (*BETWEEN, *self._settings, WRITTEN, READY)
        }
        super().__init__({**shown, "i_load": In(1), "i_setup": In(self.layout), "o_settled": Out(1)})
        self._shown = shown

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sifter = sifter = self._sifter
        m.submodules.schedule = schedule = KeySchedule()
        m.submodules.recall = recall = ResetInserter(sifter.o_stopped)(CounterRecall())
        setup, loaded, held = Signal(self.layout), Signal(), []
        m.d.sync += loaded.eq(self.i_load)
        with m.If(self.i_load):
            m.d.sync += setup.eq(self.i_setup)
        for name, member in self._shown.items():
            inner, outer = getattr(sifter, name), getattr(self, name)
            if not member.is_signature:
                m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
            elif member.flow is Out:
                wiring.connect(m, inner, wiring.flipped(outer))
            elif name == "i_peer":
                m.d.sync += [inner.valid.eq(outer.valid), inner.payload.eq(outer.payload)]
                m.d.comb += outer.ready.eq(1)
                held.append(outer.valid)
            else:
                m.d.comb += outer.ready.eq(~inner.valid)
                with m.If(~inner.valid):
                    m.d.sync += [inner.valid.eq(outer.valid), inner.payload.eq(outer.payload)]
                with m.Elif(inner.ready):
                    m.d.sync += inner.valid.eq(0)
                held.append(inner.valid)
        m.d.comb += [
            *(getattr(sifter, name).eq(setup[name]) for name in self._settings),
            *([sifter.i_digest_written.eq(loaded)] if self._keyed else []),
            self.o_settled.eq(schedule.o_ready & (sifter.o_ready if self._keyed else 1)),
            self.o_idle.eq(sifter.o_idle & ~Cat(held).any()),
            schedule.i_key.eq(setup.i_settings.key),
            recall.i_settings.eq(setup.i_settings),
            recall.i_word.eq(schedule.o_word),
            recall.i_pulse.payload.eq(sifter.o_recall.payload),
            recall.i_pulse.valid.eq(sifter.o_recall.valid & schedule.o_ready),
            sifter.o_recall.ready.eq(recall.i_pulse.ready & schedule.o_ready),
            sifter.i_symbol_valid.eq(recall.o_valid),
            sifter.i_symbol.eq(recall.o_symbol),
        ]
        return m


def _registers(name: str, field: data.Field) -> list[tuple[str, int, int]]:
    """Register, first bit and width of each part of a setting."""
    if name == "i_rules":
        rules = data.Layout.cast(RuleTables)
        return [(RULE_REGISTERS[part], field.offset + inner.offset, inner.width) for part, inner in rules]
    if name in ("i_settings", "i_digest"):
        found = []
        for part, inner in data.Layout.cast(field.shape):
            first, register = field.offset + inner.offset, f"{'DIGEST_' * (name == 'i_digest')}{part.upper()}"
            if part in ("key", "nonce"):
                # Words in their order, but of the symbols' nonce, a number whose first word is its highest.
                words = range(inner.width // 32)
                places = reversed(words) if (name, part) == ("i_settings", "nonce") else words
                found += [(f"{register}_{k}", first + 32 * place, 32) for k, place in zip(words, places, strict=True)]
            else:
                found.append((register, first, inner.width))
        return found
    return [(name.removeprefix("i_").upper(), field.offset, field.width)]


@lru_cache(maxsize=1)
def sifter_verilog() -> tuple[str, Setup]:
    """Verilog of the top, named ``twinphase_client``, and the places of its settings."""
    top, setup = _top()
    return verilog.convert(top, name="twinphase_client", emit_src=False, strip_internal_attrs=True), setup


@lru_cache(maxsize=1)
def sifter_rtlil() -> tuple[str, Setup]:
    """The same as RTLIL, for Yosys."""
    top, setup = _top()
    return rtlil.convert(top, name="twinphase_client", emit_src=False), setup


def _top() -> tuple[SifterTop, Setup]:
    top = SifterTop()
    fields: list[tuple[str, int, int]] = []
    for name, field in top.layout:
        fields += _registers(name, field)
    missing = [name for name, *_ in fields if name not in {register.name for register in CLIENT.registers}]
    if missing:
        raise ValueError(f"sifter top: no register for {', '.join(missing)}")
    return top, Setup(tuple(fields), top.layout.size)
