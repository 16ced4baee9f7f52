"""Nodes: the tasks of a running pipeline, one a source, run of stages, operator or sink."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.errors import StageTimeout
from edgeml.streams._calls import (
    Outcome,
    Tally,
    as_failure,
    call_async,
    is_fatal,
    run_stages,
    timed_out,
)
from edgeml.streams._counters import Counters, SourceCounters, add_to, describe
from edgeml.streams._edge import Abandoned, Edge, EndOfStream, Entrance, Token
from edgeml.streams._sample import Sample
from edgeml.streams._sink import Sink
from edgeml.streams._source import Source
from edgeml.streams._stage import SKIP, Retry, Stage
from edgeml.streams._workers import Workers

if TYPE_CHECKING:
    from edgeml.streams._runner import Runner

log = logging.getLogger("edgeml.streams")

_MAX_HUNG_THREADS = 8  # of one node; more means that every call hangs
_CLOSE_TIMEOUT = 2.0  # seconds that calls which run may take to return when all is over


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
                counters.dropped[cause] = counters.dropped.get(cause, 0) + counters.in_flight
                counters.in_flight = 0

    async def release(self) -> None:
        """Close what the steps had opened."""
        for step in self.steps:
            await self.runner.close_step(step)


class SourceNode(Node):
    """Pumps a source's items into the pipeline."""

    def __init__(self, runner: Runner, source: Source[Any]) -> None:
        super().__init__(runner, source.name)
        self.source = source
        self.ledger: SourceCounters = runner.source_ledger(source.name)
        self.stopping = False
        self._reading = False

    async def work(self) -> None:
        """Read until the source ends, or is stopped."""
        while not self.stopping:
            self._reading = True
            try:
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


class StageNode(Node):
    """Stages that work item by item, with the inline stages that follow them."""

    def __init__(self, runner: Runner, stages: Sequence[Stage], tail: Sequence[Stage]) -> None:
        super().__init__(runner, (*stages, *tail)[0].name)
        self.stages = tuple(stages)
        self.tail = tuple(tail)
        self.ledgers = [Counters(s.name, s.concurrency) for s in (*stages, *tail)]
        self.item_no = 0
        self.stop_event = threading.Event()

    @property
    def steps(self) -> Sequence[Any]:
        """The stages."""
        return (*self.stages, *self.tail)

    @property
    def counters(self) -> Sequence[Counters]:
        """The ledgers of the stages."""
        return self.ledgers

    @property
    def concurrency(self) -> int:
        """Items that can be worked on at once."""
        return self.stages[0].concurrency if self.stages else 1

    @property
    def service(self) -> float:
        """Mean time of an item in this node, ns."""
        return sum(counters.service for counters in self.ledgers)

    def replace(self, old: Stage, new: Stage) -> None:
        """Use another stage from the next item on."""
        self.stages = tuple(new if s is old else s for s in self.stages)
        self.tail = tuple(new if s is old else s for s in self.tail)

    async def settled(self) -> None:
        """Wait until the items that are in work now are done."""

    def begin(self) -> None:
        """Count an item that goes into work."""
        counters = self.ledgers[0]
        counters.in_ += 1
        counters.in_flight += 1
        self.item_no += 1

    def apply(self, tallies: Sequence[Tally], first: int, *, counted: bool) -> None:
        """Add the tallies of a run of stages to the ledgers from number `first` on."""
        for index, tally in enumerate(tallies, first):
            counters = self.ledgers[index]
            if index == first and counted:
                counters.in_flight -= tally.in_
            else:
                counters.in_ += tally.in_
            counters.skipped += tally.skipped
            counters.failed += len(tally.errors)
            counters.done += tally.in_ - tally.skipped - len(tally.errors)
            counters.emitted += tally.emitted
            if tally.in_:
                counters.timed(tally.busy)
            for error in tally.errors:
                self.runner.item_failed(counters, error)

    async def finish(self, value: Any, outcome: Outcome, token: Token) -> None:
        """Enter the outcome of the stages in the ledger, run the tail and pass the rest on."""
        self.apply(outcome.tallies, 0, counted=True)
        outputs = outcome.outputs
        if outcome.fatal is None and self.tail and outputs:
            outputs = self.run_tail(outputs, outcome)
        if outcome.fatal is not None:
            step, error = outcome.fatal
            token.release()
            raise as_failure(step, error, self.item_no)
        await self.pass_on(outputs, token)

    def run_tail(self, values: Sequence[Any], outcome: Outcome) -> list[Any]:
        """Run the inline stages after the others."""
        outputs: list[Any] = []
        for value in values:
            after = run_stages(self.tail, value, self.stop_event)
            self.apply(after.tallies, len(self.stages), counted=not self.stages)
            outputs += after.outputs
            outcome.fatal = outcome.fatal or after.fatal
        return outputs

    async def pass_on(self, outputs: Sequence[Any], token: Token) -> None:
        """Emit the outputs of one item."""
        if not outputs:
            token.release()
            return
        token.refs += len(outputs) - 1
        for value in outputs:
            if not self.outlet.emit_nowait(value, token):
                await self.outlet.emit(value, token)


