"""The register maps of all nodes, declared once: hdl, host, JSON, SVD and the documentation pages are made from these."""

from __future__ import annotations

from . import smoothing, tracking
from .register_map import INTERFACE_VERSION, Access, Memory, NodeType, Register, RegisterMap
from .tagger import (
    CHANNEL_COUNTERS,
    COINCIDENCE_WINDOW_BITS,
    COINCIDENCES,
    DEAD_TIME_BITS,
    DELAY_BITS,
    DIVIDER_BITS,
    FILTER_WINDOW_BITS,
    GATE_BITS,
    PARTS,
    WALK_BITS,
    WALK_ENTRIES,
    WALK_SHIFT_BITS,
)
from .tdc import DEFAULT_CAL_LAST, DEFAULT_CAL_STEP

__all__ = [
    "CHANNELS",
    "CLIENT",
    "CLIENT_LANES",
    "CLIENT_TABLE_ENTRIES",
    "CORE_COUNTERS",
    "ID_MAGIC",
    "INTERFACE_VERSION",
    "MAPS",
    "SERVER",
    "TIMETAGGER",
    "TIMETAGGER_CHANNELS",
    "Access",
    "Memory",
    "NodeType",
    "Register",
    "RegisterMap",
]

ID_MAGIC = 0x54575048
CHANNELS = ("qL", "qR", "rL", "rR")
"""Channel numbers 0-3 of a pair's server node."""


def _register(address: int, name: str, width: int, doc: str, **more: object) -> Register:
    return Register(name=name, address=address, width=width, doc=doc, **more)  # type: ignore[arg-type]


def _common(node: NodeType) -> tuple[Register, ...]:
    ro = Access.RO
    return (
        _register(0x00, "ID_MAGIC", 32, "0x54575048", access=ro, reset=ID_MAGIC),
        _register(0x01, "NODE_TYPE", 8, "1 server, 2 client, 3 time tagger", access=ro, reset=int(node)),
        _register(0x02, "INTERFACE_VERSION", 8, "version of packets and records", access=ro, reset=INTERFACE_VERSION),
        _register(0x03, "CLOCK_HZ", 32, "system clock", access=ro),
        _register(0x04, "MAP_HASH", 32, "hash of this map", access=ro),
        _register(0x05, "BUILD_HASH", 32, "hash of RTL, constraints and tool versions", access=ro),
        _register(0x06, "SNAPSHOT", 1, "write 1: latch clock and all counters at one clock", access=Access.W1),
        _register(0x07, "SNAPSHOT_COUNT", 32, "snapshots that are complete and readable in COUNTERS", access=ro),
        _register(
            0x0A, "STREAM_ENABLE", 16, "bit s: stream s is sent; a disabled stream's records are not counted lost"
        ),
    )


