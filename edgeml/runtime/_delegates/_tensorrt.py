"""NVIDIA's GPUs through TensorRT, which compiles the model for the very GPU."""

from __future__ import annotations

import ctypes
from typing import Any

from edgeml.runtime._availability import Availability, Reason
from edgeml.runtime._backend import Delegate
from edgeml.runtime._delegates._cuda import CUDA


class TensorRT(CUDA):
    """An NVIDIA GPU with a compiled engine; what TensorRT does not take runs on CUDA.

    `workspace` is the memory that compiling may use, in bytes. Fix free dimensions with
    ``dims=``: what is compiled only when a shape is met is not kept for the next load.
    """

    name = "tensorrt"
    provider = "TensorrtExecutionProvider"
    options = {"precision": ("fp32", "fp16"), "workspace": int}  # noqa: RUF012
    packages = ("onnxruntime-gpu", "tensorrt", "tensorrt-cu12", "tensorrt-cu13")
    engines = "folder"

    def available(self, device: str | None = None) -> Availability:
        """Return whether it can be had on a device; see `Backend.available`."""
        found = super().available(device)
        if found and not _is_installed():
            return Availability(
                Reason.NOT_INSTALLED, "TensorRT's library is missing", "pip install tensorrt"
            )
        return found

    def attach(self, options: Any, delegate: Delegate, threads: int) -> list[Any]:
        """Return its provider, and CUDA's for the rest; see `Backend.attach`."""
        device = delegate.device or "0"
        settings = {
            "device_id": device,
            "trt_fp16_enable": str(int(self.precision(delegate) == "fp16")),
        }
        if folder := delegate.options.get("cache"):
            settings |= {
                "trt_engine_cache_enable": "1",
                "trt_engine_cache_path": folder,
                "trt_timing_cache_enable": "1",
                "trt_timing_cache_path": folder,
            }
        if "workspace" in delegate.options:
            settings["trt_max_workspace_size"] = str(delegate.options["workspace"])
        rest = CUDA().attach(options, Delegate("cuda", device), threads)
        return [(self.provider, settings), *rest]


def _is_installed() -> bool:
    for version in ("10", "8"):
        try:
            ctypes.CDLL(f"libnvinfer.so.{version}")
        except OSError:
            continue
        return True
    return False
