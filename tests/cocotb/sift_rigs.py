"""The client's parts joined with their symbols, as the node joins them."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.sift.block import BlockSifter
from twinphase_hdl.sift.corrections import Corrections
from twinphase_hdl.sift.counter import CounterRecall, CounterSymbols
from twinphase_hdl.sift.emitter import Emitter
from twinphase_hdl.sift.keyschedule import KeySchedule
from twinphase_hdl.sift.symbols import SymbolSettings
from twinphase_spec.symbols import BOUND_BITS, NONCE_BITS, SymbolConfig

SMALL_LIVE = {"pulse_bits": 16, "recovery_bits": 5, "length_bits": 9}
"""Of live windows whose pulses wrap and whose runs grow too long soon."""


def settings_of(config: SymbolConfig) -> int:
    """Bits of `SymbolSettings`: key, nonce, bounds."""
    value, place = 0, 0
    fields = [*((word, 32) for word in config.key), (config.nonce, NONCE_BITS)]
    fields += [*((bound, BOUND_BITS) for bound in config.bounds), (config.slices_z, 4), (config.slices_x, 4)]
    for part, width in fields:
        value, place = value | part << place, place + width
    return value


CORRECTED = {"i_correct": "i_write", "i_from": "i_from", "i_pulses": "i_pulses", "i_fraction": "i_fraction"}
"""Members of `CorrectedEmitter` that are those of `Corrections`."""


class CorrectedEmitter(wiring.Component):
    """`Corrections` and `Emitter`: members of both but what lies between them, and CORRECTED."""

    def __init__(self, *, lanes: int, symbol_latency: int) -> None:
        self._emitter = Emitter(lanes=lanes, symbol_latency=symbol_latency)
        self._corrections = Corrections(lanes=lanes)
        self.latency = self._emitter.latency
        members, known = dict(self._emitter.signature.members), self._corrections.signature.members
        del members["i_shift"]
        members |= {name: known[inner] for name, inner in CORRECTED.items()}
        super().__init__({**members, **{name: known[name] for name in ("o_taken", "o_refused", "o_idle")}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.emitter = emitter = self._emitter
        m.submodules.corrections = corrections = self._corrections
        for name, member in emitter.signature.members.items():
            if name == "i_shift":
                m.d.comb += emitter.i_shift.eq(corrections.o_shift)
            elif member.flow is Out:
                m.d.comb += getattr(self, name).eq(getattr(emitter, name))
            else:
                m.d.comb += getattr(emitter, name).eq(getattr(self, name))
        m.d.comb += [
            corrections.i_framing.eq(self.i_framing),
            corrections.i_slot.eq(self.i_anchor.pulse),
            corrections.i_frame_pulses.eq(self.i_grid.frame_pulses),
            *(getattr(corrections, inner).eq(getattr(self, name)) for name, inner in CORRECTED.items()),
            *(getattr(self, name).eq(getattr(corrections, name)) for name in ("o_taken", "o_refused", "o_idle")),
        ]
        return m


class SymbolEmitter(wiring.Component):
    """`CounterSymbols` and `CorrectedEmitter`, with the members of both but what lies between them."""

    def __init__(self, *, lanes: int, shared: bool | None = None) -> None:
        self._symbols = CounterSymbols(lanes=lanes, shared=shared)
        self._emitter = CorrectedEmitter(lanes=lanes, symbol_latency=self._symbols.latency)
        self.latency, self.recall_latency = self._emitter.latency, self._symbols.recall_latency
        members = {**self._symbols.signature.members, **self._emitter.signature.members}
        for name in ("i_pulse", "i_symbols", "o_symbols", "o_asks", "o_ask_pulse"):
            members.pop(name, None)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.symbols = symbols = self._symbols
        m.submodules.emitter = emitter = self._emitter
        for name in (name for name in emitter.signature.members if name in self.signature.members):
            here, there = getattr(self, name), getattr(emitter, name)
            m.d.comb += here.eq(there) if name.startswith("o_") else there.eq(here)
        m.d.comb += [
            symbols.i_settings.eq(self.i_settings),
            symbols.i_framing.eq(emitter.o_asks),
            symbols.i_pulse.eq(emitter.o_ask_pulse),
            symbols.i_stop.eq(self.i_stop),
            emitter.i_symbols.eq(symbols.o_symbols),
            *(getattr(self, name).eq(getattr(symbols, name)) for name in ("o_ready", "o_recalled_valid", "o_recalled")),
        ]
        wiring.connect(m, wiring.flipped(self.i_recall), symbols.i_recall)
        return m


class RecallingSifter(wiring.Component):
    """A block sifter with a recall of its own that waits for the key: members of `BlockSifter` but those of recall, and i_settings."""

    def __init__(self, sifter: wiring.Component | None = None) -> None:
        self._sifter = sifter or BlockSifter()
        members = dict(self._sifter.signature.members)
        self._between = ("o_recall", "i_symbol_valid", "i_symbol", "o_stopped")
        for name in self._between:
            del members[name]
        super().__init__({**members, "i_settings": In(SymbolSettings)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sifter = sifter = self._sifter
        m.submodules.schedule = schedule = KeySchedule()
        m.submodules.recall = recall = ResetInserter(sifter.o_stopped)(CounterRecall())
        for name, member in sifter.signature.members.items():
            if name in self._between:
                continue
            inner, outer = getattr(sifter, name), getattr(self, name)
            if member.is_signature:
                wiring.connect(m, inner, wiring.flipped(outer))
            elif member.flow is Out:
                m.d.comb += outer.eq(inner)
            else:
                m.d.comb += inner.eq(outer)
        m.d.comb += [
            schedule.i_key.eq(self.i_settings.key),
            recall.i_settings.eq(self.i_settings),
            recall.i_word.eq(schedule.o_word),
            recall.i_pulse.payload.eq(sifter.o_recall.payload),
            recall.i_pulse.valid.eq(sifter.o_recall.valid & schedule.o_ready),
            sifter.o_recall.ready.eq(recall.i_pulse.ready & schedule.o_ready),
            sifter.i_symbol_valid.eq(recall.o_valid),
            sifter.i_symbol.eq(recall.o_symbol),
        ]
        return m
