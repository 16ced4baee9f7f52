"""Whether a delegate can be had, and why not."""

from __future__ import annotations

import glob
import grp
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a delegate can or cannot be had."""

    AVAILABLE = "available"
    SIMULATED = "simulated"
    UNKNOWN = "unknown"
    NOT_INSTALLED = "not installed"
    WRONG_VERSION = "wrong version"
    BROKEN = "broken"
    NO_DEVICE = "no device"
    NO_PERMISSION = "no permission"
    WRONG_FORMAT = "wrong format"


@dataclass(frozen=True)
class Availability:
    """Whether a delegate can be had; true if it can.

    A simulator can be had by its name, and is never chosen by a kind or by ``"auto"``: its
    results are right, its time says nothing.

    Args:
        reason: Why it can or cannot.
        detail: The same in words, of what was found here.
        fix: The command that would help, when there is one.

    Example:
        >>> from edgeml.runtime import available
        >>> bool(available("cpu")), available("cpu").reason.value
        (True, 'available')
    """

    reason: Reason
    detail: str = ""
    fix: str = ""

    def __bool__(self) -> bool:
        return self.reason in (Reason.AVAILABLE, Reason.SIMULATED)

    def __str__(self) -> str:
        return f"{self.detail} ({self.fix})" if self.fix else self.detail


AVAILABLE = Availability(Reason.AVAILABLE)


def barred(patterns: Iterable[str]) -> Availability | None:
    """Return why device nodes cannot be opened; None when one can, or there is none.

    Args:
        patterns: Of their paths, such as ``"/dev/dri/renderD*"``.
    """
    nodes = sorted(node for pattern in patterns for node in glob.glob(pattern))
    if not nodes or any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        return None
    node = nodes[0]
    status = os.stat(node)
    if status.st_gid == 0 or not status.st_mode & stat.S_IWGRP:
        return Availability(
            Reason.NO_PERMISSION,
            f"no permission for {node}, which only root may open",
            'a udev rule that gives it GROUP="render", MODE="0660"',
        )
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return Availability(
        Reason.NO_PERMISSION,
        f"no permission for {node}, which is for the group {group}",
        f"sudo usermod -aG {group} $USER, then log in again",
    )
