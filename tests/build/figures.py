"""Synthesis figures per unit: LUT, FF, BRAM, DSP and Fmax, out of context on LFE5U-25F, speed grade 6, but for DEVICES, FAST and SLOW.

``python tests/build/figures.py [UNIT ...]`` takes them anew and writes ``figures.json`` beside this file. Delays are
nextpnr's slow-corner model.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cocotb"))
from runner import ports_of
from twinphase_firmware import pack
from twinphase_firmware.build import DROP_READ_BEFORE_WRITE, MAP_LUTS, PURGE_BEFORE_LUTS, build_environment
from twinphase_firmware.family import ECP5
from twinphase_firmware.manifest import check_timing, read_clocks, read_cross_clock, read_utilisation

RECORD = Path(__file__).with_name("figures.json")
DEVICE = ("--25k", "--speed", "6", "--package", "CABGA381")
ECPIX5 = ("--um5g-85k", "--speed", "8", "--package", "CABGA554")
DEVICES = {
    "sift.counter_symbols": ECPIX5,
    "sift.counter_symbols_4_lanes": ("--85k", *DEVICE[1:]),
    "timetag.channel_250": ECPIX5,
    "timetag.channel_250_twins": ECPIX5,
    "timetag.tap_encoder_250": ECPIX5,
    "sift.ring_symbols": ("--85k", *DEVICE[1:]),
}
"""Of units with more block RAM than an LFE5U-25F has. Symbols of 8 lanes reach 121 MHz at speed grade 6: a rate of ECPIX-5's part,
as are 250 MHz."""
CLOCK_MHZ = 125
SEEDS = (1, 2, 3)
SPEEDS = {"phase.click_tracker_32": (6, 8)}
"""Speed grades at which a unit is placed from every seed: what is promised of it for more than the recorded placement."""
AS_BOARDS = ("--placer", ECP5.placer)
"""What places a board's builds."""
FAST = {"timetag.channel_250": "tdc_clk", "timetag.channel_250_twins": "tdc_clk", "timetag.tap_encoder_250": "clk"}
"""Units with a clock of twice CLOCK_MHZ, and its name."""
SLOW = {"link.udp": "net_clk"}
"""Units with a clock of half CLOCK_MHZ, and its name."""
KEPT_READS = {"link.udp": " unit.link*/* %d"}
"""What `DROP_READ_BEFORE_WRITE` leaves out, as in a build."""
SYNTHESIS = (
    f"read_rtlil unit.il; {DROP_READ_BEFORE_WRITE}{{kept}}; {PURGE_BEFORE_LUTS.format(synthesis='synth_ecp5', top='unit')}; "
    f"synth_ecp5 {MAP_LUTS} -top unit -json unit.json"
)


def merging(make: Callable[[], wiring.Component]) -> wiring.Component:
    """A merge with the registers before it that it has in the tagger: between ports alone its paths would not be timed."""
    from amaranth.hdl import Module

    from twinphase_hdl.timetag.front import Front, FrontBuffer

    merge = make()

    class Between(wiring.Component):
        def __init__(self) -> None:
            super().__init__(merge.signature)

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.merge = merge
            for name, member in merge.signature.members.items():
                inner, outer = getattr(merge, name), getattr(self, name)
                if not (member.is_signature and isinstance(member.signature, Front) and member.flow is wiring.In):
                    if member.is_signature:
                        wiring.connect(m, inner, wiring.flipped(outer))
                    else:
                        m.d.comb += outer.eq(inner) if member.flow is wiring.Out else inner.eq(outer)
                    continue
                sides = zip(inner, outer, strict=True) if member.dimensions else [(inner, outer)]
                for k, (front, port) in enumerate(sides):
                    buffer = FrontBuffer(
                        order_bits=member.signature.order_bits, channel_bits=member.signature.channel_bits
                    )
                    m.submodules[f"{name}_{k}"] = buffer
                    wiring.connect(m, wiring.flipped(port), buffer.i)
                    wiring.connect(m, buffer.o, front)
            return m

    return Between()


