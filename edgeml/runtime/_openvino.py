"""OpenVINO, Intel's runtime for its CPUs, GPUs and NPUs, as a provider of ONNX Runtime.

It comes in two ways: as a plugin that installs beside the stock onnxruntime
(``onnxruntime-ep-openvino``), which offers Intel's devices only, or built into a runtime of
its own (``onnxruntime-openvino``), whose CPU device runs on AMD's processors too.
"""

from __future__ import annotations

import importlib.util
import json
from typing import Any

from edgeml._require import require
from edgeml.runtime._availability import AVAILABLE, Availability, Reason

PROVIDER = "OpenVINOExecutionProvider"
DEVICES = ("cpu", "gpu", "npu")
_PLUGIN = "onnxruntime_ep_openvino"


def available(device: str | None = None) -> Availability:
    """Return whether OpenVINO can be had on a device: ``"cpu"``, ``"gpu"`` or ``"npu"``."""
    device = device or "cpu"
    if device not in DEVICES:
        return Availability(
            Reason.NO_DEVICE, f"OpenVINO has no device {device!r}: {', '.join(DEVICES)}"
        )
    ort = require("onnxruntime", extra="cpu", purpose="OpenVINO")
    if PROVIDER in ort.get_available_providers():
        return AVAILABLE
    if importlib.util.find_spec(_PLUGIN) is None:
        return Availability(
            Reason.NOT_INSTALLED, "OpenVINO is not installed", "pip install onnxruntime-ep-openvino"
        )
    if not _plugin_devices(device):
        return Availability(
            Reason.NO_DEVICE,
            f"OpenVINO's plugin finds no {device.upper()} of Intel's here; the build of its own, "
            "onnxruntime-openvino instead of onnxruntime, runs on other CPUs too",
        )
    return AVAILABLE


def attach(options: Any, device: str | None, threads: int) -> list[Any]:
    """Add OpenVINO to a session's options.

    Its CPU and GPU devices calculate in float32, as the CPU provider does: left alone, OpenVINO
    takes bfloat16 or float16 where the device has it, too coarse for gradients.

    Returns:
        The providers to open the session with; none where the options hold them.
    """
    device = (device or "cpu").upper()
    ort = require("onnxruntime", extra="cpu", purpose="OpenVINO")
    properties = {"INFERENCE_NUM_THREADS": str(threads)} if device == "CPU" else {}
    if device != "NPU":
        properties["INFERENCE_PRECISION_HINT"] = "f32"
    settings = {"load_config": json.dumps({device: properties})}
    if PROVIDER in ort.get_available_providers():
        return [(PROVIDER, {"device_type": device, **settings})]  # and, where allowed, the CPU's
    options.add_provider_for_devices(_plugin_devices(device.lower())[:1], settings)
    return []


def _plugin_devices(device: str) -> list[Any]:
    ort = require("onnxruntime", extra="cpu", purpose="OpenVINO")
    found = [entry for entry in ort.get_ep_devices() if entry.ep_name == PROVIDER]
    if not found:
        plugin = require(_PLUGIN, extra="openvino", purpose="OpenVINO")
        try:
            ort.register_execution_provider_library(PROVIDER, plugin.get_library_path())
        except Exception as error:  # registered before, on a machine without devices for it
            if "already registered" not in str(error):
                raise
        found = [entry for entry in ort.get_ep_devices() if entry.ep_name == PROVIDER]
    kind = f"OrtHardwareDeviceType.{device.upper()}"
    return [entry for entry in found if str(entry.device.type) == kind]
