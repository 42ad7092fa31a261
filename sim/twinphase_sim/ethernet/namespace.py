"""A network namespace of its own (Linux): interfaces, addresses and sockets in it have nothing to do with those of the host."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from twinphase.errors import TwinphaseError

CLONE_NEWNET = 0x40000000
HERE = "/proc/thread-self/ns/net"


class NotPermittedError(TwinphaseError):
    """This system does not let us make namespaces or TAP interfaces; the text says what it takes."""


def _call(name: str, *arguments: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class NetworkNamespace:
    """Lives until `close`, or until the last socket made in it is closed. It has no name, so that nothing is left behind.

    Raises NotPermittedError.
    """

    def __init__(self) -> None:
        made: list[int | OSError | AttributeError] = []

        def make() -> None:
            try:
                _call("unshare", CLONE_NEWNET)  # of this thread alone
                made.append(os.open(HERE, os.O_RDONLY | os.O_CLOEXEC))
            except (OSError, AttributeError) as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if not isinstance(made[0], int):
            raise NotPermittedError(
                f"no network namespace can be made here ({made[0]}): it takes Linux and root, or the capability CAP_SYS_ADMIN"
            ) from made[0]
        self._descriptor = made[0]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the namespace: sockets it makes, threads and processes it starts belong there."""
        before = os.open(HERE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._descriptor, CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", before, CLONE_NEWNET)
        finally:
            os.close(before)

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)
