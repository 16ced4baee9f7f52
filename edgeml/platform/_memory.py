"""How much memory this process holds."""

from __future__ import annotations

import os


def resident() -> int:
    """Return the resident memory of this process, bytes; 0 where the system does not tell.

    Example:
        >>> from edgeml.platform import resident
        >>> resident() >= 0
        True
    """
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
