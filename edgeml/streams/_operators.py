"""Operators: steps that need time or memory beyond one item, and the plain ones beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from edgeml.errors import GraphError
from edgeml.streams._chain import Chain, Composable, Step
from edgeml.streams._counters import Counters, add_to
from edgeml.streams._edge import Edge, EndOfStream, Token
from edgeml.streams._nodes import Node, Outlet
from edgeml.streams._sample import Sample
from edgeml.streams._stage import SKIP, FunctionStage, is_async_callable

if TYPE_CHECKING:
    from edgeml.streams._runner import Runner


def map(fn: Callable[[Any], Any], **options: Any) -> FunctionStage:
    """Make a stage that maps each item; the same as `stage`."""
    return FunctionStage(fn, **options)


def filter(predicate: Callable[[Any], Any], **options: Any) -> FunctionStage:
    """Make a stage that keeps the items for which `predicate` is true; see `Stage` for options."""
    if is_async_callable(predicate):

        async def keep_async(item: Any) -> Any:
            return item if await predicate(item) else SKIP

        return FunctionStage(keep_async, **{"name": "filter", **options})

    def keep(item: Any) -> Any:
        return item if predicate(item) else SKIP

    return FunctionStage(keep, **{"name": "filter", **options})


def flat_map(fn: Callable[[Any], Iterable[Any]], **options: Any) -> FunctionStage:
    """Make a stage that turns each item into the items of the iterable that `fn` returns."""
    if is_async_callable(fn):

        async def expand_async(item: Any) -> AsyncIterator[Any]:
            result: Any = fn(item)
            if isinstance(result, AsyncIterator):
                async for each in result:
                    yield each
            else:
                for each in await result:
                    yield each

        return FunctionStage(expand_async, **{"name": "flat_map", **options})

    def expand(item: Any) -> Iterator[Any]:
        yield from fn(item)

    return FunctionStage(expand, **{"name": "flat_map", **options})


class Operator(Composable):
    """A step that takes items when it wants to and emits when it wants to.

    A subclass overrides `run`, which ends with `EndOfStream` from `Context.get`.

    Args:
        name: Unique within a pipeline; by default the class's name in lower case.
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = name or type(self).__name__.lower()

    async def run(self, context: Context) -> None:
        """Work until the input ends."""

    async def flush(self, context: Context) -> None:
        """Emit what is left when the input has ended."""


class Context:
    """What an operator sees of the pipeline."""

    def __init__(
        self, inlets: list[Edge], outlet: Outlet, counters: Counters, sources: Container[str]
    ) -> None:
        self.inlets = inlets
        self._outlet = outlet
        self._counters = counters
        self._sources = sources
        self._source = ""

    async def get(self, inlet: int = 0, timeout: float | None = None) -> Any:
        """Return the next item of an inlet.

        Raises:
            EndOfStream: no more will come.
            TimeoutError: none came within `timeout` seconds.
        """
        edge = self.inlets[inlet]
        got = edge.get_nowait()
        if got is None:
            if timeout is None:
                got = await edge.get()
            else:
                async with asyncio.timeout(max(timeout, 0.0)):
                    got = await edge.get()
        value, token, _ = got
        self._source = token.source
        # An item that is kept here is not in flight: the entrance may let in the next.
        token.release()
        self._counters.in_ += 1
        self._counters.done += 1
        return value

    async def emit(self, value: Any) -> None:
        """Pass an item on."""
        self._counters.emitted += 1
        arrived, source = time.monotonic_ns(), self._source
        if type(value) is Sample:
            arrived = value.arrived
            if value.source in self._sources:  # several may be under way here, as in a merge
                source = value.source
        token = Token(arrived, source)
        if not self._outlet.emit_nowait(value, token):
            await self._outlet.emit(value, token)

    def skip(self, n: int = 1) -> None:
        """Count items that were got and left out on purpose."""
        self._counters.done -= n
        self._counters.skipped += n

    def drop(self, cause: str, n: int = 1) -> None:
        """Count items that were got and lost."""
        self._counters.done -= n
        add_to(self._counters.dropped, cause, n)


