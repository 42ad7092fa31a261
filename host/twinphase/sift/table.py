"""What `twinphase sift` shows in a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from .blocks import WHY_DISCARDED


def percent(entry: dict[str, Any]) -> str:
    """``fraction (interval of 95 %) of n``."""
    if entry["fraction"] is None:
        return "-"
    low, high = entry["ci95"]
    return f"{entry['fraction']:.2%} ({low:.2%} to {high:.2%}) of {entry['of']:,}"


def table(result: dict[str, Any]) -> Table:
    """`SiftSession.as_dict` for the eye."""
    view = Table(title=f"{result['node_seconds']:.2f} s", show_header=False, title_justify="left")
    view.add_column(style="bold")
    view.add_column()
    blocks = result["blocks"]
    view.add_row(
        "blocks", f"{blocks['closed']} closed, {blocks['incomplete']} incomplete, {blocks['discarded']} discarded"
    )
    if blocks["discarded"]:
        view.add_row("discarded blocks", WHY_DISCARDED, style="red")
    view.add_row("heralds", f"{result['heralds']:,}")
    if result["unphased"]:
        view.add_row(
            "without psi", f"{result['unphased']:,} heralds that found the server's psi queue full", style="red"
        )
    for name, x in result["x"].items():
        view.add_row(f"X {name}", f"{x['records']:,} records, kept {percent(x['kept'])}")
        view.add_row(f"X {name} error", percent(x["qber"] or x["key_error"]))
    if result["x_key_error"] is None:
        view.add_row("X-QBER", percent(result["x_qber"]))
    else:
        view.add_row("X key error", percent(result["x_key_error"]))
    view.add_row("raw Z error", percent(result["z_error_raw"]))
    if (pairing := result["pairing"]) is not None:
        view.add_section()
        view.add_row("paired", f"{pairing['spans']} spans of {pairing['blocks_per_span']} blocks")
        view.add_row("survivors", percent(pairing["survivors"]))
        view.add_row("error after pairing", percent(pairing["error"]))
        for refusal in pairing["refused"]:
            view.add_row("refused", refusal, style="red")
        view.add_section()
        cost = result["bits_per_survivor"]
        if cost["sent"] is not None:
            for name, bits in cost["messages"].items():
                view.add_row(f"bits: {name}", f"{bits['sent']:.1f} sent, {bits['coded']:.1f} coded, per survivor")
            view.add_row("bits: all", f"{cost['sent']:.1f} sent, {cost['coded']:.1f} coded, core {cost['core']:.1f}")
    view.add_section()
    for role, latency in result["reveal_latency"].items():
        if latency is not None:
            _add_latency(view, role, latency)
    _add_yields(view, result["live"])
    view.add_section()
    for role, checks in result["counters"].items():
        view.add_row(f"counters of {role}", *_verdict(checks))
    wrong = result["wrong_words"] or result["unlike_between_clients"]
    text = f"{result['wrong_words']} contradict their slices and psi, {result['unlike_between_clients']} differ between the clients"
    view.add_row("X words", text, style="red" if wrong else None)
    lost = {node: entry["records"] for node, entry in result["losses"].items() if entry["records"]}
    view.add_row("lost records", str(lost) if lost else "none", style="red" if lost else None)
    return view


def _add_latency(view: Table, role: str, latency: dict[str, Any]) -> None:
    """Medians after a block's last herald, and from each herald."""
    steps = ", ".join(f"{step} {of['median_ms']:.1f}" for step, of in latency["after_last_herald"].items())
    whole = latency["herald_to_sifted"]
    view.add_row(f"latency of {role}", f"ms after a block's last herald: {steps} (medians)")
    view.add_row("", f"herald to sifted word {whole['median_ms']:.1f} ms, {whole['largest_ms']:.1f} at most")


def _add_yields(view: Table, live: dict[str, Any]) -> None:
    """N_live, and S_jk over it."""
    view.add_section()
    if "reason" in live:
        view.add_row("live windows", live["reason"])
        return
    if not live["blocks"] or not live["signal_windows"]:
        view.add_row("live windows", "not known for any block yet")
        return
    doubts = [f"{live[name]} {name}" for name in ("unjoined", "dropped", "contradictions") if live[name]]
    if not live["recovery_pulses"]:
        doubts.append("RECOVERY_PULSES is 0: windows of dead detectors count")
    exact = f"[red]not exact: {', '.join(doubts)}[/red]" if doubts else "exact"
    view.add_row(
        "live windows",
        f"{live['live_windows']:,} of {live['signal_windows']:,} SIG ({live['share']:.2%}) in {live['blocks']} blocks, "
        f"{live['blocks_left_out']} left out; {exact}",
    )
    for row in live["yields"]:
        if row["heralds"]:
            low, high = row["ci95"]
            text = f"{row['yield']:.3e} ({low:.3e} to {high:.3e}): {row['heralds']:,} heralds of {row['windows']:,.0f} windows"
            view.add_row(f"yield {row['alice']}, {row['bob']}", text)


def _verdict(checks: dict[str, Any]) -> tuple[str]:
    """What the comparison with the gateware says."""
    parts = []
    cells, status = checks["cells"], checks["status"]
    if cells is None:
        parts.append("cells: a recording holds none")
    elif cells["equal"] is None:
        parts.append("cells: not compared yet")
    else:
        said = "equal" if cells["equal"] else f"[red]DIFFERENT in cells {cells['different_cells']}[/red]"
        parts.append(f"cells: {said} over {cells['blocks']} blocks")
    if status["equal"] is None:
        parts.append("snapshots: not compared")
    else:
        said = "equal" if status["equal"] else f"[red]{status['different']} DIFFERENT[/red]"
        parts.append(f"{status['snapshots']} snapshots: {said}")
    return ("; ".join(parts),)
