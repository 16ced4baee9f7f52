"""Whether a delegate can be had, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a delegate can or cannot be had."""

    AVAILABLE = "available"
    UNKNOWN = "unknown"
    NOT_INSTALLED = "not installed"
    NO_DEVICE = "no device"


@dataclass(frozen=True)
class Availability:
    """Whether a delegate can be had.

    Args:
        reason: Why it can or cannot.
        detail: The same in words, of what was found here.
        fix: The command that would help, when there is one.
    """

    reason: Reason
    detail: str = ""
    fix: str = ""

    def __bool__(self) -> bool:
        return self.reason is Reason.AVAILABLE

    def __str__(self) -> str:
        return f"{self.detail} ({self.fix})" if self.fix else self.detail


AVAILABLE = Availability(Reason.AVAILABLE)
