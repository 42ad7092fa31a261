"""How a run ends: what was done, in its folder, and the first failure, raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import TwinphaseError
from .aligning import Aligning
from .recorders import Recorders
from .relay import Relay


def end_run(
    folder: Path,
    done: dict[str, Any],
    *,
    relay: Relay,
    recorders: Recorders,
    fault: str | None,
    aligning: Aligning | None = None,
) -> dict[str, Any]:
    """``done`` with what was carried and recorded, as written to ``folder``/run.json.

    Raises, after it is written, the first failure of a recording, of the search for pulses, and TwinphaseError with ``fault``."""
    result = done | {"relay": relay.as_dict(), "recordings": recorders.summaries}
    (folder / "run.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    recorders.raise_failure()
    if aligning is not None and aligning.failure is not None:
        raise aligning.failure
    if fault is not None:
        raise TwinphaseError(f"{fault}; what is recorded in {folder} is whole up to there")
    return result
