"""One self-contained HTML page: figures of the summary, tables and embedded plots."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from .summary import Summary

STYLE = """
body{font:15px/1.5 system-ui,Helvetica,Arial,sans-serif;color:#1d2733;max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #d5dbe1}
.lead{color:#5a6572;margin-top:.2rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(215px,1fr));gap:.7rem;margin:1.2rem 0}
.card{border:1px solid #d5dbe1;border-radius:8px;padding:.6rem .8rem}.card b{display:block;font-size:1.25rem}
.card span{color:#5a6572;font-size:.85rem}.good{border-left:5px solid #3d8b4f}.bad{border-left:5px solid #b03a2e}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.2rem .9rem .2rem 0;text-align:left;border-bottom:1px solid #eceff2}
td.n{text-align:right;font-variant-numeric:tabular-nums}
img{max-width:100%}figure{margin:1rem 0}figcaption{color:#5a6572;font-size:.9rem}
"""


def percent(value: float, digits: int = 2) -> str:
    """``value`` in percent, or a dash when there is none."""
    return f"{100 * value:.{digits}f} %" if math.isfinite(value) else "-"


def _card(value: str, label: str, good: bool | None = None) -> str:
    mark = "" if good is None else " good" if good else " bad"
    return f'<div class="card{mark}"><b>{html.escape(value)}</b><span>{html.escape(label)}</span></div>'


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """An HTML table; numbers are aligned to the right."""

    def cell(entry: object) -> str:
        if isinstance(entry, int | float) and not isinstance(entry, bool):
            return f'<td class="n">{entry:,}</td>' if isinstance(entry, int) else f'<td class="n">{entry:,.6g}</td>'
        return f"<td>{html.escape(str(entry))}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cards(s: Summary) -> str:
    low, high = s.x_qber_ci95
    inside = low <= s.x_qber_expected <= high if s.x_events else None
    ratio = s.key_rate_per_slot / s.plob_per_slot if s.plob_per_slot else math.nan
    ratio_detectors = (
        s.key_rate_per_slot / s.plob_per_slot_with_detectors if s.plob_per_slot_with_detectors else math.nan
    )
    return "".join(
        (
            _card(f"{s.mismatches}", f"mismatches in {s.words_compared:,} words against the model", s.mismatches == 0),
            _card(
                f"{s.unexplained_losses}",
                f"unexplained losses of {sum(s.clicks.values()):,} clicks",
                s.unexplained_losses == 0,
            ),
            _card(percent(s.x_qber), f"X-QBER, {s.x_events} events, 95 %: {percent(low)} to {percent(high)}", inside),
            _card(percent(s.x_qber_expected), "X-QBER expected from the physics"),
            _card(f"{s.psi_rms_rad:.3f} rad", f"psi_q against truth; formula {s.psi_rms_expected_rad:.3f} rad"),
            _card(f"{s.heralds_per_second:,.0f} /s", f"heralds; expected {s.heralds_per_second_expected:,.0f} /s"),
            _card(
                percent(s.z_error_after_pairing, 3),
                f"Z error after pairing, 95 % upper limit (raw {percent(s.z_error_raw)})",
            ),
            _card(f"{s.key_rate_per_slot:.3e}", "bits per slot: SNS-AOPP, asymptotic, at the measured noise"),
            _card(f"{ratio:.2f} x", f"PLOB of the fibre ({s.plob_per_slot:.3e} per slot)"),
            _card(
                f"{ratio_detectors:.2f} x", f"PLOB with the detectors ({s.plob_per_slot_with_detectors:.3e} per slot)"
            ),
            _card(
                f"{s.cycles_per_second / 1e6:,.1f} M/s",
                f"clocks covered per second; {s.lab_seconds:g} s of lab in {s.wall_seconds:.1f} s",
            ),
        )
    )


def render(
    summary: Summary,
    description: str,
    figures: Mapping[str, tuple[Figure, str]],
    tables: Mapping[str, str],
    folder: Path,
) -> Path:
    """Writes ``report.html`` and every plot as PNG into ``folder``; returns the page's path.

    ``figures``: name -> (figure, caption); ``tables``: heading -> HTML from `table`.
    """
    parts = []
    for name, (figure, caption) in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
        (folder / f"{name}.png").write_bytes(buffer.getvalue())
        encoded = base64.b64encode(buffer.getvalue()).decode()
        parts.append(
            f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{encoded}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )
    listed = "".join(f"<h2>{html.escape(heading)}</h2>{text}" for heading, text in tables.items())
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Twinphase: {html.escape(summary.lab)}</title>'
        f'<style>{STYLE}</style><h1>{html.escape(summary.lab)}</h1><p class="lead">{html.escape(description)}</p>'
        f'<div class="cards">{_cards(summary)}</div><h2>What was measured</h2>{"".join(parts)}{listed}'
        '<p class="lead">The key rate is the asymptotic formula at the measured noise; nothing here is a security proof. '
        "The symbol generator of this version is not secure.</p></html>"
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path
