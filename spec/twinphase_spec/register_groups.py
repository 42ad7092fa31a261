"""Registers that nodes have in common, and those of a node's rooms, in groups: `registers` makes the maps of them."""

from __future__ import annotations

from . import actuator as drive
from . import emission as emit
from . import smooth_follow, smoothing
from . import tracking as click_tracking
from .arrival import WINDOWS_BITS
from .frame import PULSE_BITS, PULSE_RECIPROCAL_BITS, STEP_PULSES_BITS
from .register_map import INTERFACE_VERSION, Access, Memory, NodeType, Register
from .tdc import DEFAULT_CAL_LAST, DEFAULT_CAL_STEP
from .units import TURN_BITS

ID_MAGIC = 0x54575048


def register(address: int, name: str, width: int, doc: str, **more: object) -> Register:
    return Register(name=name, address=address, width=width, doc=doc, **more)  # type: ignore[arg-type]


def common(node: NodeType) -> tuple[Register, ...]:
    ro = Access.RO
    return (
        register(0x00, "ID_MAGIC", 32, "0x54575048", access=ro, reset=ID_MAGIC),
        register(0x01, "NODE_TYPE", 8, "1 server, 2 client, 3 time tagger", access=ro, reset=int(node)),
        register(0x02, "INTERFACE_VERSION", 8, "version of packets and records", access=ro, reset=INTERFACE_VERSION),
        register(0x03, "CLOCK_HZ", 32, "system clock", access=ro),
        register(0x04, "MAP_HASH", 32, "hash of this map", access=ro),
        register(0x05, "BUILD_HASH", 32, "hash of RTL, constraints and tool versions", access=ro),
        register(0x06, "SNAPSHOT", 1, "write 1: latch clock and all counters at one clock", access=Access.W1),
        register(0x07, "SNAPSHOT_COUNT", 32, "snapshots that are complete and readable in COUNTERS", access=ro),
        register(
            0x0A, "STREAM_ENABLE", 16, "bit s: stream s is sent; a disabled stream's records are not counted lost"
        ),
    )