class OperatorNode(Node):
    """Runs an operator."""

    def __init__(self, runner: Runner, operator: Operator) -> None:
        super().__init__(runner, operator.name)
        self.operator = operator
        self.ledger = Counters(operator.name, 1)

    @property
    def counters(self) -> list[Counters]:
        """The operator's ledger."""
        return [self.ledger]

    async def work(self) -> None:
        """Run the operator to its end."""
        context = Context(self.inlets, self.outlet, self.ledger, self.runner.sources)
        try:
            await self.operator.run(context)
        except EndOfStream:
            await self.operator.flush(context)


def time_of(item: Any) -> float:
    """Return an item's time in seconds: capture time of a sample, else now."""
    return (item.t if type(item) is Sample else time.monotonic_ns()) / 1e9


def gather(items: list[Any]) -> Any:
    """Put items into one: a sample that spans them, or a plain list when they are not samples.

    `arrived` is the last item's: the latency of a window is the time since it was complete.
    """
    first, last = items[0], items[-1]
    if type(first) is not Sample:
        return list(items)
    return first.replace(data=list(items), arrived=last.arrived, duration=last.end - first.t)


def _not_negative(who: str, seconds: float) -> float:
    if not seconds >= 0:
        raise GraphError(f"{who}: seconds must not be negative; received {seconds!r}")
    return seconds


class take(Operator):  # noqa: N801 - a verb, like the functions beside it
    """Let `n` items pass, then end the stream and stop what feeds it."""

    def __init__(self, n: int) -> None:
        super().__init__()
        if n < 0:
            raise GraphError(f"take: n must not be negative; received {n}")
        self.n = n

    async def run(self, context: Context) -> None:
        """Pass `n` items."""
        for _ in range(self.n):
            await context.emit(await context.get())


class batch(Operator):  # noqa: N801
    """Collect up to `n` items, or what came within `seconds` of the first.

    Emits a `Sample` whose data is the list of samples, or a list of plain items. The last
    batch may be smaller.

    Args:
        n: Most items; at least 1.
        seconds: Longest time to wait for more, from the arrival of the first.
    """

    def __init__(self, n: int, seconds: float | None = None) -> None:
        super().__init__()
        if n < 1:
            raise GraphError(f"batch: n must be at least 1; received {n}")
        self.n = n
        self.seconds = seconds
        self._items: list[Any] = []

    async def run(self, context: Context) -> None:
        """Collect and emit."""
        while True:
            self._items.append(await context.get())
            until = None if self.seconds is None else time.monotonic() + self.seconds
            while len(self._items) < self.n:
                left = None if until is None else until - time.monotonic()
                try:
                    self._items.append(await context.get(timeout=left))
                except TimeoutError:
                    break
            await self.flush(context)

    async def flush(self, context: Context) -> None:
        """Emit what was collected."""
        items, self._items = self._items, []
        if items:
            await context.emit(gather(items))


class throttle(Operator):  # noqa: N801
    """Let at most one item pass in `seconds`, the first; by the items' own time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = _not_negative("throttle", seconds)

    async def run(self, context: Context) -> None:
        """Pass the first item of each interval."""
        next_time = float("-inf")
        while True:
            item = await context.get()
            now = time_of(item)
            if now < next_time:
                context.skip()
                continue
            next_time = now + self.seconds
            await context.emit(item)


class debounce(Operator):  # noqa: N801
    """Let an item pass when no other came within `seconds` after it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = _not_negative("debounce", seconds)
        self._last: list[Any] = []

    async def run(self, context: Context) -> None:
        """Wait for silence, then pass the last item."""
        while True:
            try:
                item = await context.get(timeout=self.seconds if self._last else None)
            except TimeoutError:
                await self.flush(context)
                continue
            if self._last:
                context.skip()
            self._last = [item]

    async def flush(self, context: Context) -> None:
        """Pass the last item."""
        last, self._last = self._last, []
        for item in last:
            await context.emit(item)


