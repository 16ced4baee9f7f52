"""XNNPACK, LiteRT's default delegate: float and int8 kernels for ARM and x86 CPUs."""

from __future__ import annotations

import importlib.util
from typing import Any

from edgeml.errors import DelegateError
from edgeml.runtime._availability import AVAILABLE, Availability, Reason
from edgeml.runtime._backend import Backend, Delegate


class XNNPACK(Backend):
    """XNNPACK, for TFLite models; ONNX Runtime's wheel comes without it."""

    name = "xnnpack"
    formats = ("tflite",)
    packages = ("ai-edge-litert", "tflite-runtime")

    def available(self, device: str | None = None) -> Availability:
        """Return whether it can be had; see `Backend.available`."""
        if not any(map(importlib.util.find_spec, ("ai_edge_litert", "tflite_runtime"))):
            return Availability(
                Reason.NOT_INSTALLED,
                "LiteRT is not installed",
                'pip install "edgeml-runtime[litert]"',
            )
        return AVAILABLE

    def attach(self, options: Any, delegate: Delegate, threads: int) -> list[Any]:
        """Refuse: LiteRT attaches it by itself."""
        raise DelegateError("XNNPACK runs TFLite models only", delegate=str(delegate))
