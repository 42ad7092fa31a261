"""Packets and records on the wire, for UDP, serial port, files and the Verilated nodes alike.

A packet is HEADER_WORDS little-endian 32-bit words, then payload words::

    w0  MAGIC << 16 | VERSION << 8 | stream
    w1  sequence of this stream (register packets: request id)
    w2  flags << 16 | payload words
    w3  w4  time base in ticks, low and high word
    w5  w6  records of this stream lost in the node so far, low and high word
    w7  index (modulo 2^32) of the packet's first record among the records this stream accepted

so that a receiver knows after a lost packet how many records are missing, and no later time shifts. A stream (but STATUS, which
is never silent for longer) that sent nothing between two heartbeat ticks sends a packet with no payload at the second.

Time base: of TAG packets, a multiple of 2^25 ticks (see t2_words); of STATUS packets, one snapshot each, its clock count times 8192;
of all others the clock count, times 8192, at which the packet was closed.

Tags are PicoQuant T2 words (HydraHarp V2/MultiHarp): bit 31 special, 30-25 channel, 24-0 time. Special with channel 63
is an overflow: time counts periods of 2^25 ticks. A tag word's time is ``tag mod 2^25``; the periods between the packet's
base and the tag are made up by overflow words before it. An overflow word is not a record.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

MAGIC = 0x5450
VERSION = 1
HEADER_WORDS = 8
MAX_PAYLOAD_WORDS = 256
MAX_PACKET_BYTES = 4 * (HEADER_WORDS + MAX_PAYLOAD_WORDS)

T2_TIME_BITS = 25
T2_SPECIAL = 1 << 31
T2_CHANNEL_SHIFT = 25
T2_OVERFLOW_CHANNEL = 63
T2_GAP_MARKER = 1
"""Marker (special, channel 1..15) that a recorder writes where packets or records were lost."""


class Stream(IntEnum):
    """Stream numbers. 1-15 are data of a node, 64 and up are control."""

    TAG = 1
    PHASE = 2
    DPHASE = 3
    HERALD = 4
    PSI = 5
    STATUS = 6
    TRACK = 7
    SIFTED = 8
    PEER = 9
    PSI_CAUSAL = 10
    HERALD_CODE = 11
    """HERALD in few bits (docs/heralds.md): the records of a packet are as many heralds as its flags say."""
    ARRIVAL = 12
    LIVE = 13
    """Runs of pulses whose windows are not live (docs/live.md)."""
    REGISTER_REQUEST = 64
    REGISTER_RESPONSE = 65
    SUBSCRIBE = 80
    """Host to link: send the streams to the sender of this for SUBSCRIPTION_SECONDS. Never reaches the node's core.
    Payload, optional: pairs (stream, last sequence received), a receipt that lets a virtual node pace itself."""


SUBSCRIPTION_SECONDS = 5.0

RECORD_WORDS = {
    Stream.TAG: 1,
    Stream.PHASE: 8,
    Stream.DPHASE: 8,
    Stream.HERALD: 3,
    Stream.PSI: 2,
    Stream.SIFTED: 2,
    Stream.PEER: 3,
    Stream.TRACK: 8,
    Stream.PSI_CAUSAL: 2,
    Stream.HERALD_CODE: 1,
    Stream.ARRIVAL: 12,
    Stream.LIVE: 3,
}
"""32-bit words per record (a STATUS record is 2 words per entry of its node's counter list; HERALD_CODE is words of code)."""

FLUSH_BITS = {
    Stream.TAG: 17,
    Stream.PHASE: 17,
    Stream.DPHASE: 17,
    Stream.HERALD: 13,
    Stream.PSI: 13,
    Stream.SIFTED: 17,
    Stream.PEER: 13,
    Stream.TRACK: 17,
    Stream.PSI_CAUSAL: 13,
    Stream.HERALD_CODE: 13,
    Stream.ARRIVAL: 17,
    Stream.LIVE: 17,
}
"""A stream's open packet is closed when the clock count is a multiple of 2^FLUSH_BITS (65 us or 1.05 ms). STATUS has none: see
STATUS_BITS."""
HEARTBEAT_BITS = 19
"""Heartbeat ticks: clock count a multiple of 2^19 (4.2 ms), so that a stream is silent for less than 8.4 ms."""
STATUS_BITS = 20
"""A status snapshot is taken when the clock count is a multiple of 2^20 (8.4 ms), and sent as a packet of its own, whose base is the
snapshot's clock count. STATUS has no heartbeats: it is one."""

FLAG_R_VALID = 1
FLAG_D_VALID = 2
TRACK_LOCKED = 1
TRACK_BROKE = 2
"""Since the channel's last record the phase has not gone on: a start, a loss, a jump by half a turn."""
TRACK_CHANNEL_SHIFT, TRACK_FLAGS_SHIFT = 24, 30
TRACK_CLOCK_HIGH_BITS = 19
"""Bits 32 to 50 of a TRACK record's clock count, lowest in its second word."""

HEADER_DTYPE = np.dtype(
    [
        ("stream", "u1"),
        ("version", "u1"),
        ("magic", "<u2"),
        ("sequence", "<u4"),
        ("words", "<u2"),
        ("flags", "<u2"),
        ("base_ticks", "<u8"),
        ("lost", "<u8"),
        ("first_record", "<u4"),
    ]
)

PHASE_DTYPE = np.dtype(
    [
        ("window", "<u4"),
        ("psi_r_turns", "<u2"),  # last valid estimate when this window had none
        ("flags", "<u2"),  # FLAG_R_VALID
        ("clicks_r", "<u4"),
        ("clicks_q", "<u4"),
        ("unwrapped_turns", "<i8"),  # 2^-16 turn, sign-extended from 48 bits
        ("cosine_r", "<i4"),  # D0 - D2
        ("sine_r", "<i4"),  # D3 - D1
    ]
)
DPHASE_DTYPE = np.dtype(
    [
        ("dwindow", "<u4"),
        ("psi_d_turns", "<u2"),
        ("flags", "<u2"),  # FLAG_D_VALID
        ("clicks_q", "<u4"),
        ("reserved", "<u4"),
        ("cosine_d", "<i8"),  # derotated sums, sign-extended from 48 bits
        ("sine_d", "<i8"),
    ]
)
HERALD_DTYPE = np.dtype(
    [
        ("number", "<u4"),
        ("pulse_low", "<u4"),
        ("pulse_high_detector", "<u4"),  # pulse index bits 32-55 in bits 0-23; bit 31: detector, 0 L, 1 R
    ]
)
PSI_DTYPE = np.dtype(
    [
        ("number", "<u4"),
        ("psi_turns", "<u2"),
        ("flags", "<u2"),  # FLAG_R_VALID | FLAG_D_VALID
    ]
)
TRACK_DTYPE = np.dtype(
    [
        ("clock_low", "<u4"),
        (
            "clock_high_channel",
            "<u4",
        ),  # clock count bits 32-50 in bits 0-18, channel in 24-28, locked in 30, broke in 31
        ("phase_turns", "<i8"),  # unwrapped, 2^-32 turn
        ("slope", "<i4"),  # 2^-42 turn/clock
        ("variance", "<u4"),  # 2^-34 of rad^2/(2 pi)
        ("visibility", "<u2"),  # 2^-16
        ("applied_turns", "<u2"),  # the actuator's phase, 2^-16 turn
        ("clicks", "<u4"),  # since the channel's last record
    ]
)
"""State of a channel of the click tracker at the start of an epoch (docs/phase.md)."""
ARRIVAL_DTYPE = np.dtype(
    [
        ("window", "<u4"),  # last of the interval
        ("place", "<u4"),  # arm in bit 0 (0 A, 1 B), band in bit 1 (0 q, 1 r)
        ("sum_ticks", "<u8"),  # of positions in the pulse, modulo 2^41
        *((f"bin_{k}", "<u4") for k in range(8)),  # clicks per eighth of the period, modulo 2^24
    ]
)
"""Clicks of one band in the one-sided slots of one arm, in an interval of windows (docs/alignment.md)."""
LIVE_DTYPE = np.dtype(
    [
        ("pulse_low", "<u4"),
        ("pulse_high", "<u4"),  # bits 32-55 of the first pulse in bits 0-23
        ("length", "<u4"),  # pulses
    ]
)
"""A run of pulses that are not live (docs/live.md)."""
SIFTED_DTYPE = np.dtype([("number", "<u4"), ("word", "<u4")])  # fields of word: twinphase_spec.sns
PEER_DTYPE = np.dtype([("kind", "<u4"), ("number", "<u4"), ("value", "<u4")])
RECORD_DTYPES = {
    Stream.TAG: np.dtype("<u4"),
    Stream.PHASE: PHASE_DTYPE,
    Stream.DPHASE: DPHASE_DTYPE,
    Stream.HERALD: HERALD_DTYPE,
    Stream.PSI: PSI_DTYPE,
    Stream.SIFTED: SIFTED_DTYPE,
    Stream.PEER: PEER_DTYPE,
    Stream.TRACK: TRACK_DTYPE,
    Stream.PSI_CAUSAL: PSI_DTYPE,
    Stream.HERALD_CODE: HERALD_DTYPE,  # decoded
    Stream.ARRIVAL: ARRIVAL_DTYPE,
    Stream.LIVE: LIVE_DTYPE,
}


class RegisterOp(IntEnum):
    """Operation of a register request, in the flags of its header. w3 is the address, w4 the number of words."""

    READ = 0
    WRITE = 1


class RegisterStatus(IntEnum):
    """Outcome, in the flags of the response. The response repeats id, address and count; a read adds the words."""

    OK = 0
    BAD_REQUEST = 1
    """Count of 0 or above MAX_REGISTER_WORDS, unknown operation, or a write whose payload is not ``count`` words."""


MAX_REGISTER_WORDS = 64
SLIP_END, SLIP_ESC, SLIP_ESC_END, SLIP_ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD
"""Serial framing: packet bytes, then CRC-32 (ISO-HDLC, zlib's) of them in little-endian order, SLIP-escaped
(RFC 1055), SLIP_END before and after."""