class window(Operator):  # noqa: N801
    """Windows by count or by seconds, one each `hop`.

    Emits a `Sample` whose data is the list of samples in the window, or a list of plain
    items (windows by count only). A window by seconds covers ``[start, start + seconds)``
    of capture time and is emitted when a sample at or after its end has come, or the
    stream has ended at its end; a window that is not full when the stream ends is not
    emitted. After a gap longer than a window, windows start anew at the next sample.

    Args:
        count: Items in a window.
        seconds: Length of a window; give this or `count`.
        hop: From one window's start to the next, in items or seconds; the window's length
            by default.

    Example:
        >>> import asyncio
        >>> from edgeml.streams import Source, window
        >>> async def main():
        ...     return [w async for w in Source.of(range(6)) | window(count=4, hop=2)]
        >>> asyncio.run(main())
        [[0, 1, 2, 3], [2, 3, 4, 5]]
    """

    def __init__(
        self, *, count: int | None = None, seconds: float | None = None, hop: float | None = None
    ) -> None:
        super().__init__()
        size = count if count is not None else seconds
        if size is None or (count is not None and seconds is not None):
            raise GraphError("window: give either count= (items) or seconds=")
        hop = size if hop is None else hop
        if not size > 0 or not hop > 0:
            raise GraphError(f"window: length and hop must be positive; received {size} and {hop}")
        self.count = count
        self.span = round(size * 1e9)
        self.hop = int(hop) if count is not None else round(hop * 1e9)
        self._items: list[Any] = []
        self._start: int | None = None

    async def run(self, context: Context) -> None:
        """Collect and emit."""
        if self.count is not None:
            await self._run_by_count(context, self.count)
        while True:
            sample = await context.get()
            if type(sample) is not Sample:
                raise TypeError(
                    f"window(seconds=) needs samples, which have a time; received "
                    f"{type(sample).__name__}"
                )
            await self._emit_until(context, sample.t)
            if self._start is None or sample.t >= self._start + self.span:
                self._start = sample.t
            if sample.t < self._start:  # between two windows that are further apart than long
                context.skip()
                continue
            self._items.append(sample)

    async def flush(self, context: Context) -> None:
        """Emit the windows that the last sample completes."""
        if self.count is None and self._items:
            await self._emit_until(context, self._items[-1].end)

    async def _emit_until(self, context: Context, t: int) -> None:
        while self._start is not None and self._items and t >= self._start + self.span:
            end = self._start + self.span
            inside = [s for s in self._items if s.t < end]
            if inside:
                await context.emit(gather(inside))
            self._start += self.hop
            self._items = [s for s in self._items if s.t >= self._start]

    async def _run_by_count(self, context: Context, count: int) -> None:
        gap = 0  # items to pass over when the hop is longer than the window
        while True:
            item = await context.get()
            if gap:
                gap -= 1
                context.skip()
                continue
            self._items.append(item)
            if len(self._items) == count:
                await context.emit(gather(self._items))
                gap = max(0, self.hop - count)
                self._items = self._items[self.hop :]


class tee(Composable):  # noqa: N801
    """Send each item to every chain, and on to what follows.

    An array that several chains see is read-only; a stage that writes into it copies
    first. With a lossless source the slowest chain sets the pace; with a lossy one each
    chain takes what it can.

    Example: ``camera | tee(detect | mqtt, record) | show``.
    """

    def __init__(self, *chains: Step, name: str | None = None) -> None:
        if not chains:
            raise GraphError("tee: give at least one chain")
        self.name = name or "tee"
        self.chains = [Chain([chain]) for chain in chains]
