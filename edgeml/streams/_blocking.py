"""Sources whose driver blocks: they live in a thread of their own that may be abandoned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from edgeml.errors import DeviceTimeout
from edgeml.streams._source import Source
from edgeml.streams._workers import Workers

T = TypeVar("T")
R = TypeVar("R")


class BlockingSource(Source[T]):
    """A source whose driver blocks.

    A subclass overrides `_open_blocking`, `_read_blocking` and `_close_blocking`. They run
    in one daemon thread of the source's own, which the loop never waits for beyond
    `open_timeout` and `read_timeout`. A thread that hangs in the driver is abandoned: it
    ends, and closes what it opened, when the driver returns. While it hangs no other
    thread is started for the same source, so a dead driver costs one thread, not one an
    attempt.

    `_read_blocking` returns a sample (see `Source._sample`), and raises `EOFError` at the
    end of a file.
    """

    _workers: Workers | None = None
    _hung: asyncio.Future[Any] | None = None

    def _open_blocking(self) -> Any:
        """Open the device and return its handle."""

    def _read_blocking(self, handle: Any) -> T:
        """Return the next item; raise EOFError at the end."""
        raise EOFError

    def _close_blocking(self, handle: Any) -> None:
        """Close the handle."""

    async def _open(self) -> None:
        if self._hung is not None and not self._hung.done():
            raise DeviceTimeout(
                f"{self.name}: the driver still hangs in an earlier call", device=self.name
            )
        self._hung = None
        self._workers = Workers(1, f"edgeml-{self.name}")
        self._handle = await self._call(self._open_blocking)

    async def _read(self) -> T:
        try:
            return await self._call(self._read_blocking, self._handle)
        except EOFError:
            raise StopAsyncIteration from None

    async def _close(self) -> None:
        workers, self._workers = self._workers, None
        if workers is None:
            return
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is not None and self._hung is None:
            self._workers = workers
            await self._call(self._close_blocking, handle)
            self._workers = None
        elif handle is not None:
            workers.submit_detached(self._close_blocking, handle)
        workers.close()

    async def _call(self, fn: Callable[..., R], *args: Any) -> R:
        """Run `fn` in the source's thread; note a call that outlives its deadline."""
        assert self._workers is not None
        future = self._workers.submit(fn, *args)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                self._hung = future
            raise
