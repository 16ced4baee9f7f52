"""Losses that happen inside a driver, before there is a sample that a pipeline could count."""

from __future__ import annotations

import logging

log = logging.getLogger("edgeml.devices")


class Drops:
    """Counts by cause; the first of each cause is logged.

    Example:
        >>> drops = Drops("gps")
        >>> drops.add("bad-sentence")
        >>> drops.counts
        {'bad-sentence': 1}
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: dict[str, int] = {}

    def add(self, cause: str, n: int = 1, *, detail: str = "") -> None:
        """Count `n` losses; safe from any one thread."""
        if cause not in self.counts:
            log.warning(
                "%s: dropped %d (%s)%s; more of these are counted without a log line",
                self.name,
                n,
                cause,
                f": {detail}" if detail else "",
            )
        self.counts[cause] = self.counts.get(cause, 0) + n
