"""What all transports share: one receive thread, a queue of data packets, and register requests that are answered once.

The thread only takes packets from the transport and sorts them: answers to `request`, everything else into the queue.
All other work (decoding, files) is in the caller's thread, and the queue holds what comes meanwhile, even while a slow
disk blocks the caller. A queue that is full drops the newest packets and counts them.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from twinphase_spec.packets import (
    HEADER_WORDS,
    MAGIC,
    MAX_REGISTER_WORDS,
    VERSION,
    RegisterOp,
    RegisterStatus,
    Stream,
)

from ..device import PacketDevice
from ..errors import DeviceError
from ..packet_block import PacketBlock
from ..packets import pack

ANSWER = MAGIC << 16 | VERSION << 8 | Stream.REGISTER_RESPONSE
"""First word of an answer."""
QUEUE_PACKETS = 1 << 17
MOST_PACKETS = 8192
"""From so many on, what else waits is left for the next `receive`: memory that is used again is much faster than new memory."""
ANSWER_TIMEOUT_S = 0.25
TRIES = 8
REFUSED_S = 0.03
PASSING_ERRORS = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ENOBUFS)
"""What the system says while a cable is out: the node may come back."""
PROBE_S = 30.0
"""A node that has sent nothing for so long is asked for its identity, every PROBE_EVERY_S. Not sooner: a request makes a virtual
node run on."""
PROBE_EVERY_S = 5.0
SILENT_S = 60.0
"""A node that has neither sent nor answered anything for so long is gone."""


class LinkDevice(PacketDevice):
    """A PacketDevice on a transport: implement `_send`, `_collect` and `_close`; call `_start` at the end of __init__."""

    def __init__(self, url: str, tries: int = TRIES) -> None:
        super().__init__(url)
        self._tries = tries
        self._queue: deque[PacketBlock] = deque()
        self._queued = 0
        self._answers: dict[int, bytes] = {}
        self._awaited: int | None = None
        self._arrived = threading.Condition()
        self._stop = threading.Event()
        self._failure: str | None = None
        self._refused = False
        self._unreached = ""
        """What the system said when a request could not be sent."""
        self._queue_lost = 0
        self._request_id = secrets.randbits(32)  # a node remembers the last write's id, also that of the previous host
        self._heard_s = self._listening_s = self._listened_s = self._probed_s = time.monotonic()
        self._sending = threading.Lock()
        self._hearers: list[Callable[[PacketBlock], None]] = []
        self._thread = threading.Thread(target=self._run, name=f"receive {url}", daemon=True)

    @abstractmethod
    def _send(self, packet: bytes) -> None:
        """Send one packet. OSError when the transport fails."""

    @abstractmethod
    def _collect(self) -> PacketBlock:
        """Packets that have arrived; waits a short time for the first. OSError when the transport is gone."""

    def _wake(self) -> None:
        """Make `_collect` return soon; it need not when it never waits long."""

    @abstractmethod
    def _release(self) -> None:
        """Close the transport."""

    def _handed_out(self, block: PacketBlock) -> None:
        """Called in the caller's thread with the packets that `receive` or `receive_block` is about to return, also with none."""

    def _start(self) -> None:
        """Start to receive and check the node's identity."""
        self._thread.start()
        try:
            self.identity()
        except BaseException:
            self.close()
            raise

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                packets = self._collect()
            except OSError as error:
                if not self._stop.is_set():
                    self._failure = f"{self.url} is gone: {error.strerror or error}"
                with self._arrived:
                    self._arrived.notify_all()
                return
            if len(packets):
                self._sort(packets)

    def _sort(self, block: PacketBlock) -> None:
        """Answers to where `request` waits for them, all else into the queue, also what only looks like one, to be counted there."""
        is_answer = (block.first_words() == ANSWER) & (block.sizes >= 4 * HEADER_WORDS)
        payload_bytes = (block.words[block.starts[is_answer] + 2].astype(np.int64) & 0xFFFF) << 2
        is_answer[is_answer] = payload_bytes == block.sizes[is_answer] - 4 * HEADER_WORDS
        answers = block[is_answer].packets() if is_answer.any() else []
        block = block[~is_answer] if answers else block
        for hear in self._hearers:
            hear(block)
        with self._arrived:
            self._heard_s = time.monotonic()
            for packet in answers:
                self._take_answer(packet)
            room = QUEUE_PACKETS - self._queued
            if len(block) > room:
                self._queue_lost += len(block) - room
                block = block[:room]
            if len(block):
                self._queue.append(block)
                self._queued += len(block)
            self._arrived.notify_all()

    def listen(self, hear: Callable[[PacketBlock], None]) -> None:
        """From now on ``hear`` gets all packets but answers, in the receive thread as they come, whoever else takes them and when.
        It must not raise; while it waits, packets wait in the system's buffer."""
        self._hearers.append(hear)

    def send(self, packet: bytes) -> bool:
        """Hand a packet that is no request to the node. Safe from any thread. False: the system has no room or no way for it now."""
        try:
            with self._sending:
                self._send(packet)
        except OSError:
            return False
        return True

    def _note_refused(self) -> None:
        """Called by `_collect` when the other side says that nothing listens there."""
        with self._arrived:
            self._refused = True
            self._arrived.notify_all()

    def _take_answer(self, packet: bytes) -> None:
        words = np.frombuffer(packet, "<u4")
        if int(words[1]) == self._awaited:
            self._answers[int(words[1])] = packet

    def receive(self, timeout_s: float) -> list[bytes] | None:
        block = self.receive_block(timeout_s)
        return None if block is None else block.packets()

    def receive_block(self, timeout_s: float) -> PacketBlock | None:
        began_s = time.monotonic()
        if began_s - self._listened_s > PROBE_EVERY_S:
            self._listening_s = began_s  # nobody listened in between
        with self._arrived:
            if not self._queue and not self._failure:
                self._arrived.wait_for(lambda: self._queue or self._failure, timeout_s)
            blocks: list[PacketBlock] = []
            count = 0
            while self._queue and count < MOST_PACKETS:
                blocks.append(self._queue.popleft())
                count += len(blocks[-1])
            self._queued -= count
        if not blocks and self._failure:
            raise DeviceError(self._failure)
        self._listened_s = time.monotonic()
        block = PacketBlock.join(blocks)
        if not blocks:
            self._watch_silence()
        self._handed_out(block)
        return block

    @property
    def silent_s(self) -> float:
        return max(self._listened_s - max(self._heard_s, self._listening_s), 0.0)

    def _watch_silence(self) -> None:
        """Ask a node that has been silent for long whether it is there; DeviceError when it is not."""
        if self.silent_s > SILENT_S:
            raise DeviceError(
                f"{self.url} has been silent for {SILENT_S:g} s and answers nothing: check its power, the cable, and that its address "
                "is still the same (`twinphase devices`)"
            )
        if self.silent_s > PROBE_S and self._listened_s - self._probed_s > PROBE_EVERY_S:
            self._probed_s = self._listened_s
            probe = pack(Stream.REGISTER_REQUEST, secrets.randbits(32), base_ticks=1 << 32, flags=RegisterOp.READ)
            with contextlib.suppress(OSError):
                self._send(probe)

    @property
    def transport_losses(self) -> dict[str, int]:
        return {"receive queue": self._queue_lost}

    def request(self, op: RegisterOp, address: int, count: int, words: Sequence[int] = ()) -> list[int]:
        if not 1 <= count <= MAX_REGISTER_WORDS or (op is RegisterOp.WRITE and len(words) != count):
            raise ValueError(
                f"a request is of 1 to {MAX_REGISTER_WORDS} words, this one of {count} with {len(words)} given"
            )
        self._request_id = identifier = (self._request_id + 1) & 0xFFFFFFFF
        payload = np.array(words, "<u4").tobytes()
        where = address | count << 32  # header words 3 and 4
        packet = pack(Stream.REGISTER_REQUEST, identifier, payload, base_ticks=where, flags=op)
        self._awaited, self._unreached = identifier, ""
        try:
            for _ in range(self._tries):
                answer = self._exchange(packet, identifier)
                if answer is not None:
                    return self._read_answer(answer, op, address, count)
        finally:
            self._awaited = None
            self._answers.clear()
        raise DeviceError(
            f"{self.url} does not answer (register {address:#06x}, {self._tries} tries): is the node running and the address right?"
            f"{self._unreached}"
        )

    def _exchange(self, packet: bytes, identifier: int) -> bytes | None:
        """Send a request and wait for its answer; None when none came in time."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        if self._refused:
            time.sleep(REFUSED_S)  # nothing listens there: perhaps the node is just starting
            self._refused = False
        try:
            with self._sending:
                self._send(packet)
        except ConnectionRefusedError:
            self._refused = True
        except BlockingIOError:
            pass  # the send buffer is full; it goes out with the next try
        except OSError as error:
            if error.errno not in PASSING_ERRORS:
                raise DeviceError(f"{self.url} cannot be reached: {error.strerror or error}") from error
            self._unreached = f" ({error.strerror})"
        with self._arrived:
            remaining = deadline - time.monotonic()
            self._arrived.wait_for(lambda: identifier in self._answers or self._failure or self._refused, remaining)
            if self._failure:
                raise DeviceError(self._failure)
            return self._answers.pop(identifier, None)

    def _read_answer(self, answer: bytes, op: RegisterOp, address: int, count: int) -> list[int]:
        words = np.frombuffer(answer, "<u4")
        status = int(words[2]) >> 16
        if status != RegisterStatus.OK:
            raise DeviceError(
                f"{self.url} refuses to {op.name.lower()} {count} words at {address:#06x} (status {status})"
            )
        values = words[HEADER_WORDS:].tolist()
        if op is RegisterOp.READ and len(values) != count:
            raise DeviceError(f"{self.url} answered {len(values)} words at {address:#06x} where {count} were asked for")
        return values

    def close(self) -> None:
        if self._stop.is_set():
            return
        self._stop.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        self._release()
