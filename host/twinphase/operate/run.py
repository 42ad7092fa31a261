"""A run of a pair: sets three nodes up from a lab file, starts them together, carries their messages, records all three, stops them.

Clock counts are each node's own. Pulse 0 has its place on the server's grid at a clock S of the server's count; a client whose count is
``ahead`` of the server's at the same moment emits it at ``S + ahead - flight`` of its own, flight its arm's by the lab file. So the nodes
must run from one clock, and what ``ahead`` is must be known to a few pulses; what is left shows in `twinphase align`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from twinphase_spec.configure import frame_config
from twinphase_spec.frame import LAG_CLOCKS
from twinphase_spec.lab import Lab

from ..device import PacketDevice
from ..emission import EmissionCorrection
from ..errors import DeviceError, TwinphaseError
from ..measure.pulse_index import PulseIndex
from .aligning import aligned
from .ending import end_run
from .recorders import Progress, recorded
from .relay import Relay, on_link
from .secrets import ROLES, ClientSecrets, load_secrets, take_run
from .settings import check_build, client_settings, flight_clocks, server_settings
from .starting import DRAIN_S, SLACK_CLOCKS, check_in_time, clock_count, empty_folder, start_clock, write_settings

NODES = ("server", *ROLES)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked for. ``ahead``: of each client's clock count over the server's, in clocks; ``after_s``: from now to pulse 0."""

    lab: Lab
    lab_name: str
    """Preset or path, as recordings keep it."""
    secrets: Path
    """Folder with alice.toml and bob.toml."""
    folder: Path
    ahead: Mapping[str, int]
    after_s: float
    run: int | None = None
    align: bool = False
    """Search for the pulses of both arms and keep them in their places."""


class PairRun:
    """A run of ``devices`` (server, alice, bob) as `Plan` says; `carry_on` does all of it.

    Raises TwinphaseError before anything is written: for nodes of other kinds or builds, for clock counts that are not as told, and
    for secrets that cannot be used."""

    def __init__(self, plan: Plan, devices: Mapping[str, PacketDevice]) -> None:
        self.plan, self.devices = plan, devices
        for name in NODES:
            check_build(devices[name], plan.lab, None if name == "server" else name)  # type: ignore[arg-type]
        self._paths = [plan.secrets / f"{role}.toml" for role in ROLES]
        self._secrets: dict[str, ClientSecrets] = {}
        for role, path in zip(ROLES, self._paths, strict=True):
            self._secrets[role] = load_secrets(path)
            if self._secrets[role].role != role:
                raise TwinphaseError(f"{path} holds the secrets of {self._secrets[role].role}, not of {role}")
        if self._secrets["alice"].digest_key != self._secrets["bob"].digest_key:
            raise TwinphaseError(f"the secrets in {plan.secrets} are of two pairs: their digest_key differ")
        if plan.align:
            PulseIndex(frame_config(plan.lab))  # refuses a frame whose pulses cannot be told
        for role in ROLES:
            self._check_clock(role)

    def _check_clock(self, role: str) -> None:
        """DeviceError where a client's count is not ahead by what was told."""
        before = clock_count(self.devices["server"])
        count = clock_count(self.devices[role])
        after = clock_count(self.devices["server"])
        ahead = self.plan.ahead[role]
        if not before - SLACK_CLOCKS <= count - ahead <= after + SLACK_CLOCKS:
            raise DeviceError(
                f"{self.devices[role].url}: {role}'s clock count is about {count - (before + after) // 2} ahead of the server's (read "
                f"over the links, to {(after - before) / 2 + SLACK_CLOCKS:.0f} clocks), not {ahead}: say with --{role}-ahead what it "
                "is, to the clock"
            )

    def carry_on(
        self,
        *,
        seconds: float | None = None,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[Progress], None] = lambda progress: None,
    ) -> dict[str, Any]:
        """Until ``seconds`` after pulse 0, ``stop()`` or a failure; what was done. In any case nodes are stopped, recordings closed."""
        plan = self.plan
        empty_folder(plan.folder)
        number = take_run(self._paths, plan.run)
        self._control(0)
        start = self._set_up(number)
        relay = Relay({name: on_link(device) for name, device in self.devices.items()})
        begun: dict[str, Any] = {
            "lab": plan.lab_name,
            "run": number,
            "start_clock": start,
            "ahead": dict(plan.ahead),
            "nodes": {name: device.url for name, device in self.devices.items()},
        }
        with recorded(self.devices, plan.folder, plan.lab_name) as recorders:
            recorders.wait_until_all_read()
            correct = {role: partial(_correct, self.devices[role]) for role in ROLES}
            try:
                self._begin(start)
                with aligned(plan.align, plan.lab, start, on_link(self.devices["server"]), correct) as aligning:

                    def over() -> str | None:
                        if relay.fault is not None:
                            return "peer packet lost"
                        return "not aligned" if aligning is not None and aligning.failure is not None else None

                    ended = recorders.watch("server", start, seconds=seconds, over=over, stop=stop, progress=progress)
            finally:
                with contextlib.suppress(DeviceError):
                    self._control(0)
                time.sleep(DRAIN_S)
        return end_run(
            plan.folder,
            begun | {"ended": ended, "align": aligning and aligning.as_dict()},
            relay=relay,
            recorders=recorders,
            fault=relay.fault,
            aligning=aligning,
        )

    def _set_up(self, number: int) -> int:
        """Write everything but CONTROL; the server's clock of pulse 0."""
        lab = self.plan.lab
        start = start_clock(lab, clock_count(self.devices["server"]), self.plan.after_s)
        write_settings(self.devices["server"], server_settings(lab, start))
        for role in ROLES:
            settings = client_settings(lab, self._secrets[role], number, self._emission(start, role))
            write_settings(self.devices[role], settings)
        return start

    def _emission(self, start: int, role: str) -> int:
        """The client's count when pulse 0 leaves it."""
        return start + self.plan.ahead[role] - flight_clocks(self.plan.lab, role)  # type: ignore[arg-type]

    def _begin(self, start: int) -> None:
        """Clients first. DeviceError if it was too late for one of them."""
        self._control(1, order=("alice", "bob", "server"))
        for name in NODES:
            check_in_time(self.devices[name], start if name == "server" else self._emission(start, name) - LAG_CLOCKS)

    def _control(self, value: int, order: tuple[str, ...] = NODES) -> None:
        for name in order:
            self.devices[name].write("CONTROL", value)


def _correct(client: PacketDevice, correction: EmissionCorrection) -> None:
    correction.apply(client)
