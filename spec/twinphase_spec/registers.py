"""The register maps of all nodes, declared once: hdl, host, JSON, SVD and the documentation pages are made from these."""

from __future__ import annotations

from .actuator import TABLE_ENTRIES, WORD_BITS
from .drive import ENTRY_BITS, TABLE_WORDS
from .herald_code import FIRST
from .live import RECOVERY_BITS
from .register_groups import (
    ID_MAGIC,
    SMOOTH_TABLE,
    TRACK_EVENTS,
    TRACK_STATES,
    actuator,
    arrival,
    calibration,
    common,
    emission,
    frame,
    register,
    rules,
    tracking,
)
from .register_map import INTERFACE_VERSION, Access, Memory, NodeType, Register, RegisterMap
from .sns import CELLS, PSI_BINS
from .symbols import BOUND_BITS, SLICE_BITS, SLICES
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

CHANNELS = ("qL", "qR", "rL", "rR")
"""Channel numbers 0-3 of a pair's server node."""


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
        *common(NodeType.SERVER),
        *frame(),
        register(0x21, "GATE_START_Q", 17, "first position in the pulse, in ticks, that counts (quantum band)"),
        register(0x22, "GATE_STOP_Q", 18, "first position after the gate", reset=1 << 17),
        register(0x23, "GATE_START_R", 17, "the same for the reference band"),
        register(0x24, "GATE_STOP_R", 18, "the same for the reference band", reset=1 << 17),
        register(0x25, "SWAP", 2, "bit 0: swap L and R of the quantum band, bit 1: of the reference band"),
        register(0x26, "RATIO", 32, "nu_q / nu_r - 1 in 2^-32", signed=True),
        register(0x27, "CHANNEL_ENABLE", 4, "bit c: channel c accepts edges"),
        *(
            register(0x28 + c, f"DELAY_{name}", 22, f"delay of {name} in ticks, +-2 us", signed=True)
            for c, name in enumerate(CHANNELS)
        ),
        *(
            register(0x2C + c, f"DEAD_TIME_{name}", 32, f"dead time of {name} in ticks")
            for c, name in enumerate(CHANNELS)
        ),
        *calibration(len(CHANNELS)),
        register(
            0x3E,
            "HERALD_DIVISOR",
            8,
            "divisor of the herald code until 272 heralds are out: E << 3 | f",
            reset=FIRST.byte,
        ),
        register(
            0x3F,
            "RECOVERY_PULSES",
            RECOVERY_BITS,
            "pulses after that of a click of the quantum band that are not live; 0: all are",
        ),
        *tracking(),
        *actuator(),
        *arrival(),
    ),
    memories=(
        Memory(
            name="COUNTERS", address=0x1000, words=128, width=32, doc="last snapshot, 2 words each", access=Access.RO
        ),
        SMOOTH_TABLE,
        CAL_BINS,
        Memory(
            name="ACT_TABLE",
            address=0x2000,
            words=2 * TABLE_ENTRIES,
            width=WORD_BITS,
            doc="actuator: fraction of the DAC's range by position in 1/512 turn, 2 banks of 1024",
        ),
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
        ("not_live", "gated clicks of the quantum band in SIG slots whose pulse is not live: no herald"),
        (
            "unjoined",
            "single-click pulses not announced because the queue towards the packers was full, or with ANNOUNCE_ALL 0 the psi queue",
        ),
        ("unphased", "heralds announced without psi because the psi queue was full (ANNOUNCE_ALL 1)"),
        ("flybacks", "fly-backs of the actuator by a turn"),
        ("blanked", "slots in blank after fly-backs"),
        ("limited", "steps of the actuator that the end of its range has cut"),
        (
            "untracked",
            "clicks of REF(k) slots that the tracker did not get: late, blank, or no phase of the reference band",
        ),
        (
            "unsent",
            "PHASE, DPHASE, TRACK, PSI_CAUSAL and ARRIVAL records that met one not taken yet by the packer (which takes at once: 0)",
        ),
        *TRACK_STATES,
        *TRACK_EVENTS,
    ),
)

CLIENT_TABLE_ENTRIES = 4096
CLIENT_LANES = 8
"""Largest number of pulses per clock; a client's period is exactly 8192 / lanes ticks with lanes 1, 2, 4 or 8."""

