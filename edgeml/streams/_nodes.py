"""Nodes: the tasks of a running pipeline, one a source, run of stages, operator or sink."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.streams._calls import as_failure, is_fatal, retried
from edgeml.streams._counters import Counters, SourceCounters, add_to
from edgeml.streams._edge import Abandoned, Edge, EndOfStream, Entrance, Token
from edgeml.streams._sample import Sample
from edgeml.streams._sink import Sink
from edgeml.streams._source import Source

if TYPE_CHECKING:
    from edgeml.streams._runner import Runner

log = logging.getLogger("edgeml.streams")

_LIMIT_CHECK = 0.1  # seconds until a source that waits for its turn hears of another limit


class Outlet:
    """Where a node's items go: one edge, several (a tee), or the open end."""

    __slots__ = ("edges", "runner")

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.edges: list[Edge] = []

    def emit_nowait(self, value: Any, token: Token) -> bool:
        """Pass on an item if that needs no waiting; return whether it is done."""
        edges = self.edges
        return len(edges) == 1 and edges[0].put_nowait(value, token)

    async def emit(self, value: Any, token: Token) -> None:
        """Pass on an item, waiting where there is no room.

        Raises:
            Abandoned: nobody takes it any more.
        """
        edges = tuple(self.edges)
        if not edges:
            await self.runner.deliver(value, token)
            return
        if len(edges) > 1:
            _freeze(value)
            token.refs += len(edges) - 1
        taken = False
        for edge in edges:
            # A lossy entrance follows the item from there on; it only ever follows a source.
            own = Token(token.entered, token.source) if type(edge) is Entrance else token
            try:
                await edge.put(value, own)
            except Abandoned:
                if edge in self.edges:
                    self.edges.remove(edge)
                token.release()
            else:
                taken = True
        if not taken:
            raise Abandoned

    def close(self) -> None:
        """No more items will come."""
        for edge in self.edges:
            edge.close()


def _freeze(value: Any) -> None:
    """Make an array that several branches see read-only; a stage that writes copies."""
    data = value.data if type(value) is Sample else value
    if isinstance(data, np.ndarray):
        data.flags.writeable = False


class Node:
    """A task of the pipeline with its inlets and its outlet."""

    def __init__(self, runner: Runner, name: str) -> None:
        self.runner = runner
        self.name = name
        self.inlets: list[Edge] = []
        self.outlet = Outlet(runner)
        self.task: asyncio.Task[None] | None = None
        self.is_closing = False

    @property
    def steps(self) -> Sequence[Any]:
        """The steps that this node runs, for opening and closing."""
        return ()

    @property
    def counters(self) -> Sequence[Counters]:
        """The ledgers of the steps."""
        return ()

    async def run(self) -> None:
        """Work until the input ends, nobody takes the output, or the task is cancelled."""
        cause = "cancelled"
        try:
            await self.work()
            cause = "ended"
        except (EndOfStream, Abandoned):
            cause = "ended"
        except Exception as error:
            self.runner.fail(error)
        finally:
            self.is_closing = True
            for edge in self.inlets:
                edge.abandon(cause)
            self.drop_in_flight(cause)
            await self.release()
            self.outlet.close()

    async def work(self) -> None:
        """Pass items from the inlets to the outlet."""

    def drop_in_flight(self, cause: str) -> None:
        """Count the items that the node still held when it ended."""
        for counters in self.counters:
            if counters.in_flight:
                add_to(counters.dropped, cause, counters.in_flight)
                counters.in_flight = 0

    async def release(self) -> None:
        """Close what the steps had opened."""
        async with AsyncExitStack() as stack:  # each of them, though one is cut short
            for step in reversed(self.steps):
                stack.push_async_callback(self.runner.close_step, step)


