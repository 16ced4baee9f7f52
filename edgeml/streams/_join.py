"""Heads made of other streams: merge and join."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from typing import Any

from edgeml.errors import GraphError
from edgeml.streams._chain import Chain, Composable, Step, is_head
from edgeml.streams._edge import EndOfStream
from edgeml.streams._operators import Context, Operator
from edgeml.streams._sample import Sample


class Head(Composable):
    """The start of a chain that is fed by other chains."""

    name: str
    inputs: dict[str, Chain]
    operator: Operator

    def __aiter__(self) -> AsyncIterator[Any]:
        from edgeml.streams._pipeline import Pipeline

        return aiter(Pipeline(self))


def _as_input(kind: str, name: str, part: Step) -> Chain:
    chain = Chain([part])
    if not chain.has_head:
        raise GraphError(f"{kind}: input {name!r} does not start with a source; received {part!r}")
    return chain


class merge(Head):  # noqa: N801 - a verb, like the other operators
    """The items of several streams, as they come.

    Example: ``merge(front_door, back_door | crop) | detector``.
    """

    def __init__(self, *sources: Step, name: str = "merge") -> None:
        if not sources:
            raise GraphError("merge: give at least one source")
        self.name = name
        self.inputs = {str(i): _as_input("merge", str(i), s) for i, s in enumerate(sources)}
        self.operator = _Merge(name=name)


class _Merge(Operator):
    async def run(self, context: Context) -> None:
        """Copy each inlet's items."""

        async def copy(inlet: int) -> None:
            try:
                while True:
                    await context.emit(await context.get(inlet))
            except EndOfStream:
                pass

        copies = [asyncio.create_task(copy(i)) for i in range(len(context.inlets))]
        try:
            await asyncio.gather(*copies)
        finally:
            for task in copies:
                task.cancel()


class join(Head):  # noqa: N801
    """Samples of several streams that belong together in time.

    The first stream is the base. Each of its samples is emitted once, with the sample of
    each other stream that is nearest in capture time, if it is no further than `within`;
    else None stands in its place. The result is a `Sample` with the base's times whose
    data is a dict of samples by name.

    A base sample waits until each other stream has moved past it or has ended, but no
    longer than `wait`, so that a silent stream cannot stall the others.

    Args:
        within: Largest distance between capture times, seconds.
        wait: Longest time to wait for another stream, seconds from the base sample's
            arrival; by default 0.1 when any source is live, else without limit, which makes
            files join in the same way at any speed.
        streams: By name: sources, or chains that start with one.

    Example: ``join(frame=camera, motion=imu, within=0.02)``.
    """

    def __init__(
        self, *, within: float, wait: float | None = None, name: str = "join", **streams: Step
    ) -> None:
        if len(streams) < 2:
            raise GraphError(f"join: give at least two streams; received {len(streams)}")
        if not within >= 0 or (wait is not None and not wait >= 0):
            raise GraphError(
                f"join: within and wait must not be negative; received {within} and {wait}"
            )
        self.name = name
        self.inputs = {key: _as_input("join", key, part) for key, part in streams.items()}
        if wait is None and any(_is_live(chain) for chain in self.inputs.values()):
            wait = 0.1
        self.operator = _Join(list(self.inputs), round(within * 1e9), wait, name=name)


def _is_live(chain: Chain) -> bool:
    head = chain.steps()[0]
    if isinstance(head, Head):
        return any(_is_live(c) for c in head.inputs.values())
    return bool(is_head(head) and head.live)


class _Join(Operator):
    """Reads one sample ahead of each inlet; the one that is furthest behind is read first."""

    def __init__(self, names: list[str], within: int, wait: float | None, *, name: str) -> None:
        super().__init__(name=name)
        self.names = names
        self.within = within
        self.wait = wait

    async def run(self, context: Context) -> None:
        """Match base samples with the others' until the base ends."""
        self.seen: list[list[Sample[Any]]] = [[] for _ in self.names]
        self.ended = [False for _ in self.names]
        self.reads: dict[int, asyncio.Task[Any]] = {}
        try:
            while not (self.ended[0] and not self.seen[0]):
                await self._fill(context, 0)
                if self.seen[0]:
                    await self._match(context, self.seen[0][0])
        finally:
            for task in self.reads.values():
                task.cancel()

    async def _match(self, context: Context, base: Sample[Any]) -> None:
        # From the base's arrival, not from now: a silent stream delays, it does not slow down.
        deadline = None if self.wait is None else base.arrived / 1e9 + self.wait
        others = range(1, len(self.names))
        while behind := [i for i in others if not self._past(i, base.t)]:
            if not await self._read_any(context, behind, deadline):
                break  # silent for too long: go on without
        found = {self.names[0]: base, **{self.names[i]: self._nearest(i, base.t) for i in others}}
        self.seen[0].pop(0)
        for i in others:
            self._forget(i, base.t)
        await context.emit(base.with_data(found))

    def _past(self, inlet: int, t: int) -> bool:
        seen = self.seen[inlet]
        return self.ended[inlet] or bool(seen and seen[-1].t >= t)

    def _nearest(self, inlet: int, t: int) -> Sample[Any] | None:
        best = min(self.seen[inlet], key=lambda sample: abs(sample.t - t), default=None)
        return best if best is not None and abs(best.t - t) <= self.within else None

    def _forget(self, inlet: int, t: int) -> None:
        """Keep the last sample before `t`: it may be the nearest of the next base sample."""
        seen = self.seen[inlet]
        first = bisect_left(seen, t, key=lambda sample: sample.t)
        del seen[: max(0, first - 1)]

    async def _fill(self, context: Context, inlet: int) -> None:
        while not self.seen[inlet] and not self.ended[inlet]:
            await self._read_any(context, [inlet], None)

    async def _read_any(self, context: Context, inlets: list[int], until: float | None) -> bool:
        """Take one sample from any of the inlets; return False when none came in time."""
        for i in inlets:
            if i not in self.reads:
                self.reads[i] = asyncio.create_task(context.get(i), name=f"{self.name} {i}")
        left = None if until is None else max(0.0, until - time.monotonic())
        done, _ = await asyncio.wait(
            [self.reads[i] for i in inlets], timeout=left, return_when=asyncio.FIRST_COMPLETED
        )
        for i in inlets:
            if self.reads[i] in done:
                self._take(i, self.reads.pop(i))
        return bool(done)

    def _take(self, inlet: int, read: asyncio.Task[Any]) -> None:
        try:
            sample = read.result()
        except EndOfStream:
            self.ended[inlet] = True
            return
        if type(sample) is not Sample:
            raise TypeError(
                f"join needs samples, which have a time; {self.names[inlet]!r} delivered "
                f"{type(sample).__name__}"
            )
        self.seen[inlet].append(sample)
