"""Frames to packets without a memory: a frame that proves wrong at its end is made too long to be a packet."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec import packets

from .crc import crc_processor
from .slip import FrameByte

SPOIL_BITS = (packets.HEADER_WORDS + packets.MAX_REGISTER_WORDS).bit_length()
"""2^SPOIL_BITS words are more than any request has; three clocks for each are less than a byte takes at 3 Mbit/s."""


class CrcSpoiler(wiring.Component):
    """As `CrcChecker` for slow lines, in front of a `Depacketizer`, which keeps a packet until it has proven whole and counts those that
    have not.

    Words go on while the frame comes; its last one goes with ``last`` when the CRC has been found right. Otherwise the frame ends
    with 2^SPOIL_BITS words more, so that it is longer than a request may be, whatever its header says.

    Members
    -------
    i : In(stream of FrameByte, always ready) - as from `SlipDecoder`, not more than a byte in 8 clocks.
    o : Out(word_stream())

    Latency: two words. Throughput: that of the line. Overflow: a word that ``o`` does not take before the next byte spoils its frame;
    so do all that come while spoiling words wait.
    """

    def __init__(self):
        super().__init__({"i": In(stream.Signature(FrameByte, always_ready=True)), "o": Out(word_stream())})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = crc_processor()
        # The newest whole word may be the checksum and the one before it the packet's last: both wait.
        word, newest, older = Signal(32), Signal(32), Signal(32)
        bytes_in = Signal(2)
        holds = Signal(2)
        """As many bits are set as of ``newest`` and ``older`` hold a word of the frame."""
        touched = Signal()
        """The frame has bytes."""
        bad = Signal()
        whole = Signal()
        """``word`` is whole and waits until ``older`` has left."""
        ending = Signal()
        """The frame was good: ``older`` leaves as its last."""
        spoiling = Signal()
        spoiled = Signal(SPOIL_BITS + 1)
        moves = Signal()
        """``older`` left a clock ago, if there was one, and the frame had not ended: all move up."""
        good, end, byte = Signal(), Signal(), Signal()
        m.d.comb += [
            crc.data.eq(self.i.payload.data),
            crc.valid.eq(self.i.valid & ~self.i.payload.last),
            crc.start.eq(self.i.valid & self.i.payload.last),
            byte.eq(self.i.valid & ~self.i.payload.last),
            self.o.valid.eq(spoiling | ending | (whole & holds[1] & ~moves)),
            self.o.payload.data.eq(older),
            self.o.payload.last.eq(ending | (spoiling & spoiled[-1])),
        ]
        # Whether the checksum is right is known a clock after the last byte.
        m.d.sync += [
            good.eq(crc.match_detected & (bytes_in == 0) & holds[1] & ~bad & ~whole),
            end.eq(self.i.valid & self.i.payload.last),
            moves.eq(whole & (self.o.ready | ~holds[1]) & ~spoiling & ~ending & ~moves & ~end),
        ]
        with m.If(moves):
            m.d.sync += [whole.eq(0), older.eq(newest), newest.eq(word), holds.eq(holds << 1 | 1)]
        with m.If(byte):
            m.d.sync += [word.eq(word[8:] | self.i.payload.data << 24), bytes_in.eq(bytes_in + 1), touched.eq(1)]
            with m.If(bytes_in == 3):
                m.d.sync += whole.eq(1)
            with m.If(whole | ending | spoiling):
                m.d.sync += bad.eq(1)
        with m.If(end):
            m.d.sync += [bytes_in.eq(0), holds.eq(0), touched.eq(0), bad.eq(0), whole.eq(0)]
            with m.If(good):
                m.d.sync += ending.eq(1)
            with m.Elif(touched):
                m.d.sync += spoiling.eq(1)
        with m.If(~spoiling):
            m.d.sync += spoiled.eq(0)
        with m.Elif(self.o.ready):
            m.d.sync += spoiled.eq(spoiled + 1)
            with m.If(spoiled[-1]):
                m.d.sync += spoiling.eq(0)
        with m.If(ending & self.o.ready):
            m.d.sync += ending.eq(0)
        return m