class SourceNode(Node):
    """Pumps a source's items into the pipeline."""

    def __init__(self, runner: Runner, source: Source[Any]) -> None:
        super().__init__(runner, source.name)
        self.source = source
        self.ledger: SourceCounters = runner.source_ledger(source.name)
        self.stopping = False
        self._reading = False
        self._period = 0  # ns between two items, at least
        self._may_skip = False
        self._next = 0  # monotonic ns at which the next item may pass

    async def work(self) -> None:
        """Read until the source ends, or is stopped."""
        while not self.stopping:
            self._reading = True
            try:
                await self._wait_for_turn()
                value = await anext(self.source)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if self._stopped_while_reading():
                    return
                raise
            finally:
                self._reading = False
            await self._pass_on(value)

    async def _pass_on(self, value: Any) -> None:
        now = time.monotonic_ns()
        self.ledger.arrived(now)
        if self._period and not self._in_turn(now):
            add_to(self.ledger.dropped, "limited")
            return
        token = Token(value.arrived if type(value) is Sample else now, self.name)
        try:
            if not self.outlet.emit_nowait(value, token):
                await self.outlet.emit(value, token)
        except (asyncio.CancelledError, Abandoned) as error:
            cause = "ended" if isinstance(error, Abandoned) else "cancelled"
            add_to(self.ledger.dropped, cause)
            raise
        edges = self.outlet.edges
        if edges and type(edges[0]) is Entrance:
            # A lossy entrance never makes us wait, and the others need their turn.
            await asyncio.sleep(0)

    def limit(self, fps: float | None, *, may_skip: bool) -> None:
        """Let at most so many items a second pass: skip the others, or read more slowly."""
        self._period = 0 if fps is None else round(1e9 / fps)
        self._may_skip = may_skip
        self._next = 0

    async def _wait_for_turn(self) -> None:
        while self._period and not self._may_skip:
            wait = (self._next - time.monotonic_ns()) / 1e9
            if wait <= 0:
                return
            await asyncio.sleep(min(wait, _LIMIT_CHECK))  # the limit may change meanwhile

    def _in_turn(self, now: int) -> bool:
        if self._may_skip and now < self._next:
            return False
        # One that is late does not put off the next: the mean rate is what was asked for.
        self._next = max(self._next + self._period, now)
        return True

    def _stopped_while_reading(self) -> bool:
        return self.stopping

    def stop(self) -> None:
        """End the source as if it had no more items; the item in hand is passed on."""
        self.stopping = True
        if self._reading and self.task is not None:
            self.task.cancel()

    async def release(self) -> None:
        """Close the source."""
        await self.source.aclose()


class SinkNode(Node):
    """Delivers items to a sink."""

    def __init__(self, runner: Runner, sink: Sink) -> None:
        super().__init__(runner, sink.name)
        self.sink = sink
        self.ledger = Counters(sink.name, 1)

    @property
    def steps(self) -> Sequence[Any]:
        """The sink."""
        return (self.sink,)

    @property
    def counters(self) -> Sequence[Counters]:
        """The sink's ledger."""
        return (self.ledger,)

    @property
    def concurrency(self) -> int:
        """Items that can be worked on at once."""
        return 1

    @property
    def service(self) -> float:
        """Mean time of a delivery, ns."""
        return self.ledger.service

    async def work(self) -> None:
        """Send each item."""
        inlet, ledger = self.inlets[0], self.ledger
        while True:
            value, token, _ = inlet.get_nowait() or await inlet.get()
            ledger.in_ += 1
            ledger.in_flight += 1
            began = perf_counter_ns()
            try:
                await retried(self.sink, partial(self.sink.send, value))
            except Exception as error:
                ledger.in_flight -= 1
                ledger.failed += 1
                token.release()
                if is_fatal(self.sink, error):
                    raise as_failure(self.sink, error, ledger.in_) from error
                self.runner.item_failed(ledger, error)
                continue
            ledger.timed(perf_counter_ns() - began)
            ledger.in_flight -= 1
            ledger.done += 1
            await self.runner.delivered(value, token)
