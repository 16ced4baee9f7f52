"""NVIDIA's GPUs through CUDA, which is built into onnxruntime-gpu."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import Any

from edgeml.runtime._availability import AVAILABLE, Availability, Reason
from edgeml.runtime._backend import Backend, Delegate
from edgeml.runtime._plugin import runtime

_DRIVER = Path("/proc/driver/nvidia/version")


class CUDA(Backend):
    """An NVIDIA GPU; the device is its number.

    ``precision="tf32"`` lets it round float32 to 10 bits of mantissa in products, faster;
    `memory_limit` is in bytes.
    """

    name = "cuda"
    provider = "CUDAExecutionProvider"
    devices = {"0": "gpu"}  # noqa: RUF012
    nodes = {"0": ("/dev/nvidia[0-9]*", "/dev/nvhost-gpu")}  # noqa: RUF012
    options = {"precision": ("fp32", "tf32"), "memory_limit": int}  # noqa: RUF012
    packages: tuple[str, ...] = ("onnxruntime-gpu",)

    def available(self, device: str | None = None) -> Availability:
        """Return whether it can be had on a device; see `Backend.available`."""
        if self.provider not in runtime().get_available_providers():
            return Availability(
                Reason.NOT_INSTALLED,
                "the onnxruntime that is installed is built without it",
                "pip uninstall onnxruntime && pip install onnxruntime-gpu",
            )
        if (count := gpus()) <= int(device or 0):
            return Availability(Reason.NO_DEVICE, f"NVIDIA's driver finds {count} GPUs here")
        return AVAILABLE

    def attach(self, options: Any, delegate: Delegate, threads: int) -> list[Any]:
        """Return its provider; see `Backend.attach`."""
        settings = {
            "device_id": delegate.device or "0",
            "use_tf32": str(int(self.precision(delegate) == "tf32")),
        }
        if "memory_limit" in delegate.options:
            settings["gpu_mem_limit"] = str(delegate.options["memory_limit"])
        return [(self.provider, settings)]

    def versions(self) -> dict[str, str]:
        """Return the versions of its packages and of NVIDIA's driver; see `Backend.versions`."""
        found = super().versions()
        with contextlib.suppress(OSError, IndexError):
            found["nvidia driver"] = _DRIVER.read_text(encoding="utf-8").splitlines()[0]
        return found

    def has_device(self, device: str | None) -> bool:
        """Return whether a device may be asked for; see `Backend.has_device`."""
        return device is None or device.isdecimal()


def gpus() -> int:
    """Return how many GPUs NVIDIA's driver finds; 0 without the driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