class InlineNode(StageNode):
    """Inline stages with none of another kind before them, run on the loop."""

    def __init__(self, runner: Runner, stages: Sequence[Stage]) -> None:
        super().__init__(runner, (), stages)

    async def work(self) -> None:
        """Run each item through the stages."""
        inlet = self.inlets[0]
        while True:
            value, token = inlet.get_nowait() or await inlet.get()
            self.begin()
            outcome = Outcome()
            outcome.outputs = self.run_tail([value], outcome)
            if outcome.fatal is not None:
                token.release()
                raise as_failure(outcome.fatal[0], outcome.fatal[1], self.item_no)
            await self.pass_on(outcome.outputs, token)


class AsyncNode(StageNode):
    """One async stage with one call at a time."""

    async def work(self) -> None:
        """Await the stage for each item."""
        inlet = self.inlets[0]
        while True:
            value, token = inlet.get_nowait() or await inlet.get()
            self.begin()
            outcome = await call_one(self.stages[0], value)
            if outcome.fatal is None and not self.tail and len(outcome.outputs) == 1:
                # The common case, without the general bookkeeping.
                tally, counters = outcome.tallies[0], self.ledgers[0]
                counters.in_flight -= 1
                counters.done += 1
                counters.emitted += 1
                counters.timed(tally.busy)
                if not self.outlet.emit_nowait(outcome.outputs[0], token):
                    await self.outlet.emit(outcome.outputs[0], token)
            else:
                await self.finish(value, outcome, token)


async def call_one(stage: Stage, value: Any) -> Outcome:
    """Call one async stage and return its outcome as `run_stages` does."""
    outcome = Outcome()
    tally = Tally()
    tally.in_ = 1
    outcome.tallies.append(tally)
    began = perf_counter_ns()
    try:
        results = await call_async(stage, value)
    except Exception as error:
        tally.errors.append(error)
        if is_fatal(stage, error):
            outcome.fatal = (stage, error)
    else:
        if results is SKIP:
            tally.skipped = 1
        else:
            tally.emitted = len(results)
            outcome.outputs = results
    tally.busy = perf_counter_ns() - began
    return outcome


