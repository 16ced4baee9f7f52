"""What a source or a task can be, by the `type` that app.toml gives it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from edgeml.app._options import Option, options_of

PICTURES, SOUND, READINGS, RESULTS = "pictures", "sound", "readings", "results"
ANYTHING = "anything"


# The table's name, the file's folder, and what would run a model on the event loop.
_NOT_FOR_TOML = {"beside", "inline", "name"}


@dataclass(frozen=True)
class Kind:
    """A kind of source or task.

    Attributes:
        home: Module of the class.
        cls: Name of the class.
        takes: What a task takes; empty for a source.
        gives: What a source gives, or a task.
    """

    home: str
    cls: str
    takes: str = ""
    gives: str = RESULTS

    def load(self) -> Any:
        """Import the class."""
        return getattr(importlib.import_module(self.home), self.cls)

    def options(self) -> dict[str, Option]:
        """Return the options of the class; its name is the table's."""
        found = options_of(self.load())
        if "model" in found:  # a Session, too, in Python
            found["model"] = Option(str, found["model"].default)
        return {name: option for name, option in found.items() if name not in _NOT_FOR_TOML}


SOURCES = {
    "camera": Kind("edgeml.devices", "Camera", gives=PICTURES),
    "csv": Kind("edgeml.devices", "CSVReplay", gives=READINGS),
    "gps": Kind("edgeml.devices", "GPS", gives=READINGS),
    "hwmon": Kind("edgeml.devices", "Hwmon", gives=READINGS),
    "iio": Kind("edgeml.devices", "IIO", gives=READINGS),
    "microphone": Kind("edgeml.devices", "Microphone", gives=SOUND),
    "mqtt": Kind("edgeml.events", "MqttSource", gives=RESULTS),
    "thermal": Kind("edgeml.devices", "Thermal", gives=READINGS),
}

TASKS = {
    "activity-recognizer": Kind("edgeml.tasks", "ActivityRecognizer", takes=READINGS),
    "anomaly-detector": Kind("edgeml.tasks", "AnomalyDetector", takes=READINGS),
    "face-detector": Kind("edgeml.tasks", "FaceDetector", takes=PICTURES),
    "image-classifier": Kind("edgeml.tasks", "ImageClassifier", takes=PICTURES),
    "object-detector": Kind("edgeml.tasks", "ObjectDetector", takes=PICTURES),
    "personal": Kind("edgeml.app._personal", "Personal", takes=ANYTHING),
    "python": Kind("edgeml.app._python", "python_stage", takes=ANYTHING),
    "voice-activity": Kind("edgeml.tasks", "VoiceActivity", takes=SOUND),
    "wake-word": Kind("edgeml.tasks", "WakeWord", takes=SOUND),
}


def fits(takes: str, gives: str) -> bool:
    """Whether a task can work on what comes."""
    return takes in (ANYTHING, gives)


def kinds_that(table: dict[str, Kind], *, give: str) -> list[str]:
    """Return the names of the kinds in a table that give something."""
    return sorted(name for name, kind in table.items() if kind.gives == give)
