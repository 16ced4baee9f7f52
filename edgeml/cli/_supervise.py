"""Run an app under the signals of a terminal or of systemd."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeml.app import App

log = logging.getLogger("edgeml.cli")

GRACE = 10.0  # seconds that what is on its way may take to arrive after the sources were stopped
_SOON = 3.0  # seconds until somebody who waits for the end is told why


async def supervise(
    app: App,
    *,
    seconds: float | None,
    grace: float = GRACE,
    on_stop: Callable[[], None] = lambda: None,
) -> int | None:
    """Run an app to its end, for some seconds, or until a signal; return that signal.

    The first Ctrl-C or SIGTERM stops the sources and lets what is on its way arrive; a
    second one cancels at once; a third one finds Python's own handlers.

    Args:
        app: What to run.
        seconds: How long, from when all models are loaded; None is until its sources end.
        grace: Longest time to drain, seconds; then it is cancelled.
        on_stop: Called once when the end begins, before what is on its way arrives.

    Raises:
        EdgeMLError: the app failed.
    """
    loop = asyncio.get_running_loop()
    opened = asyncio.Event()
    (app.pipeline or app.build()).on("state", lambda _: opened.set())
    running = asyncio.create_task(app.run(), name="app")
    stop = asyncio.Event()
    signals: list[int] = []

    def on_signal(number: int) -> None:
        signals.append(number)
        stop.set()
        if len(signals) > 1:
            running.cancel()
            _restore(loop)
        else:
            log.info("stopping when what is on its way has arrived; Ctrl-C again stops at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    ends: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
    if seconds is not None:
        ends.append(asyncio.create_task(_after(opened, seconds)))
    try:
        await asyncio.wait([running, *ends], return_when=asyncio.FIRST_COMPLETED)
        on_stop()
        if not running.done():
            await _drain(app, running, grace)
        if not running.cancelled():
            running.result()
    finally:
        for end in ends:
            end.cancel()
        running.cancel()
        await asyncio.wait([running])
        _restore(loop)
    return signals[0] if signals else None


async def _after(opened: asyncio.Event, seconds: float) -> None:
    """Return some seconds after the sources have begun to open: all else is open then."""
    await opened.wait()
    await asyncio.sleep(seconds)


async def _drain(app: App, running: asyncio.Task[None], grace: float) -> None:
    app.stop()
    await asyncio.wait([running], timeout=min(_SOON, grace))
    if not running.done():
        log.warning(
            "waiting, %g s at most, for what is on its way; Ctrl-C again stops at once", grace
        )
        await asyncio.wait([running], timeout=max(0.0, grace - _SOON))
    if not running.done():
        log.warning("what was on its way did not arrive within %g s and is given up", grace)
        running.cancel()
        await asyncio.wait([running])


def _restore(loop: asyncio.AbstractEventLoop) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
