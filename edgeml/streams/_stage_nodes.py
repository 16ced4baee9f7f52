"""Nodes that run stages: inline, async, and concurrent."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import deque
from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from edgeml.errors import StageTimeout
from edgeml.streams._calls import (
    Outcome,
    Tally,
    as_failure,
    call_async,
    is_fatal,
    run_stages,
    timed_out,
    wrap,
)
from edgeml.streams._counters import Counters
from edgeml.streams._edge import Edge, EndOfStream, Item, Token
from edgeml.streams._nodes import Node
from edgeml.streams._stage import SKIP, Retry, Stage
from edgeml.streams._workers import Workers

if TYPE_CHECKING:
    from edgeml.streams._runner import Runner

log = logging.getLogger("edgeml.streams")

_MAX_HUNG_THREADS = 8  # of one node; more means that every call hangs
_CALL_TIME = 10e6  # ns that a call with several items may take
_CLOSE_TIMEOUT = 2.0  # seconds that calls which run may take to return when all is over


class StageNode(Node):
    """Stages that work item by item, with the inline stages that follow them."""

    def __init__(self, runner: Runner, stages: Sequence[Stage], tail: Sequence[Stage]) -> None:
        super().__init__(runner, (*stages, *tail)[0].name)
        self.stages = tuple(stages)
        self.tail = tuple(tail)
        self.ledgers = [Counters(s.name, s.concurrency) for s in (*stages, *tail)]
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
                if not is_fatal(self.steps[index], error):
                    self.runner.item_failed(counters, error)

    def failure(self, step: Stage, error: BaseException) -> BaseException:
        """Return the error of the pipeline that a stage has failed with."""
        counters = next(c for c in self.ledgers if c.name == step.name)
        handled = counters.done + counters.skipped + counters.failed  # others may have begun
        return as_failure(step, error, handled)

    async def finish(self, outcome: Outcome, token: Token) -> None:
        """Enter the outcome of the stages in the ledger, run the tail and pass the rest on."""
        self.apply(outcome.tallies, 0, counted=True)
        outputs = outcome.outputs
        if outcome.fatal is None and self.tail and outputs:
            outputs = self.run_tail(outputs, outcome)
        if outcome.fatal is not None:
            token.release()
            raise self.failure(*outcome.fatal)
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
            value, token, _ = inlet.get_nowait() or await inlet.get()
            self.begin()
            outcome = Outcome()
            outcome.outputs = self.run_tail([value], outcome)
            if outcome.fatal is not None:
                token.release()
                raise self.failure(*outcome.fatal)
            await self.pass_on(outcome.outputs, token)


class AsyncNode(StageNode):
    """One async stage with one call at a time."""

    async def settled(self) -> None:
        """Wait until the item that is in work now is done."""
        ledger = self.ledgers[0]
        before = ledger.in_ - ledger.in_flight
        # Nobody waits for this but a swap, so a call pays nothing to announce its end.
        while ledger.in_flight and ledger.in_ - ledger.in_flight == before:  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    async def work(self) -> None:
        """Await the stage for each item."""
        inlet, outlet, ledger = self.inlets[0], self.outlet, self.ledgers[0]
        stage, is_plain = None, False
        while True:
            value, token, _ = inlet.get_nowait() or await inlet.get()
            if stage is not self.stages[0]:
                stage = self.stages[0]
                is_plain = not self.tail and _is_plain(stage)
            self.begin()
            if not is_plain:
                await self.finish(await call_one(stage, value), token)
                continue
            # The common case, without the general bookkeeping: this is what a hop costs.
            began = perf_counter_ns()
            try:
                result = await stage(value)
            except Exception as error:
                ledger.in_flight -= 1
                ledger.failed += 1
                token.release()
                raise self.failure(stage, error) from error
            ledger.timed(perf_counter_ns() - began)
            ledger.in_flight -= 1
            if result is SKIP:
                ledger.skipped += 1
                token.release()
                continue
            ledger.done += 1
            ledger.emitted += 1
            result = wrap(value, result)
            if not outlet.emit_nowait(result, token):
                await outlet.emit(result, token)


def _is_plain(stage: Stage) -> bool:
    """Whether a call gives an awaitable, and an error or a long wait needs no policy."""
    fn = getattr(stage, "fn", type(stage).__call__)
    simple = stage.on_error == "fail" and stage.timeout is None
    return simple and not inspect.isasyncgenfunction(fn)


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
    done finds its next call at once, without a way round the loop. When short calls follow
    one another without loss, several items go into one call, for the same reason.
    """

    def __init__(self, runner: Runner, stages: Sequence[Stage], tail: Sequence[Stage]) -> None:
        super().__init__(runner, stages, tail)
        self.in_threads = not stages[0].is_async
        self.timeout = stages[0].timeout if self.in_threads else None
        self._workers: Workers | None = None
        self._pending: deque[asyncio.Future[list[Outcome]]] = deque()

    async def work(self) -> None:
        """Feed the calls and emit their outcomes, until both are through."""
        if self.in_threads:
            self._workers = Workers(self.concurrency, f"edgeml-{self.name}")
        slots = asyncio.Semaphore(self.concurrency + self.in_threads)
        calls = Edge(self.name, self.name, self.concurrency + 2, 1 << 62, _no_drop)
        feeder = asyncio.create_task(self._feed(slots, calls), name=f"{self.name} feeder")
        try:
            while True:
                (items, future), _, _ = calls.get_nowait() or await calls.get()
                outcomes = await self._outcomes_of(items, future)
                self._pending.popleft()
                slots.release()
                for (_, token, _), outcome in zip(items, outcomes, strict=False):
                    await self.finish(outcome, token)
        except EndOfStream:
            await feeder
        finally:
            feeder.cancel()
            self.stop_event.set()
            for future in self._pending:
                future.cancel()
            # The stages are closed next: let the calls that run return first.
            if not await self._calls_returned():
                log.warning(
                    "%s: a call hangs; it is left behind and ends when it returns", self.name
                )

    async def _calls_returned(self) -> bool:
        if self._workers is not None:
            return await self._workers.aclose(_CLOSE_TIMEOUT)
        return (
            not self._pending or not (await asyncio.wait(self._pending, timeout=_CLOSE_TIMEOUT))[1]
        )

    async def _feed(self, slots: asyncio.Semaphore, calls: Edge) -> None:
        inlet = self.inlets[0]
        try:
            while True:
                await slots.acquire()
                items = [inlet.get_nowait() or await inlet.get()]
                more = (inlet.get_nowait() for _ in range(self._more(inlet)))
                items += [item for item in more if item is not None]
                for _ in items:
                    self.begin()
                future = self._submit([value for value, _, _ in items])
                self._pending.append(future)
                calls.put_nowait((items, future), items[0][1])
        except EndOfStream:
            calls.close()

    def _more(self, inlet: Edge) -> int:
        """Return how many items may go into a call beside the first."""
        if not self.in_threads or self.timeout is not None or type(inlet) is not Edge:
            return 0
        in_time = int(_CALL_TIME / self.service) - 1 if self.service else 0
        return max(0, min(len(inlet) // self.concurrency, in_time))

    def _submit(self, values: list[Any]) -> asyncio.Future[list[Outcome]]:
        if self._workers is None:
            return asyncio.create_task(_call_each(self.stages[0], values), name=self.name)
        return self._workers.submit(_run_each, self.stages, values, self.stop_event)

    async def _outcomes_of(
        self, items: list[Item], future: asyncio.Future[list[Outcome]]
    ) -> list[Outcome]:
        if self.timeout is None:
            return await future
        stage = self.stages[0]
        attempts = stage.on_error.attempts if isinstance(stage.on_error, Retry) else 0
        for attempt in range(attempts + 1):
            if attempt:
                future = self._submit([items[0][0]])
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
        return [outcome]

    def _give_up(self, future: asyncio.Future[list[Outcome]]) -> None:
        assert self._workers is not None
        self._workers.abandon(future)
        log.warning("%s: a call hangs; %d thread(s) left behind", self.name, self._workers.hung)

    async def settled(self) -> None:
        """Wait until the items that are in work now are done."""
        if self._pending:
            await asyncio.wait(list(self._pending))


def _no_drop(edge: Edge, value: Any, cause: str, source: str) -> None:
    """Items in flight are counted by the stage, not by the queue of calls."""


def _run_each(stages: Sequence[Stage], values: list[Any], stop: threading.Event) -> list[Outcome]:
    """Run items through sync stages in the calling thread, up to the first fatal error."""
    outcomes = []
    for value in values:
        outcomes.append(run_stages(stages, value, stop))
        if outcomes[-1].fatal is not None:
            break
    return outcomes


async def _call_each(stage: Stage, values: list[Any]) -> list[Outcome]:
    return [await call_one(stage, value) for value in values]
