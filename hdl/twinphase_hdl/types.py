"""Layouts that travel between components."""

from amaranth.hdl import signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import frame, packets, smoothing, units

CHANNEL_BITS = 6
"""As in a T2 word."""
NODE_EPOCH_BITS = 32


class Tag(data.Struct):
    """A time-tagged click: time in ticks."""

    time: units.TIME_BITS
    channel: CHANNEL_BITS


class Anchor(data.Struct):
    """`twinphase_spec.frame.Anchor`: the timebase's position, LAG_CLOCKS behind the clock count."""

    clock: units.CLOCK_BITS
    pulse: frame.PULSE_BITS
    remainder: frame.PERIOD_BITS
    frame_pulse: frame.FRAME_PULSE_BITS
    frame: frame.FRAME_BITS
    window_frame: frame.FRAMES_PER_WINDOW_BITS
    window: frame.WINDOW_BITS
    dwindow_window: frame.WINDOWS_PER_DWINDOW_BITS
    dwindow: frame.WINDOW_BITS


class GridConfig(data.Struct):
    """Register values that the timebase and the framer run on; names as in the register map."""

    start_clock: units.CLOCK_BITS
    period: frame.PERIOD_BITS
    step_pulses: frame.STEP_PULSES_BITS
    step_remainder: frame.PERIOD_BITS
    pulse_reciprocal: frame.PULSE_RECIPROCAL_BITS
    frame_pulses: frame.FRAME_PULSE_BITS
    frame_reciprocal: 22
    slot_pulses: frame.SLOT_PULSES_BITS
    slot_reciprocal: 25
    frames_per_window: frame.FRAMES_PER_WINDOW_BITS
    windows_per_dwindow: frame.WINDOWS_PER_DWINDOW_BITS


class Click(data.Struct):
    """A framed tag. All fields but `framed` and `channel` are meaningless when `framed` is 0."""

    channel: CHANNEL_BITS
    framed: 1
    gated: 1
    """In the gate of its band and not in a GUARD slot."""
    slot_class: 4
    """Class of its slot in its channel's band."""
    pulse: frame.PULSE_BITS
    position: frame.PERIOD_INT_BITS
    window: frame.WINDOW_BITS
    dwindow: frame.WINDOW_BITS
    clock: smoothing.CLOCK_LOW_BITS
    """Low bits of its time's clock count."""


class Herald(data.Struct):
    """A single-click pulse."""

    number: 32
    pulse: frame.PULSE_BITS
    detector: 1
    psi: units.TURN_BITS
    """Of its click's mark: the causal phase, 2^-16 turn; 0 if blank."""
    flags: 2
    """Of its click's mark: r valid in bit 0, d valid in bit 1 (`packets.FLAG_R_VALID`, `FLAG_D_VALID`); 0 if blank."""


class Word(data.Struct):
    """A word of a packet on the link."""

    data: 32
    last: 1


def record_words(stream_number: packets.Stream) -> data.ArrayLayout:
    """A whole record as an array of 32-bit words, element 0 first on the wire."""
    return data.ArrayLayout(32, packets.RECORD_WORDS[stream_number])


def word_stream() -> stream.Signature:
    """Stream of packet words."""
    return stream.Signature(Word)


def KeptRecord(*, word_bits: int = 32, address_bits: int) -> wiring.Signature:
    """A record that stays in a memory until it has been sent.

    Members: ``waits``: it is there, and the first word belongs to the clock count ``clock``. ``data``: the word at ``address``, a
    clock after ``read``. ``sent``: strobe, all has been read.
    """
    return wiring.Signature(
        {
            "waits": Out(1),
            "clock": Out(units.CLOCK_BITS),
            "address": In(address_bits),
            "read": In(1),
            "data": Out(word_bits),
            "sent": In(1),
        }
    )


class PhaseNode(data.Struct):
    """A channel of the server's click tracker at the turn to an epoch (docs/phase.md)."""

    channel: 1
    epoch: NODE_EPOCH_BITS
    """Low bits of e."""
    phase: smoothing.STEP_BITS
    """F, 2^-32 turn, of channel 0 at the quantum wavelength."""
    slope: signed(smoothing.SLOPE_BITS)
    """G, 2^-44 turn/clock."""
    locked: 1
    broke: 1


class Mark(data.Struct):
    """What is known of the phase at a click's time, from its time alone."""

    psi: units.TURN_BITS
    """Causal phase at the quantum beam splitter, 2^-16 turn."""
    rq: units.TURN_BITS
    """Of it, the reference band's part."""
    r_valid: 1
    d_valid: 1
    applied: units.TURN_BITS
    """A, what the actuator has taken off, at the reference wavelength."""
    applied_q: units.TURN_BITS
    blank: 1
    """A is changing or not known."""


class MarkedClick(data.Struct):
    """A framed click with its mark."""

    click: Click
    time: smoothing.TIME_BITS
    """Low bits of its clock count."""
    mark: Mark


class PhaseInterval(data.Struct):
    """Smoothed phase of a channel from one node of its smoother to the next."""

    channel: 1
    index: (smoothing.INTERVALS - 1).bit_length()
    """k mod INTERVALS."""
    start: smoothing.STEP_BITS
    way: signed(smoothing.STEP_BITS)
    valid: 1


class PhaseCover(data.Struct):
    """A channel's intervals are complete up to before ``time``, low bits of a clock count."""

    channel: 1
    time: smoothing.TIME_BITS
