"""The frame that a node runs, from its lab: nodes tell the frame's numbers, but not the slots of its table."""

from __future__ import annotations

from twinphase_spec.config_file import ConfigError
from twinphase_spec.configure import frame_config
from twinphase_spec.frame import FrameConfig
from twinphase_spec.lab import load_lab

from .device import Device
from .errors import TwinphaseError


def lab_frame(device: Device, url: str, lab: str | None) -> FrameConfig | None:
    """Frame of the lab ``lab`` (preset or file), or of the one that the device or its ``url`` (``lab:NAME``) names; None: not known.

    Raises TwinphaseError for a ``lab`` that does not exist and for one whose frame is not the device's.
    """
    scheme, _, rest = url.partition(":")
    name = lab or device.lab or (rest.partition("?")[0] if scheme == "lab" else None)
    if name is None:
        return None
    try:
        frame = frame_config(load_lab(name), device.read("START_CLOCK"))
    except (ConfigError, OSError) as error:
        if lab is None:  # a recording may carry any name
            return None
        raise TwinphaseError(str(error)) from error
    try:
        check_frame(device, url, frame, name)
    except TwinphaseError:
        if lab is None:
            return None
        raise
    return frame


def check_frame(device: Device, url: str, frame: FrameConfig, lab: str) -> None:
    """TwinphaseError where the device's registers of the frame are not those of ``frame``, that of the lab named ``lab``."""
    of_lab = {"PERIOD": frame.period_q32, "FRAME_PULSES": frame.frame_pulses, "SLOT_PULSES": frame.slot_pulses}
    for register, value in of_lab.items():
        if (told := device.read(register)) != value:
            raise TwinphaseError(f"{url} has {register} {told}, lab {lab} {value}; give the lab that the server runs")
