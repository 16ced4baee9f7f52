"""The on-device ML runtime for Python.

Everything here is imported when it is first used, so ``import edgeml`` costs next to
nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from edgeml._version import __version__ as __version__

if TYPE_CHECKING:
    from edgeml.devices import GPIO as GPIO
    from edgeml.devices import Camera as Camera
    from edgeml.devices import Microphone as Microphone
    from edgeml.devices import Sensor as Sensor
    from edgeml.devices import Speaker as Speaker
    from edgeml.errors import EdgeMLError as EdgeMLError
    from edgeml.evaluation import evaluate as evaluate
    from edgeml.events import MqttSink as MqttSink
    from edgeml.events import MqttSource as MqttSource
    from edgeml.graph import function as function
    from edgeml.graph import grad as grad
    from edgeml.graph import value_and_grad as value_and_grad
    from edgeml.layers import Input as Input
    from edgeml.runtime import Session as Session
    from edgeml.runtime import TensorSpec as TensorSpec
    from edgeml.runtime import load as load
    from edgeml.runtime import load_async as load_async
    from edgeml.streams import SKIP as SKIP
    from edgeml.streams import Backoff as Backoff
    from edgeml.streams import Pipeline as Pipeline
    from edgeml.streams import Retry as Retry
    from edgeml.streams import Sample as Sample
    from edgeml.streams import Sink as Sink
    from edgeml.streams import Source as Source
    from edgeml.streams import Stage as Stage
    from edgeml.streams import join as join
    from edgeml.streams import merge as merge
    from edgeml.streams import stage as stage
    from edgeml.streams import tee as tee
    from edgeml.streams import window as window
    from edgeml.tasks import ActivityRecognizer as ActivityRecognizer
    from edgeml.tasks import FaceDetector as FaceDetector
    from edgeml.tasks import ImageClassifier as ImageClassifier
    from edgeml.tasks import ObjectDetector as ObjectDetector
    from edgeml.tasks import VoiceActivity as VoiceActivity
    from edgeml.tasks import WakeWord as WakeWord
    from edgeml.training import Model as Model
    from edgeml.training import Sequential as Sequential
    from edgeml.training import load_model as load_model
    from edgeml.tuning import tune as tune

_HOMES = {
    "edgeml.devices": ("Camera", "GPIO", "Microphone", "Sensor", "Speaker"),
    "edgeml.errors": ("EdgeMLError",),
    "edgeml.evaluation": ("evaluate",),
    "edgeml.events": ("MqttSink", "MqttSource"),
    "edgeml.graph": ("function", "grad", "value_and_grad"),
    "edgeml.layers": ("Input",),
    "edgeml.runtime": ("Session", "TensorSpec", "load", "load_async"),
    "edgeml.streams": (
        "Backoff", "Pipeline", "Retry", "SKIP", "Sample", "Sink", "Source", "Stage",
        "join", "merge", "stage", "tee", "window",
    ),
    "edgeml.tasks": (
        "ActivityRecognizer", "FaceDetector", "ImageClassifier", "ObjectDetector",
        "VoiceActivity", "WakeWord",
    ),
    "edgeml.training": ("Model", "Sequential", "load_model"),
    "edgeml.tuning": ("tune",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = (
    "activations", "app", "callbacks", "constraints", "data", "devices", "errors", "evaluation",
    "events", "graph", "initializers", "layers", "losses", "metrics", "ops", "optimizers",
    "personalize", "platform", "plots", "quantize", "regularizers", "runtime", "streams", "tasks",
    "testing", "training", "tuning",
)  # fmt: skip

__all__ = sorted(["__version__", *_HOME_OF])


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"edgeml.{name}")
    raise AttributeError(f"module 'edgeml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