def delay_line_channel(*, lanes: int, taps: int = 256) -> wiring.Component:
    """A channel from the registers of its taps on: these, encoder, gearbox (2 lanes), fine time, calibration, scale and tables, as
    on a board, where nobody asks whether it is idle."""
    from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, Signal
    from amaranth.lib.wiring import In, Out

    from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
    from twinphase_hdl.timetag.gearbox import Gearbox
    from twinphase_hdl.timetag.taps import TapEncoder
    from twinphase_spec.tdc import has_twins

    encoder = TapEncoder(taps=taps, per_clock=3 - lanes, registered=lanes == 1 or has_twins(taps, lanes))
    frontend = DelayLineFrontEnd(lanes=lanes, taps=taps, tdc_clock=lanes == 2)
    found = ("i_valid", "i_polarity", "i_code")
    members = {name: member for name, member in frontend.signature.members.items() if name not in (*found, "o_idle")}

    class Channel(wiring.Component):
        def __init__(self) -> None:
            clock = {"tdc_clk": In(1)} if lanes == 2 else {}
            super().__init__({**members, **clock, "i_taps": In(taps), "o_runt": Out(lanes)})

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.frontend = frontend
            m.submodules.encoder = DomainRenamer("tdc")(encoder) if lanes == 2 else encoder
            sampled = Signal(len(self.i_taps), reset_less=True)
            m.d["tdc" if lanes == 2 else "sync"] += sampled.eq(self.i_taps)
            m.d.comb += encoder.i_taps.eq(sampled)
            word = Cat(encoder.o_valid, encoder.o_polarity, encoder.o_runt, encoder.o_code)
            words = [word]
            if lanes == 2:
                m.domains.tdc = domain = ClockDomain("tdc", reset_less=True)
                domain.clk = self.tdc_clk
                m.submodules.gearbox = gearbox = Gearbox(width=len(word), before=encoder.latency)
                m.d.comb += gearbox.i.eq(word)
                words = [gearbox.o[0], gearbox.o[1]]
            m.d.comb += [
                frontend.i_valid.eq(Cat(found[0] for found in words)),
                frontend.i_polarity.eq(Cat(found[1] for found in words)),
                self.o_runt.eq(Cat(found[2] for found in words)),
                *(frontend.i_code[lane].eq(found[3:]) for lane, found in enumerate(words)),
            ]
            for name, member in members.items():
                if member.is_signature:
                    wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(frontend, name))
                elif member.flow is In:
                    m.d.comb += getattr(frontend, name).eq(getattr(self, name))
                else:
                    m.d.comb += getattr(self, name).eq(getattr(frontend, name))
            return m

    return Channel()


def wide_end() -> wiring.Component:
    """What a wide build of 8 channels has in place of its merge tree and the whole time behind it, up to the selector."""
    from amaranth.hdl import Module, Signal

    from twinphase_hdl.timetag.front import Front
    from twinphase_hdl.timetag.merge import tag_layout
    from twinphase_hdl.timetag.pairqueue import PairQueue
    from twinphase_hdl.timetag.pairtime import PairTime
    from twinphase_hdl.timetag.widetree import WideTree
    from twinphase_spec import tagger, units

    class WideEnd(wiring.Component):
        def __init__(self) -> None:
            super().__init__(
                {
                    "i": wiring.In(Front(order_bits=tagger.ORDER_BITS, channel_bits=0)).array(8),
                    "i_clock": wiring.In(units.CLOCK_BITS),
                    "i_ready": wiring.In(1),
                    "o_valid": wiring.Out(1),
                    "o": wiring.Out(tag_layout(units.TIME_BITS)),
                    "o_bound": wiring.Out(tagger.ORDER_BITS),
                    "o_idle": wiring.Out(1),
                }
            )

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.tree = tree = WideTree(channels=8)
            m.submodules.whole = whole = PairTime(channel_bits=tree.channel_bits)
            m.submodules.singles = singles = PairQueue()
            for front, inner in zip(self.i, tree.i, strict=True):
                wiring.connect(m, wiring.flipped(front), inner)
            wiring.connect(m, tree.o, whole.i)
            wiring.connect(m, whole.o, singles.i)
            # Registers around it, as the clock count's and the selector's are.
            clock = Signal.like(self.i_clock)
            m.d.comb += [whole.i_clock.eq(clock), whole.i_bound.eq(tree.o_bound), singles.i_bound.eq(whole.o_bound)]
            m.d.sync += [
                clock.eq(self.i_clock),
                singles.o.ready.eq(self.i_ready),
                self.o_valid.eq(singles.o.valid & singles.o.ready),
                self.o.eq(singles.o.payload),
                self.o_bound.eq(singles.o_bound),
                self.o_idle.eq(singles.o_idle & ~whole.o.valid & ~tree.o_busy),
            ]
            return m

    return WideEnd()


