"""From what the host received to the figures and plots of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinphase.measure.lab_figures import key_rate_per_slot, quantum_detectors
from twinphase.report import plots
from twinphase.report.summary import Summary
from twinphase.theory.aopp import pair_blocks
from twinphase.theory.plob import plob_bound
from twinphase.theory.statistics import clopper_pearson, upper_limit
from twinphase_sim.model.sift.herald import herald_pulses
from twinphase_sim.physics.expect import Expectations, expectations
from twinphase_sim.physics.link import Link
from twinphase_spec import sns
from twinphase_spec.configure import gate_ticks, slice_width_turns
from twinphase_spec.frame import FrameConfig
from twinphase_spec.lab import Lab
from twinphase_spec.packets import FLAG_D_VALID, FLAG_R_VALID, Stream
from twinphase_spec.registers import CHANNELS
from twinphase_spec.units import FRACTION_BITS, TICKS_PER_SECOND, TURN

from ..truth import Truth
from .both_sides import with_own_slices, x_events
from .compare import Comparison
from .estimates import track_figures
from .judged import JudgedEstimates
from .live import live_figures
from .receive import Received

PIPELINE_CLOCKS = 16
"""An edge is counted as seen at most this many clocks after it arrived."""
TIME_BINS = 10
TRACE_S = 0.02


@dataclass(frozen=True)
class Heralds:
    """Heralds with psi: time of the pulse's middle, estimate and truth in turns."""

    ticks: NDArray[np.int64]
    psi_turns: NDArray[np.float64]
    truth_turns: NDArray[np.float64]

    @property
    def residual_rad(self) -> NDArray[np.float64]:
        """psi_q minus truth, in (-pi, pi]."""
        return ((self.psi_turns - self.truth_turns + 0.5) % 1 - 0.5) * 2 * np.pi