class ConcurrentNode(StageNode):
    """Calls in flight at once, their results in order: threads, or tasks of one async stage.

    One more call than `concurrency` is queued for the threads, so that a thread that is
    done finds its next call at once, without a way round the loop.
    """

    def __init__(self, runner: Runner, stages: Sequence[Stage], tail: Sequence[Stage]) -> None:
        super().__init__(runner, stages, tail)
        self.in_threads = not stages[0].is_async
        self.timeout = stages[0].timeout if self.in_threads else None
        self._workers: Workers | None = None
        self._pending: deque[asyncio.Future[Outcome]] = deque()

    async def work(self) -> None:
        """Feed the calls and emit their outcomes, until both are through."""
        if self.in_threads:
            self._workers = Workers(self.concurrency, f"edgeml-{self.name}")
        slots = asyncio.Semaphore(self.concurrency + self.in_threads)
        calls = Edge(self.name, self.name, self.concurrency + 2, 1 << 62, _no_drop)
        feeder = asyncio.create_task(self._feed(slots, calls), name=f"{self.name} feeder")
        try:
            while True:
                (value, future), token = calls.get_nowait() or await calls.get()
                outcome = await self._result_of(value, future)
                self._pending.popleft()
                slots.release()
                await self.finish(value, outcome, token)
        except EndOfStream:
            await feeder
        finally:
            feeder.cancel()
            self.stop_event.set()
            for future in self._pending:
                future.cancel()
            # The stages are closed next: let the calls that run return first.
            if self._workers is not None and not await self._workers.aclose(_CLOSE_TIMEOUT):
                log.warning("%s: a call hangs; its thread ends when the call returns", self.name)

    async def _feed(self, slots: asyncio.Semaphore, calls: Edge) -> None:
        inlet = self.inlets[0]
        try:
            while True:
                await slots.acquire()
                value, token = inlet.get_nowait() or await inlet.get()
                self.begin()
                future = self._submit(value)
                self._pending.append(future)
                calls.put_nowait((value, future), token)
        except EndOfStream:
            calls.close()

    def _submit(self, value: Any) -> asyncio.Future[Outcome]:
        if self._workers is None:
            return asyncio.create_task(call_one(self.stages[0], value), name=self.name)
        return self._workers.submit(run_stages, self.stages, value, self.stop_event)

    async def _result_of(self, value: Any, future: asyncio.Future[Outcome]) -> Outcome:
        if self.timeout is None:
            return await future
        stage = self.stages[0]
        attempts = stage.on_error.attempts if isinstance(stage.on_error, Retry) else 0
        for attempt in range(attempts + 1):
            if attempt:
                future = self._submit(value)
            await asyncio.wait([future], timeout=self.timeout)
            if future.done():
                return future.result()
            self._give_up(future)
        outcome = Outcome()
        tally = Tally()
        tally.in_ = 1
        error: StageTimeout = timed_out(stage)
        tally.errors.append(error)
        tally.busy = int(self.timeout * 1e9)
        outcome.tallies.append(tally)
        assert self._workers is not None
        if is_fatal(stage, error) or self._workers.hung > _MAX_HUNG_THREADS:
            outcome.fatal = (stage, error)
        return outcome

    def _give_up(self, future: asyncio.Future[Outcome]) -> None:
        assert self._workers is not None
        self._workers.abandon(future)
        log.warning("%s: a call hangs; %d thread(s) left behind", self.name, self._workers.hung)

    async def settled(self) -> None:
        """Wait until the items that are in work now are done."""
        if self._pending:
            await asyncio.wait(list(self._pending))


def _no_drop(edge: Edge, value: Any, cause: str, n: int) -> None:
    """Items in flight are counted by the stage, not by the queue of calls."""


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
            value, token = inlet.get_nowait() or await inlet.get()
            ledger.in_ += 1
            ledger.in_flight += 1
            began = perf_counter_ns()
            try:
                await self._send(value)
            except Exception as error:
                ledger.in_flight -= 1
                ledger.failed += 1
                token.release()
                self.runner.item_failed(ledger, error)
                if is_fatal(self.sink, error):
                    raise as_failure(self.sink, error, ledger.in_) from error
                continue
            ledger.timed(perf_counter_ns() - began)
            ledger.in_flight -= 1
            ledger.done += 1
            await self.runner.delivered(value, token)

    async def _send(self, value: Any) -> None:
        policy = self.sink.on_error
        if isinstance(policy, Retry):
            delays = policy.backoff.delays()
            for _ in range(policy.attempts):
                try:
                    return await self.sink.send(value)
                except Exception as error:
                    log.debug("%s: %s; trying again (%s)", self.name, error, describe(value))
                    await asyncio.sleep(next(delays, 0.0))
        return await self.sink.send(value)
