"""A real cable, as far as the kernel goes: a pair of virtual Ethernet interfaces, one of which goes down while tags come."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cable_bench import OUT_AFTER, PACKETS, PER_PACKET
from fake_node import random_tags

BENCH = Path(__file__).with_name("cable_bench.py")
SCRIPT = """
set -e
ip link set lo up
unshare -n sleep 100 & far=$!
trap 'kill $far' EXIT
while [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add v0 type veth peer name v1
ip link set v1 netns $far
ip addr add 10.77.0.1/24 dev v0
ip link set v0 up
nsenter -n -t $far sh -c 'ip addr add 10.77.0.2/24 dev v1; ip link set v1 up'
mkfifo "$FOLDER/ready" "$FOLDER/end"
nsenter -n -t $far "$PYTHON" "$BENCH" node < "$FOLDER/end" > "$FOLDER/ready" & node=$!
exec 3> "$FOLDER/end"
read word < "$FOLDER/ready"
"$PYTHON" "$BENCH" host
exec 3>&-
wait $node
"""


def may_make_namespaces():
    """Whether this user, on this system, can make a network namespace and interfaces in it."""
    if not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        return False
    tried = ["unshare", "-n", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_make_namespaces(), reason="needs the right to make network namespaces (root), and iproute2")
def test_an_interface_that_goes_down_and_comes_back_costs_what_was_sent_meanwhile(tmp_path):
    """Whatever the kernel says of routes and neighbours in between: no end, two sentences, and every lost record counted."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(BENCH.parent), *sys.path]),
        "PYTHON": sys.executable,
        "BENCH": str(BENCH),
        "FOLDER": str(tmp_path),
    }
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["packets"] + found["lost_packets"] == PACKETS
    assert found["lost_records"] == PER_PACKET * found["lost_packets"]
    assert found["packets"] >= OUT_AFTER
    assert found["lost_packets"] > 20
    assert (found["restarts"], found["duplicates"], found["strays"]) == (0, 0, 0)
    assert set(found["losses"].values()) == {0}  # neither kernel nor queue: they were lost on the way
    all_tags = random_tags(PER_PACKET * PACKETS, 1, 1 << 14)["time_ticks"]
    assert np.isin(found["tags"], all_tags).all()
    assert len(found["tags"]) == PER_PACKET * found["packets"]
    assert len(found["said"]) == 2
    assert "is silent" in found["said"][0]
    assert "is back after" in found["said"][1]
