"""Datagrams from a socket into one array, many per system call where the system can (Linux: recvmmsg), else one by one.

A call of recvmmsg fills SLOTS slots, each of which takes the longest packet and one word more, by which a longer one is known. What it
brought is copied out at once, so that the slots are free and a block holds no more than its packets.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.packets import MAX_PACKET_BYTES

from ..packet_block import PacketBlock

SLOTS = 512
SLOT_BYTES = MAX_PACKET_BYTES + 4
SLOT_WORDS = SLOT_BYTES // 4
AT_ONCE = 64
"""Datagrams taken without recvmmsg before the caller is asked whether to go on."""


class _IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):  # struct msghdr of Linux
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_IoVector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = (("header", _Header), ("received", ctypes.c_uint32))


def _find_recvmmsg() -> Any:
    """The C library's recvmmsg, or None."""
    if not hasattr(socket, "MSG_DONTWAIT") or os.name != "posix":
        return None
    found = getattr(ctypes.CDLL(None, use_errno=True), "recvmmsg", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
        found.restype = ctypes.c_int
    return found


_RECVMMSG = _find_recvmmsg()


class DatagramReader:
    """Takes what waits in a socket. ``many``: by recvmmsg, where there is one."""

    def __init__(self, link: socket.socket, many: bool = True) -> None:
        self._socket = link
        self._call = _RECVMMSG if many else None
        slots = SLOTS if self._call else AT_ONCE
        self._slots: NDArray[np.uint32] = np.zeros((slots, SLOT_WORDS), np.uint32)
        self._starts = np.arange(slots) * SLOT_WORDS
        if self._call:
            base = self._slots.ctypes.data
            self._vectors = (_IoVector * slots)(*(_IoVector(base + i * SLOT_BYTES, SLOT_BYTES) for i in range(slots)))
            headers = (_Header(vectors=ctypes.pointer(vector), vector_count=1) for vector in self._vectors)
            self._messages = (_Message * slots)(*(_Message(header=header) for header in headers))
            raw = np.frombuffer(memoryview(self._messages).cast("B"), np.uint8).reshape(slots, ctypes.sizeof(_Message))
            place = _Message.received.offset
            self._received = raw[:, place : place + 4].view(np.uint32)[:, 0]
        else:
            self._received = np.zeros(slots, np.uint32)

    @property
    def many(self) -> bool:
        """Whether one system call takes many."""
        return self._call is not None

    @property
    def slots(self) -> int:
        """Most packets at once."""
        return len(self._starts)

    def read(self) -> PacketBlock:
        """What waits, without waiting for more; at most SLOTS packets. Raises OSError, ConnectionRefusedError for a refusal."""
        count = self.fill()
        words = self._slots[:count].copy().reshape(-1)
        return PacketBlock(words, self._starts[:count], self._received[:count].astype(np.int64))

    def fill(self) -> int:
        """Takes what waits into the slots and says how many; `read` without the copy."""
        return self._read_many() if self._call else self._read_each()

    def _read_many(self) -> int:
        assert self._call is not None
        count = self._call(self._socket.fileno(), ctypes.addressof(self._messages), SLOTS, socket.MSG_DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR):
                return 0
            raise OSError(code, os.strerror(code))  # OSError makes the subclass that fits the code
        return int(count)

    def _read_each(self) -> int:
        memory = self._slots.data.cast("B")
        for i in range(AT_ONCE):
            try:
                size = self._socket.recv_into(memory[i * SLOT_BYTES : (i + 1) * SLOT_BYTES])
            except (BlockingIOError, InterruptedError):
                return i
            except ConnectionRefusedError:
                if i:  # told again with the next request
                    return i
                raise
            self._received[i] = size
        return AT_ONCE
