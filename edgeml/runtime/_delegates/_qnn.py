"""Qualcomm's NPU (Hexagon) through QNN; on x86 its package carries a simulator."""

from __future__ import annotations

import importlib
from typing import Any

from edgeml.platform import machine
from edgeml.runtime._availability import Availability, Reason
from edgeml.runtime._backend import Delegate
from edgeml.runtime._plugin import Plugin

_MODES = (
    "burst", "balanced", "default", "high_performance", "high_power_saver", "low_balanced",
    "low_power_saver", "power_saver", "sustained_high_performance",
)  # fmt: skip

# Snapdragon X Elite: of an unnamed chip the simulator cannot compile some models.
_SIMULATED = "60"


class QNN(Plugin):
    """The NPU of Qualcomm's chips. It takes quantized (QDQ) models of fixed shapes.

    Fix free dimensions with ``dims={"N": 1}``. `mode` is the NPU's trade of power for speed.
    """

    name = "qnn"
    provider = "QNNExecutionProvider"
    devices = {"htp": "npu"}  # noqa: RUF012
    options = {"mode": _MODES}  # noqa: RUF012
    nodes = {"htp": ("/dev/fastrpc-cdsp*", "/dev/adsprpc-smd*")}  # noqa: RUF012
    packages = ("onnxruntime-qnn",)
    module = "onnxruntime_qnn"
    engines = "context"

    def available(self, device: str | None = None) -> Availability:
        """Return whether it can be had on a device; see `Backend.available`."""
        found = super().available(device)
        if found.reason is Reason.AVAILABLE and machine() == "x86_64":
            return Availability(Reason.SIMULATED, "on x86 it is a simulator of Qualcomm's NPU")
        return found

    def attach(self, options: Any, delegate: Delegate, threads: int) -> list[Any]:
        """Add it to a session's options; see `Backend.attach`."""
        settings = {"backend_path": importlib.import_module(self.module).get_qnn_htp_path()}
        if machine() == "x86_64":
            settings["soc_model"] = _SIMULATED
        if "mode" in delegate.options:
            settings["htp_performance_mode"] = delegate.options["mode"]
        return self.add(options, delegate, settings)

    def precision(self, delegate: Delegate) -> str:
        """Return what it calculates in; see `Backend.precision`."""
        return "fp16"
