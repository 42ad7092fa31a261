"""Tags in the SI time of an external reference, whatever the node's oscillator does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.units import TICKS_PER_SECOND

from ..batch import Batch
from .clock_fit import BLOCK_TICKS, ClockFit
from .reference import ReferenceClock, ReferenceError
from .si_map import Origin, SiMap
from .tag_batch import TagBatch, slices
from .tag_stream import Piece, TagStream

MOST_SECONDS = 4_000_000
"""First second and epoch may be this far apart; int64 ticks then hold 57 days more."""
MOST_HELD = 1 << 24
"""Tags that wait; 150 MB."""
END_OF_TIME = (1 << 63) - 1
NO_TIMES: NDArray[np.int64] = np.empty(0, np.int64)


class DisciplinedTags:
    """Gives tags the time that the reference says: ticks of exactly 125/128 ps of SI time since second ``epoch_second``.

    ``reference`` must be new: `update` feeds it. A tag is handed out when the fit covers it (50 to 100 ms later), or in holdover at
    once; the map is continuous (`SiMap`), so order is kept and differences of times are those of the reference. The origin is that of
    the PPS when seconds were labelled, and stays: later PPS pulses change no difference (`origin_correction_s` is what they would
    add). Without a PPS channel times begin at the node's time and have no labels.

    Tags that no fit covers are left out and counted (`refused`), and the output has a gap there: those before the first point of the
    fit, beyond holdover, and since the last fit when the count of cycles begins anew. While the reference is being acquired tags wait
    for ``wait_s`` and five of its periods. Tags in = out + `held` + `refused`. Boards with one reference and the same epoch (and
    first seconds of the right names) have the same times.

    About 60 ns per tag on one core. Raises ValueError for an epoch further than 4e6 s from the reference's first second.
    """

    def __init__(self, reference: ReferenceClock, *, epoch_second: int = 0, wait_s: float = 3.0) -> None:
        first = reference.labels.first_second
        if abs(first - epoch_second) > MOST_SECONDS:
            raise ValueError(
                f"discipline: first second {first}, epoch_second {epoch_second}; allowed: at most {MOST_SECONDS} apart, "
                "so that ticks fit into 64 bits"
            )
        if not 0 <= wait_s <= 1000:
            raise ValueError(f"discipline: wait {wait_s:g} s; allowed: 0 to 1000 s")
        self.reference, self.epoch_second = reference, epoch_second
        self.stream = TagStream()
        self.labelled = self.refused = self.held = 0
        """Tags handed out, left out, and waiting."""
        self.sigma_s: float | None = None
        """Standard uncertainty of the newest times against the reference, its origin apart."""
        self.worst_sigma_s: float | None = None
        self.origin_sigma_s: float | None = None
        """Standard uncertainty of the origin against the PPS; None without one."""
        self._wait_ticks = round((wait_s + float(5 / reference.hz)) * TICKS_PER_SECOND)
        self._limit_ticks = round(reference.holdover_s * TICKS_PER_SECOND)
        self._pending: deque[Piece] = deque()
        self._map: SiMap | None = None
        self._numbering = reference.numbering
        self._place_s = 0.0
        self._newest: int | None = None
        self._tail: tuple[int, int] | None = None
        """(node ticks, SI ticks) up to which tags were handed out."""
        self._started = self._broken = False
        self._told = 0

    def update(self, batch: Batch) -> Batch:
        """The tags whose time is known with this batch, with times in ticks of SI time, and the gaps between them."""
        out = TagBatch()
        for part in slices(batch, BLOCK_TICKS):
            self.reference.update(part)
            for piece in self.stream.split(part):
                if self._newest is not None and piece.times[0] < self._newest:  # the node's time was set back
                    self._refuse()
                    self._tail = None
                self._newest = int(piece.times[-1])
                self._pending.append(piece)
                self.held += len(piece.times)
            self._hand_out(out)
        return out.batch(None if self._tail is None else self._tail[1])

    def finish(self) -> Batch:
        """The stream has ended: what waits is handed out as in holdover."""
        out = TagBatch()
        if self._ready() and self.reference.status != "absent" and self.reference.fit is not None:
            self._map_until(self.reference.fit, self._extrapolated(), out)
        self._refuse()
        return out.batch(None if self._tail is None else self._tail[1])

    def labels(self, times: NDArray[np.int64] | int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """``(second, fraction)`` of times that were handed out. Raises ReferenceError when seconds are not labelled."""
        if self.reference.pps_channel is None or self._map is None:
            raise ReferenceError(self.reference.sentence())
        second, rest = np.divmod(np.atleast_1d(np.asarray(times, np.int64)), TICKS_PER_SECOND)
        return self.epoch_second + second, rest / TICKS_PER_SECOND

    @property
    def origin_correction_s(self) -> float:
        """What the mean of all PPS pulses up to now would add to the times; 0 without them."""
        labels = self.reference.labels
        return self._place_s - labels.place[0] if labels.averaged and self._map is not None else 0.0

    def _ready(self) -> bool:
        """A fit is there, and an origin for its count of cycles."""
        reference = self.reference
        if reference.numbering != self._numbering:
            self._numbering, self._map = reference.numbering, None
            self._broken = True
        fit = reference.fit
        unlabelled = reference.pps_channel is not None and not reference.labels.labelled
        if fit is None or unlabelled or reference.status == "wrong":
            return False
        if self._map is None:
            self._map = SiMap(reference.hz, self._origin(fit))
        return True

    def _origin(self, fit: ClockFit) -> Origin:
        ticks_per_cycle = float(TICKS_PER_SECOND / self.reference.hz)
        labels = self.reference.labels
        if self.reference.pps_channel is None:
            first = fit.first_ticks
            cycle, rest = fit.cycles(np.array([first], np.int64))
            start = first if self._tail is None else self._tail[1] + first - self._tail[0]
            return Origin(cycle, start, -float(rest[0]) * ticks_per_cycle)
        second, fraction = labels.second_of(fit.cycle, np.zeros(1))
        self._place_s, sigma = labels.place
        # few pulses may agree by chance: each is at least as uncertain as one of the reference, whose input is alike
        single = fit.pulse_rms_ticks / TICKS_PER_SECOND
        self.origin_sigma_s = max(sigma, single / labels.averaged**0.5)
        ticks = (int(second[0]) - self.epoch_second) * TICKS_PER_SECOND
        return Origin(fit.cycle, ticks, float(fraction[0]) * TICKS_PER_SECOND)

    def _extrapolated(self) -> int:
        """Node time up to which all tags are here and holdover reaches. (A later time that the node is known to have reached does not
        say that there will be no more tags before it.)"""
        return min((self.reference.last_ticks or 0) + self._limit_ticks, self._newest or 0)

    def _hand_out(self, out: TagBatch) -> None:
        fit, now = self.reference.fit, self.reference.now_ticks or 0
        if not self._ready() or fit is None:
            self._refuse(now - self._wait_ticks)
        else:
            status = self.reference.status
            self._map_until(fit, fit.ticks if status == "locked" else self._extrapolated(), out)
            if status == "absent":
                self._refuse()
        while self.held > MOST_HELD:
            self._refuse(int(self._pending[0].times[-1]))

    def _map_until(self, fit: ClockFit, until: int, out: TagBatch) -> None:
        """Hand out what waits up to node time ``until``."""
        si = self._map
        assert si is not None
        if si.knot_ticks is None:
            self._refuse(fit.first_ticks - 1)
        begin = fit.first_ticks if si.knot_ticks is None else si.knot_ticks
        if until <= begin:
            return
        if not si.follows(fit, until):
            si.leave_out()
            self._broken = True
        pieces = list(self._take(until))
        mapped = si.extend(fit, np.concatenate([NO_TIMES, *(piece.times for piece in pieces)]), until)
        self._tail = si.end
        at = 0
        for piece in pieces:
            if self._started and (piece.fresh or self._broken):
                out.gap(self.stream.lost_tags - self._told)
                self._told = self.stream.lost_tags
            self._started, self._broken = True, False
            out.add(mapped[at : at + len(piece.times)], piece.channels)
            at += len(piece.times)
        self.labelled += at
        sigma = fit.cycles_sigma(np.array([begin, until])) / float(self.reference.hz)
        self.sigma_s, self.worst_sigma_s = float(sigma[1]), max(self.worst_sigma_s or 0.0, float(sigma.max()))

    def _take(self, until: int) -> Iterator[Piece]:
        """Remove what waits up to ``until``."""
        while self._pending and self._pending[0].times[0] <= until:
            piece = self._pending.popleft()
            count = int(np.searchsorted(piece.times, until, side="right"))
            if count < len(piece.times):
                self._pending.appendleft(Piece(piece.times[count:], piece.channels[count:], fresh=False))
            self.held -= count
            yield Piece(piece.times[:count], piece.channels[:count], piece.fresh)

    def _refuse(self, until: int | None = None) -> None:
        """Leave out what waits up to node time ``until``, without it all."""
        count = sum(len(piece.times) for piece in self._take(END_OF_TIME if until is None else until))
        if count:
            self.refused += count
            self._broken = True
            if self._map is not None:
                self._map.leave_out()

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the reference, what became of the tags, and how well their times are known."""
        correction = self.origin_correction_s
        return self.reference.as_dict() | {
            "tags": {"labelled": self.labelled, "refused": self.refused, "held": self.held},
            "epoch_second": self.epoch_second if self.reference.pps_channel is not None else None,
            "time_sigma_ps": None if self.sigma_s is None else self.sigma_s * 1e12,
            "worst_time_sigma_ps": None if self.worst_sigma_s is None else self.worst_sigma_s * 1e12,
            "origin_sigma_ps": None if self.origin_sigma_s is None else self.origin_sigma_s * 1e12,
            "origin_correction_ps": correction * 1e12,
        }

    def sentence(self) -> str:
        """The state in one sentence."""
        left_out = f"; {self.refused:,} tags that it does not reach are left out" if self.refused else ""
        if self.labelled:
            return f"times are those of the reference: {self.reference.sentence()}{left_out}"
        return f"nothing is measured yet: {self.reference.sentence()}{left_out}"
