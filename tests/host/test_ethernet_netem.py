"""As `test_ethernet_node`, with faults that the kernel makes (``tc netem``) on a bridge's ports, in both directions."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from wire_bench import PREFIX, ping
from wire_tagger import Received, opened, start_pulser, tagger_wire, written

from twinphase_sim.ethernet.bridge import Bridge
from twinphase_sim.ethernet.namespace import NetworkNamespace, NotPermittedError
from twinphase_sim.ethernet.tap import Tap
from twinphase_spec.packets import Stream

pytestmark = pytest.mark.long
HOST, PORT = "host0", "port0"
"""The ends of a pair of virtual cards: the host's, and the one that is a port of the bridge."""


def tool(namespace: NetworkNamespace, *command: str) -> str:
    """Runs ``ip`` or ``tc`` there. What it complains of, "" if nothing."""
    with namespace.entered():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or "it failed"


@contextmanager
def bridged_host() -> Iterator[tuple[NetworkNamespace, Tap]]:
    """A TAP interface and a host's card on one bridge of the kernel. Skips where that cannot be made."""
    if missing := [name for name in ("ip", "tc") if shutil.which(name) is None]:
        pytest.skip(f"{' and '.join(missing)} is missing: install iproute2")
    try:
        namespace = NetworkNamespace()
        tap = Tap(namespace, None)
    except NotPermittedError as error:
        pytest.skip(str(error))
    try:
        for line in (
            "ip link add bridge0 type bridge",
            f"ip link add {HOST} type veth peer name {PORT}",
            f"ip link set {tap.name} master bridge0",
            f"ip link set {PORT} master bridge0",
            f"ip addr add 10.77.0.1/{PREFIX} dev {HOST}",
            *(f"ip link set {name} up" for name in ("bridge0", PORT, HOST)),
        ):
            if said := tool(namespace, *line.split()):
                pytest.skip(f"this kernel has no bridge of virtual cards ({line}: {said})")
        yield namespace, tap
    finally:
        tap.close()
        namespace.close()


def impair(namespace: NetworkNamespace, how: str) -> None:
    """``how`` as ``tc netem`` says it, on the way in and out of the host. Skips where this kernel has no netem."""
    for name in (HOST, PORT):
        if said := tool(namespace, "tc", "qdisc", "replace", "dev", name, "root", "netem", *how.split()):
            pytest.skip(f"this kernel has no netem ({said}): load the module sch_netem")


def test_the_node_is_reached_through_a_bridge() -> None:
    with bridged_host() as (_, tap), Bridge(tagger_wire(), [tap]), opened(tap) as device:
        start_pulser(device)
        received = Received()
        received.take(device, packets=20)
        assert received.check() == 0
        assert ping(tap, b"bridged") == b"bridged"


@pytest.mark.parametrize(
    "how",
    [
        "loss 5%",
        "duplicate 10%",
        "delay 5ms 4ms",
        "delay 5ms reorder 30%",
        "corrupt 3%",
        "loss 2% duplicate 5% corrupt 1% delay 3ms 2ms",
    ],
)
def test_every_lost_record_is_counted_and_located_under_netem(how: str) -> None:
    """A datagram that netem damages has no checksum left that would tell (the wire's ends in the card), so damage to a time or a
    channel goes unseen: with it, only registers are judged."""
    with bridged_host() as (namespace, tap), Bridge(tagger_wire(), [tap]), opened(tap) as device:
        start_pulser(device)
        received = Received()
        received.take(device, packets=5)
        impair(namespace, how)
        received.take(device, packets=900)
        state = device.streams[Stream.TAG]
        if "corrupt" not in how:
            assert received.check() == state.lost_records + state.node_lost_records
            assert not any(device.damage.values())
        assert written(device, 10) == 10
