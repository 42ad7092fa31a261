"""What a herald becomes once both sides are known: its sifted word and its counter cell."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twinphase_spec import sns
from twinphase_spec.packets import Stream

from ..types import record_words
from .cells import BIN_ADDRESS_BITS, CELL_ADDRESS_BITS
from .recall import FinalPsi, Recalled
from .rule import shifted_difference, slice_test
from .walk import Known, Revealed


class VerdictResult(data.Struct):
    """How one herald counts: its cell, its bin of the histogram if there is an X record, and its SIFTED record."""

    counted: 1
    """0: the herald is missing, nothing else is set."""
    cell: CELL_ADDRESS_BITS
    psi_bin: BIN_ADDRESS_BITS
    z_record: 1
    x_record: 1
    keep: 1
    error: 1


class Verdict(wiring.Component):
    """Sifts one herald of an agreed block.

    Formula: the sift of docs/rules.md, with slice test, word and cell of `twinphase_spec.sns`; keep and error also ask for a valid psi.

    Members
    -------
    i_role : In(1), 0 Alice, 1 Bob
    i_slice_width : In(16), Ds in 2^-16 turn
    i_slice_mask, i_errors : In(4), In(1), SLICE_MASK, RULE_ERROR
    i_valid : In(1), the herald goes on; it may pause
    i_number, i_own, i_psi, i_peer, i_known : In(32), In(Recalled), In(FinalPsi), In(Revealed), In(Known), hold until ``o_done``
    o_sifted : Out(stream of SIFTED records)
    o_done, o_verdict : Out(1), Out(VerdictResult), the herald is through (its record, if any, was taken)

    Latency: `latency` clocks (slices' difference; shifted; test; word; out), more while ``o_sifted`` waits. Throughput: one herald in
    as many. Overflow: none. Source: docs/rules.md, `twinphase_spec.sns`.
    """

    i_role: In(1)
    i_slice_width: In(16)
    i_slice_mask: In(4)
    i_errors: In(1)
    i_valid: In(1)
    i_number: In(32)
    i_own: In(Recalled)
    i_psi: In(FinalPsi)
    i_peer: In(Revealed)
    i_known: In(Known)
    o_sifted: Out(stream.Signature(record_words(Stream.SIFTED)))
    o_done: Out(1)
    o_verdict: Out(VerdictResult)

    latency = 5

    def elaborate(self, platform: object) -> Module:
        m = Module()
        own, peer, psi, known, bob = self.i_own, self.i_peer, self.i_psi, self.i_known, self.i_role
        # Every register follows those before it in every clock; since the inputs hold, all are right in the last step and stay so.
        step = Signal(range(self.latency))
        slice_difference = Signal(4)
        shifted = Signal(16)
        in_slice = Signal()
        branch = Signal()
        word = Signal(32)
        result = Signal(VerdictResult)

        own_slice = Signal(4)
        m.d.comb += own_slice.eq(own.slice & self.i_slice_mask & known.slices.replicate(4))
        next_in_slice, next_branch = slice_test(shifted, self.i_slice_width)
        psi_valid = psi.flags.all()
        next_result = Signal(VerdictResult)
        x_word, z_word = Signal(32), Signal(32)
        with m.If(~own.missing):
            m.d.comb += [
                next_result.counted.eq(1),
                next_result.z_record.eq(known.z_record),
                next_result.x_record.eq(known.x_record),
                next_result.psi_bin.eq(psi.psi[-BIN_ADDRESS_BITS:]),
                next_result.keep.eq(known.x_record & in_slice & psi_valid),
                next_result.error.eq(next_result.keep & (own.detector != branch) & self.i_errors),
                next_result.cell.eq(
                    Cat(
                        next_result.error,
                        next_result.keep,
                        own.detector,
                        Mux(bob, known.own_level, known.peer_level),
                        Mux(bob, known.peer_level, known.own_level),
                    )
                ),
            ]
        fields = {
            1: (psi.psi, 16),
            1 << sns.SIFTED_PEER_SLICE_SHIFT: (peer.slice, 4),
            1 << sns.SIFTED_OWN_SLICE_SHIFT: (own.slice, 4),
            1 << sns.SIFTED_INTENSITY_SHIFT: (known.own_level, 2),
            sns.SIFTED_PSI_VALID: (psi_valid, 1),
            sns.SIFTED_DETECTOR: (own.detector, 1),
            sns.SIFTED_BRANCH: (branch, 1),
            sns.SIFTED_ERROR: (next_result.error, 1),
            sns.SIFTED_KEEP: (next_result.keep, 1),
            sns.SIFTED_X: (1, 1),
        }
        for weight, (field, width) in fields.items():
            low = weight.bit_length() - 1
            m.d.comb += x_word[low : low + width].eq(field)
        m.d.comb += z_word.eq(own.key)

        m.d.sync += [
            slice_difference.eq(Mux(bob, peer.slice - own_slice, own_slice - peer.slice)),
            shifted.eq(shifted_difference(slice_difference, 0, psi.psi, self.i_slice_width)),
            *(in_slice.eq(next_in_slice), branch.eq(next_branch)),
            *(result.eq(next_result), word.eq(Mux(known.x_record, x_word, z_word))),
        ]

        has_record, over = result.z_record | result.x_record, step == self.latency - 1
        m.d.comb += [
            self.o_sifted.valid.eq(over & has_record),
            self.o_sifted.payload[0].eq(self.i_number),
            self.o_sifted.payload[1].eq(word),
            self.o_done.eq(over & (self.o_sifted.ready | ~has_record)),
            self.o_verdict.eq(result),
        ]
        with m.If(self.o_done):
            m.d.sync += step.eq(0)
        with m.Elif(self.i_valid & ~over):
            m.d.sync += step.eq(step + 1)
        return m
