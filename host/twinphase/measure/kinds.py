"""The kinds of `twinphase measure`: from its options to a measurement, its table and its figure."""

from __future__ import annotations

import argparse
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from rich.table import Table

from twinphase_spec.registers import TIMETAGGER_CHANNELS, NodeType
from twinphase_spec.units import TICK_PS, ps_to_ticks

from ..batch import Batch
from ..device import Device
from ..errors import TwinphaseError
from .channel_rates import ChannelRates
from .channels import channel_name, channel_number, channel_numbers, distinct
from .coincidences import Coincidences, window_ticks_of
from .correlate import Bins
from .g2 import G2, symmetric_bins
from .histogram import Histogram
from .preparation import reference_of
from .watch import Watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_WINDOW_PS = 1e12
TABLE_BINS = 16


class Kind(ABC):
    """One kind of measurement as the command line sees it."""

    def __init__(self, arguments: argparse.Namespace, device: Device) -> None:
        self.node = device.identity().node
        tagger = self.node is NodeType.TIMETAGGER
        self.inputs = min(device.read("CHANNELS"), TIMETAGGER_CHANNELS) if tagger else TIMETAGGER_CHANNELS
        self.names = {number: channel_name(number, self.node) for number in channel_numbers(self.node, self.inputs)}
        self.arguments = arguments

    def channel(self, text: str) -> int:
        """The channel that the user names. Raises TwinphaseError."""
        return channel_number(text, self.node, self.inputs)

    def bins(self) -> tuple[int, int]:
        """``--bin-ps`` and ``--range-ns`` in ticks. Raises TwinphaseError."""
        width, span = self.arguments.bin_ps, self.arguments.range_ns * 1000
        if not 0 < width <= MAX_WINDOW_PS:
            raise TwinphaseError(f"--bin-ps is {width:g}; allowed: above 0, at most {MAX_WINDOW_PS:g}")
        if not width <= span <= MAX_WINDOW_PS:
            raise TwinphaseError(
                f"--range-ns is {span / 1000:g}; allowed: a bin ({width / 1000:g}) to {MAX_WINDOW_PS / 1000:g}"
            )
        return max(1, ps_to_ticks(width)), ps_to_ticks(span)

    @abstractmethod
    def update(self, batch: Batch) -> object:
        """Take in a batch."""

    @abstractmethod
    def as_dict(self) -> Any:
        """The result for JSON."""

    @abstractmethod
    def table(self, state: Watched) -> Table:
        """The result for a terminal."""

    @abstractmethod
    def figure(self) -> Figure:
        """The result as a plot."""

    def _two_columns(self, state: Watched, rows: list[tuple[str, str]]) -> Table:
        table = Table(title=state.title(), title_justify="left", show_header=False)
        for row in rows:
            table.add_row(*row)
        return table


class RatesKind(Kind):
    def __init__(self, arguments: argparse.Namespace, device: Device) -> None:
        super().__init__(arguments, device)
        self.rates = ChannelRates(node=self.node)
        chosen = arguments.channels
        self.channels = None if chosen is None else distinct([self.channel(text) for text in chosen], "--channels")

    def update(self, batch: Batch) -> None:
        self.rates.update(batch)

    def as_dict(self) -> dict[str, Any]:
        return self.rates.as_dict(self.channels)

    def table(self, state: Watched) -> Table:
        table = Table(title=state.title(), title_justify="left")
        for name in ("channel", "tags", "per second", "95 %", "now"):
            table.add_column(name, justify="left" if name == "channel" else "right")
        for row in self.as_dict()["channels"]:
            low, high = row["rate_ci95_hz"] or (math.nan, math.nan)
            table.add_row(
                row["name"],
                f"{row['tags']:,}",
                _hz(row["rate_hz"]),
                f"{_hz(low)} to {_hz(high)}",
                _hz(row["recent_hz"]),
            )
        return table

    def figure(self) -> Figure:
        from ..report import measure_plots

        return measure_plots.rates(self.as_dict())