def udp_link() -> wiring.Component:
    """The link over UDP with a port for the clock of its core."""
    from amaranth.hdl import ClockDomain, Module

    from twinphase_hdl.link.udplink import UdpLink

    link = UdpLink()

    class Clocked(wiring.Component):
        def __init__(self) -> None:
            super().__init__({**link.signature.members, "net_clk": wiring.In(1)})

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.domains.net = domain = ClockDomain("net", reset_less=True)
            domain.clk = self.net_clk
            m.submodules.link = link
            for name, member in link.signature.members.items():
                inner, outer = getattr(link, name), getattr(self, name)
                if member.is_signature:
                    wiring.connect(m, wiring.flipped(outer), inner)
                else:
                    m.d.comb += outer.eq(inner) if member.flow is wiring.Out else inner.eq(outer)
            return m

    return Clocked()


def units() -> dict[str, Callable[[], wiring.Component]]:
    """Name and maker of every unit whose figures are kept."""
    from twinphase_hdl.core.counterbank import CounterBank
    from twinphase_hdl.core.framer import Framer
    from twinphase_hdl.core.rarecounts import RareCounts
    from twinphase_hdl.core.timebase import Timebase
    from twinphase_hdl.drive.actuator import Actuator
    from twinphase_hdl.drive.applied import AppliedPhase
    from twinphase_hdl.drive.sigmadelta import SigmaDelta
    from twinphase_hdl.drive.spi import SpiDac
    from twinphase_hdl.link.snapshot import Snapshot
    from twinphase_hdl.link.t2 import TagPacker
    from twinphase_hdl.nodes.timetagger import counter_steps
    from twinphase_hdl.phase.clicktracker import ClickTracker
    from twinphase_hdl.phase.cordic import Cordic
    from twinphase_hdl.phase.smooth import Smoother
    from twinphase_hdl.phase.smoothfollow import GainFollower
    from twinphase_hdl.phase.tracker import PhaseTracker
    from twinphase_hdl.phase.trackevents import TrackEvents
    from twinphase_hdl.sift.aes import AesCore
    from twinphase_hdl.sift.arrival import ArrivalCounts
    from twinphase_hdl.sift.block import BlockSifter
    from twinphase_hdl.sift.corrections import Corrections
    from twinphase_hdl.sift.counter import CounterSymbols
    from twinphase_hdl.sift.digest import BlockDigest
    from twinphase_hdl.sift.emitter import Emitter
    from twinphase_hdl.sift.herald import HeraldFinder
    from twinphase_hdl.sift.heraldcoder import HeraldCoder
    from twinphase_hdl.sift.heralddecoder import HeraldDecoder
    from twinphase_hdl.sift.join import PsiJoin
    from twinphase_hdl.sift.keyschedule import KeySchedule
    from twinphase_hdl.sift.live import LiveWindows
    from twinphase_hdl.sift.livelists import LiveLists
    from twinphase_hdl.sift.modulators import ModulatorTables
    from twinphase_hdl.sift.pads import DigestPads
    from twinphase_hdl.sift.ring import RingSymbols
    from twinphase_hdl.sift.smoothjoin import SmoothJoin
    from twinphase_hdl.timetag.coincidence import Coincidences
    from twinphase_hdl.timetag.delayline import DelayLineFrontEnd
    from twinphase_hdl.timetag.input import InputChannel
    from twinphase_hdl.timetag.mergenode import MergeNode
    from twinphase_hdl.timetag.mergetree import MergeTree
    from twinphase_hdl.timetag.pulser import Pulser
    from twinphase_hdl.timetag.selector import Selector
    from twinphase_hdl.timetag.tagger import Tagger
    from twinphase_hdl.timetag.taps import TapEncoder
    from twinphase_hdl.timetag.widemerge import WideMerge
    from twinphase_spec.register_groups import TRACK_EVENTS, TRACK_STATES
    from twinphase_spec.registers import SERVER

    return {
        "core.counter_bank": lambda: CounterBank(steps=counter_steps(1)),
        "core.framer": Framer,
        "core.timebase": Timebase,
        "drive.actuator": lambda: Actuator(bits=16),
        "drive.applied": AppliedPhase,
        "drive.sigma_delta": lambda: SigmaDelta(order=2),
        "drive.spi": lambda: SpiDac(half_clocks=3, prefix=3, prefix_bits=4, suffix_bits=4),
        "core.rare_counts": lambda: RareCounts(counters=len(TRACK_EVENTS), levels=len(TRACK_STATES)),
        "link.snapshot": lambda: Snapshot(counters=len(SERVER.counters) - len(TRACK_EVENTS), rare=len(TRACK_EVENTS)),
        "link.tag_packer": TagPacker,
        "link.udp": udp_link,
        "phase.click_tracker_32": lambda: ClickTracker(channels=32),
        "phase.cordic": Cordic,
        "phase.smooth": Smoother,
        "phase.smooth_follow": GainFollower,
        "phase.track_events": TrackEvents,
        "phase.tracker": PhaseTracker,
        "sift.aes_core": lambda: AesCore(tag_bits=3),
        "sift.arrival": ArrivalCounts,
        "sift.block": BlockSifter,
        "sift.corrections": Corrections,
        "sift.counter_symbols": CounterSymbols,
        "sift.counter_symbols_4_lanes": lambda: CounterSymbols(lanes=4),
        "sift.digest": BlockDigest,
        "sift.digest_pads": DigestPads,
        "sift.emitter": lambda: Emitter(symbol_latency=33),  # that of CounterSymbols with 8 lanes
        "sift.herald": HeraldFinder,
        "sift.herald_coder": HeraldCoder,
        "sift.herald_decoder": HeraldDecoder,
        "sift.join": PsiJoin,
        "sift.key_schedule": KeySchedule,
        "sift.live": LiveWindows,
        "sift.live_lists": LiveLists,
        "sift.modulators": ModulatorTables,
        "sift.ring_symbols": RingSymbols,
        "sift.smooth_join": SmoothJoin,
        "timetag.coincidences": lambda: Coincidences(channels=8),
        "timetag.pulser": Pulser,
        "timetag.selector": lambda: Selector(channels=8),
        "timetag.input": InputChannel,
        "timetag.input_2_lanes": lambda: InputChannel(lanes=2),
        "timetag.merge_node": lambda: merging(MergeNode),
        "timetag.merge_tree_8": lambda: merging(lambda: MergeTree(channels=8)),
        "timetag.tagger": Tagger,
        "timetag.wide_end_8": lambda: merging(wide_end),
        "timetag.wide_merge_8": lambda: merging(lambda: WideMerge(left_bits=2, right_bits=2)),
        "timetag.delay_line": DelayLineFrontEnd,
        "timetag.tap_encoder": lambda: TapEncoder(per_clock=2),
        "timetag.tap_encoder_250": TapEncoder,
        "timetag.channel": lambda: delay_line_channel(lanes=1),
        "timetag.channel_250": lambda: delay_line_channel(lanes=2),
        "timetag.channel_250_twins": lambda: delay_line_channel(lanes=2, taps=512),
    }


