"""Events as Node's emitter has them: on, once, off."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, overload

log = logging.getLogger("edgeml.streams")

Listener = Callable[[Any], Awaitable[None] | None]

_MAX_WAITING = 1000  # events that may wait for listeners; more are counted and lost


class Emitter:
    """Calls listeners, sync or async, in the order of their registration, on the loop.

    A listener that raises becomes an ``"error"`` event; one for ``"error"`` that raises is
    logged.
    """

    names: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {name: [] for name in self.names}
        self._waiting: deque[tuple[str, Any]] = deque()
        self._dispatcher: asyncio.Task[None] | None = None
        self._end: asyncio.Future[None] | None = None
        self.events_lost = 0

    def on(self, event: str, listener: Listener) -> Listener:
        """Call `listener(payload)` at each `event`; returns the listener."""
        self._check(event).append(listener)
        return listener

    @overload
    def once(self, event: str, listener: Listener) -> Listener: ...
    @overload
    def once(self, event: str) -> asyncio.Future[Any]: ...

    def once(self, event: str, listener: Listener | None = None) -> Any:
        """Call `listener` at the next `event` only; without one, `await` returns its payload.

        Example: ``first = await pipeline.once("result")``.
        """
        self._check(event)
        if listener is not None:
            callback = listener

            def call_once(payload: Any) -> Awaitable[None] | None:
                self.off(event, call_once)
                return callback(payload)

            return self.on(event, call_once)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def resolve(payload: Any) -> None:
            self.off(event, resolve)
            if not future.done():
                future.set_result(payload)

        self.on(event, resolve)
        return future

    def off(self, event: str, listener: Listener) -> None:
        """Remove a listener; nothing happens when it is not there."""
        with suppress(ValueError):
            self._check(event).remove(listener)

    async def events(self, event: str, maxsize: int = 100) -> AsyncIterator[Any]:
        """Iterate over the payloads of an event; at most `maxsize` wait, the oldest are lost."""
        queue: deque[Any] = deque(maxlen=maxsize)
        ready = asyncio.Event()

        def put(payload: Any) -> None:
            if len(queue) == maxsize:
                self.events_lost += 1
            queue.append(payload)
            ready.set()

        self.on(event, put)
        ended = self._ended()
        try:
            while True:
                while queue:
                    yield queue.popleft()
                if ended.done():
                    return
                ready.clear()
                waiting: asyncio.Future[Any] = asyncio.ensure_future(ready.wait())
                await asyncio.wait([waiting, ended], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        finally:
            self.off(event, put)

    def _ended(self) -> asyncio.Future[None]:
        """Return a future that is done when no more events will come."""
        if self._end is None:
            self._end = asyncio.get_running_loop().create_future()
        return self._end

    def _end_events(self) -> None:
        ended = self._ended()
        if not ended.done():
            ended.set_result(None)

    def _check(self, event: str) -> list[Listener]:
        try:
            return self._listeners[event]
        except KeyError:
            raise ValueError(
                f"there is no event {event!r}; expected one of {', '.join(self.names)}"
            ) from None

    def listens(self, event: str) -> bool:
        """Whether anybody listens to an event."""
        return bool(self._listeners[event])

    async def emit(self, event: str, payload: Any) -> None:
        """Call the listeners of an event, one after the other."""
        for listener in tuple(self._listeners[event]):
            try:
                result = listener(payload)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                if event == "error":
                    log.exception("a listener of 'error' raised")
                else:
                    await self._listener_failed(error)

    async def _listener_failed(self, error: Exception) -> None:
        await self.emit("error", error)

    def emit_soon(self, event: str, payload: Any) -> None:
        """Emit from code that cannot wait; too many in waiting are counted and lost."""
        if not self._listeners[event]:
            return
        if len(self._waiting) >= _MAX_WAITING:
            self.events_lost += 1
            return
        self._waiting.append((event, payload))
        if self._dispatcher is None or self._dispatcher.done():
            self._dispatcher = asyncio.get_running_loop().create_task(
                self._dispatch(), name="edgeml events"
            )

    async def _dispatch(self) -> None:
        while self._waiting:
            await self.emit(*self._waiting.popleft())

    async def _flush(self, timeout: float | None = None) -> None:
        """Wait until the listeners have been told of everything; `timeout` seconds at most."""
        if self._dispatcher is None or self._dispatcher.done():
            return
        try:
            await asyncio.wait([self._dispatcher], timeout=timeout)
            if not self._dispatcher.done():
                log.warning("a listener has not returned within %g s and is given up", timeout)
        finally:
            self._dispatcher.cancel()