CLIENT = RegisterMap(
    node=NodeType.CLIENT,
    registers=(
        *common(NodeType.CLIENT),
        *frame(),
        register(0x21, "LANES", 4, "pulses per clock that this build emits", access=Access.RO),
        register(0x22, "ROLE", 1, "0 Alice, 1 Bob"),
        register(0x23, "KEY_0", 32, "AES-128 key of the symbols, bytes 0 to 3, byte 0 the highest", secret=True),
        register(0x24, "KEY_1", 32, "AES-128 key, bytes 4 to 7", secret=True),
        register(0x25, "KEY_2", 32, "AES-128 key, bytes 8 to 11", secret=True),
        register(0x26, "KEY_3", 32, "AES-128 key, bytes 12 to 15", secret=True),
        register(0x27, "SENT_BELOW", BOUND_BITS, "p(Z, sent) * 4096"),
        register(0x28, "Z_BELOW", BOUND_BITS, "p(Z) * 4096"),
        register(0x29, "VACUUM_BELOW", BOUND_BITS, "p(Z, or X with vacuum) * 4096"),
        register(0x2A, "MU1_BELOW", BOUND_BITS, "p(Z, or X with vacuum or mu_1) * 4096"),
        register(0x2B, "BLOCK_HERALDS", 12, "heralds per block, multiple of 32 from 32 to 2048", reset=1024),
        register(0x2C, "SLICE_WIDTH", 16, "Ds in 2^-16 turn, at most half a turn", reset=8192),
        *rules(),
        register(0x3A, "NONCE_0", 32, "bytes 0 to 3 of the symbols' counter blocks, byte 0 the highest"),
        register(0x3B, "NONCE_1", 32, "bytes 4 to 7 of the counter blocks"),
        register(0x3C, "KEY_READY", 1, "the key written last is expanded; the frame waits for it", access=Access.RO),
        register(0x3D, "SLICES_Z", SLICE_BITS, "bits of a slice that the source uses in Z windows", reset=SLICES - 1),
        register(0x3E, "SLICES_X", SLICE_BITS, "the same in X windows", reset=SLICES - 1),
        register(
            0x3F,
            "RING_SYMBOLS",
            20,
            "symbols of this build's ring, whose bits a QRNG gives; 0: AES-128",
            access=Access.RO,
        ),
        *(
            register(
                0x40 + k,
                f"DIGEST_KEY_{k}",
                32,
                f"key of the pair's block digest, bytes {4 * k} to {4 * k + 3}",
                secret=True,
            )
            for k in range(4)
        ),
        register(0x44, "DIGEST_NONCE_0", 32, "bytes 0 to 3 of the pads' counter blocks, byte 0 the highest"),
        register(0x45, "DIGEST_NONCE_1", 32, "bytes 4 to 7 of the pads' counter blocks"),
        register(0x46, "DIGEST_LIVE", 1, "1: the block digest covers LIVE records, and waits for them"),
        *emission(),
    ),
    memories=(
        Memory(
            name="COUNTERS", address=0x1000, words=128, width=32, doc="last snapshot, 2 words each", access=Access.RO
        ),
        Memory(
            name="CELLS",
            address=0x2000,
            words=2 * CELLS,
            width=32,
            doc="sifting counters of the last snapshot, 2 words each: sns.cell_index",
            access=Access.RO,
        ),
        Memory(
            name="PSI_HISTOGRAM",
            address=0x2100,
            words=2 * PSI_BINS,
            width=32,
            doc="X records of the last snapshot by psi >> 10, 2 words each",
            access=Access.RO,
        ),
        Memory(
            name="MODULATOR_TABLE",
            address=0x3000,
            words=TABLE_WORDS,
            width=ENTRY_BITS,
            doc="DAC words of band << 7 | level << 4 | phase: intensity in bits 0 to 11, phase in 12 to 23",
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
        ("unpaired", "heralds that are not the second of a pair, while PAIR_SPAN asks for pairs"),
        ("sifted_z", "SIFTED records of Z windows"),
        ("sifted_x", "SIFTED records of X windows"),
        ("kept_x", "of these, kept by the slice test"),
        ("error_x", "of these, errors"),
        ("unrecalled", "heralds whose symbols the ring had no more, or never had: their blocks are discarded"),
        ("starved", "pulses for which the QRNG had no bits: they are vacuum"),
        ("live", "LIVE records taken in, while DIGEST_LIVE asks for them"),
        ("live_overflow", "LIVE records for which the queue had no room: their blocks are discarded"),
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
        register(0x60 + 8 * block + channel, f"{name}_{channel}", width, f"channel {channel}: {doc}", signed=signed)
        for block, (name, width, doc, signed) in enumerate(names)
        for channel in range(TIMETAGGER_CHANNELS)
    )


_PARTS = ", ".join(f"bit {k} {name}" for k, name in enumerate(PARTS))


def _tagger_memory(address: int, name: str, words: int, width: int, doc: str) -> Memory:
    return Memory(name=name, address=address, words=words, width=width, doc=doc)


TIMETAGGER = RegisterMap(
    node=NodeType.TIMETAGGER,
    registers=(
        *common(NodeType.TIMETAGGER),
        register(0x10, "CHANNELS", 8, "channels of this build", access=Access.RO),
        register(0x11, "PARTS", 8, f"parts of this build: {_PARTS}", access=Access.RO),
        register(0x12, "LANES", 8, "edges per channel and clock", access=Access.RO),
        register(0x15, "CHANNEL_ENABLE", 8, "bit c: channel c accepts edges"),
        register(0x16, "PULSER_MASK", 8, "bit c: channel c gets the test pulser's edges instead of its pin's"),
        register(0x17, "PULSER_PERIOD", 32, "clocks between two edges of the test pulser, at least 2", reset=125_000),
        register(0x18, "PULSER_FINE", 13, "ticks into the clock of the test pulser's edges"),
        register(0x19, "FILTER_WINDOW", FILTER_WINDOW_BITS, "conditional filter: largest distance in ticks"),
        register(0x1A, "WINDOW_FROM", 64, "time window: first time in ticks"),
        register(0x1C, "WINDOW_UNTIL", 64, "time window: first time after it", reset=(1 << 64) - 1),
        register(0x1E, "WINDOW_ENABLE", 8, "bit c: channel c passes only within the time window"),
        *(
            register(0x20 + v, f"COINCIDENCE_MASK_{v}", 8, f"channels of coincidence {v}; fewer than two: none")
            for v in range(COINCIDENCES)
        ),
        *(
            register(
                0x24 + v,
                f"COINCIDENCE_WINDOW_{v}",
                COINCIDENCE_WINDOW_BITS,
                f"largest distance in ticks within coincidence {v}",
            )
            for v in range(COINCIDENCES)
        ),
        register(
            0x28, "WALK_SHIFT", WALK_SHIFT_BITS, "ticks per entry of the time-walk table, as a power of 2", reset=13
        ),
        *calibration(TIMETAGGER_CHANNELS),
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
