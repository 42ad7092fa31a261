"""Benches and figures import helpers that lie beside them."""

import sys
from pathlib import Path

for folder in ("cocotb", "build", "formal"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
