"""Calling stages: their error policies, and the tally that goes into the ledger."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import perf_counter_ns
from types import GeneratorType
from typing import Any, TypeVar

from edgeml.errors import EdgeMLError, PipelineError, StageFailed, StageTimeout
from edgeml.streams._sample import Sample
from edgeml.streams._sink import Sink
from edgeml.streams._stage import SKIP, Retry, Stage

log = logging.getLogger("edgeml.streams")

T = TypeVar("T")


class Tally:
    """What one call did to the ledger of one stage."""

    __slots__ = ("busy", "emitted", "errors", "in_", "skipped")

    def __init__(self) -> None:
        self.in_ = 0
        self.skipped = 0
        self.emitted = 0
        self.busy = 0
        self.errors: list[BaseException] = []


class Outcome:
    """What became of one item in a run of stages."""

    __slots__ = ("fatal", "outputs", "tallies")

    def __init__(self) -> None:
        self.outputs: list[Any] = []
        self.tallies: list[Tally] = []
        self.fatal: tuple[Stage, BaseException] | None = None


def wrap(item: Any, result: Any) -> Any:
    """Keep the sample around a result that is not one."""
    if type(item) is Sample and type(result) is not Sample:
        return item.with_data(result)
    return result


def is_fatal(stage: Any, error: BaseException) -> bool:
    """Whether an error ends the pipeline, by the stage's policy."""
    policy = stage.on_error
    if not isinstance(error, Exception):
        return True
    return (policy.then if isinstance(policy, Retry) else policy) == "fail"


def run_stages(stages: Sequence[Stage], item: Any, stop: threading.Event) -> Outcome:
    """Run an item through sync stages, one after the other, in the calling thread."""
    outcome = Outcome()
    items = [item]
    for stage in stages:
        tally = Tally()
        outcome.tallies.append(tally)
        outputs: list[Any] = []
        for item in items:
            tally.in_ += 1
            began = perf_counter_ns()
            try:
                results = _attempt(stage, item, stop)
            except BaseException as error:
                tally.busy += perf_counter_ns() - began
                tally.errors.append(error)
                if is_fatal(stage, error):
                    outcome.fatal = (stage, error)
                    return outcome
                continue
            tally.busy += perf_counter_ns() - began
            if results is SKIP:
                tally.skipped += 1
            elif type(results) is list:
                tally.emitted += len(results)
                outputs += results
        items = outputs
        if not items:
            break
    outcome.outputs = items
    return outcome


def _attempt(stage: Stage, item: Any, stop: threading.Event) -> Any:
    """Call a sync stage by its policy; return a list of items, or SKIP."""
    policy = stage.on_error
    if isinstance(policy, Retry):
        delays = policy.backoff.delays()
        for _ in range(policy.attempts):
            try:
                return _call(stage, item)
            except Exception as error:
                log.debug("%s: %s; trying again", stage.name, error)
                if stop.wait(next(delays, 0.0)):
                    raise
    return _call(stage, item)


def _call(stage: Stage, item: Any) -> Any:
    result = stage(item)
    if result is SKIP:
        return SKIP
    if isinstance(result, GeneratorType):
        return [wrap(item, each) for each in result if each is not SKIP]
    return [wrap(item, result)]


async def call_async(stage: Stage, item: Any) -> Any:
    """Call an async stage by its policy and time-out; return a list of items, or SKIP."""
    return await retried(stage, lambda: _call_async(stage, item))


async def retried(step: Stage | Sink, call: Callable[[], Awaitable[T]]) -> T:
    """Await a call of a stage or a sink, again where its policy says so."""
    policy = step.on_error
    if isinstance(policy, Retry):
        delays = policy.backoff.delays()
        for _ in range(policy.attempts):
            try:
                return await call()
            except Exception as error:
                log.debug("%s: %s; trying again", step.name, error)
                await asyncio.sleep(next(delays, 0.0))
    return await call()


async def _call_async(stage: Stage, item: Any) -> Any:
    if stage.timeout is None:
        result = stage(item)
        result = await result if inspect.isawaitable(result) else await _collect(result)
    else:
        try:
            async with asyncio.timeout(stage.timeout) as deadline:
                result = stage(item)
                result = await result if inspect.isawaitable(result) else await _collect(result)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise timed_out(stage) from error
    if result is SKIP:
        return SKIP
    if type(result) is _Collected:
        return [wrap(item, each) for each in result if each is not SKIP]
    return [wrap(item, result)]


class _Collected(list[Any]):
    """Items of an async generator, as opposed to a list that is one item."""


async def _collect(result: Any) -> Any:
    if isinstance(result, AsyncIterator):
        return _Collected([each async for each in result])
    return result


def timed_out(stage: Stage) -> StageTimeout:
    """Return the error of a stage that did not finish in time."""
    return StageTimeout(
        f"stage {stage.name!r} did not finish an item within {stage.timeout} s; it needs a larger "
        f'timeout=, less work an item, or on_error="skip" to go on without the item',
        stage=stage.name,
        timeout=stage.timeout,
    )


def as_failure(step: Any, error: BaseException, item_no: int) -> BaseException:
    """Return what the pipeline raises for a step's error: our own errors as they are."""
    if isinstance(error, PipelineError) or not isinstance(error, Exception):
        return error
    failure = StageFailed(
        f"stage {step.name!r} failed at item {item_no}: {type(error).__name__}: {error}",
        stage=step.name,
        item_no=item_no,
    )
    failure.__cause__ = error
    return failure


def as_open_failure(step: Any, error: BaseException) -> BaseException:
    """Return what the pipeline raises when a step cannot be opened."""
    if isinstance(error, EdgeMLError) or not isinstance(error, Exception):
        return error
    failure = StageFailed(
        f"{step.name!r} could not be opened: {type(error).__name__}: {error}", stage=step.name
    )
    failure.__cause__ = error
    return failure
