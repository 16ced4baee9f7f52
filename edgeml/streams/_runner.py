"""A running pipeline: its nodes, its ledgers, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeml.streams._counters import Counters, Histogram, SourceCounters, add_to, describe
from edgeml.streams._edge import Edge, Token
from edgeml.streams._ending import PATIENCE
from edgeml.streams._lag import LagGuard
from edgeml.streams._nodes import Node, SourceNode
from edgeml.streams._opening import open_all
from edgeml.streams._sample import Clock
from edgeml.streams._source import SourceState
from edgeml.streams._stage import Stage, StageState

if TYPE_CHECKING:
    from edgeml.streams._pipeline import Pipeline

log = logging.getLogger("edgeml.streams")

CLOSE_TIMEOUT = 5.0  # seconds that a step may take to deliver what it holds


@dataclass(frozen=True)
class Drop:
    """Payload of ``"drop"``: an item that was lost.

    Attributes:
        step: Where it was lost: ``"camera -> detect"`` for a queue, else a stage's name.
        cause: ``"stale"``, ``"superseded"``, ``"overflow"``, ``"error"``, ``"cancelled"`` …
        item: What was lost.
        error: What a stage raised, if that was the cause.
    """

    step: str
    cause: str
    item: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class StateChange:
    """Payload of ``"state"``: a source connects, flows, reconnects or ends.

    Of a task whose model is isolated, too: it is ``"running"`` on its delegate, a ``"fallback"``
    to the CPU, or ``"lost"`` until the model's process is back; `source` is the task's name.
    """

    source: str
    old: SourceState | StageState
    new: SourceState | StageState
    reason: str


class Runner:
    """Runs nodes as named tasks of one `asyncio.TaskGroup`, and ends them upstream first."""

    def __init__(self, pipeline: Pipeline, max_lag: float | None) -> None:
        self.pipeline = pipeline
        self.clock = Clock()
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.sources: dict[str, SourceCounters] = {}
        self.latency = Histogram()
        self.results: Edge | None = None
        self.open_ends: list[Any] = []
        self.failure: BaseException | None = None
        self.lag = LagGuard(max_lag) if max_lag is not None else None
        self.began = time.monotonic()
        self.took: float | None = None
        self._group: asyncio.TaskGroup | None = None
        self._over: asyncio.Future[None] | None = None
        self._told: set[tuple[str, str]] = set()
        self._half_open: list[Any] = []  # steps that a thread opens yet, which then closes them

    @property
    def is_running(self) -> bool:
        """Whether nodes can be started and stopped now."""
        return self._group is not None

    # What nodes report

    def source_ledger(self, name: str) -> SourceCounters:
        """Return the ledger of a source, made at its first use."""
        return self.sources.setdefault(name, SourceCounters())

    def on_drop(self, edge: Edge, value: Any, cause: str, source: str) -> None:
        """Count a drop on an edge under the item's source, and say the first aloud."""
        if source in self.sources:
            add_to(self.sources[source].dropped, cause)
        if cause not in ("ended", "cancelled"):
            self._say_once(f"{edge.origin} -> {edge.target}", cause, describe(value))
        self.pipeline.emit_soon("drop", Drop(f"{edge.origin} -> {edge.target}", cause, value))

    def item_failed(self, counters: Counters, error: BaseException) -> None:
        """Report an item that a stage or sink failed with."""
        self._say_once(counters.name, "error", f"{type(error).__name__}: {error}")
        self.pipeline.emit_soon("drop", Drop(counters.name, "error", None, error))

    def _say_once(self, where: str, cause: str, what: str) -> None:
        level = logging.DEBUG if (where, cause) in self._told else logging.WARNING
        self._told.add((where, cause))
        log.log(level, "%s: dropped (%s): %s; later ones are only counted", where, cause, what)

    async def deliver(self, value: Any, token: Token) -> None:
        """An item has reached an open end."""
        if self.results is not None:
            await self.results.put(value, token)
        await self.delivered(value, token)

    async def delivered(self, value: Any, token: Token) -> None:
        """An item has reached an end or left through a sink."""
        latency = time.monotonic_ns() - token.entered
        self.latency.add(latency)
        ledger = self.sources.get(token.source)
        if ledger is not None:
            ledger.out += 1
            ledger.latency.add(latency)
        token.release()
        if self.pipeline.listens("result"):
            await self.pipeline.emit("result", value)

    def fail(self, error: BaseException) -> None:
        """End the pipeline with an error; the first one counts."""
        if self.failure is None:
            self.failure = error
        self._end()

    def _end(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    # Life cycle

    async def run(self) -> None:
        """Open everything, run until the sources end, close everything.

        Raises:
            EdgeMLError: what ended the pipeline, if nobody listens to ``"error"``.
        """
        self._over = asyncio.get_running_loop().create_future()
        self.began = time.monotonic()
        self.clock.start = self.clock.now()
        try:
            await self.open(self.nodes)
            await self._run_nodes()
        except Exception as error:
            self.fail(error)
        finally:
            self.took = time.monotonic() - self.began
            if self.lag is not None:
                await self.lag.stop()
        if self.failure is not None:
            heard = self.pipeline.listens("error")
            await self.pipeline.emit("error", self.failure)
            if not heard:
                raise self.failure

    async def _run_nodes(self) -> None:
        assert self._over is not None
        if self.lag is not None:
            self.lag.start()
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.start(self.nodes)
            try:
                await self._over
            finally:
                await self._shut_down()
                self._group = None
        if self.results is not None:
            self.results.close()

    def start(self, nodes: Iterable[Node]) -> None:
        """Start the tasks of nodes that have been opened."""
        assert self._group is not None
        for node in nodes:
            if isinstance(node, SourceNode):
                self._watch(node)
            node.task = self._group.create_task(node.run(), name=node.name)
            node.task.add_done_callback(self._node_done)

    def _watch(self, node: SourceNode) -> None:
        def changed(old: SourceState, new: SourceState, reason: str) -> None:
            self.pipeline.emit_soon("state", StateChange(node.name, old, new, reason))

        node.source.clock = self.clock
        node.source._listener = changed

    def _node_done(self, _: asyncio.Task[None]) -> None:
        if all(node.task is not None and node.task.done() for node in self.nodes):
            self._end()

    async def _shut_down(self) -> None:
        """Cancel what still runs, upstream first, so that nothing is sent to what is closed."""
        for node in self.nodes:
            if node.task is not None:
                await self._end_node(node, node.task)

    async def _end_node(self, node: Node, task: asyncio.Task[None]) -> None:
        while not task.done():
            if not node.is_closing:
                # Libraries may swallow a cancellation, so it is asked for again and again.
                task.cancel()
                await asyncio.wait([task], timeout=PATIENCE)
                continue
            # It may have things to deliver yet, and a cancellation would cut that short.
            if not (await asyncio.wait([task], timeout=CLOSE_TIMEOUT))[0]:
                log.warning(
                    "%s has not closed within %g s and is given up", node.name, CLOSE_TIMEOUT
                )
                task.cancel()

    async def open(self, nodes: Iterable[Node]) -> None:
        """Open the steps of nodes, all at once; if one fails, close the others."""
        try:
            await self.open_steps([step for node in nodes for step in node.steps])
        except BaseException:
            for node in nodes:
                await node.release()
            raise

    async def open_steps(self, steps: Sequence[Any]) -> None:
        """Open stages and sinks, all at once."""
        for step in steps:
            if isinstance(step, Stage):
                step._listener = self._stage_listener(step, asyncio.get_running_loop())
        await open_all(steps, self._half_open)

    def _stage_listener(
        self, stage: Stage, loop: asyncio.AbstractEventLoop
    ) -> Callable[[StageState, StageState, str], None]:
        """Return what a stage calls, in whatever thread, when its state changes."""

        def changed(old: StageState, new: StageState, reason: str) -> None:
            change = StateChange(stage.name, old, new, reason)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.pipeline.emit_soon, "state", change)

        return changed

    async def close_step(self, step: Any) -> None:
        """Close one stage or sink; an error is logged, since nobody waits for it."""
        if any(step is other for other in self._half_open):
            return
        try:
            closing = step.aclose()
            if inspect.isawaitable(closing):
                await closing
        except Exception as error:
            log.warning("%s: error while closing: %s", step.name, error, exc_info=True)

    async def retire(self, step: Any) -> None:
        """Close a stage while others run: in a thread, as freeing a model takes its time."""
        if inspect.iscoroutinefunction(step.aclose):
            await self.close_step(step)
            return
        try:
            closing = await asyncio.to_thread(step.aclose)
            if inspect.isawaitable(closing):
                await closing
        except Exception as error:
            log.warning("%s: error while closing: %s", step.name, error, exc_info=True)

    def stop_sources(self) -> None:
        """End the sources; what is on its way arrives."""
        for node in self.nodes:
            if isinstance(node, SourceNode):
                node.stop()

    async def detach(self, edge: Edge) -> None:
        """End a branch at its edge; what it holds is worked off."""
        for node in self.nodes:
            with contextlib.suppress(ValueError):
                node.outlet.edges.remove(edge)
        edge.close()
