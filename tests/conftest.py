"""Benches and figures import helpers that lie beside them; what hypothesis draws is the same in every run unless asked otherwise."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

for folder in ("cocotb", "build", "formal"):
    sys.path.insert(0, str(Path(__file__).parent / folder))

# Benches and hypothesis draw the same in every run, so that what fails is the change; with TWINPHASE_SEED=N benches draw from N and
# hypothesis anew, to look for what no run has met yet.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("anew", deadline=None)
settings.load_profile("anew" if "TWINPHASE_SEED" in os.environ else "repeatable")

FIGURE = "figure"
"""Property of a test under which it records a line that the run's summary shows."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Figures that tests have measured, whichever process they ran in."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [
        str(text)
        for report in reports
        if report.when == "call"
        for name, text in report.user_properties
        if name == FIGURE
    ]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.write_line(line)
