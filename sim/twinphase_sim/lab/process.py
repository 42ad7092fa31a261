"""A served virtual lab in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from twinphase.errors import TwinphaseError

STOP_S = 10.0


class LabProcess:
    """Runs ``twinphase serve`` beside this process; a context manager that stops it cleanly at the end.

    ``nodes`` maps server, alice and bob to their URLs, ``start_clock`` is the clock at which pulse 0 reaches the server, ``angles`` are
    the server's STEP_R_k. The compiler's progress bar goes to this process's stderr. Raises TwinphaseError when it cannot start; the
    reason is on stderr.
    """

    def __init__(
        self,
        lab: str,
        *,
        seed: int = 1,
        port: int = 0,
        readers: int = 3,
        seconds: float | None = None,
        truth: Path | None = None,
    ) -> None:
        command = [sys.executable, "-m", "twinphase_sim.lab.serve", lab, "--json"]
        command += ["--port", str(port), "--seed", str(seed), "--readers", str(readers)]
        if seconds is not None:
            command += ["--seconds", str(seconds)]
        if truth is not None:
            command += ["--truth", str(truth)]
        # A session of its own: Ctrl-C stops the parent, which then stops the lab in order.
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout is not None
        self._stdout: IO[str] = self._process.stdout
        try:
            line = self._stdout.readline()
            ready: dict[str, Any] = json.loads(line) if line else {}
        except BaseException:
            self.stop()
            raise
        if not ready:
            self.stop()
            raise TwinphaseError(
                f"the virtual lab {lab} did not start (exit code {self._process.returncode}); see above"
            )
        self.nodes: dict[str, str] = ready["nodes"]
        self.start_clock: int = ready["start_clock"]
        self.angles: list[int] | None = ready["angles"]
        self.result: dict[str, Any] = {}
        """After the stop: ``lab_seconds`` and ``cycles_simulated``."""

    def stop(self) -> int:
        """Stop the lab; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            rest, _ = self._process.communicate(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            rest, _ = self._process.communicate()
        if rest:
            self.result = json.loads(rest.splitlines()[-1])
        return self._process.returncode

    def __enter__(self) -> LabProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
