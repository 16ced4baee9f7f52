"""What ``edgeml doctor`` looks at."""

from __future__ import annotations

import ctypes.util
import glob
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from edgeml._require import require
from edgeml._version import __version__
from edgeml.cli._output import human_bytes
from edgeml.errors import MissingExtra
from edgeml.platform import cache_dir, cores

DISTRIBUTION = "edgeml-runtime"

# What each extra brings, by import name.
EXTRAS = {
    "cpu": ("onnxruntime",),
    "litert": ("ai_edge_litert",),
    "camera": ("cv2", "av"),
    "audio": ("sounddevice", "soundfile", "soxr", "pymicro_features"),
    "sensors": ("serial", "pynmea2", "gpiod"),
    "mqtt": ("aiomqtt",),
    "broker": ("amqtt",),
    "app": ("pydantic", "rich"),
    "train": ("onnx", "onnxruntime"),
}
# Stand-ins that are as good where they are installed.
_ALTERNATIVES = {"ai_edge_litert": "tflite_runtime"}

# Device nodes that are commonly closed to a new user, and the group that opens them.
_GROUPS = {
    "/dev/video*": "video",
    "/dev/snd/pcm*": "audio",
    "/dev/ttyUSB*": "dialout",
    "/dev/ttyACM*": "dialout",
    "/dev/gpiochip*": "gpio",
    "/dev/i2c-*": "i2c",
}

# Programs that read a board's own camera: board, program, Debian package.
_CAMERA_PROGRAMS = (
    ("Raspberry Pi", "rpicam-vid", "rpicam-apps"),
    ("Jetson", "gst-launch-1.0", "gstreamer1.0-tools"),
)

Status = Literal["ok", "info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: What was looked at.
        status: ``"error"`` when something cannot work, ``"warning"`` when it may not.
        found: What was found.
        fix: The command or the step that mends it.
    """

    name: str
    status: Status
    found: str
    fix: str | None = None


def check_machine() -> list[Finding]:
    """Look at Python, hardware, libraries, system packages, permissions and folders."""
    return [
        *_python(),
        *_hardware(),
        *_runtimes(),
        *_extras(),
        *_two_owners(metadata.packages_distributions()),
        *_system_packages(_model()),
        *_permissions(_GROUPS),
        *_cache(),
    ]


def _python() -> Iterator[Finding]:
    where = sys.prefix if sys.prefix != sys.base_prefix else f"{sys.prefix}, no virtual environment"
    yield Finding("edgeml", "info", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding("python", "ok", f"{platform.python_version()} in {where}")


def _hardware() -> Iterator[Finding]:
    model = _model() or platform.machine()
    yield Finding("machine", "info", f"{model}, {cores()} cores, {platform.system()} "
                  f"{platform.release()}")  # fmt: skip
    total, available = _memory()
    if total:
        found = f"{human_bytes(available)} available of {human_bytes(total)}"
        low = available < 200 << 20
        fix = "close other programs; most models need 100 to 300 MiB" if low else None
        yield Finding("memory", "warning" if low else "ok", found, fix)


def _memory() -> tuple[int, int]:
    """Return total and available bytes; zeros where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0, 0
    values = {
        key: int(rest.split()[0]) * 1024 for key, _, rest in (x.partition(":") for x in lines)
    }
    return values.get("MemTotal", 0), values.get("MemAvailable", 0)


def _runtimes() -> Iterator[Finding]:
    try:
        onnxruntime = require("onnxruntime", extra="cpu", purpose="edgeml")
    except MissingExtra:
        return  # the extras tell
    providers = ", ".join(
        name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()
    )
    yield Finding("onnxruntime", "ok", f"{onnxruntime.__version__}, providers: {providers}")


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if not _is_installed(name)]
        name = f"extra {extra}"
        if missing:
            fix = f'pip install "{DISTRIBUTION}[{extra}]"'
            # One runtime is needed, whichever; the others are a matter of use.
            status: Status = "error" if extra == "cpu" else "info"
            yield Finding(name, status, f"not installed: {', '.join(missing)}", fix)
        else:
            yield Finding(name, "ok", ", ".join(modules))


def _is_installed(module: str) -> bool:
    names = (module, _ALTERNATIVES.get(module, module))
    return any(importlib.util.find_spec(name) is not None for name in names)


def _two_owners(owners: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Find import folders into which two distributions have written, the last one winning."""
    for module in ("onnxruntime", "cv2", "edgeml"):
        found = sorted(set(owners.get(module, [])))
        if module == "edgeml":
            others = [name for name in found if name != DISTRIBUTION]
            if others:
                yield Finding(
                    "import edgeml", "error", f"{', '.join(others)} installs a folder edgeml, too",
                    f"pip uninstall {' '.join(others)} && pip install --force-reinstall --no-deps "
                    f"{DISTRIBUTION}",
                )  # fmt: skip
        elif len(found) > 1:
            keep = _preferred(found)
            yield Finding(
                f"import {module}", "error", f"installed by {' and by '.join(found)}",
                f"pip uninstall {' '.join(found)} && pip install {keep}",
            )  # fmt: skip


def _preferred(found: list[str]) -> str:
    """Return the one to keep: a GPU build was installed on purpose; a device has no display."""
    return next((n for n in found if "gpu" in n), None) or next(
        (n for n in found if n.endswith("-headless")), found[0]
    )


def _system_packages(model: str) -> Iterator[Finding]:
    if _is_installed("sounddevice") and ctypes.util.find_library("portaudio") is None:
        yield Finding(
            "PortAudio", "warning", "the library is missing; Microphone and Speaker need it",
            "sudo apt install libportaudio2",
        )  # fmt: skip
    for board, program, package in _CAMERA_PROGRAMS:
        if board in model and shutil.which(program) is None:
            yield Finding(
                program, "warning", 'it is missing; Camera("csi:0") needs it',
                f"sudo apt install {package}",
            )  # fmt: skip


def _permissions(groups: dict[str, str]) -> Iterator[Finding]:
    closed: dict[str, list[str]] = {}
    for pattern, group in groups.items():
        for path in sorted(glob.glob(pattern)):
            if not os.access(path, os.R_OK | os.W_OK):
                closed.setdefault(group, []).append(path)
    for group, paths in closed.items():
        fix = f"sudo usermod -aG {group} $USER, then log in again"
        yield Finding(f"group {group}", "warning", f"no permission for {_some(paths)}", fix)


def _some(paths: list[str]) -> str:
    shown = ", ".join(paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown


def _cache() -> Iterator[Finding]:
    folder = cache_dir()
    there = next(p for p in (folder, *folder.parents) if os.path.exists(p))
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield Finding(
            "cache", "warning", f"{folder} cannot be written: {error.strerror}",
            "set EDGEML_CACHE_DIR to a folder that can be written",
        )  # fmt: skip
    else:
        yield Finding("cache", "ok", str(folder))


def _model() -> str:
    """Return the name of the board; empty on a computer without one."""
    try:
        text = Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.strip("\x00\n ")
