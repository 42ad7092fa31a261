"""Errors that a user can act on: the command line prints their text, one sentence, and exits with code 2."""

from __future__ import annotations


class TwinphaseError(Exception):
    """Something outside of the program is wrong; the text says what, where and what to do."""


class DeviceError(TwinphaseError):
    """A device cannot be opened, reached or used."""


class RecordingError(TwinphaseError):
    """A recording cannot be written or read."""


class ExtraError(TwinphaseError):
    """An optional part of Twinphase is not installed; the text is exactly the command that installs it."""
