"""OpenVINO, Intel's runtime for its CPUs, GPUs and NPUs, as a provider of ONNX Runtime.

It comes in two ways: as a plugin that installs beside the stock onnxruntime
(``onnxruntime-ep-openvino``), which offers Intel's devices only, or built into a runtime of
its own (``onnxruntime-openvino``), whose CPU device runs on AMD's processors too.
"""

from __future__ import annotations

import glob
import json
from typing import Any

from edgeml.runtime._availability import AVAILABLE, Availability, Reason
from edgeml.runtime._backend import Delegate
from edgeml.runtime._plugin import Plugin, runtime

_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


class OpenVINO(Plugin):
    """OpenVINO on an Intel CPU (the default), GPU or NPU.

    Left alone, its CPU and GPU take bfloat16 or float16 where the device has it, too coarse
    for gradients; here they calculate in float32 unless ``precision=`` says otherwise.
    """

    name = "openvino"
    provider = "OpenVINOExecutionProvider"
    devices = {"cpu": "cpu", "gpu": "gpu", "npu": "npu"}  # noqa: RUF012
    options = {"precision": tuple(_HINTS)}  # noqa: RUF012
    packages = ("onnxruntime-ep-openvino", "onnxruntime-openvino")
    module = "onnxruntime_ep_openvino"
    nodes = {"gpu": ("/dev/dri/renderD*",), "npu": ("/dev/accel/accel*",)}  # noqa: RUF012
    engines = "folder"

    def available(self, device: str | None = None) -> Availability:
        """Return whether it can be had on a device; see `Backend.available`."""
        if not self._is_built_in():
            return super().available(device)
        if (device or "cpu") != "cpu" and not self._has(device or "cpu"):
            return self.without_device(device)
        return AVAILABLE

    def without_device(self, device: str | None) -> Availability:
        """Return why it can be loaded and not be had."""
        advice = (
            ""
            if self._is_built_in() or device not in (None, "cpu")
            else "; the build of its own, onnxruntime-openvino instead of onnxruntime, runs on "
            "other CPUs too"
        )
        return Availability(
            Reason.NO_DEVICE, f"it finds no {(device or 'cpu').upper()} of Intel's here{advice}"
        )

    def attach(self, options: Any, delegate: Delegate, threads: int) -> list[Any]:
        """Add it to a session's options; see `Backend.attach`."""
        device = (delegate.device or "cpu").upper()
        properties = {"INFERENCE_NUM_THREADS": str(threads)} if device == "CPU" else {}
        if device != "NPU":
            properties["INFERENCE_PRECISION_HINT"] = _HINTS[self.precision(delegate)]
        if folder := delegate.options.get("cache"):
            properties["CACHE_DIR"] = folder
        settings = {"load_config": json.dumps({device: properties})}
        if self._is_built_in():
            return [(self.provider, {"device_type": device, **settings})]
        return self.add(options, delegate, settings)

    def precision(self, delegate: Delegate) -> str:
        """Return what it calculates in; see `Backend.precision`."""
        return "fp16" if delegate.device == "npu" else super().precision(delegate)

    def keeps(self, delegate: Delegate) -> bool:
        """Return whether what it compiles is kept; see `Backend.keeps`.

        Not on the CPU, unless asked for: its build (1.24) writes a file there and cannot read it
        back, so that loading only takes longer.
        """
        on_cpu = (delegate.device or "cpu") == "cpu"
        return super().keeps(delegate) and (not on_cpu or "cache" in delegate.options)

    def is_on(self, entry: Any, device: str | None) -> bool:
        """Return whether a device of the runtime is the one asked for."""
        return str(entry.device.type) == f"OrtHardwareDeviceType.{(device or 'cpu').upper()}"

    def _is_built_in(self) -> bool:
        return self.provider in runtime().get_available_providers()

    def _has(self, device: str) -> bool:
        """Return whether the kernel has a device, as the built-in one does not tell."""
        return any(map(glob.glob, self.nodes[device]))
