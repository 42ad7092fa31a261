"""What a node of a pair gets for a run, from the lab, and whether its build can do what the lab asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twinphase_spec.configure import client_registers, client_table, server_memories, server_registers
from twinphase_spec.lab import LIGHT_IN_FIBRE_KM_PER_S, Lab
from twinphase_spec.registers import NodeType
from twinphase_spec.units import CLOCK_HZ

from ..device import Device
from ..errors import DeviceError
from .secrets import ClientSecrets, Role


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Registers but CONTROL, which starts the node, and memories, by name."""

    registers: Mapping[str, int]
    memories: Mapping[str, Sequence[int]]


def flight_clocks(lab: Lab, role: Role) -> int:
    """Clocks from a client's modulators to the server by the length of its arm."""
    length_km = lab.fibre.length_a_km if role == "alice" else lab.fibre.length_b_km
    return round(length_km / LIGHT_IN_FIBRE_KM_PER_S * CLOCK_HZ)


def server_settings(lab: Lab, start_clock: int) -> Settings:
    """Pulse 0 has its place on the server's grid at ``start_clock``. Raises LabError."""
    off = {"ACT_CONTROL": 0, "SMOOTH_FOLLOWS": 0}  # what a run before may have left on and this lab says nothing of
    return Settings(registers=off | server_registers(lab, start_clock), memories=server_memories(lab))


def client_settings(lab: Lab, secrets: ClientSecrets, run: int, emission_clock: int) -> Settings:
    """Pulse 0 leaves the client at its own ``emission_clock``. Raises LabError."""
    registers = client_registers(
        lab, secrets.role, secrets.symbols_key, emission_clock, nonce=run, digest=secrets.digest(run)
    )
    return Settings(registers=registers, memories={"FRAME_TABLE": client_table(lab)})


def check_build(device: Device, lab: Lab, role: Role | None) -> None:
    """DeviceError where the node is not of the kind (``role``: a client, None: the server) or of the build that the lab needs."""
    wanted = NodeType.SERVER if role is None else NodeType.CLIENT
    if (node := device.identity().node) is not wanted:
        raise DeviceError(
            f"{device.url} is a {node.name.lower()}, not the {wanted.name.lower()} that is wanted there: check the addresses, or load "
            "the other bitstream"
        )
    if role is None:
        if lab.actuator is not None and (bits := device.read("ACT_BITS")) != lab.actuator.dac_bits:
            raise DeviceError(
                f"{device.url} drives a DAC of {bits} bits (0: none), lab {lab.name} one of {lab.actuator.dac_bits}: change the lab's "
                "actuator, or build the server for it"
            )
        return
    if (lanes := device.read("LANES")) != lab.lanes:
        raise DeviceError(
            f"{device.url} emits {lanes} pulses per clock, lab {lab.name} has {lab.lanes}: build it with --lanes {lab.lanes}"
        )
    ring = lab.clients.ring_symbols if lab.clients.symbols == "qrng" else 0
    if (held := device.read("RING_SYMBOLS")) != ring:
        what = f"a ring of {ring} symbols from a QRNG" if ring else "symbols of AES-128"
        options = f"--symbols ring --ring {ring}" if ring else "without --symbols ring"
        raise DeviceError(
            f"{device.url} has {f'a ring of {held} symbols' if held else 'symbols of AES-128'}, lab {lab.name} wants {what}: build it "
            f"{options}, or change the lab's clients"
        )
