"""Protocols as the tables that the sifting gateware loads (docs/rules.md): one definition each, everything else is made from it.

A `Definition` says which codes (type, intensity) a client's source has, who reveals an intensity, and what a herald becomes once both
announced codes are known: an X record, a Z record or nothing. `rule_tables` asks it about every pair of codes that both sources
can announce, and refuses a definition that leaves one open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

from .symbols import Intensity

Role = Literal["alice", "bob"]
Outcome = Literal["x", "z", "nothing"]
UNREVEALED = 3
"""Level of an intensity that its user has kept."""
ALL_SLICE = 15


class Code(NamedTuple):
    """Type (1: X) and intensity, or announced level."""

    x: int
    level: int

    @property
    def number(self) -> int:
        """0 to 7."""
        return self.x << 2 | self.level


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A protocol."""

    name: str
    source: str
    codes: Mapping[Role, tuple[Code, ...]]
    """What each user's symbols can be (of pairs: the codes of ``pair``)."""
    reveals: Callable[[int, int], bool]
    """(own x, peer x): the own intensity is revealed."""
    outcome: Callable[[Code, Code], Outcome | None]
    """Of the announced codes; None: not defined."""
    slice_mask: int
    """Bits of a slice that are revealed."""
    slices: Callable[[Code, Code], bool]
    """Of the announced codes: slices are revealed."""
    errors: bool
    """Errors of X records are known (slices are revealed in full)."""
    key: Callable[[Role, Code], int]
    """Bit of a Z record by the user's own code."""
    pair: Callable[[Role, int, int], tuple[Code, int]] | None = None
    """Mode pairing: (role, first intensity, second intensity) to the pair's code and key bit."""
    source_masks: Mapping[Role, tuple[int, int]]
    """Bits of a slice that the source keeps, in Z and in X windows."""


@dataclass(frozen=True, kw_only=True)
class RuleTables:
    """Register values of one client."""

    reveal: int
    slice: int
    x: int
    z: int
    key: int
    slice_mask: int
    error: int
    pair: int
    """0 where the protocol has no pairs."""
    source_masks: tuple[int, int]

    def registers(self, pair_span: int = 0) -> dict[str, int]:
        """By register names. ``pair_span`` in pulses; ValueError if the protocol pairs and it is 0, or the other way round."""
        if bool(self.pair) != bool(pair_span):
            raise ValueError(
                f"rules: pair_span is {pair_span}; allowed: {'1 to 4294967295' if self.pair else '0, as this protocol has no pairs'}"
            )
        return {
            "RULE_REVEAL": self.reveal,
            "RULE_SLICE": self.slice,
            "RULE_X": self.x,
            "RULE_Z": self.z,
            "RULE_KEY": self.key,
            "SLICE_MASK": self.slice_mask,
            "RULE_ERROR": self.error,
            "RULE_PAIR": self.pair,
            "PAIR_SPAN": pair_span,
        }


def announced(definition: Definition, own: Code, peer: Code) -> Code:
    """What the peer knows of ``own`` after the intensities."""
    return own if definition.reveals(own.x, peer.x) else Code(own.x, UNREVEALED)


def rule_tables(definition: Definition, role: Role) -> RuleTables:
    """Tables of one user. Raises ValueError naming the protocol and the two codes that are not defined or contradict themselves."""
    a, b = definition.codes["alice"], definition.codes["bob"]
    slices = x = z = 0
    for own, peer in product(a, b):
        told = announced(definition, own, peer), announced(definition, peer, own)
        for first, second in (told, told[::-1]):
            place = 1 << (first.number << 3 | second.number)
            outcome = definition.outcome(first, second)
            with_slices = definition.slices(first, second)
            where = f"rules: {definition.name} with ({_name(first)}, {_name(second)})"
            if outcome is None:
                raise ValueError(f"{where} has no outcome; allowed: x, z or nothing for every pair of codes")
            if outcome != definition.outcome(second, first) or with_slices != definition.slices(second, first):
                raise ValueError(f"{where} is not what it is the other way round; allowed: the same for both users")
            if outcome == "x" and not with_slices and definition.slice_mask:
                raise ValueError(f"{where} gives an X record without slices; allowed: with them, or slice_mask 0")
            slices |= place * with_slices
            x |= place * (outcome == "x")
            z |= place * (outcome == "z")
    if not 0 <= definition.slice_mask <= ALL_SLICE or (definition.errors and definition.slice_mask != ALL_SLICE):
        raise ValueError(
            f"rules: {definition.name} has slice_mask {definition.slice_mask}; allowed: 0 to 15, and 15 where errors are known"
        )
    pair = 0
    if definition.pair is not None:
        for one, two in product(range(4), repeat=2):
            code, bit = definition.pair(role, one, two)
            pair |= (code.x | code.level << 1 | bit << 3) << 4 * (one << 2 | two)
    return RuleTables(
        reveal=sum(definition.reveals(here, there) << (here << 1 | there) for here, there in product((0, 1), repeat=2)),
        slice=slices,
        x=x,
        z=z,
        key=sum(definition.key(role, code) << code.number for code in map(Code._make, product((0, 1), range(4)))),
        slice_mask=definition.slice_mask,
        error=int(definition.errors),
        pair=pair,
        source_masks=definition.source_masks[role],
    )


