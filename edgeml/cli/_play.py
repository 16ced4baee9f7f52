"""Run an app and show what it finds: JSON lines, plain lines, or the live view."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from edgeml.cli._lines import line_of
from edgeml.cli._notify import reporter_of
from edgeml.cli._output import print_json
from edgeml.cli._summary import print_summary, summary_of
from edgeml.cli._supervise import supervise
from edgeml.streams._ending import end

if TYPE_CHECKING:
    from edgeml.app import App
    from edgeml.cli._view import View
    from edgeml.events import Event


def play(player: Player, seconds: float | None) -> int | None:
    """Run an app until its sources end, `seconds` have passed or a signal comes.

    Returns:
        The signal that ended it, or None.

    Raises:
        EdgeMLError: the app failed; the summary has been printed all the same.
        BrokenPipeError: the reader of our output has gone.
    """
    try:
        return asyncio.run(player.run(seconds))
    finally:
        player.print_summary()


class Player:
    """Runs an app and prints what it finds.

    Args:
        app: What to run.
        as_json: Print one event a line and one summary line, and nothing else.

    Attributes:
        beside: What runs at the same time, as long as the app does.
    """

    def __init__(self, app: App, *, as_json: bool) -> None:
        self.app = app
        self.as_json = as_json
        self.beside: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._view: View | None = None
        self._reader_gone = False
        if not as_json and sys.stdout.isatty():
            from edgeml.cli._view import View

            self._view = View(app.name)
            self.beside.append(self._draw)
        app.listen(self._show)

    def _show(self, event: Event) -> None:
        """Show an event; called in a worker thread, so that a slow reader never holds the loop."""
        try:
            if self.as_json:
                print_json(event.to_dict())
            elif self._view is not None:
                self._view.events.append(line_of(event))
            else:
                print(line_of(event), flush=True)
        except BrokenPipeError:
            self._reader_gone = True
            self.app.stop()

    async def run(self, seconds: float | None) -> int | None:
        """Run the app; return the signal that ended it, if one did."""
        shown: AbstractContextManager[Any] = self._view or nullcontext()
        reporter = reporter_of(self.app)
        with shown:
            others = [asyncio.create_task(o(), name=o.__qualname__) for o in self.beside]
            on_stop = (lambda: None) if reporter is None else reporter.stopping
            if reporter is not None:
                others.append(asyncio.create_task(reporter.report(), name="watchdog"))
            try:
                ended_by = await supervise(self.app, seconds=seconds, on_stop=on_stop)
            finally:
                for other in others:
                    await end(other)
                await asyncio.gather(*others, return_exceptions=True)
        if self._reader_gone:
            raise BrokenPipeError
        return ended_by

    async def _draw(self) -> None:
        from edgeml.cli._view import REDRAW

        assert self._view is not None
        while True:
            stats = self.app.stats()
            if stats is not None:
                self._view.draw(stats, self.app.sink)
            await asyncio.sleep(REDRAW)

    def print_summary(self) -> None:
        """Print the figures of the whole run."""
        stats = self.app.stats()
        if self.as_json:
            print_json(summary_of(stats))
        elif stats is not None:
            print_summary(stats, self.app.explain())
