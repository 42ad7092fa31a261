"""A client node: modulator codes out, heralds and peer messages in, sifted records out."""

from functools import reduce
from operator import or_
from typing import Literal

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.link.earlyknown import EarlyKnownBank
from twinphase_hdl.link.link import NodeLink
from twinphase_hdl.sift.block import BlockSifter
from twinphase_hdl.sift.corrections import Corrections
from twinphase_hdl.sift.counter import CounterSymbols
from twinphase_hdl.sift.emitter import Emitter
from twinphase_hdl.sift.modulators import Drive, ModulatorTables
from twinphase_hdl.sift.pads import NONCE_WORDS
from twinphase_hdl.sift.ring import RingSymbols
from twinphase_hdl.sift.tables import RULE_REGISTERS
from twinphase_spec import emission, frame, units
from twinphase_spec.packets import Stream
from twinphase_spec.registers import CLIENT, CLIENT_LANES, CORE_COUNTERS
from twinphase_spec.symbol_ring import QRNG_BITS_PER_PULSE, RING_SYMBOLS, RingConfig
from twinphase_spec.symbols import BOUNDS, CODE_BITS, KEY_WORDS

from .common import NODE_MEMBERS, connect_core

RECEIVED = (Stream.HERALD_CODE, Stream.PSI, Stream.PEER, Stream.LIVE)
"""Streams that a client takes from its link, besides register requests."""
DIGEST_KEY = [f"DIGEST_KEY_{k}" for k in range(KEY_WORDS)]
DIGEST_NONCE = [f"DIGEST_NONCE_{k}" for k in range(NONCE_WORDS)]


