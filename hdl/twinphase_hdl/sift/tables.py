"""The protocol as registers: what a block sifter's tables are."""

from amaranth.lib import data

from twinphase_spec.registers import CLIENT

PAIR_SPAN_BITS = CLIENT["PAIR_SPAN"].width


class RuleTables(data.Struct):
    """Registers of docs/rules.md, all constant while the sifter runs; see `twinphase_spec.rules.RuleTables`."""

    reveal: 4
    slice: 64
    x: 64
    z: 64
    key: 8
    slice_mask: 4
    error: 1
    pair: 64
    pair_span: PAIR_SPAN_BITS


RULE_REGISTERS = {
    "reveal": "RULE_REVEAL",
    "slice": "RULE_SLICE",
    "x": "RULE_X",
    "z": "RULE_Z",
    "key": "RULE_KEY",
    "slice_mask": "SLICE_MASK",
    "error": "RULE_ERROR",
    "pair": "RULE_PAIR",
    "pair_span": "PAIR_SPAN",
}
"""Register of each member."""
