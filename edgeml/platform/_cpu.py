"""Which processor this is."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


def machine() -> str:
    """Return the name of the instruction set, such as ``"aarch64"``.

    Example:
        >>> from edgeml.platform import machine
        >>> machine() != ""
        True
    """
    return platform.machine()


@cache
def cpu_flags() -> frozenset[str]:
    """Return the extensions that the processor has, such as ``avx512_vnni`` or ``asimddp``.

    Example:
        >>> from edgeml.platform import cpu_flags
        >>> "toaster" in cpu_flags()
        False
    """
    return frozenset(_field("flags", "Features").split())


@cache
def cpu_name() -> str:
    """Return what the processor calls itself, or the instruction set.

    Example:
        >>> from edgeml.platform import cpu_name
        >>> len(cpu_name()) > 0
        True
    """
    return _field("model name", "Model") or machine()


def _field(*names: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return ""
