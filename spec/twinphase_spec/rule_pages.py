"""The tables of a protocol as they stand on its page in docs/protocols: what the gateware loads, and what that means."""

from __future__ import annotations

from itertools import product

from .rules import UNREVEALED, Code, Definition, Role, announced, rule_tables

BEGIN = "<!-- tables: made by docs/generate.py -->"
END = "<!-- end of tables -->"
_ROLES: tuple[Role, Role] = ("alice", "bob")
_LEVELS = ("vacuum", "mu_1", "mu_2")


def tables_markdown(definition: Definition) -> str:
    """Registers of both users; records by announced codes; of a protocol that pairs, the codes of pairs."""
    parts = [_registers(definition), _records(definition)]
    if definition.pair is not None:
        parts.append(_pairs(definition))
    return "\n".join(parts)


def with_tables(page: str, definition: Definition) -> str:
    """``page`` with what is between its marks replaced. Raises ValueError for a page without them, or with more than one pair."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"page of {definition.name}: its marks are {BEGIN!r} and {END!r}, each once and in this order")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables_markdown(definition)}{END}{rest.partition(END)[2]}"


def _rows(rows: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body, ""])


def _registers(definition: Definition) -> str:
    tables = {role: rule_tables(definition, role) for role in _ROLES}
    span = int(definition.pair is not None)
    values = {role: tables[role].registers(span) for role in _ROLES}
    rows = [["register", "Alice", "Bob"]]
    for name in values["alice"]:
        if name == "PAIR_SPAN":
            said = ["`[protocol] pair_span_pulses`"] * 2 if span else ["0"] * 2
        else:
            said = [f"`{values[role][name]:#x}`" for role in _ROLES]
        rows.append([name, *said])
    for place, name in enumerate(("SLICES_Z", "SLICES_X")):
        rows.append([name, *(f"`{tables[role].source_masks[place]:#x}`" for role in _ROLES)])
    return _rows(rows)


def _said(code: Code, pairs: bool = False) -> str:
    unrevealed = "mixed" if pairs else "not told"  # two intensities of one pair that differ, or a secret
    level = unrevealed if code.level == UNREVEALED else _LEVELS[code.level]
    return f"{'X' if code.x else 'Z'} {level}"


def _records(definition: Definition) -> str:
    """Rows: Alice's announced code; columns: Bob's."""
    told: dict[tuple[Code, Code], str] = {}
    for own, peer in product(*(definition.codes[role] for role in _ROLES)):
        a, b = announced(definition, own, peer), announced(definition, peer, own)
        outcome = definition.outcome(a, b)
        record = {"x": "**X**", "z": "**Z**"}.get(str(outcome), "-")
        told[a, b] = record + (f", slices & {definition.slice_mask}" if definition.slices(a, b) else "")
    of_a = sorted({a for a, _ in told})
    of_b = sorted({b for _, b in told})
    pairs = definition.pair is not None
    head = ["Alice told, Bob told", *(_said(b, pairs) for b in of_b)]
    return _rows([head, *([_said(a, pairs), *(told.get((a, b), "") for b in of_b)] for a in of_a)])


def _pairs(definition: Definition) -> str:
    """Rows: first intensity and second one."""
    assert definition.pair is not None
    rows = [["first pulse, second pulse", "code of the pair", "key bit, Alice", "key bit, Bob"]]
    for one, two in product(range(len(_LEVELS)), repeat=2):
        (code, alice), (_, bob) = (definition.pair(role, one, two) for role in _ROLES)
        keys = ["-", "-"] if code.x else [str(alice), str(bob)]
        rows.append([f"{_LEVELS[one]}, {_LEVELS[two]}", _said(code, True), *keys])
    return _rows(rows)
