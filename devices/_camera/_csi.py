"""The commands that read ribbon-cable cameras."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from edgeml.devices._camera._pixels import Layout
from edgeml.errors import DeviceNotFound

DEFAULT_SIZE = (1280, 720)
DEFAULT_FPS = 30.0
# The Raspberry Pi's image processors pad each row of luma to this many bytes.
PI_ALIGN = 64


def rpicam(
    program: str, number: int, size: tuple[int, int], fps: float
) -> tuple[list[str], Layout]:
    """Return the command for a Raspberry Pi's camera, and what it writes."""
    width, height = size
    argv = [program, "--camera", str(number), "--codec", "yuv420"]
    argv += ["--width", str(width), "--height", str(height), "--framerate", f"{fps:g}"]
    argv += ["--timeout", "0", "--nopreview", "--flush", "--output", "-"]
    return argv, Layout(size, "yuv420p", -(-width // PI_ALIGN) * PI_ALIGN)


def argus(number: int, size: tuple[int, int], fps: float) -> tuple[list[str], Layout]:
    """Return the command for a Jetson's camera, and what it writes."""
    width, height = size
    rate = f"{round(fps * 1000)}/1000" if fps % 1 else f"{round(fps)}/1"
    argv = ["gst-launch-1.0", "-q", "nvarguscamerasrc", f"sensor-id={number}", "!"]
    argv += [f"video/x-raw(memory:NVMM),width={width},height={height},framerate={rate}", "!"]
    argv += ["nvvidconv", "!", "video/x-raw,format=BGRx", "!", "fdsink", "fd=1", "sync=false"]
    return argv, Layout(size, "bgra")


def command(
    number: int,
    size: tuple[int, int] | None,
    fps: float | None,
    *,
    which: Callable[[str], str | None] = shutil.which,
    tegra: Path = Path("/etc/nv_tegra_release"),
) -> tuple[list[str], Layout]:
    """Return the command for this board's camera `number`, and what it writes.

    Raises:
        DeviceNotFound: none of the programs is installed.
    """
    size, fps = size or DEFAULT_SIZE, fps or DEFAULT_FPS
    for program in ("rpicam-vid", "libcamera-vid"):
        if which(program):
            return rpicam(program, number, size, fps)
    if tegra.exists() and which("gst-launch-1.0"):
        return argus(number, size, fps)
    raise DeviceNotFound(
        f"csi:{number} needs rpicam-vid (Raspberry Pi: sudo apt install rpicam-apps-lite) or, on a "
        "Jetson, gst-launch-1.0 with nvarguscamerasrc (comes with JetPack); found neither",
        device=f"csi:{number}",
    )
