"""Angle of a vector and rotation by an angle, a CORDIC stage per three clocks."""

from amaranth.hdl import Array, C, Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_hdl.core.add import with_carry
from twinphase_spec import fixed, units

VECTOR_BITS = fixed.DEROTATED_SUM_BITS
"""Signed width of the vector that goes in."""
ROTATE_BITS = fixed.COUNT_BITS + 1 + fixed.DEROTATE_SHIFT
"""Signed width of what rotation can take: a difference of two window counts, shifted left by DEROTATE_SHIFT."""
WORK_BITS = ROTATE_BITS + 2
"""Signed width inside and of a rotated vector: |(x, y)| grows by at most sqrt(2) * 1.6468 = 2.33 < 4."""

ROTATION_LATENCY = 3 + 3 * fixed.CORDIC_STAGES
"""Clocks from request to result of a rotation: request, two to fold and three per stage."""
VECTORING_LATENCY = 2 + 2 * (5 + 7 + 1) + ROTATION_LATENCY
"""Most clocks from request to result of vectoring: two for the magnitude, two for each of up to 5 + 7 shifts and to load, then as
a rotation."""

_WIDE_BITS = VECTOR_BITS + 1
"""A vector whose larger magnitude was shifted up to exactly VECTOR_BITS bits, with its sign."""
_DROP_BITS = VECTOR_BITS - fixed.CORDIC_NORMAL_BITS


class CordicRequest(data.Struct):
    """What to do: vectoring of (x, y), or rotation of (x, y) by +angle."""

    x: signed(VECTOR_BITS)
    y: signed(VECTOR_BITS)
    angle: units.TURN_BITS
    """In 2^-16 turn; rotation only."""
    rotate: 1


class CordicResult(data.Struct):
    """``angle`` and ``zero`` are those of vectoring, ``x`` and ``y`` those of rotation."""

    x: signed(WORK_BITS)
    y: signed(WORK_BITS)
    angle: units.TURN_BITS
    """In 2^-16 turn; 0 for a zero vector."""
    zero: 1
    """The vector was (0, 0): it has no angle."""


