"""Corrections on their way to the clients of a virtual lab: written into their registers, in force in the light once they are taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twinphase.emission import EmissionCorrection
from twinphase.errors import TwinphaseError
from twinphase.operate.aligner import PulseAligner
from twinphase_sim.model.sift.emission import Correction
from twinphase_sim.native import answer_words, request_packet
from twinphase_sim.physics.link import BLOCK_SECONDS, Link
from twinphase_spec.packets import RegisterOp, Stream
from twinphase_spec.registers import CLIENT
from twinphase_spec.units import CLOCK_HZ, TICKS_PER_SECOND

from .messages import DelayLine

CLIENTS = ("alice", "bob")
"""By arm."""
FIRST_ID = 0xA1160000
"""Of requests: whoever else asks the clients counts from 1, or from 2^20."""
LEAD_S = 8 * BLOCK_SECONDS
"""From a correction at its client to its slot: the physics draws light ahead."""
_SLOT, _TAKEN = CLIENT["EMIT_SLOT"].address, CLIENT["EMIT_TAKEN"].address


class CorrectionRefused(TwinphaseError):
    """A client has refused a correction, or takes them from someone else too."""


@dataclass(frozen=True)
class _Asked:
    arm: int
    correction: Correction
    number: int
    """How many its client has taken with it."""


class ClientCorrections:
    """Sends corrections on ``lines`` (by client) to the clients' nodes and tells ``link`` what these have taken."""

    def __init__(self, link: Link, lines: Mapping[str, DelayLine]) -> None:
        self._link, self._lines = link, lines
        self._sent = [0] * len(CLIENTS)
        self._id = FIRST_ID
        self._asked: dict[int, _Asked] = {}

    def send(self, arm: int, correction: Correction, clock: int) -> None:
        """A write of the registers leaves at ``clock``, not before the last one, and a question of what has become of it."""
        words = [
            correction.slot & 0xFFFFFFFF,
            correction.slot >> 32,
            correction.pulses & 0xFFFFFFFF,
            correction.fraction,
        ]
        self._sent[arm] += 1
        self._id += 2
        self._asked[self._id] = _Asked(arm, correction, self._sent[arm])
        line = self._lines[CLIENTS[arm]]
        line.put(clock, request_packet(self._id - 1, RegisterOp.WRITE, _SLOT, len(words), words))
        line.put(clock, request_packet(self._id, RegisterOp.READ, _TAKEN, 2))

    def take(self, answers: Iterable[bytes]) -> None:
        """Answers of clients as they come to the server. Raises CorrectionRefused, DeviceError."""
        for answer in answers:
            if answer[0] != Stream.REGISTER_RESPONSE:
                continue
            asked = self._asked.pop(int.from_bytes(answer[4:8], "little"), None)
            if asked is None:
                continue
            name = CLIENTS[asked.arm]
            _, (taken, refused) = answer_words(answer, name)
            if (taken, refused) != (asked.number, 0):
                raise CorrectionRefused(
                    f"{name} has taken {taken} corrections of its emission and refused {refused}; expected: {asked.number} and none. "
                    "Where a lab aligns its pulses, nobody else may write EMIT_FRACTION"
                )
            self._link.correct(asked.arm, asked.correction)


class Alignment:
    """The server's host of a lab that keeps its pulses aligned: an aligner whose corrections go to the clients.

    ``windows``: of an interval of ARRIVAL records; ``delay_clocks``: of messages; ``lines`` by (sender, receiver).
    """

    def __init__(
        self, link: Link, lines: Mapping[tuple[str, str], DelayLine], *, windows: int, delay_clocks: int
    ) -> None:
        self._corrections = ClientCorrections(link, {name: lines["server", name] for name in CLIENTS})
        self._clock = 0
        interval_s = windows * link.frame.window_ticks / TICKS_PER_SECOND
        self.aligner = PulseAligner(
            link.frame, interval_s=interval_s, wait_s=delay_clocks / CLOCK_HZ + LEAD_S, correct=self._correct
        )

    def take(self, packets: Iterable[bytes], answers: Iterable[bytes], stop_clock: int) -> None:
        """What the server has sent in a chunk that ends at ``stop_clock``, and what came to its host. Raises as its parts do."""
        self._clock = stop_clock
        self._corrections.take(answers)
        self.aligner.take(packets, stop_clock)

    def _correct(self, arm: int, correction: EmissionCorrection) -> None:
        self._corrections.send(arm, as_model(correction), self._clock)


def as_model(correction: EmissionCorrection) -> Correction:
    """As the physics and the model take it."""
    return Correction(slot=correction.slot, pulses=correction.pulses, fraction=correction.fraction_ticks)


def answers_in(packets: list[tuple[int, bytes]]) -> list[bytes]:
    """Takes what clients have answered to the server's host out of what comes to the server."""
    answers = [packet for _, packet in packets if packet[0] == Stream.REGISTER_RESPONSE]
    packets[:] = [entry for entry in packets if entry[1][0] != Stream.REGISTER_RESPONSE]
    return answers
