"""WebGPU: any GPU with a Vulkan driver, whoever makes it."""

from __future__ import annotations

from typing import Any

from edgeml.runtime._backend import Delegate
from edgeml.runtime._plugin import Plugin


class WebGPU(Plugin):
    """A GPU of any maker through WebGPU; needs the system's Vulkan loader and driver."""

    name = "webgpu"
    provider = "WebGpuExecutionProvider"
    devices = {"gpu": "gpu"}  # noqa: RUF012
    nodes = {"gpu": ("/dev/dri/renderD*",)}  # noqa: RUF012
    packages = ("onnxruntime-ep-webgpu",)
    module = "onnxruntime_ep_webgpu"
    oldest = "1.24.4"

    def is_on(self, entry: Any, device: str | None) -> bool:
        """Return whether it is a real GPU: a virtual device compiles models and runs none."""
        return str(entry.device.type) == "OrtHardwareDeviceType.GPU"

    def attach(self, options: Any, delegate: Delegate, threads: int) -> list[Any]:
        """Add it to a session's options; see `Backend.attach`."""
        return self.add(options, delegate, {})
