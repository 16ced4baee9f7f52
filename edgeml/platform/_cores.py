"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def cores(root: Path = Path("/")) -> int:
    """Return the cores this process may use: its CPU affinity, capped by its cgroup's quota.

    Args:
        root: Where /sys and /proc are; tests replace it.

    Example:
        >>> import edgeml
        >>> edgeml.platform.cores() >= 1
        True
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(root: Path) -> float | None:
    """Return the cgroup's CPU quota in cores, version 2 or 1; None when there is none."""
    cgroup = root / "sys/fs/cgroup"
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        used = int((cgroup / "cpu/cpu.cfs_quota_us").read_text())
        return None if used <= 0 else used / int((cgroup / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None
