"""Which cameras there are."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import struct
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

_VIDIOC_QUERYCAP = 0x80685600
_QUERYCAP = struct.Struct("=16s32s32sIII12x")
_DEVICE_CAPS = 0x80000000
_CAPTURE = 0x00000001 | 0x00001000  # single- and multi-planar
_M2M = 0x00008000 | 0x00004000  # codecs and scalers, which capture nothing
_CSI_LINE = re.compile(r"^\s*(\d+)\s*:\s*(\S+)\s*(\[[^\]]*\])?")


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that was found.

    Attributes:
        device: What `Camera` takes.
        name: What the driver calls it.
        usable: Whether this user can read pictures from it.
        note: What is in the way, or more about it.
    """

    device: str
    name: str
    usable: bool = True
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the fields as they go into JSON."""
        return asdict(self)


def list_cameras(root: str | os.PathLike[str] = "/", *, timeout: float = 5.0) -> list[CameraInfo]:
    """Return the cameras of this machine: V4L2 nodes, then ribbon-cable cameras.

    It blocks: up to `timeout` seconds while rpicam-hello looks for cameras.

    Args:
        root: Where ``sys`` and ``dev`` are; another one for tests.
        timeout: Longest time for rpicam-hello, seconds.

    Example:
        >>> from edgeml.devices import list_cameras
        >>> cameras = list_cameras()
    """
    return [*_v4l2(Path(root)), *_csi(timeout)]


def _v4l2(root: Path) -> list[CameraInfo]:
    found = []
    nodes = (root / "sys/class/video4linux").glob("video*")
    for node in sorted(nodes, key=lambda p: int(re.sub(r"\D", "", p.name) or 0)):
        name = _text(node / "name") or node.name
        device = root / "dev" / node.name
        if not device.exists():
            note = f"no {device}: pass the device into the container, or start udev"
            found.append(CameraInfo(f"/dev/{node.name}", name, usable=False, note=note))
            continue
        try:
            captures = _captures(device)
        except PermissionError:
            note = "no permission: sudo usermod -aG video $USER, then log in again"
            found.append(CameraInfo(f"/dev/{node.name}", name, usable=False, note=note))
            continue
        except OSError as error:
            note = f"cannot be opened: {error.strerror}"
            found.append(CameraInfo(f"/dev/{node.name}", name, usable=False, note=note))
            continue
        # A USB camera has more nodes, for metadata; only the first gives pictures.
        if captures is None:
            captures = _text(node / "index") in ("", "0")
        if captures:
            found.append(CameraInfo(f"/dev/{node.name}", name))
    return found


def _captures(device: Path) -> bool | None:
    """Whether a node captures pictures; None when it cannot be asked."""
    fd = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        if not stat.S_ISCHR(os.fstat(fd).st_mode):
            return None
        answer = fcntl.ioctl(fd, _VIDIOC_QUERYCAP, bytes(_QUERYCAP.size))
    except OSError:
        return None
    finally:
        os.close(fd)
    return can_capture(answer)


def can_capture(answer: bytes) -> bool:
    """Whether VIDIOC_QUERYCAP's answer is that of a camera."""
    *_, capabilities, device_caps = _QUERYCAP.unpack(answer)
    own = device_caps if capabilities & _DEVICE_CAPS else capabilities
    return bool(own & _CAPTURE) and not own & _M2M


def _csi(timeout: float) -> list[CameraInfo]:
    program = shutil.which("rpicam-hello") or shutil.which("libcamera-hello")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, "--list-cameras"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [CameraInfo("csi:0", "unknown", usable=False, note=f"{program}: {error}")]
    matches = (_CSI_LINE.match(line) for line in done.stdout.splitlines())
    return [CameraInfo(f"csi:{m[1]}", m[2], note=(m[3] or "").strip("[]")) for m in matches if m]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