def rtlil_of(make: Callable[[], wiring.Component]) -> str:
    """The unit's RTLIL without source positions, so that its hash changes only with the logic; simulation ports at rest."""
    unit = make()
    ports = {name: port for name, port in ports_of(unit).items() if not name.startswith("sim_")}
    return rtlil.convert(unit, name="unit", ports=ports, emit_src=False)


def digest(text: str) -> str:
    """Hash that says whether figures must be taken anew: of the unit's RTLIL, and of what packs its netlist."""
    return hashlib.sha256((text + Path(pack.__file__).read_text()).encode()).hexdigest()[:16]


def run(work: Path, *command: str) -> str:
    """Why ``command`` failed in folder ``work``, if it did."""
    done = subprocess.run(command, cwd=work, env=build_environment(), capture_output=True, text=True)
    return f"{Path(command[0]).name} failed: {(done.stderr or done.stdout)[-2000:]}" if done.returncode else ""


def synthesise(text: str, name: str, work: Path) -> None:
    """``unit.json`` in ``work``: the packed netlist of unit ``name``. RuntimeError with the tool's words when it fails."""
    (work / "unit.il").write_text(text)
    script = SYNTHESIS.format(kept=KEPT_READS.get(name, ""))
    failed = run(work, build_environment()["YOSYS"], "-q", "-p", script)
    failed = failed or run(work, sys.executable, pack.__file__, "unit.json")
    if failed:
        raise RuntimeError(failed)


