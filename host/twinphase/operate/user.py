"""A user's part of a run whose users have computers of their own: the client, its secrets, and one connection to Charlie's computer.

Nobody but the two users can read or make their seals; Charlie's computer sees the reveals, as he may: they are public, but must not be
changed. What comes of the server goes to the client as it is: the digests of the two clients compare it.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinphase_spec.frame import LAG_CLOCKS
from twinphase_spec.lab import Lab
from twinphase_spec.packets import Stream
from twinphase_spec.units import CLOCK_HZ

from ..device import Device
from ..emission import EmissionCorrection
from ..errors import DeviceError, TwinphaseError
from ..packet_block import PacketBlock
from .charlie import PROTOCOL, same_lab
from .connection import Connection
from .ending import end_run
from .recorders import Progress, recorded
from .relay import BETWEEN, TO_CLIENTS, End, Relay, on_link
from .sealing import Seal
from .secrets import ROLES, load_secrets, take_run
from .settings import check_build, client_settings, flight_clocks
from .starting import DRAIN_S, SLACK_CLOCKS, check_in_time, clock_count, empty_folder, write_settings

CONNECT_S = 10.0
CLOSING_S = 2.0
"""For Charlie to close the connection: what the other user still sends has a way until then."""
ON_THE_WAY_CLOCKS = CLOCK_HZ
"""By which Charlie's word of his clock may be late."""


@dataclass(frozen=True, kw_only=True)
class UserPlan:
    """What is asked of a user. ``secrets``: the user's own file; ``ahead``: clocks of the client's count over the server's."""

    lab: Lab
    lab_name: str
    secrets: Path
    folder: Path
    charlie: tuple[str, int]
    ahead: int = 0


class FromServer:
    """What the server says, as it comes on the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def listen(self, hear: Callable[[PacketBlock], None]) -> None:
        """``hear`` gets all but PEER."""
        self._connection.listen(lambda block: hear(block[block.first_words() & 0xFF != Stream.PEER]))

    def send(self, packet: bytes) -> bool:
        """A user tells the server nothing."""
        return False


class OtherUser:
    """The other user, at the other end of Charlie's computer. ``fault``: what came that was not theirs."""

    def __init__(self, connection: Connection, own: Seal, theirs: Seal) -> None:
        self._connection, self._own, self._theirs = connection, own, theirs
        self.fault: str | None = None

    def listen(self, hear: Callable[[PacketBlock], None]) -> None:
        """``hear`` gets their PEER packets, opened; none from the first on that is not theirs."""

        def opened(block: PacketBlock) -> None:
            packets = []
            for sealed in block[block.first_words() & 0xFF == Stream.PEER].packets():
                if self.fault is None:
                    try:
                        packets.append(self._theirs.open(sealed))
                    except TwinphaseError as error:
                        self.fault = str(error)
            hear(PacketBlock.of(packets))

        self._connection.listen(opened)

    def send(self, packet: bytes) -> bool:
        """Seal and send. False where the connection has no room."""
        return self._connection.send(self._own.close(packet))


