"""Lab files: every fault is one sentence that names the key, the value and what is allowed; what is accepted can be run."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from twinphase.device import register_words
from twinphase.measure.lab_figures import lab_figures
from twinphase_sim.lab.keys import pair_digest
from twinphase_sim.physics.expect import expectations
from twinphase_spec.configure import check_delay, client_registers, client_table, frame_config, server_registers
from twinphase_spec.lab import Lab, LabError, load_lab, parse_lab
from twinphase_spec.registers import CLIENT, SERVER

TEXT = (resources.files("twinphase_spec") / "labs" / "metro-50km.toml").read_text(encoding="utf-8")
NUMBERS = re.compile(r"(\w+) = (-?\d[\d.e+-]*)")
EXTREMES = ("-1", "0", "0.0", "1e-300", "3.7", "1", "33", "1e9", "1e18", "1e300", "inf", "nan", '"far"', "[]", "true")


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (changed("visibility = 0.98", "visibility = 1.5"), "lasers.visibility is 1.5; allowed: less than or equal to 1"),
        (changed("visibility", "visibilty"), "lasers.visibilty is not a key of a lab file; remove it or correct its spelling"),
        (changed("length_a_km = 25.0\n", ""), "fibre.length_a_km is missing; give it a value"),
        (changed('q = "REF0"', 'q = "REF9"'), "frame.slots.0.q is 'REF9'; allowed: 'VAC', 'SIG', 'REF_A'"),
        (changed("pulse_rate_hz = 1.25e8", "pulse_rate_hz = 3e8"), "frame.pulse_rate_hz is 3e+08; allowed: 1, 0.5, 0.25 or"),
        (changed("frames_per_window = 18", "frames_per_window = 1"), "frame.frames_per_window is 1; allowed: at least 17"),
        (changed("quantum_hz = 1.93441288e14", "quantum_hz = 1.5e9"), "bands: quantum_hz is 1.5e+09; allowed: above 0.5"),
        (changed('"server"', '"serfer"'), "assumed names serfer; allowed: keys of this lab file"),
        (changed("[fibre]", "[fibre"), "is not valid TOML: "),
        (changed('name = "SNS"', 'name = "B92"'), "protocol.name is 'B92'; allowed: 'SNS', 'PM', 'CAL', 'MP' or 'BB84'"),
        (changed('name = "SNS"', 'name = "MP"'), "protocol.pair_span_pulses is 0; allowed: 1 to 4294967295 with protocol MP"),
        (changed('name = "SNS"', 'name = "SNS"\npair_span_pulses = 5'), "pair_span_pulses is 5; allowed: 0 with protocol SNS"),
        (changed('name = "SNS"', 'name = "PM"'), "clients.alice.z_probability is 0.5; allowed: 0 with protocol PM"),
        (changed('name = "SNS"', 'name = "CAL"'), "clients.alice.send_probability is 0.27; allowed: 1 with protocol CAL"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_key_value_and_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(LabError, match=r"^lab my\.toml") as caught:
        parse_lab(text, "my.toml")
    assert any(says in line for line in str(caught.value).splitlines()), str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", "folder"])
def test_a_file_that_cannot_be_read_lists_the_presets(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "my.toml"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(LabError, match=r"^lab [^\n]*my\.toml is neither a preset \(metro-50km, [^\n]*$"):
        load_lab(path)


def set_up(lab: Lab) -> None:
    """Everything that a lab is turned into before its first clock; each register value must fit."""
    frame_config(lab)
    client_table(lab)
    lab_figures(lab)
    check_delay(lab, expectations(lab).heralds_per_second)
    for name, value in server_registers(lab, 1 << 16).items():
        register_words(SERVER[name], value, name)
    for role in ("alice", "bob"):
        registers = client_registers(lab, role, (1, 2, 3, 4), 1 << 16, digest=pair_digest(1))  # type: ignore[arg-type]
        for name, value in registers.items():
            register_words(CLIENT[name], value, name)


def test_the_unchanged_lab_is_accepted() -> None:
    set_up(parse_lab(TEXT, "my.toml"))


@pytest.mark.parametrize("value", EXTREMES)
def test_any_number_is_refused_in_sentences_or_can_be_run(value: str) -> None:
    refused = 0
    for found in NUMBERS.finditer(TEXT):
        text = TEXT[: found.start(2)] + value + TEXT[found.end(2) :]
        try:
            set_up(parse_lab(text, "my.toml"))
        except LabError as error:
            refused += 1
            for line in str(error).splitlines():
                assert line.startswith("lab m"), line
                assert "allowed: " in line, line
    assert refused > 0
