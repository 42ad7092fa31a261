"""Entry points of optional parts: loading one whose extra is not installed says how to install it."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

from .errors import ExtraError

OWN_PACKAGES = ("twinphase", "twinphase_spec", "twinphase_hdl", "twinphase_firmware", "twinphase_sim")


def load_entry_point(point: EntryPoint) -> Any:
    """What the entry point names. Raises ExtraError when a package of its extra is missing."""
    try:
        return point.load()
    except ModuleNotFoundError as error:
        raise_if_extra(point, error)
        raise


def raise_if_extra(point: EntryPoint, error: ModuleNotFoundError) -> None:
    """Raise ExtraError if ``error`` means that an extra of ``point`` is not installed."""
    missing = (error.name or "").partition(".")[0]
    if point.extras and missing not in OWN_PACKAGES:
        raise ExtraError(f"pip install 'twinphase[{','.join(point.extras)}]'") from error
