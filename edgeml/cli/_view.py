"""The live view of a run in a terminal."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeml._require import require
from edgeml.cli._output import LogFormatter
from edgeml.cli._summary import causes

if TYPE_CHECKING:
    from edgeml.events import MqttSink
    from edgeml.streams import SourceStats, Stats

REDRAW = 0.25  # seconds
_RATE_OVER = 2.0  # seconds that a rate on the screen is the mean of
_EVENTS = 10

_STATE_COLOURS = {
    "flowing": "green", "connected": "green", "connecting": "yellow", "reconnecting": "yellow",
    "failed": "red", "refused": "red",
}  # fmt: skip


class Rates:
    """Items a second over the last moments, from totals that are noted now and then."""

    def __init__(self) -> None:
        self._noted: dict[str, deque[tuple[float, int]]] = {}

    def note(self, name: str, now: float, total: int) -> float:
        """Note a total at a time, seconds; return the rate since the oldest kept note."""
        notes = self._noted.setdefault(name, deque())
        notes.append((now, total))
        while len(notes) > 2 and notes[1][0] <= now - _RATE_OVER:
            notes.popleft()
        (then, before), (_, latest) = notes[0], notes[-1]
        return (latest - before) / (now - then) if now > then else 0.0


class View:
    """Draws figures and the last events; the log's lines go above it.

    Args:
        title: What runs.
    """

    def __init__(self, title: str) -> None:
        names = ("live", "console", "panel", "table", "text")  # all now, and not on the loop
        rich_live, rich_console, *_ = (
            require(f"rich.{name}", extra="app", purpose="the live view") for name in names
        )
        self.title = title
        self.events: deque[str] = deque(maxlen=_EVENTS)
        self._rates = Rates()
        self._console = rich_console.Console()
        self._live = rich_live.Live(console=self._console, auto_refresh=False, transient=True)
        self._log = _LogAbove(self._console)
        self._quiet: list[logging.Handler] = []

    def __enter__(self) -> View:
        root = logging.getLogger()
        # A line written past the view would tear it.
        self._quiet, root.handlers = root.handlers, [self._log]
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()
        logging.getLogger().handlers = self._quiet

    def draw(self, stats: Stats, sink: MqttSink | None = None) -> None:
        """Redraw from the figures of this moment."""
        self._live.update(self.render(stats, sink), refresh=True)

    def render(self, stats: Stats, sink: MqttSink | None = None) -> Any:
        """Return what is drawn: sources, steps, broker, events."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        header = Text(f"{self.title}   {stats.elapsed:.0f} s", style="bold")
        if sink is not None:
            header.append(f"   {sink.broker.address} ", style="not bold")
            header.append(sink.state, style=f"not bold {_STATE_COLOURS.get(sink.state, '')}")
            lost = f", {causes(sink.dropped)}" if sink.dropped else ""
            counts = f", {sink.published} published, {sink.queued} queued{lost}"
            header.append(counts, style="not bold")
        lines = Text(
            "\n".join(tuple(self.events)) or "nothing yet", no_wrap=True, overflow="ellipsis"
        )
        return Group(
            header,
            self._sources(stats.sources),
            _steps(stats),
            Panel(lines, title="events", title_align="left", border_style="dim"),
            Text("Ctrl-C stops", style="dim"),
        )

    def _sources(self, sources: Mapping[str, SourceStats]) -> Any:
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        table = Table(box=None, header_style="dim", pad_edge=False)
        table.add_column("source", min_width=12)
        table.add_column("state", min_width=12)
        for name in ("fps", "in", "p50 ms", "p95 ms", "p99 ms"):
            table.add_column(name, justify="right", min_width=6)
        table.add_column("dropped")
        for name, s in sources.items():
            latency = (s.latency.p50, s.latency.p95, s.latency.p99)
            table.add_row(
                name,
                Text(s.state, style=_STATE_COLOURS.get(s.state, "")),
                f"{self._rates.note(name, now, s.in_):.1f}",
                str(s.in_),
                *(f"{ms:.1f}" for ms in latency),
                Text(causes(s.dropped), style="yellow"),
            )
        return table


def _steps(stats: Stats) -> Any:
    from rich.table import Table
    from rich.text import Text

    queued: dict[str, str] = {}
    for (_, target), edge in stats.edges.items():
        queued[target] = f"{edge.queued}/{edge.capacity}"
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("step", min_width=12)
    for name in ("ms", "busy", "queue", "in work", "done"):
        table.add_column(name, justify="right", min_width=6)
    table.add_column("lost")
    for name, s in stats.stages.items():
        lost = {**s.dropped, **({"failed": s.failed} if s.failed else {})}
        table.add_row(
            name,
            f"{s.mean_ms:.1f}",
            Text(f"{min(s.busy, 1.0):.0%}", style="yellow" if s.busy > 0.9 else ""),
            queued.get(name, ""),
            str(s.in_flight),
            str(s.done),
            Text(causes(lost), style="yellow"),
        )
    return table


class _LogAbove(logging.Handler):
    """Prints log records above the view."""

    def __init__(self, console: Any) -> None:
        super().__init__()
        self._console = console
        self.setFormatter(LogFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        self._console.print(self.format(record), style="yellow", markup=False, highlight=False)