def place(work: Path, name: str, device: Sequence[str], seeds: Sequence[int]) -> dict[str, float]:
    """Places and routes ``work``'s netlist of unit ``name`` from the first of ``seeds`` that meets the clocks, as builds try them; what
    `measure` returns. RuntimeError when each misses a clock, TimingError for a path between two clocks over its budget."""
    others = [(table[name], mhz) for table, mhz in ((FAST, 2 * CLOCK_MHZ), (SLOW, CLOCK_MHZ / 2)) if name in table]
    (work / "unit.lpf").write_text("".join(f'FREQUENCY PORT "{clock}" {mhz:g} MHZ;\n' for clock, mhz in others))
    limits = ("--lpf", "unit.lpf", "--lpf-allow-unconstrained") if others else ()
    command = (build_environment()["NEXTPNR_ECP5"], "--quiet", *device, *limits, "--out-of-context")
    command += (
        "--json",
        "unit.json",
        "--report",
        "report.json",
        "--log",
        "unit.log",
        "--freq",
        str(CLOCK_MHZ),
        "--seed",
    )
    for seed in seeds:
        failed = run(work, *command, str(seed))
        if "Max frequency for clock" not in failed:
            break
    if failed:
        raise RuntimeError(failed)
    report = json.loads((work / "report.json").read_text())
    clocks = read_clocks(report)
    check_timing(clocks, read_cross_clock((work / "unit.log").read_text()))
    reached = {clock_name: clock["achieved_mhz"] for clock_name, clock in clocks.items()}
    beside = {f"{clock}_mhz": reached.pop(f"{clock}_clk") for clock in ("tdc", "net") if f"{clock}_clk" in reached}
    cells = {cell: use["used"] for cell, use in read_utilisation(report).items()}
    return {**cells, "fmax_mhz": min(reached.values()), **beside, "seed": seed}


def measure(text: str, name: str = "") -> dict[str, float]:
    """Synthesises, places and routes unit ``name``; LUT, FF, BRAM, DSP and Fmax in MHz (with a TDC clock or a network's its own
    beside), and the seed of the placement. Errors as of `place`."""
    with tempfile.TemporaryDirectory() as folder:
        synthesise(text, name, Path(folder))
        return place(Path(folder), name, DEVICES.get(name, DEVICE), SEEDS)


def placements(text: str, name: str) -> dict[str, list[float]]:
    """Fmax in MHz of unit ``name`` from each of `SEEDS`, by speed grade. Errors as of `place`, for the first that misses."""
    with tempfile.TemporaryDirectory() as folder:
        synthesise(text, name, Path(folder))
        return {
            str(speed): [
                place(Path(folder), name, (*DEVICE[:2], str(speed), *DEVICE[3:], *AS_BOARDS), [seed])["fmax_mhz"]
                for seed in SEEDS
            ]
            for speed in SPEEDS[name]
        }


def main(names: list[str]) -> None:
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name, make in units().items():
        text = rtlil_of(make)
        if (names and name not in names) or (not names and record.get(name, {}).get("logic") == digest(text)):
            continue
        every = {"placements": placements(text, name)} if name in SPEEDS else {}
        record[name] = {"logic": digest(text), **measure(text, name), **every}
        print(name, record[name], flush=True)
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