class Cordic(wiring.Component):
    """Vectoring with normalise, and rotation, bit for bit as in `twinphase_spec.fixed`.

    Vectoring::

        angle = atan2(y, x) / 2 pi     in 2^-16 turn, error below 1.1 units

    Rotation, with the gain ``K = prod sqrt(1 + 2^-2i) = 1.6468``::

        x' = K (x cos a - y sin a),  y' = K (x sin a + y cos a)

    Normalise needs no right shift: moving the larger magnitude's top bit up to bit 47 and dropping the low 26 bits is,
    for every length b, the shift by ``22 - b`` with floor that the definition asks for.

    Members
    -------
    i : In(stream of CordicRequest)
        ``x, y`` signed; rotation takes -2^26 to 2^26 - 1 and ignores the bits above.
    o : Out(stream of CordicResult)

    Latency: rotation `rotation_latency` clocks from the transfer of i to o.valid; vectoring up to `vectoring_latency`,
    5 for a zero vector. Throughput: one request at a time; the next is taken after the result.
    Overflow: none within the stated ranges. Source: J. E. Volder, IRE Trans. EC-8 (1959) 330.
    """

    i: In(stream.Signature(CordicRequest))
    o: Out(stream.Signature(CordicResult))

    @property
    def rotation_latency(self) -> int:
        """ROTATION_LATENCY."""
        return ROTATION_LATENCY

    @property
    def vectoring_latency(self) -> int:
        """VECTORING_LATENCY."""
        return VECTORING_LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        wide_x, wide_y = Signal(signed(_WIDE_BITS)), Signal(signed(_WIDE_BITS))
        minus_x, minus_y = Signal(_WIDE_BITS), Signal(_WIDE_BITS)
        magnitude = Signal(VECTOR_BITS)
        normal, far = Signal(), Signal()
        """The magnitude's top bit is set; its eight top bits are not."""
        x, y = Signal(signed(WORK_BITS)), Signal(signed(WORK_BITS))
        z = Signal(signed(fixed.CORDIC_ANGLE_BITS))
        rotate = Signal()
        zero = Signal()
        term_x, term_y = Signal(signed(WORK_BITS)), Signal(signed(WORK_BITS))
        term_z = Signal(fixed.CORDIC_ANGLE_BITS)
        left_half = Signal()
        anticlockwise, clockwise = Signal(), Signal()
        stage = Signal(range(fixed.CORDIC_STAGES))
        atan = Array(Const(a, fixed.CORDIC_ANGLE_BITS) for a in fixed.CORDIC_ATAN)

        rounded = Signal(unsigned(fixed.CORDIC_ANGLE_BITS))
        drop = fixed.CORDIC_ANGLE_BITS - units.TURN_BITS
        m.d.comb += [
            rounded.eq(z + (1 << (drop - 1))),
            self.o.payload.x.eq(x),
            self.o.payload.y.eq(y),
            self.o.payload.angle.eq(Mux(zero, 0, rounded[drop:])),
            self.o.payload.zero.eq(zero),
        ]

        m.d.sync += [minus_x.eq(-wide_x), minus_y.eq(-wide_y)]
        with m.FSM():
            with m.State("IDLE"):
                # The registers follow the input: a request moves none of them but the state.
                request = self.i.payload
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [
                    wide_x.eq(request.x),
                    wide_y.eq(request.y),
                    rotate.eq(request.rotate),
                    zero.eq(0),
                    stage.eq(0),
                    x.eq(request.x),
                    y.eq(request.y),
                    z.eq(Mux(request.rotate, Cat(C(0, drop), request.angle), 0)),
                ]
                with m.If(self.i.valid):
                    with m.If(request.rotate):
                        m.next = "SIDE"
                    with m.Else():
                        m.next = "OPPOSITE"

            with m.State("OPPOSITE"):
                m.next = "MAGNITUDE"

            with m.State("MAGNITUDE"):
                # The OR of the two magnitudes is as long as the larger one.
                m.d.sync += magnitude.eq(Mux(wide_x < 0, minus_x, wide_x) | Mux(wide_y < 0, minus_y, wide_y))
                m.next = "LENGTH"

            with m.State("LENGTH"):
                m.d.sync += [normal.eq(magnitude[-1]), far.eq(magnitude[-8:] == 0), zero.eq(magnitude == 0)]
                m.next = "NORMALISE"

            with m.State("NORMALISE"):
                m.d.sync += [x.eq(wide_x >> _DROP_BITS), y.eq(wide_y >> _DROP_BITS)]
                with m.If(far):
                    m.d.sync += [v.eq(v << 8) for v in (magnitude, wide_x, wide_y)]
                with m.Else():
                    m.d.sync += [v.eq(v << 1) for v in (magnitude, wide_x, wide_y)]
                m.next = "LENGTH"
                with m.If(normal):
                    m.next = "SIDE"
                with m.If(zero):
                    m.next = "DONE"

            with m.State("SIDE"):
                m.d.sync += left_half.eq(Mux(rotate, z[-1] ^ z[-2], x < 0))
                m.next = "FOLD"

            with m.State("FOLD"):
                # Into the right half plane: half a turn is the top bit of z, whichever way it is added.
                with m.If(left_half):
                    m.d.sync += [x.eq(-x), y.eq(-y), z[-1].eq(~z[-1])]
                m.next = "SHIFT"

            # A stage takes three clocks: a barrel shift in two parts, and the sums. What is to be subtracted is inverted and gets
            # a carry.
            with m.State("SHIFT"):
                turns_up = Mux(rotate, ~z[-1], y[-1])
                m.d.sync += [
                    *(term_x.eq(y >> stage[:2]), term_y.eq(x >> stage[:2]), term_z.eq(atan[stage])),
                    *(anticlockwise.eq(turns_up), clockwise.eq(~turns_up)),
                ]
                m.next = "SHIFT-FAR"

            with m.State("SHIFT-FAR"):
                m.d.sync += [
                    term_x.eq((term_x >> (stage[2:] << 2)) ^ anticlockwise.replicate(WORK_BITS)),
                    term_y.eq((term_y >> (stage[2:] << 2)) ^ clockwise.replicate(WORK_BITS)),
                    term_z.eq(term_z ^ anticlockwise.replicate(fixed.CORDIC_ANGLE_BITS)),
                ]
                m.next = "ADD"

            with m.State("ADD"):
                m.d.sync += [
                    x.eq(with_carry(x, term_x, anticlockwise)),
                    y.eq(with_carry(y, term_y, clockwise)),
                    z.eq(with_carry(z, term_z, anticlockwise)),
                    stage.eq(stage + 1),
                ]
                with m.If(stage == fixed.CORDIC_STAGES - 1):
                    m.next = "DONE"
                with m.Else():
                    m.next = "SHIFT"

            with m.State("DONE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
