"""Drivers: cameras, microphones, sensors in; loudspeakers and GPIO lines out.

Every driver is imported when first used, and so is the library behind it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ != "edgeml.devices":
    raise ImportError(
        "import edgeml.devices, not devices: the folder at the top is reached by a link"
    )

if TYPE_CHECKING:
    from edgeml.devices._board import Board as Board
    from edgeml.devices._board import board as board
    from edgeml.devices._board_parts import Accelerator as Accelerator
    from edgeml.devices._board_state import Clock as Clock
    from edgeml.devices._camera import Camera as Camera
    from edgeml.devices._camera import CameraInfo as CameraInfo
    from edgeml.devices._camera import list_cameras as list_cameras
    from edgeml.devices._csv import CSVReplay as CSVReplay
    from edgeml.devices._discover import DeviceInfo as DeviceInfo
    from edgeml.devices._discover import discover as discover
    from edgeml.devices._energy import EnergyMeter as EnergyMeter
    from edgeml.devices._fix import Fix as Fix
    from edgeml.devices._governor import Governor as Governor
    from edgeml.devices._governor import GovernorStep as GovernorStep
    from edgeml.devices._gpio import GPIO as GPIO
    from edgeml.devices._gps import GPS as GPS
    from edgeml.devices._iio import IIO as IIO
    from edgeml.devices._microphone import Microphone as Microphone
    from edgeml.devices._reading import Reading as Reading
    from edgeml.devices._resample import Resample as Resample
    from edgeml.devices._sensor import Sensor as Sensor
    from edgeml.devices._speaker import Speaker as Speaker
    from edgeml.devices._thermal import Hwmon as Hwmon
    from edgeml.devices._thermal import Thermal as Thermal

__all__ = [
    "GPIO",
    "GPS",
    "IIO",
    "Accelerator",
    "Board",
    "CSVReplay",
    "Camera",
    "CameraInfo",
    "Clock",
    "DeviceInfo",
    "EnergyMeter",
    "Fix",
    "Governor",
    "GovernorStep",
    "Hwmon",
    "Microphone",
    "Reading",
    "Resample",
    "Sensor",
    "Speaker",
    "Thermal",
    "board",
    "discover",
    "list_cameras",
]

_MODULES = {
    "Accelerator": "_board_parts",
    "Board": "_board",
    "CSVReplay": "_csv",
    "Camera": "_camera",
    "CameraInfo": "_camera",
    "Clock": "_board_state",
    "DeviceInfo": "_discover",
    "EnergyMeter": "_energy",
    "Fix": "_fix",
    "GPIO": "_gpio",
    "GPS": "_gps",
    "Governor": "_governor",
    "GovernorStep": "_governor",
    "Hwmon": "_thermal",
    "IIO": "_iio",
    "Microphone": "_microphone",
    "Reading": "_reading",
    "Resample": "_resample",
    "Sensor": "_sensor",
    "Speaker": "_speaker",
    "Thermal": "_thermal",
    "board": "_board",
    "discover": "_discover",
    "list_cameras": "_camera",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
