"""The main job in short: figures where the physics puts them, every word equal to the model's, and what a wrong sign does."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from twinphase.errors import TwinphaseError
from twinphase.recording.reader import Recording
from twinphase.report.summary import Summary
from twinphase_sim.lab import messages
from twinphase_sim.lab.demo.command import run_demo
from twinphase_sim.lab.virtual import VirtualLab
from twinphase_sim.native import NodeOutput
from twinphase_spec import sns
from twinphase_spec.lab import load_lab, preset_names
from twinphase_spec.packets import HEADER_DTYPE, PSI_DTYPE, SIFTED_DTYPE, Stream

SEED = 3
SECONDS = 0.1
STABLE_KEYS = [
    "lab",
    "lab_seconds",
    "wall_seconds",
    "cycles_per_second",
    "clicks",
    "tags",
    "losses",
    "unexplained_losses",
    "words_compared",
    "mismatches",
    "psi_rms_rad",
    "psi_rms_expected_rad",
    "heralds_per_second",
    "heralds_per_second_expected",
    "z_error_raw",
    "z_error_after_pairing",
    "x_events",
    "x_qber",
    "x_qber_ci95",
    "x_qber_expected",
    "key_rate_per_slot",
    "plob_per_slot",
    "plob_per_slot_with_detectors",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path]:
    out = tmp_path_factory.mktemp("demo")
    lab = "seed-370km-locked"
    summary, _ = run_demo(load_lab(lab), lab, SECONDS, SEED, out, Console(stderr=True), lambda: False)
    return summary, out


@pytest.mark.long
@pytest.mark.parametrize("lab", [name for name in preset_names() if name != "seed-370km-locked"])
def test_every_preset_equals_the_model(lab: str, tmp_path: Path) -> None:
    """60 ms of each other preset: no word differs, no herald is given up by a client."""
    summary, _ = run_demo(load_lab(lab), lab, 0.06, SEED, tmp_path, Console(stderr=True), lambda: False)
    assert summary.mismatches == summary.unexplained_losses == 0
    for client in ("alice", "bob"):
        counters = summary.details["counters"][client]
        assert (counters["missing"], counters["late"]) == (0, 0), client


def test_every_word_equals_the_model(demo: tuple[Summary, Path]) -> None:
    summary, _ = demo
    assert summary.mismatches == 0
    assert summary.unexplained_losses == 0
    assert summary.words_compared > 80_000
    assert summary.details["words"]["alice sifted"] > 0
    assert summary.tags == summary.clicks


def test_figures_are_where_the_physics_puts_them(demo: tuple[Summary, Path]) -> None:
    summary, _ = demo
    # Heralds are Poisson: 5 sigma of the expected number (miss 6e-7) and 2 % for the formula's approximations.
    expected = summary.heralds_per_second_expected * SECONDS
    assert abs(summary.heralds_per_second * SECONDS - expected) < 5 * math.sqrt(expected) + 0.02 * expected
    # psi_q: mean square over some 900 independent windows of 100 us is known to sqrt(2/900) = 4.7 %, its root to 2.4 %; the
    # slow part of the drift makes it wander by about as much again: 5 times 3.4 %.
    assert summary.psi_rms_rad == pytest.approx(summary.psi_rms_expected_rad, rel=0.17)
    assert summary.x_events > 20
    low, high = summary.x_qber_ci95
    assert low < 0.1
    assert low <= summary.x_qber <= high
    assert 0.2 < summary.z_error_raw < 0.35


def test_files_are_complete(demo: tuple[Summary, Path]) -> None:
    summary, out = demo
    figures = json.loads((out / "summary.json").read_text())
    assert list(figures)[: len(STABLE_KEYS)] == STABLE_KEYS
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(list(out.glob("*.png"))) >= 6
    assert "http" not in page.replace("http-equiv", "")
    with Recording(str(out / "recording" / "server")) as recording:
        tags = sum(len(batch.get(Stream.TAG)) for batch in recording.batches() if batch.get(Stream.TAG) is not None)
    assert tags * 1 == summary.details["words"]["server tag"]


def _negate_psi(output: NodeOutput, index: int) -> bytes:
    packet = bytearray(output.packet(index))
    if packet[0] == Stream.PSI:
        records = np.frombuffer(packet, PSI_DTYPE, offset=HEADER_DTYPE.itemsize)
        records["psi_turns"] = -records["psi_turns"]
    return bytes(packet)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_wrong_sign_of_psi_ruins_the_x_basis(flipped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if flipped:

        def send(line: messages.DelayLine, output: NodeOutput) -> None:
            for index in np.flatnonzero(line._wanted[output.streams]).tolist():
                line._underway.append((int(output.clocks[index]) + line.delay_clocks, _negate_psi(output, index)))

        monkeypatch.setattr(messages.DelayLine, "send", send)
    parts = []
    with VirtualLab(load_lab("seed-370km"), SEED, progress=False) as virtual:
        for step in virtual.run_to(0.14):
            output = step.outputs["alice"]
            for index in np.flatnonzero(output.streams == Stream.SIFTED).tolist():
                parts.append(np.frombuffer(output.packet(index), SIFTED_DTYPE, offset=HEADER_DTYPE.itemsize))
    words = np.concatenate(parts)["word"]
    kept = words[(words & sns.SIFTED_X != 0) & (words & sns.SIFTED_KEEP != 0)]
    errors = int(np.count_nonzero(kept & sns.SIFTED_ERROR))
    assert kept.size > 60
    # Of 60 or more events at p = 1/2, fewer than 30 % errors have a probability below 0.2 %; at p = 3.4 %, more than
    # 15 % below 0.1 % (exact binomial tails).
    assert errors > 0.3 * kept.size if flipped else errors < 0.15 * kept.size


def test_a_stop_keeps_what_was_recorded(tmp_path: Path) -> None:
    lab = load_lab("seed-370km")
    polls = iter(range(1000))
    with pytest.raises(TwinphaseError, match="stopped by request; what was recorded until then is in"):
        run_demo(lab, "seed-370km", 5.0, SEED, tmp_path, Console(stderr=True), lambda: next(polls) > 60)
    with Recording(str(tmp_path / "recording" / "server")) as recording:
        assert sum(len(batch) for batch in recording.batches()) > 0
