"""Opening steps, all at once; what blocks does so in a thread."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Sequence
from typing import Any

from edgeml.streams._calls import as_open_failure
from edgeml.streams._stage import Stage
from edgeml.streams._workers import Workers

log = logging.getLogger("edgeml.streams")

_PATIENCE = 1.0  # seconds that threads may take to return when nobody waits any more


async def open_all(steps: Sequence[Any], left: list[Any]) -> None:
    """Open stages and sinks.

    Args:
        steps: What to open.
        left: Gets the steps that a thread was still opening when this was cancelled. Nobody
            else may close them: the thread does, when it returns.

    Raises:
        EdgeMLError: one could not be opened; the others are open, or have failed, too.
    """
    threads = Workers(max(len(steps), 1), "edgeml-open")
    openings = [_Opening(step) for step in steps]
    try:
        opened = await asyncio.gather(
            *(opening.run(threads) for opening in openings), return_exceptions=True
        )
    finally:
        try:
            await threads.aclose(_PATIENCE)
        finally:
            left += [opening.step for opening in openings if opening.leave()]
    for error in opened:
        if isinstance(error, BaseException):
            raise error


class _Opening:
    """A step that is opened, on the loop or in a thread."""

    def __init__(self, step: Any) -> None:
        self.step = step
        self._lock = threading.Lock()
        self._in_thread = False
        self._left = False

    async def run(self, threads: Workers) -> None:
        step = self.step
        try:
            if inspect.iscoroutinefunction(step.open):
                await step.open()
            elif getattr(type(step), "open", None) is not Stage.open:
                self._in_thread = True
                result = await threads.submit(self._open)
                if inspect.isawaitable(result):
                    await result
        except Exception as error:
            failure = as_open_failure(step, error)
            if failure is error:
                raise
            raise failure from error

    def leave(self) -> bool:
        """Return whether a thread is opening the step; if so, it closes it when it returns."""
        with self._lock:
            self._left = self._in_thread
            return self._left

    def _open(self) -> Any:
        result = None
        try:
            result = self.step.open()
        finally:
            with self._lock:
                self._in_thread = False
            if self._left:
                self._close(result)
        return result

    def _close(self, opened: Any) -> None:
        if inspect.iscoroutine(opened) or inspect.iscoroutinefunction(self.step.aclose):
            return  # there is no loop here
        try:
            self.step.aclose()
        except Exception as error:
            log.warning("%s: error while closing: %s", self.step.name, error, exc_info=True)
