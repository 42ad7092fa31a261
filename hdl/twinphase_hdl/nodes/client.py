"""A client node: modulator codes out, heralds and peer messages in, sifted records out."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from twinphase_hdl.core.timebase import Timebase
from twinphase_hdl.link.link import NodeLink
from twinphase_hdl.link.registers import RegisterBank
from twinphase_hdl.sift.block import BlockSifter
from twinphase_hdl.sift.emitter import Emitter
from twinphase_hdl.sift.tables import RULE_REGISTERS
from twinphase_spec import frame, units
from twinphase_spec.packets import Stream
from twinphase_spec.registers import CLIENT, CLIENT_LANES, CORE_COUNTERS
from twinphase_spec.symbols import CODE_BITS, KEY_WORDS

from .common import NODE_MEMBERS, connect_core


class ClientNode(wiring.Component):
    """Emitter and block sifter on one timebase; all of docs/contract.md's client.

    Members
    -------
    rx, tx, sim_load, sim_anchor, o_idle, o_clock : see `twinphase_hdl.nodes`.
    o_codes_valid : Out(1) - pulses o_codes_pulse .. o_codes_pulse + lanes - 1 are emitted.
    o_codes_pulse : Out(56)
    o_codes_q, o_codes_r : Out(ArrayLayout(11, lanes)) - ``level << 8 | phase`` of each lane.

    Latency: `latency` clocks from the anchor's clock to the codes. Throughput: ``lanes`` pulses per clock.
    """

    latency = Emitter.latency

    def __init__(self, *, lanes: int = CLIENT_LANES, build_hash: int = 0, clock_hz: int = units.CLOCK_HZ):
        self._emitter = Emitter(lanes=lanes)
        self._bank = RegisterBank(CLIENT, build_hash=build_hash, clock_hz=clock_hz, constants={"LANES": lanes})
        super().__init__(
            {
                **NODE_MEMBERS,
                "o_codes_valid": Out(1),
                "o_codes_pulse": Out(frame.PULSE_BITS),
                "o_codes_q": Out(data.ArrayLayout(CODE_BITS, lanes)),
                "o_codes_r": Out(data.ArrayLayout(CODE_BITS, lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = self._bank
        m.submodules.emitter = emitter = self._emitter
        m.submodules.timebase = timebase = Timebase()
        m.submodules.sifter = sifter = BlockSifter()
        m.submodules.link = link = NodeLink(
            register_map=CLIENT,
            send=(Stream.SIFTED, Stream.PEER),
            receive=(Stream.HERALD_CODE, Stream.PSI, Stream.PEER),
        )
        wiring.connect(m, wiring.flipped(self.rx), link.rx)
        wiring.connect(m, link.tx, wiring.flipped(self.tx))

        for part in (emitter, sifter):
            m.d.comb += part.i_role.eq(bank.o_role)
            m.d.comb += [part.i_settings.key[k].eq(getattr(bank, f"o_key_{k}")) for k in range(KEY_WORDS)]
            for name in ("z_threshold", "send_threshold", "vac_threshold", "mu1_threshold"):
                m.d.comb += part.i_settings[name].eq(getattr(bank, f"o_{name}"))
        m.d.comb += [
            emitter.i_anchor.eq(timebase.o_anchor),
            emitter.i_framing.eq(timebase.o_running),
            emitter.i_grid.eq(timebase.i_config),
            emitter.i_write.eq(bank.o_frame_table_write),
            emitter.i_address.eq(bank.o_frame_table_address),
            emitter.i_data.eq(bank.o_frame_table_data),
            self.o_codes_valid.eq(emitter.o_valid),
            self.o_codes_pulse.eq(emitter.o_pulse),
            self.o_codes_q.eq(emitter.o_q),
            self.o_codes_r.eq(emitter.o_r),
            sifter.i_run.eq(bank.o_control),
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
        wiring.connect(m, sifter.o_peer, link.send_peer)
        wiring.connect(m, sifter.o_sifted, link.send_sifted)

        counters = {name: sifter.o_counters[name] for name in CLIENT.counter_names if name not in dict(CORE_COUNTERS)}
        connect_core(m, self, CLIENT, bank, link, timebase, counters)
        m.d.comb += self.o_idle.eq(sifter.o_idle & link.o_idle)
        return m
