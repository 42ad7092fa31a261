"""Angles of reference steps written into a live server as its tags tell them; refused where they do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from port_paths import BELIEVED, START, TRUE, batches, lab_with

from twinphase.batch import Batch
from twinphase.commands import ports
from twinphase.device import Identity, PacketDevice, register_value
from twinphase.errors import TwinphaseError
from twinphase.measure.port_calibration import PortCalibration, found_angles
from twinphase_spec.configure import server_registers
from twinphase_spec.lab import Lab
from twinphase_spec.packets import RegisterOp
from twinphase_spec.port_balance import EQUAL_PORTS, step_angles
from twinphase_spec.registers import CLIENT, INTERFACE_VERSION, SERVER, NodeType
from twinphase_spec.units import CLOCK_HZ

MRAD = 2 * math.pi / 65.536


class LiveServer(PacketDevice):
    """A server's registers, and batches that were drawn before."""

    def __init__(self, lab: Lab, drawn: Sequence[Batch] = (), node: NodeType = NodeType.SERVER) -> None:
        super().__init__("udp://server")
        self.lab = None
        self.drawn, self.node, self.writes = drawn, node, 0
        self.words: dict[int, int] = {}
        values = server_registers(lab, START) | {f"STEP_R_{k}": angle for k, angle in enumerate(EQUAL_PORTS)}
        for name, value in values.items():
            for i in range(SERVER[name].words):
                self.words[SERVER[name].address + i] = value >> 32 * i & 0xFFFFFFFF

    def identity(self) -> Identity:
        node_map = SERVER if self.node is NodeType.SERVER else CLIENT
        return Identity(
            node=self.node,
            interface_version=INTERFACE_VERSION,
            clock_hz=CLOCK_HZ,
            map_hash=node_map.hash,
            build_hash=0,
        )

    def receive(self, timeout_s: float) -> list[bytes] | None:
        return None

    def batches(self, timeout_s: float = 0.1):
        yield Batch()
        yield from self.drawn

    def request(self, op: RegisterOp, address: int, count: int, words: Sequence[int] = ()) -> list[int]:
        if op is RegisterOp.READ:
            return [self.words.get(address + i, 0) for i in range(count)]
        self.writes += 1
        self.words |= {address + i: word for i, word in enumerate(words)}
        return []

    def close(self) -> None:
        pass

    def angles(self) -> tuple[int, ...]:
        return tuple(
            register_value(SERVER[f"STEP_R_{k}"], [self.words[SERVER[f"STEP_R_{k}"].address]]) for k in range(4)
        )