class Run:
    """One run of the demo: lab, truth and everything that the host received."""

    def __init__(
        self,
        lab: Lab,
        frame: FrameConfig,
        link: Link,
        truth: Truth,
        received: Mapping[str, Received],
        stop_ticks: int,
    ) -> None:
        self.lab, self.frame, self.link, self.clicks, self.received = lab, frame, link, truth.clicks, received
        self.start_ticks = frame.start_clock << FRACTION_BITS
        self.stop_ticks = stop_ticks
        self.expected: Expectations = expectations(lab)
        server = received["server"].records
        pulses, _ = herald_pulses(server[Stream.HERALD])
        self._pulse_ticks = self._middle(pulses.astype(np.int64))
        # What is left of it behind the actuator is what sifting needs.
        self.truth_turns = self.link.phase_q(self._pulse_ticks) / (2 * np.pi)
        self.truth_turns -= truth.quantum_turns(self._pulse_ticks, lab)
        self.heralds = self._heralds(server[Stream.PSI])
        x_records = with_own_slices(*(received[user].records[Stream.SIFTED] for user in ("alice", "bob")))
        self.estimates = JudgedEstimates(lab, frame, server, x_records, pulses, self.truth_turns)
        self.x = x_events(x_records, self._pulse_ticks)

    @property
    def seconds(self) -> float:
        """Lab time of the run."""
        return (self.stop_ticks - self.start_ticks) / TICKS_PER_SECOND

    def summary(self, comparison: Comparison, wall_seconds: float, cycles: int) -> Summary:
        """All figures."""
        lab, expected, x = self.lab, self.expected, self.x
        tags = self.received["server"].records[Stream.TAG]
        kept, errors = int(x.kept.sum()), int((x.kept & x.error).sum())
        qber = errors / kept if kept else math.nan
        residual = self.heralds.residual_rad
        raw, paired, pairing = self._z_errors()
        losses = {
            f"{node} {stream}": lost
            for node, result in self.received.items()
            for stream, lost in result.losses.get("streams", {}).items()
        }
        transmittance = lab.fibre.transmittance("a") * lab.fibre.transmittance("b")
        efficiency, _ = quantum_detectors(lab)
        in_time = self._pulse_ticks < self.stop_ticks
        return Summary(
            lab=lab.name,
            lab_seconds=round(self.seconds, 9),
            wall_seconds=round(wall_seconds, 2),
            cycles_per_second=cycles / wall_seconds,
            clicks=_per_channel(self.clicks.channels[self.clicks.times_ticks < self.stop_ticks]),
            tags=_per_channel(tags["channel"][tags["time_ticks"] < self.stop_ticks]),
            losses=losses
            | {"transport": sum(sum(r.losses.get("transport", {}).values()) for r in self.received.values())},
            unexplained_losses=self.unexplained_losses(),
            words_compared=sum(comparison.words.values()),
            mismatches=sum(comparison.mismatches.values()),
            psi_rms_rad=float(np.sqrt(np.mean(residual**2))) if residual.size else math.nan,
            psi_rms_expected_rad=expected.psi_q_rms_rad,
            heralds_per_second=int(in_time.sum()) / self.seconds,
            heralds_per_second_expected=expected.heralds_per_second,
            z_error_raw=raw,
            z_error_after_pairing=paired,
            x_events=kept,
            x_qber=qber,
            x_qber_ci95=clopper_pearson(errors, kept),
            x_qber_expected=expected.x_qber,
            key_rate_per_slot=self._rate_or_nan(qber, 0.0) if kept else math.nan,
            plob_per_slot=plob_bound(transmittance),
            plob_per_slot_with_detectors=plob_bound(transmittance * efficiency),
            psi_source=self.estimates.setup.source,
            psi_estimates=[figures.as_dict() for figures in self.estimates.figures],
            details={
                "x_events_expected": expected.x_kept_per_second * self._sifted_seconds(),
                "x_in_slice_fraction": kept / x.kept.size if x.kept.size else math.nan,
                "z_error_raw_expected": expected.z_error_raw,
                "z_error_after_pairing_expected": expected.z_error_after_pairing,
                "clicks_per_second_expected": expected.clicks_per_second,
                "detector_dead_time_losses": dict(zip(CHANNELS, self.link.dead_time_losses.tolist(), strict=True)),
                "words": comparison.words,
                "counters": {node: result.counters for node, result in self.received.items()},
                "pairing": pairing,
                "live": live_figures(lab, self.frame, self.received["server"], expected.live_share),
                "reference": self.estimates.reference,
                "track": track_figures(self.received["server"], self.estimates.setup),
            },
        )

    def unexplained_losses(self) -> int:
        """Clicks that the books of the last snapshot do not explain.

        Per channel ``|clicks - seen| + |seen - dead - dropped - tags - in_flight|``; a click of the last PIPELINE_CLOCKS before the
        snapshot may or may not be seen yet. Further, framed tags that are in none of the framer's counters.
        """
        counters = self.received["server"].counters
        snapshot = counters["clock"]
        missing = 0
        for number, name in enumerate(CHANNELS):
            clocks = self.clicks.times_ticks[self.clicks.channels == number] >> FRACTION_BITS
            least, most = int(np.sum(clocks < snapshot - PIPELINE_CLOCKS)), int(np.sum(clocks < snapshot))
            seen = counters[f"seen_{name}"]
            missing += max(0, least - seen, seen - most)
            missing += abs(seen - sum(counters[f"{kind}_{name}"] for kind in ("dead", "dropped", "tags", "in_flight")))
        framed = sum(counters[k] for k in ("unframed", "background", "signal", "reference_q", "reference_r", "other"))
        tags = sum(counters[f"tags_{name}"] for name in CHANNELS)
        return missing + max(0, abs(tags - framed) - PIPELINE_CLOCKS * len(CHANNELS))

    def figures(self) -> dict[str, tuple[Figure, str]]:
        """The report's plots with their captions."""
        tags = self.received["server"].records[Stream.TAG]
        heralds, x = self.heralds, self.x
        position = (tags["time_ticks"] - self.start_ticks) % (self.frame.period_q32 >> 32)
        seconds = (heralds.ticks - self.start_ticks) / TICKS_PER_SECOND
        expected = self.expected
        return {
            "fringe": (
                plots.fringe(x.d_turns, x.detector, slice_width_turns(self.lab)),
                "X windows with equal intensities over the phase that the clients computed. A wrong sign of psi would flatten "
                "or exchange the fringes.",
            ),
            "phase": (
                plots.phase_trace(seconds, heralds.psi_turns, heralds.truth_turns, TRACE_S),
                f"psi_q of the first {TRACE_S * 1e3:g} ms of heralds from the gateware, and the phase that the physics had there.",
            ),
            "residual": (
                plots.phase_residual(heralds.residual_rad, expected.psi_q_rms_rad),
                "Error of psi_q over all heralds, against the estimator's formula: shot noise of both bands, and motion.",
            ),
            **self.estimates.plots(),
            "qber": (self._qber_plot(), "X-QBER in equal parts of the run, exact 95 % intervals."),
            "rates": (
                plots.click_rates(tags["time_ticks"] - self.start_ticks, tags["channel"], CHANNELS),
                "Tags per channel.",
            ),
            "arrival": (
                plots.arrival_histogram(position, tags["channel"], CHANNELS, gate_ticks(self.lab, "q")),
                "Where tags fall in the pulse, all detectors aligned by their delays. The flat floor is dark counts.",
            ),
            "keyrate": (
                self._rate_plot(),
                "Key rate per clock slot, references included, of the asymptotic SNS-AOPP formula at the measured X-QBER.",
            ),
        }

    def _middle(self, pulses: NDArray[np.int64]) -> NDArray[np.int64]:
        period_ticks = self.frame.period_q32 >> 32
        return self.start_ticks + pulses * period_ticks + period_ticks // 2

    def _heralds(self, psi: NDArray[Any]) -> Heralds:
        valid = psi[psi["flags"] & (FLAG_R_VALID | FLAG_D_VALID) == FLAG_R_VALID | FLAG_D_VALID]
        ticks = self._pulse_ticks[valid["number"]]
        return Heralds(ticks, valid["psi_turns"] / TURN, self.truth_turns[valid["number"]])

    def _z_errors(self) -> tuple[float, float, dict[str, int]]:
        """Raw Z error; upper 95 % limit of the error after pairing over all closed blocks; what the pairing did."""
        bits = []
        for node in ("alice", "bob"):
            sifted = self.received[node].records[Stream.SIFTED]
            bits.append(sifted[sifted["word"] & sns.SIFTED_X == 0])
        _, at_alice, at_bob = np.intersect1d(bits[0]["number"], bits[1]["number"], return_indices=True)
        alice, bob = bits[0][at_alice], bits[1][at_bob]
        raw = float(np.mean(alice["word"] != bob["word"])) if alice.size else math.nan
        block = alice["number"] // self.lab.protocol.block_heralds
        cuts = np.flatnonzero(np.diff(block)) + 1
        blocks = (
            list(zip(np.split(alice["word"], cuts), np.split(bob["word"], cuts), strict=True)) if alice.size else []
        )
        results = pair_blocks(blocks, seed=0)
        survivors, errors = sum(r.survivors for r in results), sum(r.errors for r in results)
        figures = {
            "z_bits": alice.size,
            "pairs": sum(r.pairs for r in results),
            "survivors": survivors,
            "errors": errors,
        }
        return raw, upper_limit(errors, survivors), figures

    def _sifted_seconds(self) -> float:
        """Lab time that the sifted blocks cover: from the start to the last sifted herald."""
        numbers = self.received["alice"].records[Stream.SIFTED]["number"]
        return (self._pulse_ticks[numbers[-1]] - self.start_ticks) / TICKS_PER_SECOND if numbers.size else 0.0

    def _rate_plot(self) -> Figure:
        lab = self.lab
        length_km = lab.fibre.length_a_km + lab.fibre.length_b_km
        km = np.linspace(0.2, 1.5, 60) * max(length_km, 1.0)
        kept = int(self.x.kept.sum())
        qber = int((self.x.kept & self.x.error).sum()) / kept if kept else 0.0
        here = lab.fibre.transmittance("a") * lab.fibre.transmittance("b")
        loss = here * 10 ** (-(km - length_km) * lab.fibre.attenuation_db_per_km / 10)
        loss = np.minimum(loss, 1 - 1e-9)
        efficiency, _ = quantum_detectors(lab)
        rates = np.array([self._rate_or_nan(qber, (length - length_km) / 2) for length in km])
        return plots.rate_over_distance(
            km,
            rates,
            np.array([plob_bound(value) for value in loss]),
            np.array([plob_bound(value * efficiency) for value in loss]),
            (length_km, self._rate_or_nan(qber, 0.0)),
        )

    def _rate_or_nan(self, qber: float, extra_km: float) -> float:
        if self.lab.protocol.name != "SNS":
            return math.nan
        try:
            return key_rate_per_slot(self.lab, qber, extra_km)
        except ValueError:
            return math.nan

    def _qber_plot(self) -> Figure:
        ticks, errors = self.x.ticks[self.x.kept], self.x.error[self.x.kept]
        edges = np.linspace(self.start_ticks, self.stop_ticks, TIME_BINS + 1)
        bins = np.clip(np.digitize(ticks, edges) - 1, 0, TIME_BINS - 1)
        rows = []
        for i in range(TIME_BINS):
            trials, wrong = int(np.sum(bins == i)), int(errors[bins == i].sum())
            if trials:
                middle = (edges[i] + edges[i + 1]) / 2 - self.start_ticks
                rows.append((middle / TICKS_PER_SECOND, wrong / trials, *clopper_pearson(wrong, trials)))
        seconds, qber, low, high = np.array(rows).T if rows else np.empty((4, 0))
        return plots.error_by_time(seconds, qber, low, high, self.expected.x_qber)


def _per_channel(channels: NDArray[np.uint8]) -> dict[str, int]:
    counts = np.bincount(channels, minlength=len(CHANNELS))
    return {name: int(counts[number]) for number, name in enumerate(CHANNELS)}
