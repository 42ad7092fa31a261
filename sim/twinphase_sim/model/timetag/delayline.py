"""A channel's delay line as a whole: from hits with codes to edges, each chain with its own calibrator.

Source: "Gearbox" and "Fine time" of docs/timetagger.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinphase_spec.tdc import CHAINS, CHAINS_ALLOWED
from twinphase_spec.units import FRACTION_BITS

from .calibration import Calibration
from .finetime import fine_ticks
from .taps import Hits


@dataclass(frozen=True)
class Edges:
    """Edges of one channel in the order of time, and the hits that gave none."""

    clocks: NDArray[np.int64]
    """System clocks."""
    lanes: NDArray[np.int64]
    fine: NDArray[np.int64]
    """Ticks into the clock."""
    hits: NDArray[np.int64]
    """Number of the hit that each edge is from."""
    uncalibrated: int
    """Hits without an edge, as a chain had no table."""

    @property
    def times_ticks(self) -> NDArray[np.int64]:
        return (self.clocks << FRACTION_BITS) + self.fine


class DelayLine:
    """Gearbox, fine time and the chains' calibrators of one channel; hits come in consecutive batches.

    calibrations : one per chain, of equal taps and lanes. Raises ValueError for none, for 3 and for unequal ones.
    """

    def __init__(self, calibrations: list[Calibration]):
        if len(calibrations) not in CHAINS or len({(c.taps, c.lanes) for c in calibrations}) != 1:
            raise ValueError(
                f"delay line: {len(calibrations)} calibrations; allowed: {CHAINS_ALLOWED} with equal taps and lanes"
            )
        self.calibrations = calibrations
        self.lanes = calibrations[0].lanes

    def edges(self, hits: Hits) -> Edges:
        """The edges of the next hits."""
        clocks, lanes = np.divmod(np.asarray(hits.clocks, dtype=np.int64), self.lanes)
        results = [
            calibration.run(
                clocks,
                lanes,
                hits.polarities,
                hits.codes[:, chain],
                None if hits.echoes is None else hits.echoes[:, chain],
            )
            for chain, calibration in enumerate(self.calibrations)
        ]
        y4 = np.stack([result[0] for result in results], axis=1)
        good = np.logical_and.reduce([result[1] for result in results])
        return Edges(
            clocks=clocks[good],
            lanes=lanes[good],
            fine=fine_ticks(y4[good], lanes[good], lanes=self.lanes),
            hits=np.flatnonzero(good),
            uncalibrated=int(np.count_nonzero(~good)),
        )
