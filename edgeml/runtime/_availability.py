"""Whether a delegate can be had, and why not."""

from __future__ import annotations

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
