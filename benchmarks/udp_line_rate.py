"""Tags over UDP on the loopback, as fast as it takes them and at a board's line rate: what the host library costs.

A process of its own sends TAG packets through sendmmsg, paced or as fast as it can. Here they are received: by a bare
loop of recvmmsg (what the loopback can deliver), by `UdpDevice.receive_block`, and by `UdpDevice.batches`, which checks and decodes;
and `record` writes them to the disk.
CPU is that of this process (all threads, user and system), in cores. Every packet is accounted for: sent = came + what kernel and
queue say that they dropped.

example:
  python benchmarks/udp_line_rate.py
  python benchmarks/udp_line_rate.py --seconds 5 --tags-per-second 28e6 --json
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import resource
import select
import socket
import statistics
import struct
import tempfile
import time
from pathlib import Path

import numpy as np

from twinphase.device import Device, open_device
from twinphase.packets import pack
from twinphase.recording.writer import record
from twinphase.transport.datagrams import DatagramReader
from twinphase.transport.udp import RECEIVE_BUFFER_BYTES, SO_RCVBUFFORCE
from twinphase_spec.packets import Stream
from twinphase_spec.registers import ID_MAGIC, INTERFACE_VERSION, TIMETAGGER
from twinphase_spec.units import CLOCK_HZ

PER_PACKET = 255
PERIODS = 64
PACKETS_PER_PERIOD = 4
"""1020 tags in 2^25 ticks (32.8 us), from an eighth of a period on: one packet in four holds an overflow word."""
AT_ONCE = 256
WIRE_BYTES = 14 + 20 + 8 + 4 + 8 + 12
"""Per datagram on gigabit Ethernet: headers of Ethernet, IPv4 and UDP, check sequence, preamble, gap."""
GIGABIT_BYTES_PER_S = 125e6
LAST_S = 20.0
"""For the last packets to come, where the receive thread has to wait for its turn."""


class IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(IoVector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Message(ctypes.Structure):
    _fields_ = (("header", Header), ("sent", ctypes.c_uint32))


def tag_packets() -> list[bytes]:
    """PERIODS * PACKETS_PER_PERIOD packets; the next round is these, PERIODS periods later."""
    tags = PER_PACKET * PACKETS_PER_PERIOD
    packets, step = [], (1 << 25) / tags
    for number in range(PERIODS * PACKETS_PER_PERIOD):
        index = np.arange(number * PER_PACKET, (number + 1) * PER_PACKET)
        ticks = (index * step + step / 2 + (1 << 22)).astype(np.int64)
        words = ((index % 8) << 25 | ticks & 0x1FFFFFF).astype(np.uint32)
        base, last = ticks[0] >> 25, ticks[-1] >> 25
        if last > base:
            at = int(np.argmax(ticks >> 25 > base))
            words = np.insert(words, at, np.uint32(1 << 31 | 63 << 25 | int(last - base)))
        packets.append(
            pack(
                Stream.TAG,
                number,
                words.astype("<u4").tobytes(),
                base_ticks=int(base) << 25,
                first_record=int(index[0]),
            )
        )
    return packets


def send(pipe, tags_per_s: float) -> None:
    """A node: answers reads of its identity (other registers are 0); from the first SUBSCRIBE on it sends tags until the pipe says
    stop, then tells how many packets."""
    library = ctypes.CDLL(None, use_errno=True)
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.bind(("127.0.0.1", 0))
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    pipe.send(link.getsockname()[1])
    identity = [ID_MAGIC, TIMETAGGER.node, INTERFACE_VERSION, CLOCK_HZ, TIMETAGGER.hash, 1]
    while True:
        request, peer = link.recvfrom(2048)
        if request[0] != Stream.REGISTER_REQUEST:
            break
        _, identifier, _, address, count = struct.unpack_from("<5I", request)
        values = [identity[at] if at < len(identity) else 0 for at in range(address, address + count)]
        answer = struct.pack(f"<{count}I", *values)
        link.sendto(pack(Stream.REGISTER_RESPONSE, identifier, answer, base_ticks=address | count << 32), peer)
    link.connect(peer)
    packets = tag_packets()
    lengths = np.array([len(packet) for packet in packets])
    memory = np.zeros((len(packets), (lengths.max() + 63) // 64 * 64), np.uint8)
    for row, packet in zip(memory, packets, strict=True):
        row[: len(packet)] = np.frombuffer(packet, np.uint8)
    words = memory.view("<u4")
    vectors = (IoVector * len(packets))(
        *((memory.ctypes.data + i * memory.shape[1], int(length)) for i, length in enumerate(lengths))
    )
    messages = (Message * len(packets))(*(Message(Header(vectors=ctypes.pointer(v), vector_count=1)) for v in vectors))
    size = ctypes.sizeof(Message)
    started, sent, turn = time.monotonic(), 0, 0
    while not pipe.poll():
        at = sent % len(packets)
        if sent // len(packets) > turn:
            turn += 1
            words[:, 1] += np.uint32(len(packets))
            words[:, 7] += np.uint32(len(packets) * PER_PACKET)
            bases = words[:, 3:5].copy().view("<u8") + np.uint64(PERIODS << 25)
            words[:, 3:5] = bases.view("<u4")
        count = min(AT_ONCE, len(packets) - at)
        if tags_per_s:
            due = int((time.monotonic() - started) * tags_per_s / PER_PACKET) - sent
            if due < 16:
                time.sleep(100e-6)
                continue
            count = min(count, due)
        done = library.sendmmsg(link.fileno(), ctypes.byref(messages, at * size), count, 0)
        sent += max(done, 0)
    pipe.send((sent, time.monotonic() - started))


class Sender:
    """The sending process, as a context."""

    def __init__(self, tags_per_s: float = 0.0) -> None:
        self._pipe, far = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=send, args=(far, tags_per_s), daemon=True)

    def __enter__(self) -> Sender:
        self._process.start()
        self.url = f"udp://127.0.0.1:{self._pipe.recv()}"
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.join()

    def stop(self) -> tuple[int, float]:
        """Packets sent, and the time it took."""
        self._pipe.send("stop")
        return self._pipe.recv()


def cpu_s() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def measure(kind: str, seconds: float, tags_per_s: float = 0.0) -> dict[str, float]:
    """One run: packets per second that came, cores of this process, share of what was sent that came."""
    with Sender(tags_per_s) as sender:
        if kind == "bare":
            return measure_bare(sender, seconds)
        with open_device(sender.url) as device:
            if kind == "record":
                return measure_record(sender, device, seconds)
            began, cpu, deadline = time.monotonic(), cpu_s(), time.monotonic() + seconds
            packets = records = 0
            batches = device.batches(0.05)  # its first one subscribes, as does the first receive_block
            while time.monotonic() < deadline:
                if kind == "decode":
                    records += len(next(batches))
                else:
                    packets += len(device.receive_block(0.05))
            took, cores = time.monotonic() - began, (cpu_s() - cpu) / (time.monotonic() - began)
            state = device.streams[Stream.TAG] if kind == "decode" else None
            in_time = state.packets if kind == "decode" else packets
            sent, sending_s = sender.stop()
            deadline = time.monotonic() + LAST_S

            def missing() -> int:
                came = packets if state is None else state.packets + state.strays
                return sent - came - sum(device.transport_losses.values())

            while missing() and time.monotonic() < deadline:
                if kind == "decode":
                    records += len(next(batches))
                else:
                    packets += len(device.receive_block(0.05))
            if state is not None:
                records += len(device.decoder.finish())
                if records != state.packets * PER_PACKET or device.decoder.damaged:
                    raise SystemExit(f"{records} records of {state.packets} packets, damaged: {dict(device.damage)}")
            lost = device.transport_losses
            if missing():
                raise SystemExit(f"the books do not balance: of {sent} sent, {missing()} are missing, lost {lost}")
            return {
                "packets_per_s": in_time / took,
                "cores": cores,
                "sent_per_s": sent / sending_s,
                "lost_share": sum(lost.values()) / sent,
            }


def measure_record(sender: Sender, device: Device, seconds: float) -> dict[str, float]:
    """A recording in the folder of temporary files, and its books."""
    with tempfile.TemporaryDirectory() as folder:
        began, cpu, deadline = time.monotonic(), cpu_s(), time.monotonic() + seconds
        summary = record(device, Path(folder), stop=lambda: time.monotonic() > deadline)
        took = time.monotonic() - began
        state = summary["streams"]["tag"]
        if summary["records"]["tag"] != state["packets"] * PER_PACKET:
            raise SystemExit(f"{summary['records']['tag']} tags of {state['packets']} packets are in the recording")
        sent, sending_s = sender.stop()
        return {
            "packets_per_s": state["packets"] / took,
            "cores": (cpu_s() - cpu) / took,
            "sent_per_s": sent / sending_s,
            "lost_share": state["lost_packets"] / sent,
        }


def measure_bare(sender: Sender, seconds: float) -> dict[str, float]:
    """The least that a receiver can do: select, recvmmsg, count."""
    host, port = sender.url.removeprefix("udp://").split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        set_buffer(link)
        link.connect((host, int(port)))
        link.setblocking(False)
        reader = DatagramReader(link)
        link.send(pack(Stream.SUBSCRIBE, 0))
        select.select([link], [], [])
        began, cpu, packets = time.monotonic(), cpu_s(), 0
        while (took := time.monotonic() - began) < seconds:
            select.select([link], [], [], 0.05)
            packets += reader.fill()
        cores, in_time = (cpu_s() - cpu) / took, packets
        sent, sending_s = sender.stop()
        while select.select([link], [], [], 0.2)[0]:
            packets += reader.fill()
        return {
            "packets_per_s": in_time / took,
            "cores": cores,
            "sent_per_s": sent / sending_s,
            "lost_share": 1 - packets / sent,
        }


def set_buffer(link: socket.socket) -> None:
    """The same as UdpDevice has."""
    try:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except OSError:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of each run (3)")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="runs of each kind, in turn; medians count (3)"
    )
    parser.add_argument("--tags-per-second", type=float, default=28e6, metavar="R", help="of the paced runs (28e6)")
    parser.add_argument("--json", action="store_true", help="print all runs as JSON")
    options = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for kind in ("bare", "receive", "decode", "record"):
            for pace, rate in (("full", 0.0), ("paced", options.tags_per_second)):
                runs.setdefault(f"{kind} {pace}", []).append(measure(kind, options.seconds, rate))
    if options.json:
        print(json.dumps(runs, indent=1))
        return
    sizes = statistics.mean(len(packet) for packet in tag_packets())
    share = options.tags_per_second / PER_PACKET * (sizes + WIRE_BYTES) / GIGABIT_BYTES_PER_S
    print(
        f"packets of {PER_PACKET} tags, {sizes:.0f} bytes; {options.tags_per_second / 1e6:g} M tags/s: {100 * share:.0f} % of a gigabit"
    )
    median = {
        name: {key: statistics.median(run[key] for run in each) for key in each[0]} for name, each in runs.items()
    }
    for name, result in median.items():
        rate, sent = result["packets_per_s"], result["sent_per_s"]
        print(
            f"{name:14}  {rate / 1e3:6.1f} k packets/s, {rate * PER_PACKET / 1e6:6.1f} M tags/s of {sent * PER_PACKET / 1e6:6.1f} sent, "
            f"{result['cores']:.2f} cores, {result['cores'] / max(rate, 1) * 1e9 / PER_PACKET:.1f} ns of CPU per tag, "
            f"{100 * result['lost_share']:.2g} % of the packets lost"
        )
    ratio = median["decode full"]["packets_per_s"] / median["bare full"]["packets_per_s"]
    print(f"decoded at full speed: {ratio:.2f} of the bare loop")


if __name__ == "__main__":
    main()