def away_mrad(angles: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
    return np.abs((np.array(angles) - np.array(wanted) + 32768) % 65536 - 32768) * MRAD


@pytest.fixture(scope="module")
def drawn() -> list[Batch]:
    """A quarter of a second of light at 45 degrees on unequal ports: 1e5 clicks."""
    return batches(lab_with(TRUE), 3, 5000)


def run(device: LiveServer, lab: Lab, drawn: Sequence[Batch], **options) -> PortCalibration:
    calibration = PortCalibration(device, lab, **options)
    for batch in drawn:
        calibration.update(batch)
    return calibration


def test_angles_are_written_when_the_clicks_tell_them(drawn: list[Batch]) -> None:
    """Told of equal efficiencies and dead times, the node's steps are 90 and more mrad off; then within their stated error.

    A balance M of V cos 45 degrees moves by 1 - M^2 per unit of u, and the angle by that over V sin 45 degrees: 0.75. The error is a 95 %
    one: twice it is granted.
    """
    believed = lab_with(BELIEVED)
    device = LiveServer(believed)
    wanted = step_angles(lab_with(TRUE))
    assert (away_mrad(device.angles(), wanted) > 50).all()
    calibration = run(device, believed, drawn, most_error_rad=12e-3)
    calibration.check()
    assert calibration.done
    assert device.writes == 1
    [written] = calibration.written
    assert written.before == EQUAL_PORTS
    assert written.angles.words == device.angles()
    assert 0.5 * 12e-3 < written.angles.error_rad <= 12e-3
    clicks = written.angles.figures.clicks
    assert written.angles.error_rad == pytest.approx(0.75 * 1.96 / math.sqrt(clicks), rel=0.2)
    assert (away_mrad(device.angles(), wanted) < 2e3 * written.angles.error_rad).all()
    assert written.moved_rad * 1e3 == pytest.approx(away_mrad(device.angles(), EQUAL_PORTS).max())


def test_every_period_is_measured_anew(drawn: list[Batch]) -> None:
    """The clicks of 0.02 s suffice for 20 mrad; behind a write all of 0.09 s are taken, and so on."""
    believed = lab_with(BELIEVED)
    device = LiveServer(believed)
    told = []
    calibration = run(device, believed, drawn, every_s=0.09, most_error_rad=20e-3, written=told.append)
    assert not calibration.done
    assert told == calibration.written
    times = [written.node_seconds for written in told]
    assert len(times) == 3
    assert all(0.09 <= after - before < 0.11 for before, after in pairwise(times))
    assert told[1].before == told[0].angles.words
    assert told[1].moved_rad < 40e-3
    first, second, third = (written.angles.figures.clicks for written in told)
    assert second > 2 * first
    # each period has its own clicks only
    assert third == pytest.approx(second, rel=0.2)
    assert told[1].angles.error_rad < 0.8 * told[0].angles.error_rad


def test_too_few_clicks_are_refused_in_one_sentence(drawn: list[Batch]) -> None:
    believed = lab_with(BELIEVED)
    device = LiveServer(believed)
    calibration = run(device, believed, drawn[:12])
    error = found_angles(believed, calibration._balance)
    assert error is not None
    needed = error.figures.clicks * (error.error_rad / 5e-3) ** 2
    with pytest.raises(TwinphaseError, match=rf"mrad \(95 %\); allowed: 5 mrad, some {needed:,.0f} clicks") as refusal:
        calibration.check()
    assert "\n" not in str(refusal.value)
    assert 80_000 < needed < 200_000
    dark = run(device, believed, drawn[:1])
    with pytest.raises(TwinphaseError, match=r"too few clicks in REF\(k\), REF_A and REF_B slots of lab x to tell"):
        run(device, believed, []).check()
    assert not dark.written
    assert device.writes == 0
    assert device.angles() == EQUAL_PORTS


def test_only_live_servers_of_that_lab_are_told() -> None:
    lab = lab_with(BELIEVED)
    with pytest.raises(TwinphaseError, match="is no server; --apply writes"):
        PortCalibration(LiveServer(lab, node=NodeType.CLIENT), lab)
    other = LiveServer(lab)
    other.words[SERVER["FRAME_PULSES"].address] += 8
    with pytest.raises(TwinphaseError, match=r"has FRAME_PULSES .*, lab x .*; give the lab that the server runs"):
        PortCalibration(other, lab)


def test_light_that_is_not_steered_keeps_its_quarters(drawn: list[Batch]) -> None:
    """Four steps without a lock point need no angles: they are sure from the first look on, and stay."""
    lab = lab_with(BELIEVED, "[actuator]\non = false\n")
    device = LiveServer(lab)
    calibration = run(device, lab, drawn[:20])
    calibration.check()
    assert calibration.written[0].angles.error_rad == 0
    assert device.angles() == EQUAL_PORTS


def command(monkeypatch: pytest.MonkeyPatch, device: LiveServer, tmp_path, *options: str) -> int:
    import argparse

    path = tmp_path / "lab.toml"
    path.write_text(f'base = "seed-370km-locked"\nname = "x"\n[detectors]\n{BELIEVED}\n', encoding="utf-8")
    monkeypatch.setattr("twinphase.device.open_device", lambda url: device)
    parser = argparse.ArgumentParser()
    ports.configure(parser)
    return ports.run(parser.parse_args(["udp://server", "--lab", str(path), *options]))


def test_the_command_refuses_and_says_what_it_would_take(drawn, monkeypatch, tmp_path, capsys) -> None:
    device = LiveServer(lab_with(BELIEVED), drawn[:12])
    with pytest.raises(TwinphaseError, match="nothing was written: measure longer"):
        command(monkeypatch, device, tmp_path, "--apply")
    with pytest.raises(TwinphaseError, match="--every is given without --apply"):
        command(monkeypatch, device, tmp_path, "--every", "3")
    assert capsys.readouterr().out == ""
    assert device.writes == 0


def test_the_command_tells_what_it_has_written(drawn, monkeypatch, tmp_path, capsys) -> None:
    """0.5 s of light, and to 5 mrad."""
    lab = lab_with(BELIEVED)
    more = batches(lab_with(TRUE), 3, 20_000, seconds=0.5)
    device = LiveServer(lab, more)
    assert command(monkeypatch, device, tmp_path, "--apply") == 0
    said = capsys.readouterr().out
    assert ", ".join(str(word) for word in device.angles()) in said
    assert "sure to" in said
    assert (away_mrad(device.angles(), step_angles(lab_with(TRUE))) < 10).all()