class ClientNode(wiring.Component):
    """Symbols, emitter and block sifter on one timebase; all of docs/contract.md's client.

    The frame and the sifter run while CONTROL says so and both keys, the symbols' (in counter mode) and the block digest's, are expanded.

    Members
    -------
    rx, tx, sim_load, sim_anchor, o_idle, o_clock : see `twinphase_hdl.nodes`.
    o_codes_valid : Out(1) - pulses o_codes_pulse .. o_codes_pulse + lanes - 1 are emitted.
    o_codes_pulse : Out(56)
    o_codes_q, o_codes_r : Out(ArrayLayout(11, lanes)) - ``level << 8 | phase`` of each lane.
    o_drive_q, o_drive_r : Out(ArrayLayout(Drive, lanes)) - DAC words of the codes of two clocks ago (docs/modulators.md).
    o_emit_fraction : Out(13) - how late they are to be emitted, ticks: of a delay line's or modulator clock's (docs/alignment.md).
    i_qrng, i_qrng_valid, o_qrng_ready : In(16 * lanes), In(1), Out(1) - bits of a QRNG, with ``symbols`` "ring"; see `RingSymbols`.

    Latency: `latency` clocks from the anchor's clock to the codes. Throughput: ``lanes`` pulses per clock.

    ``lanes``: 1, 2, 4 or 8. ``shared_recall``: the symbols of heralds come from the emission's pipeline (default with fewer than 8
    lanes), not from a core of their own; see `CounterSymbols`. ``symbols``: "counter", or "ring" for those of a QRNG, kept in a ring of
    ``ring_symbols``; then the node is never idle while the frame runs. ValueError for others.
    """

    def __init__(
        self,
        *,
        lanes: int = CLIENT_LANES,
        shared_recall: bool | None = None,
        symbols: Literal["counter", "ring"] = "counter",
        ring_symbols: int = RING_SYMBOLS,
        build_hash: int = 0,
        clock_hz: int = units.CLOCK_HZ,
    ):
        if symbols not in ("counter", "ring"):
            raise ValueError(f"ClientNode: symbols is {symbols!r}; allowed: 'counter' or 'ring'")
        if symbols == "ring" and shared_recall is not None:
            raise ValueError("ClientNode: shared_recall is given with symbols 'ring'; allowed: with 'counter'")
        self._symbols: CounterSymbols | RingSymbols
        if symbols == "ring":
            self._symbols = RingSymbols(lanes=lanes, ring=RingConfig(symbols=ring_symbols))
        else:
            self._symbols = CounterSymbols(lanes=lanes, shared=shared_recall)
        bits = QRNG_BITS_PER_PULSE * lanes
        qrng = {"i_qrng": In(bits), "i_qrng_valid": In(1), "o_qrng_ready": Out(1)} if symbols == "ring" else {}
        self._emitter = Emitter(lanes=lanes, symbol_latency=self._symbols.latency)
        self._corrections = Corrections(lanes=lanes)
        self._modulators = ModulatorTables(lanes=lanes)
        self._bank = EarlyKnownBank(
            CLIENT,
            build_hash=build_hash,
            clock_hz=clock_hz,
            constants={"LANES": lanes, "RING_SYMBOLS": ring_symbols if symbols == "ring" else 0},
            strobes=(*DIGEST_KEY, *DIGEST_NONCE, "EMIT_FRACTION"),
        )
        super().__init__(
            {
                **NODE_MEMBERS,
                **qrng,
                "o_codes_valid": Out(1),
                "o_codes_pulse": Out(frame.PULSE_BITS),
                "o_codes_q": Out(data.ArrayLayout(CODE_BITS, lanes)),
                "o_codes_r": Out(data.ArrayLayout(CODE_BITS, lanes)),
                "o_emit_fraction": Out(emission.FRACTION_BITS),
                "o_drive_q": Out(data.ArrayLayout(Drive, lanes)),
                "o_drive_r": Out(data.ArrayLayout(Drive, lanes)),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from the anchor's clock to its codes."""
        return self._emitter.latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = self._bank
        m.submodules.emitter = emitter = self._emitter
        m.submodules.corrections = corrections = self._corrections
        m.submodules.modulators = modulators = self._modulators
        m.submodules.symbols = source = self._symbols
        m.submodules.timebase = timebase = Timebase()
        m.submodules.sifter = sifter = BlockSifter()
        m.submodules.link = link = NodeLink(
            register_map=CLIENT,
            send=(Stream.SIFTED, Stream.PEER),
            receive=RECEIVED,
        )
        wiring.connect(m, wiring.flipped(self.rx), link.rx)
        wiring.connect(m, link.tx, wiring.flipped(self.tx))

        # The frame starts and stops a clock after CONTROL and keys say so, the sifter another one later: each out of a register of its
        # own, as it reaches all of a part. (Registers of what is off, as it is a stop that clears.)
        ready = Signal()
        wanted, halted, sifter_halted = Signal(), Signal(init=1), Signal(init=1)
        run = ~halted
        m.d.sync += [halted.eq(~wanted), sifter_halted.eq(halted)]
        m.d.comb += [
            ready.eq(source.o_ready & sifter.o_ready),
            wanted.eq(bank.o_control & ready),
            bank.i_key_ready.eq(ready),
            *(sifter.i_digest.key[k].eq(getattr(bank, f"o_{name.lower()}")) for k, name in enumerate(DIGEST_KEY)),
            *(sifter.i_digest.nonce[k].eq(getattr(bank, f"o_{name.lower()}")) for k, name in enumerate(DIGEST_NONCE)),
            sifter.i_digest_written.eq(
                reduce(or_, (getattr(bank, f"o_{name.lower()}_written") for name in (*DIGEST_KEY, *DIGEST_NONCE)))
            ),
            *(source.i_settings.key[k].eq(getattr(bank, f"o_key_{k}")) for k in range(KEY_WORDS)),
            sifter.i_digest_live.eq(bank.o_digest_live),
            source.i_settings.nonce.eq(Cat(bank.o_nonce_1, bank.o_nonce_0)),
            *(source.i_settings[name].eq(getattr(bank, f"o_{name}")) for name in (*BOUNDS, "slices_z", "slices_x")),
            source.i_framing.eq(emitter.o_asks),
            source.i_pulse.eq(emitter.o_ask_pulse),
            source.i_stop.eq(sifter.o_stopped),
            emitter.i_role.eq(bank.o_role),
            emitter.i_symbols.eq(source.o_symbols),
            sifter.i_role.eq(bank.o_role),
            sifter.i_symbol_valid.eq(source.o_recalled_valid),
            sifter.i_symbol.eq(source.o_recalled),
        ]
        wiring.connect(m, sifter.o_recall, source.i_recall)
        idle = Signal(init=1)
        if isinstance(source, RingSymbols):
            m.d.comb += [
                source.i_bits.payload.eq(self.i_qrng),
                source.i_bits.valid.eq(self.i_qrng_valid),
                self.o_qrng_ready.eq(source.i_bits.ready),
                sifter.i_symbol_refused.eq(source.o_recalled_refused),
                sifter.i_starved.eq(Mux(source.o_starved, len(source.o_symbols), 0)),
                idle.eq(~timebase.o_running & ~source.o_busy),
            ]
        m.d.comb += [
            emitter.i_anchor.eq(timebase.o_anchor),
            emitter.i_framing.eq(timebase.o_running),
            emitter.i_shift.eq(corrections.o_shift),
            emitter.i_grid.eq(timebase.i_config),
            emitter.i_write.eq(bank.o_frame_table_write),
            emitter.i_address.eq(bank.o_frame_table_address),
            emitter.i_data.eq(bank.o_frame_table_data),
            self.o_codes_valid.eq(emitter.o_valid),
            self.o_codes_pulse.eq(emitter.o_pulse),
            self.o_codes_q.eq(emitter.o_q),
            self.o_codes_r.eq(emitter.o_r),
            self.o_emit_fraction.eq(emitter.o_fraction),
            modulators.i_write.eq(bank.o_modulator_table_write),
            modulators.i_address.eq(bank.o_modulator_table_address),
            modulators.i_data.eq(bank.o_modulator_table_data),
            modulators.i_q.eq(emitter.o_q),
            modulators.i_r.eq(emitter.o_r),
            self.o_drive_q.eq(modulators.o_q),
            self.o_drive_r.eq(modulators.o_r),
            corrections.i_framing.eq(timebase.o_running),
            corrections.i_slot.eq(timebase.o_anchor.pulse),
            corrections.i_frame_pulses.eq(timebase.i_config.frame_pulses),
            corrections.i_write.eq(bank.o_emit_fraction_written),
            corrections.i_from.eq(bank.o_emit_slot),
            corrections.i_pulses.eq(bank.o_emit_pulses),
            corrections.i_fraction.eq(bank.o_emit_fraction),
            bank.i_emitted_pulses.eq(corrections.o_shift.pulses),
            bank.i_emitted_fraction.eq(corrections.o_shift.fraction),
            bank.i_emit_taken.eq(corrections.o_taken),
            bank.i_emit_refused.eq(corrections.o_refused),
            sifter.i_run.eq(~sifter_halted),
            sifter.i_block_heralds.eq(bank.o_block_heralds),
            sifter.i_slice_width.eq(bank.o_slice_width),
            *(sifter.i_rules[table].eq(getattr(bank, f"o_{name.lower()}")) for table, name in RULE_REGISTERS.items()),
            sifter.i_snapshot.eq(link.snapshot.o_latch),
            link.snapshot.i_wait.eq(sifter.o_copying),
            sifter.i_cell_address.eq(bank.o_cells_address),
            bank.i_cells_data.eq(sifter.o_cell),
            sifter.i_bin_address.eq(bank.o_psi_histogram_address),
            bank.i_psi_histogram_data.eq(sifter.o_bin),
        ]
        wiring.connect(m, link.receive_herald_code, sifter.i_herald)
        wiring.connect(m, link.receive_psi, sifter.i_psi)
        wiring.connect(m, link.receive_peer, sifter.i_peer)
        wiring.connect(m, link.receive_live, sifter.i_live)
        wiring.connect(m, sifter.o_peer, link.send_peer)
        wiring.connect(m, sifter.o_sifted, link.send_sifted)

        counters = {name: sifter.o_counters[name] for name in CLIENT.counter_names if name not in dict(CORE_COUNTERS)}
        connect_core(m, self, CLIENT, bank, link, timebase, counters, run)
        settled = (halted != wanted) & (sifter_halted == halted)
        m.d.comb += self.o_idle.eq(sifter.o_idle & link.o_idle & ready & corrections.o_idle & idle & settled)
        return m
