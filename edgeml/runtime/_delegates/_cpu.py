"""The CPU: kernels of ONNX Runtime's or LiteRT's own."""

from __future__ import annotations

from typing import Any

from edgeml.runtime._availability import AVAILABLE, Availability
from edgeml.runtime._backend import Backend, Delegate


class CPU(Backend):
    """The CPU, which takes every node and is always there.

    TFLite models run on XNNPACK where it takes their nodes; ``xnnpack=False`` leaves all to
    LiteRT's own kernels, slower, and the reference to compare with.
    """

    name = "cpu"
    provider = "CPUExecutionProvider"
    formats = ("onnx", "tflite")
    options = {"xnnpack": (True, False)}  # noqa: RUF012
    packages = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "ai-edge-litert")

    def available(self, device: str | None = None) -> Availability:
        """Return whether it can be had; see `Backend.available`."""
        return AVAILABLE

    def attach(self, options: Any, delegate: Delegate, threads: int) -> list[Any]:
        """Return its provider; see `Backend.attach`."""
        return [self.provider]
