"""A lab's nodes in processes of their own give the words of the lab in one process; what does not fit together is refused."""

import json
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from twinphase.device import open_device
from twinphase_sim.lab.mesh import HEADER, Kind, Mesh, MeshError
from twinphase_sim.lab.process import LabProcess
from twinphase_spec.packets import Stream

LAB, SECONDS = "metro-50km", 0.02
SILENCE_S = 10.0
"""A lab that no node of is heard for so long has ended: while it runs, each sends its status every 8.4 ms of lab time, which take half a
second of an idle core."""


def free_port():
    """First of three TCP ports that nobody has just now."""
    for _ in range(100):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        if port < 65000:
            try:
                for i in range(3):
                    with socket.socket() as one:
                        one.bind(("127.0.0.1", port + i))
                return port
            except OSError:
                continue
    raise AssertionError("no three free ports in a row")


def words_of(urls):
    """Records of all streams but STATUS of every node, until the lab's end."""
    devices = {name: open_device(url) for name, url in urls.items()}
    got, heard = {}, dict.fromkeys(urls, time.monotonic())

    def read(name):
        for batch in devices[name].batches(timeout_s=0.05):
            for stream, records in batch.records.items():
                heard[name] = time.monotonic()
                if stream is not Stream.STATUS:
                    got.setdefault((name, stream), []).append(records)
            if time.monotonic() - max(heard.values()) > SILENCE_S:
                return

    threads = [threading.Thread(target=read, args=(name,)) for name in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for device in devices.values():
        device.close()
    return {key: np.concatenate(parts) for key, parts in got.items()}


def test_three_processes_give_the_words_of_one():
    with LabProcess(LAB, seed=4, seconds=SECONDS) as lab:
        together = words_of(lab.nodes)
    port = free_port()
    command = [sys.executable, "-m", "twinphase_sim.lab.serve", LAB, "--json", "--seed", "4", "--port", str(port)]
    command += ["--seconds", str(SECONDS), "--readers", "1"]
    nodes = [
        subprocess.Popen([*command, "--node", name], stdout=subprocess.PIPE, text=True)
        for name in ("bob", "server", "alice")
    ]
    try:
        ready = [json.loads(node.stdout.readline()) for node in nodes]
        assert len({one["start_clock"] for one in ready}) == 1
        urls = {name: url for one in ready for name, url in one["nodes"].items()}
        assert sorted(urls) == ["alice", "bob", "server"]
        apart = words_of(urls)
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.communicate(timeout=20)
    assert apart.keys() == together.keys()
    assert len(together["alice", Stream.SIFTED]) > 100
    for key, records in together.items():
        # At the end of a run nodes in processes of their own may be up to a flight apart.
        common = min(len(records), len(apart[key]))
        assert common > 0.9 * len(records)
        assert np.array_equal(records[:common], apart[key][:common]), key


def mesh_of(node, port, **common):
    return Mesh(
        node, {name: ("127.0.0.1", port + i) for i, name in enumerate(("server", "alice"))}, {"seed": 1, **common}
    )


def pair(**of_alice):
    """Two nodes' meshes, connected, or what each of them says to the other."""
    port = free_port()
    meshes, errors = [mesh_of("server", port), mesh_of("alice", port, **of_alice)], {}

    def connect(mesh):
        try:
            mesh.connect()
        except MeshError as error:
            errors[mesh.node] = str(error)

    threads = [threading.Thread(target=connect, args=(mesh,)) for mesh in meshes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return meshes, errors


def limited(mesh):
    """Ask how far a node may run until it is refused, for a few seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        mesh.limit()
        time.sleep(0.01)


def test_nodes_of_two_labs_refuse_each_other():
    meshes, errors = pair(seed=2)
    for mesh in meshes:
        mesh.close()
    assert errors == {
        "server": "the alice node has seed 2, the server node 1; start both with the same",
        "alice": "the server node has seed 1, the alice node 2; start both with the same",
    }


def test_a_node_that_goes_is_named_and_one_that_starts_too_early_refused():
    (server, alice), errors = pair()
    assert not errors
    for mesh in (server, alice):
        mesh.listen({})
    server.agree_on_start(1000)
    with pytest.raises(MeshError, match="starts at clock 1000, the alice node is ready at 2000"):
        alice.agree_on_start(2000)
    assert alice.agree_on_start(900) == 1000
    server.close()
    with pytest.raises(MeshError, match="the server node has gone"):
        limited(alice)
    alice.close()


def test_rubbish_is_no_message():
    (server, alice), _ = pair()
    for mesh in (server, alice):
        mesh.listen({})
    alice._peers["server"].connection.sendall(HEADER.pack(Kind.PACKET, 1 << 30, 0))
    with pytest.raises(MeshError, match="no message of a lab"):
        limited(server)
    for mesh in (server, alice):
        mesh.close()


def test_a_taken_port_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(MeshError, match="choose others with --port"):
        mesh_of("server", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["bench:pairs", "--node", "alice"], "--node is of labs only"),
        ([LAB, "--merge", "wide"], "allowed: with bench:NAME or bench:FILE"),
        ([LAB, "--node", "alice", "--port", "0"], "--port is 0; allowed with --node: 1 to 65533"),
        ([LAB, "--node", "bob", "--truth", "x.npz"], "the server node alone sees the light"),
    ],
)
def test_options_that_do_not_go_together(options, sentence):
    done = subprocess.run(
        [sys.executable, "-m", "twinphase_sim.lab.serve", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert sentence in done.stderr


def test_header_is_packed():
    assert HEADER.size == struct.calcsize("<B") + 4 + 8
