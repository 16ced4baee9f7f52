"""A model on a delegate: load it, run it, stream through it."""

from edgeml.runtime._availability import Availability, Reason
from edgeml.runtime._backend import Backend, Delegate
from edgeml.runtime._delegate import available, delegates
from edgeml.runtime._inspect import ModelInfo, inspect
from edgeml.runtime._load import load, load_async, resolve
from edgeml.runtime._measure import MeasuredDelegate, Measurement, measure
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._placement import PlacedNode, Placement
from edgeml.runtime._session import ModelStream, Session
from edgeml.runtime._spec import TensorSpec
from edgeml.runtime._worker_host import Isolation
from edgeml.runtime._worker_seat import SessionState
from edgeml.runtime._worker_session import IsolatedSession

__all__ = [
    "Availability",
    "Backend",
    "Delegate",
    "IsolatedSession",
    "Isolation",
    "MeasuredDelegate",
    "Measurement",
    "Metadata",
    "ModelInfo",
    "ModelStream",
    "PlacedNode",
    "Placement",
    "Reason",
    "Session",
    "SessionState",
    "TensorSpec",
    "available",
    "delegates",
    "inspect",
    "load",
    "load_async",
    "measure",
    "resolve",
]