class HistogramKind(Kind):
    def __init__(self, arguments: argparse.Namespace, device: Device) -> None:
        super().__init__(arguments, device)
        width, span = self.bins()
        if not abs(arguments.from_ns) * 1000 <= MAX_WINDOW_PS:
            raise TwinphaseError(f"--from-ns is {arguments.from_ns:g}; allowed: +-{MAX_WINDOW_PS / 1000:g}")
        self.histogram = Histogram(
            start=self.channel(arguments.start),
            stops=distinct([self.channel(text) for text in arguments.stop], "--stop"),
            bins=Bins(low_ticks=ps_to_ticks(arguments.from_ns * 1000), width_ticks=width, count=-(-span // width)),
            mode="single" if arguments.single else "multi",
        )

    def update(self, batch: Batch) -> None:
        self.histogram.update(batch)

    def as_dict(self) -> dict[str, Any]:
        return self.histogram.as_dict()

    def table(self, state: Watched) -> Table:
        table = Table(title=state.title(), title_justify="left")
        for name in ("start", "stop", "starts", "stops", "counted", "peak ps", "mean ps", "rms ps"):
            table.add_column(name, justify="left" if name in ("start", "stop") else "right")
        result, bins, rows = self.histogram.summary(), self.histogram.bins, self.histogram.counts
        for i, stop in enumerate(self.histogram.stops):
            counts = rows[i]
            peak = f"{bins.centres_ticks[int(counts.argmax())] * TICK_PS:.1f}" if counts.any() else "-"
            table.add_row(
                self.names[self.histogram.start],
                self.names[stop],
                f"{result['starts']:,}",
                f"{result['stop_tags'][i]:,}",
                f"{result['counted'][i]:,}",
                peak,
                _number(result["mean_ps"][i]),
                _number(result["rms_ps"][i]),
            )
        return table

    def figure(self) -> Figure:
        from ..report import measure_plots

        return measure_plots.histogram(self.as_dict(), self.names)


class CoincidencesKind(Kind):
    def __init__(self, arguments: argparse.Namespace, device: Device) -> None:
        super().__init__(arguments, device)
        window = arguments.window_ps
        if not 0 <= window <= MAX_WINDOW_PS:
            raise TwinphaseError(f"--window-ps is {window:g}; allowed: 0 to {MAX_WINDOW_PS:g}")
        sets = [distinct([self.channel(text) for text in one], "--channels") for one in arguments.channels]
        if any(len(one) < 2 for one in sets):
            raise TwinphaseError("--channels names one channel; allowed: two or more in each set")
        self.sets = [Coincidences(channels=one, window_ticks=window_ticks_of(window)) for one in sets]

    def update(self, batch: Batch) -> None:
        for one in self.sets:
            one.update(batch)

    def as_dict(self) -> list[dict[str, Any]]:
        return [one.as_dict() for one in self.sets]

    def table(self, state: Watched) -> Table:
        table = Table(title=state.title(), title_justify="left")
        for name in ("channels", "coincidences", "per second", "95 %", "accidentals", "true", "95 % "):
            table.add_column(name, justify="left" if name == "channels" else "right")
        for row in self.as_dict():
            low, high = row["rate_ci95_hz"] or (math.nan, math.nan)
            true = row["true_ci95"]
            table.add_row(
                " & ".join(self.names[channel] for channel in row["channels"]),
                f"{row['coincidences']:,}",
                _hz(row["rate_hz"]),
                f"{_hz(low)} to {_hz(high)}",
                "rates too high" if row["accidentals"] is None and row["live_s"] else _number(row["accidentals"]),
                _number(row["true"]),
                "-" if true is None else f"{true[0]:,.1f} to {true[1]:,.1f}",
            )
        return table

    def figure(self) -> Figure:
        from ..report import measure_plots

        return measure_plots.coincidences(self.as_dict(), self.names)


class G2Kind(Kind):
    def __init__(self, arguments: argparse.Namespace, device: Device) -> None:
        super().__init__(arguments, device)
        first, second = (self.channel(text) for text in arguments.channels)
        self.g2 = G2(channels=(first, second), bins=symmetric_bins(*self.bins()))

    def update(self, batch: Batch) -> None:
        self.g2.update(batch)

    def as_dict(self) -> dict[str, Any]:
        return self.g2.as_dict()

    def table(self, state: Watched) -> Table:
        result, centres, (values, errors) = self.g2.summary(), self.g2.bins.centres_ticks, self.g2.values()
        middle = len(centres) // 2
        rates = [
            f"{self.names[c]} {_hz(rate)}/s" for c, rate in zip(result["channels"], result["rates_hz"], strict=True)
        ]
        rows = [("tags", "  ".join(rates)), ("pairs", f"{result['pairs']:,}")]
        step = max(1, -(-len(centres) // TABLE_BINS))
        for k in range(middle % step, len(centres), step):
            text = "-" if math.isnan(values[k]) else f"{values[k]:.4f} +- {errors[k]:.4f}"
            rows.append((f"{round(centres[k] * TICK_PS / 1000, 3) + 0.0:+.3f} ns", text))
        return self._two_columns(state, rows)

    def figure(self) -> Figure:
        from ..report import measure_plots

        return measure_plots.g2(self.as_dict(), self.names)


class ReferenceKind(Kind):
    def __init__(self, arguments: argparse.Namespace, device: Device) -> None:
        super().__init__(arguments, device)
        reference = reference_of(arguments, self.channel)
        assert reference is not None  # --clock is required
        self.reference = reference

    def update(self, batch: Batch) -> None:
        self.reference.update(batch)

    def as_dict(self) -> dict[str, Any]:
        return self.reference.as_dict()

    def table(self, state: Watched) -> Table:
        result = self.as_dict()
        rows = [("state", result["sentence"])]
        if result["offset"] is not None:
            rows += [
                ("pulse jitter", f"{result['pulse_rms_ps']:.1f} ps rms over {result['fitted_s']:.2f} s"),
                ("drift", "-" if result["drift_per_s"] is None else f"{result['drift_per_s']:+.2e} per s"),
            ]
        rows.append(
            ("pulses", ", ".join(f"{result[key]:,} {key}" for key in ("pulses", "missing", "rejected", "restarts")))
        )
        if (pps := result["pps"]) is not None:
            rows.append(
                ("PPS", ", ".join(f"{pps[key]:,} {key}" for key in ("pulses", "missing", "doubled", "rejected")))
            )
        return self._two_columns(state, rows)

    def figure(self) -> Figure:
        raise TwinphaseError("a reference has no plot")


_KINDS: dict[str, type[Kind]] = {
    "rates": RatesKind,
    "histogram": HistogramKind,
    "coincidences": CoincidencesKind,
    "g2": G2Kind,
    "reference": ReferenceKind,
}


def make(arguments: argparse.Namespace, device: Device) -> Kind:
    """The measurement that the options of ``twinphase measure`` ask for. Raises TwinphaseError, one sentence."""
    try:
        return _KINDS[arguments.kind](arguments, device)
    except ValueError as error:
        raise TwinphaseError(str(error)) from error


def _hz(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:,.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
