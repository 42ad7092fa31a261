"""Benches and figures import helpers that lie beside them; what hypothesis draws is the same in every run unless asked otherwise."""

import os
import sys
from pathlib import Path

from hypothesis import settings

for folder in ("cocotb", "build", "formal"):
    sys.path.insert(0, str(Path(__file__).parent / folder))

# Benches and hypothesis draw the same in every run, so that what fails is the change; with TWINPHASE_SEED=N benches draw from N and
# hypothesis anew, to look for what no run has met yet.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("anew", deadline=None)
settings.load_profile("anew" if "TWINPHASE_SEED" in os.environ else "repeatable")
