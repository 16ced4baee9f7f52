"""The delegates, one file each, and those that others bring by entry point."""

from __future__ import annotations

import logging
from importlib import import_module, metadata

from edgeml.runtime._availability import Availability, Reason
from edgeml.runtime._backend import Backend, Delegate

log = logging.getLogger("edgeml.runtime")

GROUP = "edgeml.delegates"
KINDS = ("npu", "gpu")

# In the order in which a kind tries them.
OURS = {
    "cpu": "CPU",
    "xnnpack": "XNNPACK",
    "tensorrt": "TensorRT",
    "cuda": "CUDA",
    "openvino": "OpenVINO",
    "qnn": "QNN",
    "webgpu": "WebGPU",
}


def names() -> list[str]:
    """Return the names of all delegates, ours first."""
    return [*OURS, *sorted({e.name for e in metadata.entry_points(group=GROUP)} - OURS.keys())]


def find(name: str) -> Backend | None:
    """Return the delegate of a name; None when there is none."""
    if name in OURS:
        made: Backend = getattr(import_module(f"{__name__}._{name}"), OURS[name])()
        return made
    entry = next(iter(metadata.entry_points(group=GROUP, name=name)), None)
    return None if entry is None else _load(entry)


def _load(entry: metadata.EntryPoint) -> Backend:
    """Return what an entry point names; whatever goes wrong in it is its delegate's reason."""
    try:
        loaded = entry.load()
        made = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        return Broken(entry.name, f"{entry.value} raised {type(error).__name__}: {error}")
    if not isinstance(made, Backend):
        return Broken(entry.name, f"{entry.value} is no edgeml.runtime.Backend: {made!r}")
    return made


class Broken(Backend):
    """A delegate of others that cannot be loaded."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    def available(self, device: str | None = None) -> Availability:
        """Return that it cannot be had; see `Backend.available`."""
        return Availability(Reason.BROKEN, f"its entry point {self._why}")

    def attach(self, options: object, delegate: Delegate, threads: int) -> list[object]:
        """Never called, as it is not available."""
        raise NotImplementedError(self._why)