def _name(code: Code) -> str:
    level = "not revealed" if code.level == UNREVEALED else Intensity(code.level).name
    return f"{'X' if code.x else 'Z'} {level}"


def _equal_light(first: Code, second: Code) -> bool:
    """Both X, of one intensity other than vacuum (one that stands for a mixed pair is none)."""
    return bool(first.x and second.x) and first.level == second.level and first.level not in (Intensity.VAC, UNREVEALED)


def _both(codes: tuple[Code, ...]) -> dict[Role, tuple[Code, ...]]:
    return {"alice": codes, "bob": codes}


def _sent(role: Role, code: Code) -> int:
    """Alice: 1 = sent; Bob: 1 = not sent."""
    return int(code.level != Intensity.VAC) ^ (role == "bob")


def _pair(role: Role, first: int, second: int) -> tuple[Code, int]:
    """One intensity twice: X. Light once, beside vacuum: Z of that intensity, key 1 for the first at Alice, the second at Bob.
    Two intensities that differ, or the code 3, which mode pairing does not use: X of level 3, which gives nothing."""
    if UNREVEALED in (first, second) or (first != second and first and second):
        return Code(1, UNREVEALED), 0
    if first == second:
        return Code(1, first), 0
    return Code(0, max(first, second)), int(first > second) ^ (role == "bob")


_LEVELS = (Intensity.VAC, Intensity.MU_1, Intensity.MU_2)
_ALL_X = _both(tuple(Code(1, level) for level in _LEVELS))
_FULL: dict[Role, tuple[int, int]] = {"alice": (15, 15), "bob": (15, 15)}

SNS = Definition(
    name="SNS",
    source="Wang, Yu, Hu, arXiv:1805.09222, section II",
    codes=_both((Code(0, Intensity.VAC), Code(0, Intensity.MU_Z), *(Code(1, level) for level in _LEVELS))),
    reveals=lambda own, peer: bool(own),
    outcome=lambda a, b: "x" if _equal_light(a, b) else "z" if not a.x and not b.x else "nothing",
    slice_mask=ALL_SLICE,
    slices=_equal_light,
    errors=True,
    key=_sent,
    source_masks=_FULL,
)
PM = Definition(
    name="PM",
    source="Ma, Zeng, Zhou, Phys. Rev. X 8, 031043 (2018), box 1",
    codes=_ALL_X,
    reveals=lambda own, peer: True,
    outcome=lambda a, b: "x" if _equal_light(a, b) else "nothing",
    slice_mask=7,
    slices=_equal_light,
    errors=False,
    key=lambda role, code: 0,
    source_masks=_FULL,
)
CAL = Definition(
    name="CAL",
    source="Curty, Azuma, Lo, npj Quantum Inf. 5, 64 (2019), steps 1 to 6",
    codes=_both((Code(0, Intensity.MU_Z), *(Code(1, level) for level in _LEVELS))),
    reveals=lambda own, peer: bool(own and peer),
    outcome=lambda a, b: "x" if not a.x and not b.x else "nothing",
    slice_mask=0,
    slices=lambda a, b: False,
    errors=False,
    key=lambda role, code: 0,
    source_masks={"alice": (8, 15), "bob": (8, 15)},
)
MP = Definition(
    name="MP",
    source="Zeng, Zhou, Wu, Ma, Nat. Commun. 13, 3903 (2022), box 1",
    codes=_both(
        (*(Code(1, level) for level in range(4)), *(Code(0, level) for level in (Intensity.MU_1, Intensity.MU_2)))
    ),
    reveals=lambda own, peer: True,
    outcome=lambda a, b: "x" if _equal_light(a, b) else "z" if not a.x and not b.x else "nothing",
    slice_mask=7,
    slices=_equal_light,
    errors=False,
    key=lambda role, code: 0,
    pair=_pair,
    source_masks=_FULL,
)
BB84 = Definition(
    name="BB84",
    source="Bennett, Brassard, Theor. Comput. Sci. 560, 7 (2014); phase coding: Bob's light is the local oscillator",
    codes={
        "alice": tuple(Code(1, level) for level in _LEVELS),
        "bob": (Code(1, Intensity.MU_1),),
    },
    reveals=lambda own, peer: True,
    outcome=lambda a, b: "x" if Intensity.VAC not in (a.level, b.level) else "nothing",
    slice_mask=4,
    slices=lambda a, b: Intensity.VAC not in (a.level, b.level),
    errors=False,
    key=lambda role, code: 0,
    source_masks={"alice": (12, 12), "bob": (4, 4)},
)
PROTOCOLS = {definition.name: definition for definition in (SNS, PM, CAL, MP, BB84)}