def _frame() -> tuple[Register, ...]:
    return (
        _register(0x10, "CONTROL", 1, "bit 0 run: the frame starts when the clock reaches START_CLOCK; 0 stops it"),
        _register(0x11, "FRAMING", 1, "1: the anchor is running", access=Access.RO),
        _register(0x12, "START_CLOCK", 51, "clock count at which pulse 0 starts"),
        _register(0x14, "PERIOD", 49, "pulse period P in 2^-32 tick", reset=8192 << 32),
        _register(0x16, "STEP_PULSES", 4, "8192 div P", reset=1),
        _register(0x18, "STEP_REMAINDER", 49, "8192 mod P in 2^-32 tick"),
        _register(0x1A, "PULSE_RECIPROCAL", 17, "floor(2^58 / PERIOD)", reset=(1 << 58) // (8192 << 32)),
        _register(0x1B, "FRAME_PULSES", 24, "L, pulses per frame", reset=16),
        _register(0x1C, "FRAME_RECIPROCAL", 22, "floor(2^25 / L)", reset=(1 << 25) // 16),
        _register(0x1D, "SLOT_PULSES", 16, "M, pulses per table entry", reset=1),
        _register(0x1E, "SLOT_RECIPROCAL", 25, "floor(2^24 / M)", reset=1 << 24),
        _register(0x1F, "FRAMES_PER_WINDOW", 24, "frames per window", reset=1024),
        _register(0x20, "WINDOWS_PER_DWINDOW", 8, "windows per d-window", reset=2),
    )


def _calibration(channels: int) -> tuple[Register, ...]:
    """Registers of front end and delay lines (docs/timetagger.md), at 0x30 to 0x5F."""
    ro = Access.RO
    source = "bit c: channel c's delay line gets the internal test oscillator, not the pin"
    status = "bit 0 calibrated, 1 hits not evenly spread, 2 scale at its limit, 3 busy, 4 level of the pin"
    dump = "write 1: copy the delay line's histogram and table to CAL_BINS"
    last = "the histogram is halved at 2^CAL_LAST hits, at most 25"
    return (
        _register(0x30, "CAL_SOURCE", channels, source),
        _register(0x31, "CAL_HOLD", channels, "bit c: channel c keeps its table and scale"),
        _register(0x32, "CAL_RESET", channels, "bit c: channel c forgets its calibration as long as it is set"),
        _register(0x33, "CAL_SHARED", 1, "1: rising and falling transitions of the chain share one table"),
        _register(0x34, "CAL_STEP", 5, "a table every 2^CAL_STEP hits", reset=DEFAULT_CAL_STEP),
        _register(0x35, "CAL_LAST", 5, last, reset=DEFAULT_CAL_LAST),
        _register(0x36, "CAL_SELECT", 8, "delay line (channel * CHAINS + chain) to be copied to CAL_BINS"),
        _register(0x37, "CAL_DUMP", 1, dump, access=Access.W1),
        _register(0x38, "CAL_DUMPS", 32, "copies that are complete", access=ro),
        _register(0x39, "FRONTEND", 8, "0 simulation, 1 DDR, 2 oversampling, 3 delay line", access=ro),
        _register(0x3A, "CHAINS", 8, "delay lines per channel, 0: none", access=ro),
        _register(0x3B, "TAPS", 16, "taps per delay line, 0: none", access=ro),
        _register(0x3C, "EDGE", channels, "bit c: channel c takes falling edges instead of rising ones"),
        *(_register(0x40 + c, f"CAL_STATUS_{c}", 8, f"channel {c}: {status}", access=ro) for c in range(channels)),
        *(
            _register(
                0x50 + c, f"SCALE_{c}", 16, f"channel {c}: scale of chain 0 less 1, in 2^-18", access=ro, signed=True
            )
            for c in range(channels)
        ),
    )


def _tracking() -> tuple[Register, ...]:
    """Registers of the phase's way through the server (docs/phase.md), at 0x60 to 0x9F."""
    words = (
        (0x0, "D", tracking.D_BITS, "growth of the variance per clock"),
        (0x2, "KAPPA", tracking.KAPPA_BITS, "gain of the slope over that of the phase"),
        (0x3, "P_MIN", tracking.P_BITS, "least variance"),
        (0x4, "P_START", tracking.P_BITS, "variance after the cold start"),
        (0x5, "P_LOST", tracking.P_BITS, "variance that loses the phase"),
        (0x6, "V_START", tracking.VISIBILITY_BITS, "visibility at the start"),
        (0x7, "V_GAIN", tracking.V_GAIN_BITS, "gain of the visibility, 0: it stays"),
        (0x8, "J_ALARM", tracking.EVIDENCE_BITS, "evidence in 2^-9 nat for half a turn more, 0: never"),
        (0x9, "W_ALARM", tracking.EVIDENCE_BITS, "evidence in 2^-9 nat for no fringe, 0: never"),
        (0xA, "DARK", tracking.QUIET_BITS, "clocks without a click that lose the phase, 0: never"),
        (0xB, "SMOOTH_STEP", smoothing.SMOOTH_STEP_BITS, "log2 of the turns from node to node of the smoother"),
        (0xC, "A_GAIN", tracking.A_GAIN_BITS, "gains adapt in steps of 2^-(12 + n), 0: they stay"),
        (0xD, "K_FOLLOWS", 1, "1: the slope's gain adapts with the phase's"),
    )
    return (
        _register(0x60, "PSI_SOURCE", 1, "psi of heralds: 0 of windows, 1 of the click tracker"),
        _register(0x61, "TRACK_EPOCH", 5, "E: an epoch has 2^E clocks, 9 to 16", reset=13),
        _register(0x62, "TRACK_HOLD", smoothing.HOLD_BITS, "clocks from a click to its way into the tracker", reset=96),
        _register(0x63, "TRACK_EVERY", smoothing.EVERY_BITS, "a TRACK record per channel every 2^n turns"),
        *(
            _register(0x70 + 0x10 * c + at, f"{name}_{channel.upper()}", width, f"tracker channel {channel}: {doc}")
            for c, channel in enumerate(smoothing.CHANNELS)
            for at, name, width, doc in words
        ),
        *(
            _register(
                0x90 + 4 * c + k,
                f"SMOOTH_{gain.upper()}_{channel.upper()}",
                smoothing.GAIN_BITS,
                f"smoother of channel {channel}: gain {gain.upper()} in 2^-16",
                signed=True,
            )
            for c, channel in enumerate(smoothing.CHANNELS)
            for k, gain in enumerate(("h11", "h12", "h21", "h22"))
        ),
    )


CAL_BINS = Memory(
    name="CAL_BINS",
    address=0x4000,
    words=4096,
    width=32,
    doc="last copy of a delay line: bin polarity << code bits | code; word 2 bin: hits, word 2 bin + 1: quarter ticks",
    access=Access.RO,
)

CORE_COUNTERS = (
    ("clock", "clock count of the snapshot"),
    ("malformed", "packets from the link that were cut off, damaged or not for this node"),
)
"""Counters of every node, first in its map."""

SERVER = RegisterMap(
    node=NodeType.SERVER,
    registers=(
        *_common(NodeType.SERVER),
        *_frame(),
        _register(0x21, "GATE_START_Q", 17, "first position in the pulse, in ticks, that counts (quantum band)"),
        _register(0x22, "GATE_STOP_Q", 18, "first position after the gate", reset=1 << 17),
        _register(0x23, "GATE_START_R", 17, "the same for the reference band"),
        _register(0x24, "GATE_STOP_R", 18, "the same for the reference band", reset=1 << 17),
        _register(0x25, "SWAP", 2, "bit 0: swap L and R of the quantum band, bit 1: of the reference band"),
        _register(0x26, "RATIO", 32, "nu_q / nu_r - 1 in 2^-32", signed=True),
        _register(0x27, "CHANNEL_ENABLE", 4, "bit c: channel c accepts edges"),
        *(
            _register(0x28 + c, f"DELAY_{name}", 22, f"delay of {name} in ticks, +-2 us", signed=True)
            for c, name in enumerate(CHANNELS)
        ),
        *(
            _register(0x2C + c, f"DEAD_TIME_{name}", 32, f"dead time of {name} in ticks")
            for c, name in enumerate(CHANNELS)
        ),
        *_calibration(len(CHANNELS)),
        *_tracking(),
    ),
    memories=(
        Memory(
            name="COUNTERS", address=0x1000, words=128, width=32, doc="last snapshot, 2 words each", access=Access.RO
        ),
        CAL_BINS,
        Memory(name="FRAME_TABLE", address=0x8000, words=1 << 15, width=8, doc="slot bytes: q class | r class << 4"),
    ),
    counters=(
        *CORE_COUNTERS,
        *(
            entry
            for name in CHANNELS
            for entry in (
                (f"seen_{name}", "edges from the enabled front end"),
                (f"dead_{name}", "edges within the dead time"),
                (f"dropped_{name}", "edges lost because the merge queue was full"),
                (f"tags_{name}", "tags that left the merge"),
                (f"in_flight_{name}", "edges accepted by the channel that have not left the merge"),
                (f"uncalibrated_{name}", "hits of a delay line that has no table yet: no edges"),
                (f"runts_{name}", "pairs of edges closer than one TDC clock: no edges"),
            )
        ),
        ("unframed", "tags before the frame or while it is stopped"),
        ("background", "framed tags outside the gate or in GUARD slots"),
        ("signal", "gated clicks of the quantum band in SIG slots"),
        ("reference_q", "gated clicks of the quantum band in REF(k) slots"),
        ("reference_r", "gated clicks of the reference band in REF(k) slots"),
        ("other", "all other gated clicks (VAC, REF-A, REF-B; SIG in the reference band)"),
        ("heralds", "heralds announced"),
        ("multiple", "SIG pulses with more than one gated click: no herald"),
        (
            "unjoined",
            "single-click pulses not announced because the psi queue or the queue of the HERALD packer was full",
        ),
        (
            "untracked",
            "clicks of REF(k) slots that the tracker did not get: late, blank, or no phase of the reference band",
        ),
        (
            "unsent",
            "PHASE and DPHASE records that met one which the packer had not taken yet (a packer takes at once: 0)",
        ),
    ),
)

CLIENT_TABLE_ENTRIES = 4096
CLIENT_LANES = 8
"""Largest number of pulses per clock; a client's period is exactly 8192 / lanes ticks with lanes 1, 2, 4 or 8."""

CLIENT = RegisterMap(
    node=NodeType.CLIENT,
    registers=(
        *_common(NodeType.CLIENT),
        *_frame(),
        _register(0x21, "LANES", 4, "pulses per clock that this build emits", access=Access.RO),
        _register(0x22, "ROLE", 1, "0 Alice, 1 Bob"),
        _register(0x23, "KEY_0", 32, "generator key, word 0"),
        _register(0x24, "KEY_1", 32, "generator key, word 1"),
        _register(0x25, "KEY_2", 32, "generator key, word 2"),
        _register(0x26, "KEY_3", 32, "generator key, word 3"),
        _register(0x27, "Z_THRESHOLD", 16, "p(Z) * 65536"),
        _register(0x28, "SEND_THRESHOLD", 16, "p(send | Z) * 65536"),
        _register(0x29, "VAC_THRESHOLD", 16, "p(vacuum | X) * 65536"),
        _register(0x2A, "MU1_THRESHOLD", 16, "p(vacuum or mu_1 | X) * 65536"),
        _register(0x2B, "BLOCK_HERALDS", 12, "heralds per block, multiple of 32 from 32 to 2048", reset=1024),
        _register(0x2C, "SLICE_WIDTH", 16, "Ds in 2^-16 turn, at most half a turn", reset=8192),
    ),
    memories=(
        Memory(
            name="COUNTERS", address=0x1000, words=128, width=32, doc="last snapshot, 2 words each", access=Access.RO
        ),
        Memory(
            name="CELLS", address=0x2000, words=128, width=32, doc="sifting counters: sns.cell_index", access=Access.RO
        ),
        Memory(
            name="FRAME_TABLE",
            address=0x8000,
            words=2 * CLIENT_TABLE_ENTRIES,
            width=32,
            doc="slot bytes, entry e in words 2e and 2e+1: byte i is lane i; an entry lasts SLOT_PULSES / lanes clocks",
        ),
    ),
    counters=(
        *CORE_COUNTERS,
        ("heralds", "herald records taken in"),
        ("missing", "herald numbers that were skipped"),
        ("late", "herald or psi records whose number had passed"),
        (
            "overflow",
            "herald and psi records for which the ring had no room: the herald becomes missing, the psi 0 without flags",
        ),
        ("psi", "psi records taken in"),
        ("peer", "peer records taken in"),
        ("refused", "peer records that came out of order, out of range or to a full queue"),
        ("blocks_agreed", "blocks whose digests were equal"),
        ("blocks_discarded", "blocks whose digests differed"),
        ("sifted_z", "SIFTED records of Z windows"),
        ("sifted_x", "SIFTED records of X windows"),
        ("kept_x", "of these, kept by the slice test"),
        ("error_x", "of these, errors"),
    ),
)


TIMETAGGER_CHANNELS = 8
"""Channels of the time tagger's register map; a build with fewer leaves the others without effect."""


def _per_channel() -> tuple[Register, ...]:
    names = (
        ("DELAY", DELAY_BITS, "delay in ticks, +-2 us", True),
        ("DEAD_TIME", DEAD_TIME_BITS, "dead time in ticks", False),
        ("VETO_FROM", DEAD_TIME_BITS, "after-pulse veto: first distance in ticks that is vetoed", False),
        ("VETO_TO", DEAD_TIME_BITS, "after-pulse veto: first distance after it", False),
        ("DIVIDER", DIVIDER_BITS, "every n-th accepted edge passes (0, 1: all)", False),
    )
    return tuple(
        _register(0x60 + 8 * block + channel, f"{name}_{channel}", width, f"channel {channel}: {doc}", signed=signed)
        for block, (name, width, doc, signed) in enumerate(names)
        for channel in range(TIMETAGGER_CHANNELS)
    )


_PARTS = ", ".join(f"bit {k} {name}" for k, name in enumerate(PARTS))


def _tagger_memory(address: int, name: str, words: int, width: int, doc: str) -> Memory:
    return Memory(name=name, address=address, words=words, width=width, doc=doc)


TIMETAGGER = RegisterMap(
    node=NodeType.TIMETAGGER,
    registers=(
        *_common(NodeType.TIMETAGGER),
        _register(0x10, "CHANNELS", 8, "channels of this build", access=Access.RO),
        _register(0x11, "PARTS", 8, f"parts of this build: {_PARTS}", access=Access.RO),
        _register(0x12, "LANES", 8, "edges per channel and clock", access=Access.RO),
        _register(0x15, "CHANNEL_ENABLE", 8, "bit c: channel c accepts edges"),
        _register(0x16, "PULSER_MASK", 8, "bit c: channel c gets the test pulser's edges instead of its pin's"),
        _register(0x17, "PULSER_PERIOD", 32, "clocks between two edges of the test pulser, at least 2", reset=125_000),
        _register(0x18, "PULSER_FINE", 13, "ticks into the clock of the test pulser's edges"),
        _register(0x19, "FILTER_WINDOW", FILTER_WINDOW_BITS, "conditional filter: largest distance in ticks"),
        _register(0x1A, "WINDOW_FROM", 64, "time window: first time in ticks"),
        _register(0x1C, "WINDOW_UNTIL", 64, "time window: first time after it", reset=(1 << 64) - 1),
        _register(0x1E, "WINDOW_ENABLE", 8, "bit c: channel c passes only within the time window"),
        *(
            _register(0x20 + v, f"COINCIDENCE_MASK_{v}", 8, f"channels of coincidence {v}; fewer than two: none")
            for v in range(COINCIDENCES)
        ),
        *(
            _register(
                0x24 + v,
                f"COINCIDENCE_WINDOW_{v}",
                COINCIDENCE_WINDOW_BITS,
                f"largest distance in ticks within coincidence {v}",
            )
            for v in range(COINCIDENCES)
        ),
        _register(
            0x28, "WALK_SHIFT", WALK_SHIFT_BITS, "ticks per entry of the time-walk table, as a power of 2", reset=13
        ),
        *_calibration(TIMETAGGER_CHANNELS),
        *_per_channel(),
    ),
    memories=(
        Memory(
            name="COUNTERS", address=0x1000, words=256, width=32, doc="last snapshot, 2 words each", access=Access.RO
        ),
        _tagger_memory(0x2000, "GATE_TABLE", 32, 8, "per channel: bit 7 gated, bits 0-4 by this channel's tags"),
        _tagger_memory(0x2040, "GATE_FROM", 32, GATE_BITS, "per channel: first distance in ticks after the gate's tag"),
        _tagger_memory(0x2080, "GATE_TO", 32, GATE_BITS, "per channel: first distance after the gate"),
        _tagger_memory(
            0x20C0, "FILTER_MASK", 32, 32, "per channel: it passes only near a tag of one of these; 0: always"
        ),
        _tagger_memory(
            0x3000,
            "WALK",
            32 * WALK_ENTRIES,
            WALK_BITS,
            "time walk in ticks, signed: channel * 64 + time since the last click",
        ),
        CAL_BINS,
    ),
    counters=(
        *CORE_COUNTERS,
        *((f"virtual_{v}", f"tags of coincidence {v}") for v in range(COINCIDENCES)),
        *((f"{name}_{c}", f"channel {c}: {doc}") for c in range(TIMETAGGER_CHANNELS) for name, doc in CHANNEL_COUNTERS),
    ),
)
MAPS = {node_map.node: node_map for node_map in (SERVER, CLIENT, TIMETAGGER)}
