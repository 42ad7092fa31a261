"""One end of a cable between two network namespaces: ``node`` sends tags from 10.77.0.2, ``host`` reads them at 10.77.0.1 and takes
the cable out for a while. Run by test_host_cable.py."""

import json
import subprocess
import sys
import time

from fake_node import FakeNode, random_tags, tag_packets

from twinphase.device import open_device
from twinphase.measure import silence
from twinphase_spec.packets import Stream

NODE = "10.77.0.2"
PER_PACKET, PACKETS = 30, 900
OUT_AFTER, IN_AFTER_S = 200, 1.5
"""Packets before the cable is out; how long it is."""


def packets():
    return tag_packets(random_tags(PER_PACKET * PACKETS, 1, 1 << 14), PER_PACKET)


def node():
    sent = packets()
    with FakeNode(host=NODE, port=9750) as fake:
        print("ready", flush=True)
        count = 0
        while count < len(sent):  # two packets every 10 ms, as time goes on, whoever listens
            time.sleep(0.01)
            count = count + 2 if fake._peer else 0
            fake.outbox = sent[:count]
        sys.stdin.read()


def host():
    silence.NOTED_S = 0.5
    said, tags, out_s = [], [], None
    with open_device(f"udp://{NODE}") as device:
        notes, deadline = silence.SilenceNotes(device), time.monotonic() + 60
        for batch in device.batches(0.05):
            tags += batch[Stream.TAG]["time_ticks"].tolist() if Stream.TAG in batch.records else []
            if sentence := notes.news():
                said.append(sentence)
            state = device.streams.get(Stream.TAG)
            if out_s is None and state and state.packets >= OUT_AFTER:
                subprocess.run(["ip", "link", "set", "v0", "down"], check=True)
                out_s = time.monotonic()
            if out_s and out_s < time.monotonic() - IN_AFTER_S:
                subprocess.run(["ip", "link", "set", "v0", "up"], check=True)
                out_s = float("inf")
            if (state and state.sequence == PACKETS - 1) or time.monotonic() > deadline:
                break
        print(json.dumps({"said": said, "tags": tags, "losses": device.transport_losses, **state.as_dict()}))


if __name__ == "__main__":
    {"node": node, "host": host}[sys.argv[1]]()