def frame() -> tuple[Register, ...]:
    return (
        register(0x10, "CONTROL", 1, "bit 0 run: the frame starts when the clock reaches START_CLOCK; 0 stops it"),
        register(0x11, "FRAMING", 1, "1: the anchor is running", access=Access.RO),
        register(0x12, "START_CLOCK", 51, "clock count at which pulse 0 starts"),
        register(0x14, "PERIOD", 49, "pulse period P in 2^-32 tick", reset=8192 << 32),
        register(0x16, "STEP_PULSES", STEP_PULSES_BITS, "8192 div P", reset=1),
        register(0x18, "STEP_REMAINDER", 49, "8192 mod P in 2^-32 tick"),
        register(
            0x1A, "PULSE_RECIPROCAL", PULSE_RECIPROCAL_BITS, "floor(2^58 / PERIOD)", reset=(1 << 58) // (8192 << 32)
        ),
        register(0x1B, "FRAME_PULSES", 24, "L, pulses per frame", reset=16),
        register(0x1C, "FRAME_RECIPROCAL", 22, "floor(2^25 / L)", reset=(1 << 25) // 16),
        register(0x1D, "SLOT_PULSES", 16, "M, pulses per table entry", reset=1),
        register(0x1E, "SLOT_RECIPROCAL", 25, "floor(2^24 / M)", reset=1 << 24),
        register(0x1F, "FRAMES_PER_WINDOW", 24, "frames per window", reset=1024),
        register(0x20, "WINDOWS_PER_DWINDOW", 8, "windows per d-window", reset=2),
    )


def calibration(channels: int) -> tuple[Register, ...]:
    """Registers of front end and delay lines (docs/timetagger.md), at 0x30 to 0x5F."""
    ro = Access.RO
    source = "bit c: channel c's delay line gets the internal test oscillator, not the pin"
    status = "bit 0 calibrated, 1 hits not evenly spread, 2 scale at its limit, 3 busy, 4 level of the pin"
    dump = "write 1: copy the delay line's histogram and table to CAL_BINS"
    last = "the histogram is halved at 2^CAL_LAST hits, at most 25"
    return (
        register(0x30, "CAL_SOURCE", channels, source),
        register(0x31, "CAL_HOLD", channels, "bit c: channel c keeps its table and scale"),
        register(0x32, "CAL_RESET", channels, "bit c: channel c forgets its calibration as long as it is set"),
        register(0x33, "CAL_SHARED", 1, "1: rising and falling transitions of the chain share one table"),
        register(0x34, "CAL_STEP", 5, "a table every 2^CAL_STEP hits", reset=DEFAULT_CAL_STEP),
        register(0x35, "CAL_LAST", 5, last, reset=DEFAULT_CAL_LAST),
        register(0x36, "CAL_SELECT", 8, "delay line (channel * CHAINS + chain) to be copied to CAL_BINS"),
        register(0x37, "CAL_DUMP", 1, dump, access=Access.W1),
        register(0x38, "CAL_DUMPS", 32, "copies that are complete", access=ro),
        register(0x39, "FRONTEND", 8, "0 simulation, 1 DDR, 2 oversampling, 3 delay line", access=ro),
        register(0x3A, "CHAINS", 8, "delay lines per channel, 0: none", access=ro),
        register(0x3B, "TAPS", 16, "taps per delay line, 0: none", access=ro),
        register(0x3C, "EDGE", channels, "bit c: channel c takes falling edges instead of rising ones"),
        *(register(0x40 + c, f"CAL_STATUS_{c}", 8, f"channel {c}: {status}", access=ro) for c in range(channels)),
        *(
            register(
                0x50 + c, f"SCALE_{c}", 16, f"channel {c}: scale of chain 0 less 1, in 2^-18", access=ro, signed=True
            )
            for c in range(channels)
        ),
    )


def tracking() -> tuple[Register, ...]:
    """Registers of the phase's way through the server (docs/phase.md), at 0x60 to 0x9F."""
    words = (
        (0x0, "D", click_tracking.D_BITS, "growth of the variance per clock"),
        (0x2, "KAPPA", click_tracking.KAPPA_BITS, "gain of the slope over that of the phase"),
        (0x3, "P_MIN", click_tracking.P_BITS, "least variance"),
        (0x4, "P_START", click_tracking.P_BITS, "variance after the cold start"),
        (0x5, "P_LOST", click_tracking.P_BITS, "variance that loses the phase"),
        (0x6, "V_START", click_tracking.VISIBILITY_BITS, "visibility at the start"),
        (0x7, "V_GAIN", click_tracking.V_GAIN_BITS, "gain of the visibility, 0: it stays"),
        (0x8, "J_ALARM", click_tracking.EVIDENCE_BITS, "evidence in 2^-9 nat for half a turn more, 0: never"),
        (0x9, "W_ALARM", click_tracking.EVIDENCE_BITS, "evidence in 2^-9 nat for no fringe, 0: never"),
        (0xA, "DARK", click_tracking.QUIET_BITS, "clocks without a click that lose the phase, 0: never"),
        (0xB, "SMOOTH_STEP", smoothing.SMOOTH_STEP_BITS, "log2 of the turns from node to node of the smoother"),
        (0xC, "A_GAIN", click_tracking.A_GAIN_BITS, "gains adapt in steps of 2^-(12 + n), 0: they stay"),
        (0xD, "K_FOLLOWS", 1, "1: the slope's gain adapts with the phase's"),
        (0xE, "SMOOTH_LATER", smoothing.SMOOTH_LATER_BITS, "node steps by which the smoother's lag is above 17 to 32"),
        (
            0xF,
            "SMOOTH_FROM",
            smooth_follow.LD_BITS,
            "log2 of variance times clicks where its SMOOTH_TABLE begins, 1/8 octave",
        ),
    )
    return (
        register(0x60, "PSI_SOURCE", 2, "psi of heralds: 0 of windows, 1 of the click tracker, 2 none"),
        register(0x61, "TRACK_EPOCH", 5, "E: an epoch has 2^E clocks, 9 to 16", reset=13),
        register(0x62, "TRACK_HOLD", smoothing.HOLD_BITS, "clocks from a click to its way into the tracker", reset=96),
        register(0x63, "TRACK_EVERY", smoothing.EVERY_BITS, "a TRACK record per channel every 2^n turns"),
        register(
            0x6A, "ANNOUNCE_ALL", 1, "heralds that find the psi queue full: 0 are refused, 1 are announced without psi"
        ),
        register(
            0x68,
            "TRACK_LOCKED",
            len(smoothing.CHANNELS),
            "bit c: tracker channel c (r, d) has a phase",
            access=Access.RO,
        ),
        register(
            0x69,
            "SMOOTH_FOLLOWS",
            len(smoothing.CHANNELS),
            "bit c: the smoother's gains of channel c (r, d) are those of SMOOTH_TABLE",
        ),
        *(
            register(
                0x64 + k,
                f"STEP_R_{k}",
                TURN_BITS,
                f"what REF({k}) of the reference band adds to psi_r, 2^-16 turn",
                reset=k << TURN_BITS - 2,
            )
            for k in range(4)
        ),
        *(
            register(0x70 + 0x10 * c + at, f"{name}_{channel.upper()}", width, f"tracker channel {channel}: {doc}")
            for c, channel in enumerate(smoothing.CHANNELS)
            for at, name, width, doc in words
        ),
        *(
            register(
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


SMOOTH_TABLE = Memory(
    name="SMOOTH_TABLE",
    address=0x1100,
    words=len(smoothing.CHANNELS) * smooth_follow.WORDS,
    width=smoothing.GAIN_BITS,
    doc="of channel r, then of channel d: the smoother's gains H11, H12, H21, H22 in 2^-16, signed, of 16 entries half an octave apart",
)

TRACK_STATES = tuple(
    (f"locked_{channel}", f"1 while tracker channel {channel} has a phase, else 0") for channel in smoothing.CHANNELS
)
"""Counters that show a state of the click tracker."""
TRACK_EVENTS = tuple(
    (f"{name}_{channel}", doc.format(channel))
    for channel in smoothing.CHANNELS
    for name, doc in (
        ("starts", "cold starts of tracker channel {} that found a phase"),
        ("lost", "phases of tracker channel {} given up at a turn: darkness, or a variance above P_LOST"),
        ("faded", "phases of tracker channel {} given up at a click: evidence of no fringe"),
        ("jumps", "half turns that evidence has added to the phase of tracker channel {}"),
        ("unlocked", "turns, one per 2^TRACK_EPOCH clocks, at which tracker channel {} had no phase"),
    )
)
"""Counters of rare events of the click tracker (docs/phase.md, Events): the last of the server's map."""


def actuator() -> tuple[Register, ...]:
    """Registers of the phase actuator (docs/actuator.md), at 0xA0 to 0xAF."""
    return (
        register(
            0xA0, "ACT_CONTROL", 5, "bit 0 on, 1 coast in hold, 2 dither, 3 bank of the table that acts, 4 seek in hold"
        ),
        register(0xA1, "ACT_LOCK", TURN_BITS, "residual phase of the reference band to hold, 2^-16 turn"),
        register(0xA2, "ACT_SLEW", drive.SLEW_BITS, "largest step, 2^-32 turn per 4 clocks"),
        register(0xA3, "ACT_LOW", drive.LIMIT_BITS, "position below which it flies up by a turn, 2^-16 turn"),
        register(0xA4, "ACT_HIGH", drive.LIMIT_BITS, "position from which on it flies down", reset=98304),
        register(0xA5, "ACT_TOP", drive.LIMIT_BITS, "last position", reset=98304),
        register(0xA6, "ACT_SETTLE", drive.SETTLE_BITS, "steps of 4 clocks in blank after a fly-back, less one"),
        register(0xA7, "ACT_DELAY", drive.DELAY_BITS, "clocks from a code to the clicks on which it has acted"),
        register(0xA8, "ACT_RATIO", 32, "nu of the light for which the table is / nu_r - 1 in 2^-32", signed=True),
        register(0xA9, "ACT_BITS", 8, "bits of the actuator's DAC; 0: this build has no actuator", access=Access.RO),
        register(0xAA, "ACT_SEEK", drive.SEEK_BITS, "how fast it goes round while it seeks, 2^-32 turn per clock"),
    )


def arrival() -> tuple[Register, ...]:
    """Registers of the arms' arrival times (docs/alignment.md), at 0xB0."""
    return (
        register(0xB0, "ARRIVAL_WINDOWS", WINDOWS_BITS, "windows per interval of ARRIVAL records; 0: none are made"),
    )


def emission() -> tuple[Register, ...]:
    """Corrections of a client's emission (docs/alignment.md), at 0x48."""
    ro = Access.RO
    return (
        register(
            0x48, "EMIT_SLOT", PULSE_BITS, "N: emission slot from which on a correction is in force, multiple of 8"
        ),
        register(0x4A, "EMIT_PULSES", emit.PULSES_BITS, "K: in slot p pulse p - K is emitted", signed=True),
        register(
            0x4B, "EMIT_FRACTION", emit.FRACTION_BITS, "F: ticks that it is late; this write hands over N, K and F"
        ),
        register(0x4C, "EMITTED_PULSES", emit.PULSES_BITS, "K in force", access=ro, signed=True),
        register(0x4D, "EMITTED_FRACTION", emit.FRACTION_BITS, "F in force", access=ro),
        register(0x4E, "EMIT_TAKEN", 32, "corrections that were taken since reset", access=ro),
        register(
            0x4F,
            "EMIT_REFUSED",
            32,
            "corrections that were refused since reset: too late, too near, too far",
            access=ro,
        ),
    )


def rules() -> tuple[Register, ...]:
    """The protocol of a client's block sifter (docs/rules.md); to be written while CONTROL run = 0."""
    code_pairs = "by announced codes, bit (x << 2 | level) << 3 | peer's (x << 2 | level)"
    return (
        register(0x2D, "RULE_REVEAL", 4, "bit (own x << 1 | peer x): the own intensity is revealed"),
        register(0x2E, "SLICE_MASK", 4, "bits of a slice that are revealed"),
        register(0x2F, "RULE_ERROR", 1, "1: errors of X records are known"),
        register(0x30, "RULE_KEY", 8, "bit (x << 2 | intensity): bit of a Z record"),
        register(0x31, "PAIR_SPAN", 32, "largest distance in pulses of the two heralds of a pair; 0: no pairs"),
        register(0x32, "RULE_SLICE", 64, f"slices are revealed, {code_pairs}"),
        register(0x34, "RULE_X", 64, f"X record, {code_pairs}"),
        register(0x36, "RULE_Z", 64, f"Z record, {code_pairs}"),
        register(
            0x38, "RULE_PAIR", 64, "nibble (first intensity << 2 | second): bit 0 x, bits 1-2 intensity, bit 3 key"
        ),
    )
