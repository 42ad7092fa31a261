"""The tables on the protocols' pages say what the gateware loads."""

import pytest

from twinphase_spec.rule_pages import BEGIN, END, tables_markdown, with_tables
from twinphase_spec.rules import MP, PROTOCOLS, SNS, rule_tables

LEVELS = {"vacuum": 0, "mu_1": 1, "mu_2": 2, "not told": 3, "mixed": 3}


def tables(definition):
    """Each table as rows of cells, without the line below its head."""
    found = [part.splitlines() for part in tables_markdown(definition).split("\n\n")]
    return [[row.strip("| ").split(" | ") for row in (head, *body)] for head, _, *body in found]


def code(name):
    kind, _, level = name.partition(" ")
    return (kind == "X") << 2 | LEVELS[level]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_records_and_registers_are_the_loaded_tables(name):
    loaded = {role: rule_tables(PROTOCOLS[name], role) for role in ("alice", "bob")}
    registers, records, *_ = tables(PROTOCOLS[name])
    said = {row[0]: row[1:] for row in registers}
    assert said["register"] == ["Alice", "Bob"]
    for i, role in enumerate(("alice", "bob")):
        for register, value in loaded[role].registers(1 if name == "MP" else 0).items():
            if register != "PAIR_SPAN":
                assert said[register][i] == f"`{value:#x}`"
        masks = [int(said[mask][i].strip("`"), 16) for mask in ("SLICES_Z", "SLICES_X")]
        assert tuple(masks) == loaded[role].source_masks
    x = z = slices = 0
    for row in records[1:]:
        for bob, what in zip(records[0][1:], row[1:], strict=False):
            pair = code(row[0]), code(bob)
            for first, second in (pair, pair[::-1]):
                place = 1 << (first << 3 | second)
                x, z, slices = (
                    x | place * ("**X**" in what),
                    z | place * ("**Z**" in what),
                    slices | place * ("slices" in what),
                )
    assert (x, z, slices) == (loaded["alice"].x, loaded["alice"].z, loaded["alice"].slice)


def test_codes_of_pairs_are_the_loaded_nibbles():
    *_, pairs = tables(MP)
    assert len(pairs) == 10
    for lights, kind, *keys in pairs[1:]:
        first, second = (LEVELS[light] for light in lights.split(", "))
        for role, key in zip(("alice", "bob"), keys, strict=True):
            nibble = rule_tables(MP, role).pair >> 4 * (first << 2 | second) & 15
            assert nibble == code(kind) >> 2 | (code(kind) & 3) << 1 | (key == "1") << 3


@pytest.mark.parametrize("page", ["no marks", f"{BEGIN}\n", f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_its_marks_is_refused(page):
    with pytest.raises(ValueError, match="page of SNS: its marks"):
        with_tables(page, SNS)
