"""What a board can calculate on beside its CPU, by the kernel's device nodes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeml.devices._board_files import paths, text

_INTEL, _AMD, _NVIDIA = "0x8086", "0x1002", "0x10de"

# Pattern of the node: kind, name, delegates that use it (none yet: ""), group that may.
_NODES = (
    ("dev/nvidia[0-9]", "gpu", "NVIDIA GPU", "tensorrt,cuda", "video"),
    ("dev/nvhost-gpu", "gpu", "NVIDIA GPU of a Jetson", "tensorrt,cuda", "video"),
    ("dev/hailo[0-9]", "npu", "Hailo", "", "hailo"),
    ("dev/apex_[0-9]", "npu", "Coral Edge TPU", "", "apex"),
    ("dev/galcore", "npu", "NPU of an i.MX8", "", "video"),
    ("dev/fastrpc-cdsp*", "npu", "Qualcomm Hexagon", "qnn", "fastrpc"),
)
_GPUS = {
    _INTEL: ("Intel GPU", "openvino:gpu,webgpu"),
    _AMD: ("AMD GPU", "webgpu"),
    _NVIDIA: ("NVIDIA GPU", "tensorrt,cuda"),
}


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Something that calculates beside the CPU.

    Attributes:
        kind: ``"gpu"`` or ``"npu"``.
        name: For people.
        node: The kernel's device node, or driver.
        delegate: What to pass as ``delegate=``; None when no delegate uses it yet.
        problem: Why it cannot be used now; None when nothing is known to be in the way.
    """

    kind: str
    name: str
    node: str
    delegate: str | None
    problem: str | None = None


def accelerators(root: Path) -> Iterator[Accelerator]:
    """Yield the accelerators, each once."""
    nvidia = False
    for pattern, kind, name, delegate, group in _NODES:
        for node in paths(root, pattern):
            nvidia = nvidia or "NVIDIA" in name
            yield _made(root, kind, name, node, delegate, group)
    for folder in paths(root, "sys/class/drm/renderD*"):
        vendor = text(folder / "device/vendor")
        name, delegate = _GPUS.get(vendor, (_driver(folder), ""))
        if not (vendor == _NVIDIA and nvidia):
            node = root / "dev/dri" / folder.name
            yield _made(root, "gpu", name, node, delegate, "render")
    for folder in paths(root, "sys/class/accel/accel*"):
        is_intel = text(folder / "device/vendor") == _INTEL
        name = "Intel NPU" if is_intel else f"NPU with driver {_driver(folder)}"
        node = root / "dev/accel" / folder.name
        yield _made(root, "npu", name, node, "openvino:npu" if is_intel else "", "render")
    for folder in paths(root, "sys/bus/platform/drivers/RKNPU/*.npu"):
        yield Accelerator("npu", "NPU of a Rockchip", _shown(root, folder), None)


def _made(root: Path, kind: str, name: str, node: Path, delegate: str, group: str) -> Accelerator:
    problem = None
    if not os.path.exists(node):
        problem = f"{_shown(root, node)} is missing: its driver is not loaded"
    elif not os.access(node, os.R_OK | os.W_OK):
        problem = (
            f"no permission for {_shown(root, node)}: sudo usermod -aG {group} $USER, then log "
            "in again"
        )
    return Accelerator(kind, name, _shown(root, node), delegate or None, problem)


def _driver(folder: Path) -> str:
    """Return the name of a device's driver, which for a GPU on a board is what says most."""
    for line in text(folder / "device/uevent").splitlines():
        key, _, value = line.partition("=")
        if key == "DRIVER":
            return f"{value} GPU" if folder.name.startswith("render") else value
    return "unknown"


def _shown(root: Path, path: Path) -> str:
    return f"/{path.relative_to(root)}"
