"""Packets as bytes with a CRC-32 behind them, and back once it has proven right."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import memory, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from twinphase_hdl.types import word_stream
from twinphase_spec import packets

from .slip import FrameByte

MAX_PACKET_WORDS = packets.HEADER_WORDS + packets.MAX_PAYLOAD_WORDS


def crc_processor():
    return catalog.CRC32_ISO_HDLC(data_width=8).create()


class CrcAppender(wiring.Component):
    """Words to bytes, lowest byte first, and after ``last`` the CRC-32 (ISO-HDLC) of all of them, lowest byte first.

    Members
    -------
    i : In(word_stream())
    o : Out(stream of FrameByte)

    Latency: 1 clock. Throughput: four bytes in 5 clocks, a clock more per packet. Overflow: none, ``i`` waits.
    """

    i: In(word_stream())
    o: Out(stream.Signature(FrameByte))

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = crc_processor()
        word = Signal(32)
        left = Signal(range(5))
        last = Signal()
        closing = Signal()
        done = Signal()
        counted = Signal()
        """The checksum takes a byte, a clock after it went out."""
        byte = Signal(8)
        m.d.comb += [
            done.eq(self.o.valid & self.o.ready),
            self.o.valid.eq(left != 0),
            self.o.payload.data.eq(word[:8]),
            self.o.payload.last.eq(closing & (left == 1)),
            crc.data.eq(byte),
            crc.valid.eq(counted),
        ]
        m.d.sync += [counted.eq(done & ~closing), byte.eq(word[:8]), crc.start.eq(0)]
        with m.If(left != 0), m.If(done):
            m.d.sync += [word.eq(word >> 8), left.eq(left - 1)]
        with m.Elif(last & ~closing), m.If(~counted):
            m.d.sync += [word.eq(crc.crc), left.eq(4), closing.eq(1)]
        with m.Else():
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += [crc.start.eq(last), last.eq(0), closing.eq(0)]
            with m.If(self.i.valid):
                m.d.sync += [word.eq(self.i.payload.data), last.eq(self.i.payload.last), left.eq(4)]
        return m


class CrcChecker(wiring.Component):
    """Frames to packets: a packet comes out when its CRC has been found right, otherwise never.

    Members
    -------
    i : In(stream of FrameByte, always ready) - as from `SlipDecoder`.
    o : Out(word_stream())
    o_dropped : Out(1) - strobe: a frame with bytes in it was dropped (checksum, not whole words, too long, no room).

    Latency: 5 clocks from the end of a frame to its first word. Throughput: a byte per clock in, a word per clock out.
    Overflow: frames that find no room are dropped; ``depth - 1`` words fit.
    """

    def __init__(self, *, depth: int = 512):
        if depth < MAX_PACKET_WORDS or depth & (depth - 1):
            raise ValueError(f"crc: depth is {depth} words; allowed: powers of 2 from 512")
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(FrameByte, always_ready=True)),
                "o": Out(word_stream()),
                "o_dropped": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = crc_processor()
        m.submodules.ring = ring = memory.Memory(shape=33, depth=self._depth, init=[])
        write, read = ring.write_port(), ring.read_port()
        written = Signal(len(write.addr) + 1)
        committed = Signal.like(written)
        fetched = Signal.like(written)

        # The newest whole word may be the checksum and the one before it the packet's last: both wait.
        word = Signal(32)
        shifting = Signal(32)
        newest = Signal(32)
        older = Signal(32)
        bytes_in = Signal(2)
        holds = Signal(2)
        """As many bits are set as of ``newest`` and ``older`` hold a word of the frame."""
        places = Signal(signed(MAX_PACKET_WORDS.bit_length() + 1), init=MAX_PACKET_WORDS)
        """Words that a packet may still have: negative when it has its most and the checksum."""
        bad = Signal()
        full = Signal()
        # The checksum takes a byte at once, all else a clock later: whether it is right is known then.
        came = Signal()
        frame_byte = Signal.like(self.i.payload)
        matches = Signal()
        byte = came & ~frame_byte.last
        end = came & frame_byte.last
        whole = Signal()
        touched = Signal()
        """The frame has bytes."""
        good = Signal()
        m.d.comb += [
            crc.data.eq(self.i.payload.data),
            crc.valid.eq(self.i.valid & ~self.i.payload.last),
            crc.start.eq(self.i.valid & self.i.payload.last),
            whole.eq(byte & (bytes_in == 3)),
            good.eq(matches & (bytes_in == 0) & holds[1] & ~bad & ~full),
            write.addr.eq(written[:-1]),
            write.data.eq(Cat(older, end)),
            write.en.eq((whole & holds[1] & ~full) | (end & good)),
        ]
        m.d.comb += word.eq(Cat(shifting[8:], frame_byte.data))
        m.d.sync += [
            came.eq(self.i.valid),
            frame_byte.eq(self.i.payload),
            matches.eq(crc.match_detected),
            full.eq((written - fetched)[: len(written)] >= self._depth - 1),
            self.o_dropped.eq(end & touched & ~good),
        ]
        with m.If(byte):
            m.d.sync += [shifting.eq(word), bytes_in.eq(bytes_in + 1), touched.eq(1)]
        with m.If(whole):
            m.d.sync += [older.eq(newest), newest.eq(word), holds.eq(Cat(1, holds)), places.eq(places - 1)]
            m.d.sync += bad.eq(bad | (holds[1] & (full | places[-1])))
        with m.If(end):
            m.d.sync += [bytes_in.eq(0), holds.eq(0), places.eq(MAX_PACKET_WORDS), bad.eq(0), touched.eq(0)]
            m.d.sync += written.eq(Mux(good, written + 1, committed))
            with m.If(good):
                m.d.sync += committed.eq(written + 1)
        with m.Elif(write.en & ~bad):
            m.d.sync += written.eq(written + 1)

        fetching = Signal()
        loaded = Signal()
        advance = Signal()
        m.d.comb += [
            fetching.eq(fetched != committed),
            advance.eq(~self.o.valid | self.o.ready),
            read.en.eq(advance),
            read.addr.eq(fetched[:-1]),
        ]
        with m.If(advance):
            m.d.sync += [loaded.eq(fetching), self.o.valid.eq(loaded), self.o.payload.eq(read.data)]
        with m.If(advance & fetching):
            m.d.sync += fetched.eq(fetched + 1)
        return m
