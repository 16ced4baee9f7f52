"""Sources: async iterators with a life cycle that reconnect by themselves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, cast

from edgeml.errors import DeviceClosed, DeviceError, DeviceNotFound, DeviceTimeout, MediaError
from edgeml.streams._backoff import Backoff
from edgeml.streams._chain import Composable
from edgeml.streams._ending import insist
from edgeml.streams._sample import Clock, Sample

T = TypeVar("T")

Keep = Literal["every", "freshest", "auto"]
SourceState = Literal["idle", "connecting", "flowing", "reconnecting", "ended", "closed", "failed"]

log = logging.getLogger("edgeml.streams")


class Source(Composable, Generic[T]):
    """An async iterator with a life cycle: it opens itself, reconnects, and closes.

    A subclass overrides `_open`, `_read` and `_close`. `_read` raises `StopAsyncIteration`
    at the end, and `DeviceError` when the device is lost. A lost device is opened again
    after a delay that grows until items flow: an open device that delivers nothing is not
    healthy. The first item after that has ``meta["discontinuity"]``.

    A device that isn't there at the first open, and media that cannot be decoded, are
    errors at once: trying again would hide a typing mistake.

    Args:
        name: Unique within a pipeline; by default the class's name in lower case.
        keep: ``"every"`` never loses an item, ``"freshest"`` lets the newest win,
            ``"auto"`` is ``"every"`` unless the source is `live`; then items wait for
            their turn up to `max_age`.
        max_age: Oldest item, seconds from arrival, that may still enter the pipeline;
            None is no limit for ``"every"`` and 0.5 for the others.
        reconnect: Delays between attempts; None turns reconnecting off.
        open_timeout: Longest time to open, seconds; None waits forever.
        read_timeout: Longest time for one item, seconds; None waits forever.

    Attributes:
        live: The source runs in real time and cannot be paused.
        clock: The pipeline's clock.
        state: See `SourceState`.
        reconnects: How often the device was lost.

    Example:
        >>> import asyncio, edgeml
        >>> async def main():
        ...     async for item in edgeml.Source.of([1, 2, 3]):
        ...         print(item)
        >>> asyncio.run(main())
        1
        2
        3
    """

    live: bool = False

    def __init__(
        self,
        *,
        name: str | None = None,
        keep: Keep = "auto",
        max_age: float | None = None,
        reconnect: Backoff | None = None,
        open_timeout: float | None = 10.0,
        read_timeout: float | None = None,
    ) -> None:
        if keep not in ("every", "freshest", "auto"):
            raise ValueError(f'keep must be "every", "freshest" or "auto"; received {keep!r}')
        if max_age is not None and keep == "every":
            raise ValueError(
                'keep="every" never drops an item for its age, so max_age= means nothing'
            )
        if max_age is not None and not max_age > 0:
            raise ValueError(f"max_age must be a positive number of seconds; received {max_age!r}")
        for option, limit in (("open_timeout", open_timeout), ("read_timeout", read_timeout)):
            if limit is not None and not limit > 0:
                raise ValueError(f"{option} must be positive seconds, or None; received {limit!r}")
        self.name = name or type(self).__name__.lower()
        self.keep: Keep = keep
        self.max_age = max_age
        self.reconnect = reconnect
        self.open_timeout = open_timeout
        self.read_timeout = read_timeout
        self.clock = Clock()
        self.state: SourceState = "idle"
        self.reconnects = 0
        self._listener: Callable[[SourceState, SourceState, str], None] | None = None
        self._delays: Iterator[float] | None = None
        self._flowing_since = 0.0
        self._delay = 0.0
        self._has_flowed = False
        self._discontinuity = False
        self._seq = 0

    @staticmethod
    def of(items: Iterable[T] | AsyncIterable[T], *, name: str = "items") -> Source[T]:
        """Make a source of any iterable, sync or async; it keeps every item.

        A sync iterable is read on the loop, so it must not block; a `BlockingSource` may.
        """
        return _IterableSource(items, name=name)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Items that the driver lost before they arrived, by cause."""
        return {}

    async def _open(self) -> None:
        """Acquire the device. On failure, leave nothing open."""

    async def _read(self) -> T:
        """Return the next item; raise StopAsyncIteration at the end."""
        raise StopAsyncIteration

    async def _close(self) -> None:
        """Release the device. Idempotent, and works after a failed open."""

    def _sample(self, data: Any, *, t: int | None = None, duration: int = 0, **meta: Any) -> Any:
        """Wrap data that has just been read, `duration` in ns; counts `seq`."""
        arrived = time.monotonic_ns()
        when = arrived - duration if t is None else t
        sample = Sample(data, when, arrived, self.name, self._seq, duration, meta)
        self._seq += 1
        return sample

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            try:
                if self.state != "flowing":
                    await self._connect()
                async with asyncio.timeout(self.read_timeout):
                    item = await self._read()
            except StopAsyncIteration:
                await self.aclose("ended")
                raise
            except DeviceError as error:
                await self._recover(error)
                continue
            except TimeoutError:
                await self._recover(self._too_slow("deliver", self.read_timeout))
                continue
            if self.state != "flowing":
                self._has_flowed = True
                self._flowing_since = time.monotonic()
                self._become("flowing", "")
                return self._mark_discontinuity(item)
            return item

    def _mark_discontinuity(self, item: T) -> T:
        # Here and not in `_sample`: an abandoned thread may still make samples.
        if self._discontinuity and isinstance(item, Sample):
            self._discontinuity = False
            return cast("T", item.with_data(item.data, discontinuity=True))
        return item

    async def _connect(self) -> None:
        if self.state in ("ended", "closed", "failed"):
            if self.state == "ended":
                raise StopAsyncIteration
            raise DeviceClosed(f"{self.name} is closed; make a new one", device=self.name)
        if self.state == "connecting":  # open, and its first item has not come yet
            return
        self._become("connecting", "")
        try:
            async with asyncio.timeout(self.open_timeout) as deadline:
                await insist(self._open())
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise self._too_slow("open", self.open_timeout) from error

    async def _recover(self, error: DeviceError) -> None:
        """Close, wait and let the caller connect again; raise if that is of no use."""
        flowed_for = time.monotonic() - self._flowing_since if self.state == "flowing" else 0.0
        await insist(self._close())
        hopeless = isinstance(error, MediaError | DeviceClosed) or (
            isinstance(error, DeviceNotFound) and not self._has_flowed
        )
        if self.reconnect is None or hopeless:
            self._become("failed", str(error))
            raise error
        # A device that opens, gives one frame and dies must not be tried in a tight loop.
        if self._delays is None or flowed_for > self._delay:
            self._delays = self.reconnect.delays()
        delay = next(self._delays, None)
        if delay is None:
            self._become("failed", str(error))
            raise error
        self._delay = delay
        self._become("reconnecting", f"{error}; trying again in {delay:.1f} s")
        self.reconnects += 1
        self._discontinuity = self._has_flowed
        await asyncio.sleep(delay)

    def _too_slow(self, doing: str, limit: float | None) -> DeviceTimeout:
        return DeviceTimeout(f"{self.name} did not {doing} within {limit} s", device=self.name)

    def _become(self, state: SourceState, reason: str) -> None:
        old, self.state = self.state, state
        if old == state:
            return
        # A source that failed raises its error, which is for the caller to show.
        level = logging.WARNING if state == "reconnecting" else logging.DEBUG
        log.log(level, "%s: %s%s", self.name, state, f": {reason}" if reason else "")
        if self._listener is not None:
            self._listener(old, state, reason)

    async def aclose(self, state: SourceState = "closed") -> None:
        """Release the device. Idempotent."""
        if self.state in ("ended", "closed", "failed"):
            return
        self._become(state, "")
        await self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.state}>"


class _IterableSource(Source[T]):
    def __init__(self, items: Iterable[T] | AsyncIterable[T], *, name: str) -> None:
        super().__init__(name=name, keep="every")
        self._items = items

    async def _open(self) -> None:
        if isinstance(self._items, AsyncIterable):
            self._async_items: AsyncIterator[T] | None = aiter(self._items)
        else:
            self._async_items = None
            self._sync_items = iter(self._items)

    async def _read(self) -> T:
        if self._async_items is not None:
            return await anext(self._async_items)
        try:
            return next(self._sync_items)
        except StopIteration:
            raise StopAsyncIteration from None

    async def _close(self) -> None:
        items = getattr(self, "_async_items", None)
        if items is not None and hasattr(items, "aclose"):
            await items.aclose()
