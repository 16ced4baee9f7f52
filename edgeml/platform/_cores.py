"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cores(root: Path = Path("/")) -> int:
    """Return the cores this process may use: its CPU affinity, capped by its cgroup's quota.

    It is also the budget of threads for native work: more only take turns.

    Args:
        root: Where /sys and /proc are; tests replace it.

    Example:
        >>> import edgeml
        >>> edgeml.platform.cores() >= 1
        True
    """
    allowed = len(os.sched_getaffinity(0))
    quota = min(_quotas(root), default=math.inf)
    return allowed if quota >= allowed else max(1, math.ceil(quota))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPU quotas, in cores, of the process's cgroup and all above it."""
    mount = root / "sys/fs/cgroup"
    for folder in _groups(root, mount, ""):
        yield from _quota(folder / "cpu.max")
    for folder in _groups(root, mount / "cpu", "cpu"):
        yield from _quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")


def _groups(root: Path, mount: Path, controller: str) -> Iterator[Path]:
    """Yield the folder of the process's cgroup and those above it.

    In a container the path may be that of the host, which is not mounted: its folders are
    simply not there, and the mount itself is the container's group.
    """
    own = PurePosixPath("/")
    try:
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controller in controllers.split(","):
                own = PurePosixPath(group)
    except (OSError, ValueError):
        pass
    for path in (own, *own.parents):
        yield mount / str(path).lstrip("/")


def _quota(*files: Path) -> Iterator[float]:
    """Yield quota / period, from one file that holds both or from two; nothing without limit."""
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
        if int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return  # no such group, or "max"
