"""Whether frames flow: what a watchdog has to know about a running app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeml.streams import Source, StageStats, Stats


class Flow:
    """Compares the figures of a run with those at the last mark.

    Frames flow when a source delivers, and no step holds items without finishing one. A source
    that is reconnecting, or a broker that is away, is no fault while another source flows: what
    can be mended from inside is, and starting again would stop the others.

    Args:
        sources: The app's.
    """

    def __init__(self, sources: Sequence[Source[Any]]) -> None:
        self._sources = {source.name: source for source in sources}
        self._now: Stats | None = None
        self._then: Stats | None = None

    def look(self, stats: Stats) -> None:
        """Take the figures of this moment."""
        self._now = stats

    def mark(self) -> None:
        """Compare with this moment from now on."""
        self._then = self._now

    def is_open(self) -> bool:
        """Whether each source has been opened, or is being tried again beside one that flows."""
        tried = [self._is_tried(s) for s in self._sources.values()]
        flowing = [self._is_connected(s) for s in self._sources.values()]
        return all(tried) and any(flowing)

    def flows(self) -> bool:
        """Whether frames flow and results leave, since the mark."""
        return self.stuck() is None and any(self._delivers(s) for s in self._sources.values())

    def stuck(self) -> str | None:
        """Return the name of a step that had work at the mark and finished none since."""
        if self._now is None or self._then is None:
            return None
        had, has = _work(self._then), _work(self._now)
        for name, then in self._then.stages.items():
            now = self._now.stages.get(name)
            if now is not None and had[name] and has[name] and _finished(now) == _finished(then):
                return name
        return None

    def status(self) -> str:
        """Return how the app is doing, in one line."""
        if self._now is None:
            return "opening"
        if (step := self.stuck()) is not None:
            return f"{step} is stuck: it holds an item and finishes none"
        parts = []
        for name, source in self._now.sources.items():
            rate = f" {source.fps:.1f}/s" if source.state == "flowing" else ""
            parts.append(f"{name} {source.state}{rate}")
        dropped = sum(sum(source.dropped.values()) for source in self._now.sources.values())
        out = sum(source.out for source in self._now.sources.values())
        return f"{', '.join(parts)}; {out} results, {dropped} dropped"

    def _is_tried(self, source: Source[Any]) -> bool:
        return self._is_connected(source) or source.state not in ("idle", "connecting")

    def _is_connected(self, source: Source[Any]) -> bool:
        # Before its first item a source is "connecting", and messages may take hours to come.
        return source.state == "flowing" or (
            source.state == "connecting" and _may_be_silent(source)
        )

    def _delivers(self, source: Source[Any]) -> bool:
        if not self._is_connected(source):
            return False
        if _may_be_silent(source) or source.read_timeout is not None:
            return True  # after its own time-out a silent source is reconnecting
        return self._then is None or self._now is None or self._arrived(source.name)

    def _arrived(self, name: str) -> bool:
        assert self._now is not None
        assert self._then is not None
        before, after = self._then.sources.get(name), self._now.sources.get(name)
        return before is None or after is None or after.in_ > before.in_


def _work(stats: Stats) -> dict[str, int]:
    """Return how many items each step holds, or has waiting before it."""
    found = {name: stage.in_flight for name, stage in stats.stages.items()}
    for (_, target), edge in stats.edges.items():
        if target in found:
            found[target] += edge.queued
    return found


def _finished(stage: StageStats) -> int:
    return stage.done + stage.skipped + stage.failed


def _may_be_silent(source: Source[Any]) -> bool:
    return source.live and source.read_timeout is None
