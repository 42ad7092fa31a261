"""Charlie's part of a run whose users have computers of their own: his server, and the way of all messages between the three nodes.

Users connect and say who they are; when both are there, Charlie tells them the number of the run and the clock of pulse 0, waits until
both have started, and starts the server. What the users say to each other passes here sealed (`operate.sealing`); what the server says is
Charlie's word, which the digests compare.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from twinphase_spec.configure import frame_config
from twinphase_spec.lab import Lab

from ..device import Device
from ..emission import EmissionCorrection
from ..errors import DeviceError, TwinphaseError
from ..measure.pulse_index import PulseIndex
from .aligning import aligned
from .connection import Connection
from .ending import end_run
from .recorders import Progress, recorded
from .relay import Relay, on_link
from .secrets import ROLES
from .settings import check_build, server_settings
from .starting import DRAIN_S, check_in_time, clock_count, empty_folder, start_clock, write_settings

PROTOCOL = 1
"""Version of the control messages."""
HELLO_S = 5.0
READY_S = 60.0
"""For users to write their settings, beyond the time to pulse 0."""


def same_lab(lab: Lab) -> str:
    """What two computers compare to see that they have the same lab: a hash of all its values but the name."""
    return hashlib.sha256(
        json.dumps(lab.model_dump(mode="json", exclude={"name"}), sort_keys=True).encode()
    ).hexdigest()


@dataclass(frozen=True, kw_only=True)
class CharliePlan:
    """What is asked of Charlie. ``address``: where users connect, port 0 for any; ``after_s``: from the settings to pulse 0."""

    lab: Lab
    lab_name: str
    folder: Path
    address: tuple[str, int]
    after_s: float
    align: bool = False
    """Search for the pulses of both arms, and tell the users how to keep them in their places."""


class CharlieRun:
    """A run of ``device`` with two users. Listens from its construction on, at `address`; use as a context.

    Raises DeviceError for a node of another kind or build, and TwinphaseError for an address that cannot be had."""

    def __init__(self, plan: CharliePlan, device: Device) -> None:
        self.plan, self.device = plan, on_link(device)
        check_build(device, plan.lab, None)
        if plan.align:
            PulseIndex(frame_config(plan.lab))  # refuses a frame whose pulses cannot be told
        self.users: dict[str, Connection] = {}
        """Those who are there, by role."""
        self._runs: dict[str, int] = {}
        host, port = plan.address
        try:
            self._socket = socket.create_server((host, port))
        except OSError as error:
            raise TwinphaseError(
                f"users cannot be heard at {host}:{port}: {error.strerror or error}; choose another --listen"
            ) from error
        self._socket.settimeout(0.2)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]

    def __enter__(self) -> CharlieRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for user in self.users.values():
            user.close()

    def carry_on(
        self,
        *,
        seconds: float | None = None,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[Progress], None] = lambda progress: None,
    ) -> dict[str, Any]:
        """Until ``seconds`` after pulse 0, ``stop()``, a user's end or a failure; what was done. Then all nodes are stopped."""
        plan = self.plan
        empty_folder(plan.folder)
        self._gather(stop)
        number = max(self._runs.values())
        self.device.write("CONTROL", 0)
        now = clock_count(self.device)
        start = start_clock(plan.lab, now, plan.after_s)
        write_settings(self.device, server_settings(plan.lab, start))
        begun: dict[str, Any] = {"lab": plan.lab_name, "run": number, "start_clock": start, "server": self.device.url}
        ended = "failed"
        with recorded({"server": self.device}, plan.folder, plan.lab_name) as recorders:
            recorders.wait_until_all_read()
            relay = Relay({"server": self.device, **self.users})
            try:
                for user in self.users.values():
                    user.tell(run=number, start_clock=start, server_clock=clock_count(self.device))
                self._wait_until_ready(stop)
                self.device.write("CONTROL", 1)
                check_in_time(self.device, start)
                correct = {role: partial(_tell_correction, self.users[role]) for role in ROLES}
                with aligned(plan.align, plan.lab, start, self.device, correct) as aligning:

                    def over() -> str | None:
                        lost = "not aligned" if aligning is not None and aligning.failure is not None else None
                        return self._ended() or lost or relay.fault

                    ended = recorders.watch("server", start, seconds=seconds, over=over, stop=stop, progress=progress)
            except TwinphaseError as error:
                ended = str(error)
                raise
            finally:
                for user in self.users.values():
                    user.tell(end=ended)
                with contextlib.suppress(DeviceError):
                    self.device.write("CONTROL", 0)
                time.sleep(DRAIN_S)
                relay.stop()
        return end_run(
            plan.folder,
            begun | {"ended": ended, "align": aligning and aligning.as_dict()},
            relay=relay,
            recorders=recorders,
            fault=relay.fault if ended == relay.fault else None,
            aligning=aligning,
        )

    def _gather(self, stop: Callable[[], bool]) -> None:
        """Wait until both users are there."""
        while len(self.users) < len(ROLES):
            if stop():
                raise TwinphaseError(
                    f"stopped before both users were there; so far: {', '.join(self.users) or 'nobody'}"
                )
            for role in [role for role, user in self.users.items() if user.failure is not None]:
                self.users.pop(role).close()
            self._accept()

    def _accept(self) -> None:
        """The next user, if one comes now; who is none is told why."""
        try:
            link, (host, *_) = self._socket.accept()
        except TimeoutError:
            return
        user = Connection(link, host)
        try:
            hello = user.told(HELLO_S) or {}
            why = self._refusal(hello)
        except DeviceError:
            why = "no word came"
        if why is not None:
            user.tell(refused=why)
            user.close()
            return
        user.name = hello["role"]
        self.users[user.name], self._runs[user.name] = user, hello["least_run"]

    def _refusal(self, hello: dict[str, Any]) -> str | None:
        role, run = hello.get("role"), hello.get("least_run")
        if hello.get("hello") != PROTOCOL or role not in ROLES or type(run) is not int or run < 1:
            return "Charlie's computer speaks another version of Twinphase: use the same one on all three"
        if hello.get("lab") != same_lab(self.plan.lab):
            return f"{role}'s lab file is not Charlie's, of {self.plan.lab_name}: all three need the same values"
        if role in self.users:
            return f"{role} is there already: the other user's computer says that it is {role} as well, or the run is under way"
        return None

    def _wait_until_ready(self, stop: Callable[[], bool]) -> None:
        """DeviceError where a user has not started in time, or has ended."""
        deadline = time.monotonic() + self.plan.after_s + READY_S
        for role, user in self.users.items():
            while not (message := user.told(0.1) or {}).get("ready"):
                if "end" in message:
                    raise DeviceError(f"{role} has ended the run before it began: {message['end']}")
                if stop() or time.monotonic() > deadline:
                    raise DeviceError(f"{role} has not started its client in time")

    def _ended(self) -> str | None:
        """What a user has ended the run with."""
        for role, user in self.users.items():
            try:
                message = user.told(0.0)
            except DeviceError as error:
                return str(error)
            if message is not None and "end" in message:
                return f"{role}: {message['end']}"
        return None


def _tell_correction(user: Connection, correction: EmissionCorrection) -> None:
    user.tell(correct=asdict(correction))
