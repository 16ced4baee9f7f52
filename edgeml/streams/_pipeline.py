"""The pipeline: chains that run together."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator
from typing import Any

from edgeml.errors import GraphError, PipelineError
from edgeml.streams._build import Builder, Intent
from edgeml.streams._chain import Chain, Composable, Step, flatten, is_head
from edgeml.streams._edge import Edge, EndOfStream
from edgeml.streams._emitter import Emitter
from edgeml.streams._nodes import SourceNode
from edgeml.streams._runner import CLOSE_TIMEOUT, Runner
from edgeml.streams._sample import Clock
from edgeml.streams._stage import Stage
from edgeml.streams._stage_nodes import StageNode
from edgeml.streams._stats import Stats, explain, stats_of

log = logging.getLogger("edgeml.streams")


class Pipeline(Composable, Emitter):
    """Chains of source, stages and sink that run together; made by ``|`` or of parts.

    Events, see `on`, `once`, `off` and `events`:

    - ``"result"``: an item reached an end, or left through a sink; payload: the item.
    - ``"drop"``: an item was lost; payload: `Drop`.
    - ``"error"``: the pipeline failed; payload: the error. If nobody listens, `run` raises it.
    - ``"state"``: a source connects, flows, reconnects or ends, or a task's isolated model
      leaves its delegate or returns; payload: `StateChange`.

    A pipeline runs once.

    Args:
        parts: Chains that start with a source; or the steps of one, in order.
        name: For logs.
        max_lag: Lag of the event loop, seconds, from which on the stage that blocks it is
            named; None turns the guard off.

    Raises:
        GraphError: the parts make no pipeline.

    Example:
        >>> import asyncio
        >>> from edgeml.streams import Source
        >>> pipeline = Source.of(range(5)) | (lambda n: n * n)
        >>> async def main():
        ...     return [item async for item in pipeline]
        >>> asyncio.run(main())
        [0, 1, 4, 9, 16]
        >>> pipeline.stats().sources["items"].in_
        5
    """

    names = ("result", "drop", "error", "state")

    def __init__(self, *parts: Step, name: str = "pipeline", max_lag: float | None = 0.1) -> None:
        super().__init__()
        self.name = name
        self.chains = _chains_of(parts)
        self._max_lag = max_lag
        self._swaps = asyncio.Lock()
        self._runner: Runner | None = None
        self._builder: Builder | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def steps(self) -> tuple[Step, ...]:
        """Return the steps of the only chain, for appending to it."""
        if len(self.chains) != 1:
            raise GraphError(
                f"{self.name!r} has {len(self.chains)} chains, so there is no one end to append "
                f"to; append before putting them together, or merge() them"
            )
        return self.chains[0].steps()

    def _build(self) -> Runner:
        if self._runner is not None:
            raise PipelineError(
                f"{self.name!r} has run already; sources and sinks live once, so build a new one"
            )
        if not self.chains:
            raise GraphError(f"{self.name!r} is empty; give it a source")
        runner = Runner(self, self._max_lag)
        builder = Builder(runner)
        for chain in self.chains:
            end = builder.add_chain(chain)
            if end is not None:
                runner.open_ends.append(end)
        runner.nodes += builder.added
        self._runner, self._builder = runner, builder
        return runner

    async def run(self) -> None:
        """Run until the sources end; items that reach an open end are ``"result"`` events.

        Cancelling it closes everything, upstream first.

        Raises:
            StageFailed: a stage failed and its policy is to fail.
            EdgeMLError: a source or sink failed.
        """
        runner = self._build()
        self._loop = asyncio.get_running_loop()
        patience: float | None = None
        try:
            await runner.run()
        except asyncio.CancelledError:
            patience = CLOSE_TIMEOUT
            raise
        finally:
            await self._flush(patience)
            self._end_events()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Run, and yield what reaches the one open end; leaving the loop stops the pipeline."""
        runner = self._build()
        if len(runner.open_ends) != 1:
            raise GraphError(
                f"{self.name!r} has {len(runner.open_ends)} open ends; iterating needs exactly one "
                f"chain without a sink (or merge() them)"
            )
        results = runner.results = Edge("end", "caller", 1, 1 << 62, runner.on_drop)
        self._loop = asyncio.get_running_loop()
        running = asyncio.create_task(runner.run(), name=self.name)
        running.add_done_callback(lambda _: results.close())
        try:
            while True:
                value, _, _ = results.get_nowait() or await results.get()
                yield value
        except EndOfStream:
            await running
            await self._flush()
        finally:
            results.abandon("ended")
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()
            await self._flush(CLOSE_TIMEOUT)
            self._end_events()

    async def drain(self) -> None:
        """Stop the sources, let what is on its way arrive, and wait for the end."""
        runner = self._running()
        runner.stop_sources()
        if tasks := [node.task for node in runner.nodes if node.task is not None]:
            await asyncio.wait(tasks)

    def _running(self) -> Runner:
        if self._runner is None or not self.is_running:
            raise PipelineError(f"{self.name!r} is not running")
        return self._runner

    def _built(self) -> Runner:
        if self._runner is None:
            raise PipelineError(f"{self.name!r} has not run yet, so it has no figures")
        return self._runner

    # Changes while it runs

    async def add(self, *steps: Step, at: str | None = None) -> str:
        """Add a chain to the running pipeline; return the name to `remove` it by.

        Args:
            steps: A chain with a source of its own, or with `at`, one without.
            at: Name of a source, a stage or an operator that the new branch hangs on.
        """
        runner, builder = self._running(), self._builder
        assert builder is not None
        builder.added = []
        chain = Chain(steps)
        if at is None:
            builder.add_chain(chain)
            name = str(chain.steps()[0].name)
        else:
            name = self._add_branch(builder, chain, at)
        added = builder.added
        new_edge = builder.branches.get(name) if at is not None else None
        try:
            await runner.open(added)
        except BaseException:
            if new_edge is not None:
                await runner.detach(new_edge)
            raise
        runner.nodes += added
        runner.start(added)
        return name

    def _add_branch(self, builder: Builder, chain: Chain, at: str) -> str:
        if chain.has_head:
            raise GraphError(f"{chain!r} has a source of its own, so at= has no meaning")
        for node in self._running().nodes:
            last = node.counters[-1].name if node.counters else node.name
            if at == last:
                intent = Intent.of(node.source) if isinstance(node, SourceNode) else Intent()
                builder.add_steps(chain.steps(), node.outlet, at, intent)
                return builder.added[0].name if builder.added else str(chain.steps()[0].name)
        ends = [n.counters[-1].name if n.counters else n.name for n in self._running().nodes]
        raise GraphError(f"nothing can hang on {at!r}; expected one of {', '.join(ends)}")

    async def remove(self, name: str) -> None:
        """End a source or a branch by its name; what is on its way is worked off."""
        runner, builder = self._running(), self._builder
        assert builder is not None
        for node in runner.nodes:
            if isinstance(node, SourceNode) and node.name == name:
                node.stop()
                if node.task is not None:
                    await asyncio.wait([node.task])
                return
        edge = builder.branches.get(name)
        if edge is None:
            raise GraphError(f"there is no source or branch {name!r}")
        await runner.detach(edge)
        tasks = [n.task for n in runner.nodes if edge in n.inlets and n.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    async def swap(self, name: str, new: Any) -> None:
        """Put another stage in the place of one, between two items; none is lost.

        The new stage is opened first, and the old one closed when its last call is done.
        When the new one cannot be opened, the old one goes on. Swaps follow one another.
        Concurrency and time-out of the place stay as they were.

        Args:
            name: Of the stage.
            new: A stage or a function; for a task, a model too: path, URL or ``"edgeml:NAME"``.
                It is loaded beside the old one, in a thread, tried out, and refused when it
                takes or gives something else; see `Task`.

        Raises:
            GraphError: there is no such stage, or the new one is of another kind.
            ModelError: the model cannot be loaded, or does not fit.
            PipelineError: the pipeline, or this part of it, has ended.
        """
        runner, builder = self._running(), self._builder
        assert builder is not None
        async with self._swaps:
            node, old = self._find_stage(name)
            stage: Stage = old.replacement(new)
            if (old.is_async, old.inline) != (stage.is_async, stage.inline):
                raise GraphError(
                    f"swap: {name!r} is {_kind(old)} and the new stage is {_kind(stage)}; "
                    f"they must be of one kind"
                )
            builder.claim_place(stage)
            try:
                stage.name = name
                await runner.open_steps([stage])
                if node.is_closing:
                    await runner.retire(stage)
                    raise PipelineError(f"swap: {name!r} ended while the new stage was opened")
            except BaseException:
                builder.give_up_place(stage)
                raise
            node.replace(old, stage)
            builder.give_up_place(old)
            # A caller that is cancelled here must not leave the old stage open.
            await asyncio.shield(_retire(runner, node, old))

    def _find_stage(self, name: str) -> tuple[StageNode, Stage]:
        nodes = [node for node in self._running().nodes if isinstance(node, StageNode)]
        for node in nodes:
            for step in node.steps:
                if step.name == name:
                    return node, step
        there = ", ".join(step.name for node in nodes for step in node.steps)
        raise GraphError(f"swap: there is no stage {name!r}; expected one of {there or 'none'}")

    def limit(self, source: str, fps: float | None) -> None:
        """Let at most `fps` items a second of a source into the running pipeline.

        A source that may lose items loses those in between, counted as ``"limited"``; one that
        keeps every item is read more slowly.

        Args:
            source: Its name.
            fps: Items a second, above 0; None takes the limit away.

        Raises:
            GraphError: there is no such source.
            PipelineError: the pipeline is not running.
        """
        if fps is not None and not 0 < fps < math.inf:
            raise ValueError(f"limit: fps must be a positive number, or None; received {fps!r}")
        nodes = [node for node in self._running().nodes if isinstance(node, SourceNode)]
        for node in nodes:
            if node.name == source:
                node.limit(fps, may_skip=Intent.of(node.source).lossy)
                return
        there = ", ".join(node.name for node in nodes)
        raise GraphError(f"limit: there is no source {source!r}; expected one of {there}")

    # Figures

    @property
    def is_running(self) -> bool:
        """Whether it runs now, so that it can be changed."""
        return self._runner is not None and self._runner.is_running

    def stats(self) -> Stats:
        """Return the figures so far."""
        return stats_of(self._built(), self.events_lost)

    def explain(self) -> str:
        """Say what holds the pipeline back, and what was lost and why."""
        return explain(self.stats())

    @property
    def clock(self) -> Clock:
        """The clock that samples' times are on."""
        return self._built().clock

    # A loop of its own, for notebooks and other programs without one

    def start(self) -> None:
        """Run on a loop of its own in a background thread; listeners are called there."""
        if self._thread is not None:
            raise PipelineError(f"{self.name!r} was started already")
        started = threading.Event()
        self._outcome: list[BaseException | None] = []

        async def main() -> None:
            self._task = asyncio.current_task()
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(started.set)
            await self.run()

        def target() -> None:
            try:
                asyncio.run(main())
            except (Exception, asyncio.CancelledError) as error:
                self._outcome.append(error)
            finally:
                started.set()

        self._thread = threading.Thread(target=target, name=f"edgeml {self.name}", daemon=True)
        self._thread.start()
        started.wait()

    def stop(self, timeout: float = 10.0) -> None:
        """Drain a pipeline that was started, and wait for its end.

        Raises:
            EdgeMLError: what ended the pipeline, if it failed.
            PipelineError: it did not end in time and was cancelled.
        """
        if self._thread is None or self._loop is None:
            raise PipelineError(f"{self.name!r} was not started")
        self._call_soon(self._built().stop_sources)
        self._thread.join(timeout)
        if self._thread.is_alive():
            assert self._task is not None
            self._call_soon(self._task.cancel)
            self._thread.join(timeout)
            raise PipelineError(f"{self.name!r} did not end within {timeout} s and was cancelled")
        for error in self._outcome:
            if error is not None:
                raise error

    def _call_soon(self, fn: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(fn)
        except RuntimeError:  # its loop has closed: it has ended by itself
            log.debug("%s has ended already", self.name)

    def __repr__(self) -> str:
        return f"<Pipeline {self.name!r}: {'; '.join(map(repr, self.chains))}>"


def _chains_of(parts: tuple[Step, ...]) -> list[Chain]:
    """Cut a list of parts into chains: each source begins a new one."""
    chains: list[list[Step]] = []
    for part in parts:
        inner = part.chains if isinstance(part, Pipeline) else None
        if inner is not None and len(inner) != 1:
            chains += [list(chain.steps()) for chain in inner]
            continue
        for step in flatten([part]):
            if is_head(step) or not chains:
                chains.append([])
            chains[-1].append(step)
    return [Chain(steps) for steps in chains]


async def _retire(runner: Runner, node: StageNode, old: Stage) -> None:
    await node.settled()
    await runner.retire(old)


def _kind(stage: Any) -> str:
    kind = "async" if stage.is_async else "sync"
    return f"{kind} and inline" if stage.inline else kind