class UserRun:
    """A run of ``device`` with the secrets of one user. `carry_on` does all of it.

    Raises TwinphaseError before anything is written: for a node of another kind or build, and secrets that cannot be used."""

    def __init__(self, plan: UserPlan, device: Device) -> None:
        self.plan, self.device = plan, on_link(device)
        self.secrets = load_secrets(plan.secrets)
        self.role = self.secrets.role
        self.corrections = 0
        """Of the emission, taken."""
        check_build(device, plan.lab, self.role)

    def carry_on(
        self,
        *,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[Progress], None] = lambda progress: None,
    ) -> dict[str, Any]:
        """Until Charlie or the other user ends the run, ``stop()`` or a failure; what was done. In any case the node is stopped."""
        plan = self.plan
        empty_folder(plan.folder)
        connection = self._connect()
        ended = f"{self.role} has failed"
        try:
            connection.tell(hello=PROTOCOL, role=self.role, lab=same_lab(plan.lab), least_run=self.secrets.next_run)
            start = self._wait_for_start(connection, stop)
            self._check_clock(start["server_clock"])
            number = take_run([plan.secrets], start["run"])
            emission = start["start_clock"] + plan.ahead - flight_clocks(plan.lab, self.role)
            self.device.write("CONTROL", 0)
            write_settings(self.device, client_settings(plan.lab, self.secrets, number, emission))
            other = ROLES[1 - ROLES.index(self.role)]
            peer = OtherUser(connection, Seal(self.secrets, number, self.role), Seal(self.secrets, number, other))
            ends: dict[str, End] = {"server": FromServer(connection), self.role: self.device, other: peer}
            routes = (("server", self.role, TO_CLIENTS), (self.role, other, BETWEEN), (other, self.role, BETWEEN))
            with recorded({self.role: self.device}, plan.folder, plan.lab_name) as recorders:
                recorders.wait_until_all_read()
                relay = Relay(ends, routes)

                def over() -> str | None:
                    return relay.fault or peer.fault or self._hear(connection)

                try:
                    self.device.write("CONTROL", 1)
                    check_in_time(self.device, emission - LAG_CLOCKS)
                    connection.tell(ready=True)
                    ended = recorders.watch(self.role, emission, seconds=None, over=over, stop=stop, progress=progress)
                finally:
                    connection.tell(end=ended)
                    time.sleep(DRAIN_S)
                    with contextlib.suppress(DeviceError):
                        self.device.write("CONTROL", 0)
                    relay.stop()
                    connection.wait_until_closed(CLOSING_S)
        except BaseException as error:
            connection.tell(end=str(error) or type(error).__name__)
            raise
        finally:
            connection.close()
        done = {
            "lab": plan.lab_name,
            "run": number,
            "role": self.role,
            "ahead": plan.ahead,
            "node": self.device.url,
            "ended": ended,
            "corrections": self.corrections,
        }
        return end_run(
            plan.folder,
            done,
            relay=relay,
            recorders=recorders,
            fault=ended if ended in (relay.fault, peer.fault) else None,
        )

    def _connect(self) -> Connection:
        host, port = self.plan.charlie
        try:
            link = socket.create_connection((host, port), CONNECT_S)
        except OSError as error:
            raise DeviceError(
                f"Charlie's computer does not answer at {host}:{port} ({error.strerror or error}): does `twinphase charlie` run there, "
                "and is the address right?"
            ) from error
        return Connection(link, f"Charlie's computer at {host}:{port}")

    def _wait_for_start(self, connection: Connection, stop: Callable[[], bool]) -> dict[str, int]:
        """Run, start_clock and server_clock, as Charlie tells them when both users are there."""
        while (message := connection.told(0.1)) is None:
            if stop():
                raise TwinphaseError("stopped before the run began")
        if "refused" in message or "end" in message:
            raise TwinphaseError(f"Charlie's computer does not go on: {message.get('refused', message.get('end'))}")
        names = ("run", "start_clock", "server_clock")
        start = {name: message.get(name) for name in names}
        if any(type(value) is not int or value < 0 for value in start.values()):
            raise DeviceError(
                f"{connection.name} tells no start of a run: use the same version of Twinphase on all three"
            )
        return start  # type: ignore[return-value]

    def _check_clock(self, server_clock: int) -> None:
        """DeviceError where the client's count is not ahead by what was told."""
        found = clock_count(self.device) - server_clock
        if not -SLACK_CLOCKS <= found - self.plan.ahead <= SLACK_CLOCKS + ON_THE_WAY_CLOCKS:
            raise DeviceError(
                f"{self.device.url}: the client's clock count is about {found} ahead of the server's (as told over the network, "
                f"up to {ON_THE_WAY_CLOCKS} too many), not {self.plan.ahead}: say with --ahead what it is, to the clock"
            )

    def _hear(self, connection: Connection) -> str | None:
        """Take the corrections that Charlie tells; why the run has ended, if it has."""
        try:
            while (message := connection.told(0.0)) is not None:
                if "end" in message:
                    return f"Charlie's computer: {message['end']}"
                if "correct" in message:
                    EmissionCorrection(**message["correct"]).apply(self.device)
                    self.corrections += 1
        except DeviceError as error:
            return str(error)
        except (TypeError, ValueError) as error:
            raise DeviceError(f"{connection.name} tells a correction that is none ({error})") from error
        return None
