"""Sources whose driver blocks: they live in a thread of their own that may be abandoned."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, TypeVar

from edgeml.errors import DeviceTimeout
from edgeml.streams._source import Source
from edgeml.streams._workers import Workers

T = TypeVar("T")

log = logging.getLogger("edgeml.streams")


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

    Attributes:
        close_timeout: Longest time to wait for the driver to close, seconds.
    """

    close_timeout = 1.0
    _workers: Workers | None = None
    _closing: asyncio.Future[None] | None = None

    def _open_blocking(self) -> Any:
        """Open the device and return its handle."""

    def _read_blocking(self, handle: Any) -> T:
        """Return the next item; raise EOFError at the end."""
        raise EOFError

    def _close_blocking(self, handle: Any) -> None:
        """Close the handle."""

    async def _open(self) -> None:
        if self._closing is not None and not self._closing.done():
            raise DeviceTimeout(
                f"{self.name}: the driver still hangs in an earlier call", device=self.name
            )
        self._workers = Workers(1, f"edgeml-{self.name}")
        # Filled by the thread, so that a handle that comes after the deadline is closed too.
        self._handles: list[Any] = []
        await self._workers.submit(self._open_into, self._handles)

    def _open_into(self, handles: list[Any]) -> None:
        handles.append(self._open_blocking())

    async def _read(self) -> T:
        assert self._workers is not None
        try:
            return await self._workers.submit(self._read_blocking, self._handles[0])
        except EOFError:
            raise StopAsyncIteration from None

    async def _close(self) -> None:
        workers, self._workers = self._workers, None
        if workers is None:
            return
        # One thread serves in order: this runs after a call that hangs, whenever it returns.
        self._closing = workers.submit(self._close_all, self._handles)
        if not await workers.aclose(self.close_timeout):
            log.warning(
                "%s: the driver hangs; its thread is left behind and ends when the driver returns",
                self.name,
            )
        elif self._closing.exception() is not None:
            log.warning("%s: error while closing: %s", self.name, self._closing.exception())

    def _close_all(self, handles: list[Any]) -> None:
        while handles:
            self._close_blocking(handles.pop())
