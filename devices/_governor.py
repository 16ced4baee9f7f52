"""The governor: less work before the heat slows the board down."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edgeml.devices._board_state import temperatures, throttled, throttles_at
from edgeml.devices._governor_control import Control
from edgeml.errors import DeviceError, DeviceNotFound, EdgeMLError, GraphError
from edgeml.streams import Pipeline
from edgeml.streams._emitter import Emitter

log = logging.getLogger("edgeml.devices")

_SOON = 0.1  # seconds between two looks at whether the pipeline runs

Levels = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class GovernorStep:
    """Payload of ``"step"``: the governor went to another level.

    Attributes:
        level: Where it is now; 0 is the top.
        old: Where it was.
        reason: Why, such as ``"cpu-thermal at 81.2 °C, throttles at 85 °C"``.
        changes: What was changed, such as ``"door: 30 -> 15 fps"``.
    """

    level: int
    old: int
    reason: str
    changes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.reason}: {', '.join(self.changes) or 'nothing is left to change'}"


class Governor(Emitter):
    """Lowers frame rates and takes smaller models before a board throttles; opt-in.

    It is told a ladder: for each source the frame rates, for each task the models, from the
    top down, one entry a level. When a sensor comes within `margin` of the temperature at
    which the board throttles, or the board says that it does, it goes one level down; when
    all have been cool for a while, one up. See `Pipeline.limit` and `Pipeline.swap`.

    Events, see `on`: ``"step"`` with a `GovernorStep`, and ``"error"`` with what kept it from
    a change: a model that does not fit, no sensor that can be read. Both are logged, too.

    Args:
        pipeline: What to govern.
        fps: Frames a second by the source's name, one for each level; None is no limit.
        models: Models by the task's name, one for each level; the first is the one that the
            pipeline was made with.
        limit: °C at which the board throttles; None is what the board says of each sensor.
        margin: °C below that at which it steps down.
        hysteresis: °C below the margin at which it may step up.
        dwell: Seconds between two steps, at least, and for which it must be cool to go up.
        interval: Seconds between two looks at the sensors.
        root: Where ``sys`` and ``proc`` are; another folder for tests.
        clock: What tells seconds; another one for tests.

    Raises:
        ValueError: the ladder has no second level, or its lists are not of one length.

    Example:
        With a camera named ``door`` and a task named ``people``::

            pipeline = Camera(0, name="door") | ObjectDetector("big.onnx", name="people")
            governor = Governor(
                pipeline,
                fps={"door": [30, 15, 15]},
                models={"people": ["big.onnx", "big.onnx", "small.onnx"]},
            )
            governor.on("step", print)
            async with governor:
                await pipeline.run()
    """

    names = ("step", "error")

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        fps: Mapping[str, Sequence[float | None]] | None = None,
        models: Mapping[str, Sequence[str | os.PathLike[str]]] | None = None,
        limit: float | None = None,
        margin: float = 5.0,
        hysteresis: float = 5.0,
        dwell: float = 30.0,
        interval: float = 2.0,
        root: str | os.PathLike[str] = "/",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.fps = {name: tuple(values) for name, values in (fps or {}).items()}
        self.models = {name: tuple(paths) for name, paths in (models or {}).items()}
        self.levels = _check_ladder(self.fps, self.models)
        _check_numbers(limit=limit, dwell=dwell, interval=interval)
        _check_numbers(least=0.0, margin=margin, hysteresis=hysteresis)
        self._limit = limit
        self._options = {"margin": margin, "hysteresis": hysteresis, "dwell": dwell}
        self._interval = interval
        self._root = Path(root)
        self._clock = clock
        self._control: Control | None = None
        self._task: asyncio.Task[None] | None = None
        self._limited: dict[str, float | None] = {}
        self._running = {name: paths[0] for name, paths in self.models.items()}
        self._has_begun = False
        self._is_blind = False

    @property
    def level(self) -> int:
        """Where it is on the ladder; 0 is the top."""
        return 0 if self._control is None else self._control.level

    async def open(self) -> None:
        """Find the sensors and all models of the ladder; idempotent.

        Raises:
            DeviceNotFound: there is nothing to go by.
            ModelNotFound: a model is not there.
            DownloadError: a model cannot be fetched.
        """
        if self._control is None:
            self._control = await asyncio.to_thread(self._prepare)

    def _prepare(self) -> Control:
        from edgeml.runtime import resolve

        for path in {path for paths in self.models.values() for path in paths}:
            resolve(path)  # a model that is not there is no news for when it is hot
        there = temperatures(self._root)
        limits = throttles_at(self._root)
        if self._limit is not None:
            limits = dict.fromkeys(there, self._limit)
        if not limits:
            said = f"there are {', '.join(there)}" if there else "there is no thermal zone"
            raise DeviceNotFound(
                f"the governor has nothing to go by in {self._root}: {said}"
                + (", and none says when it throttles; pass limit=°C" if there else "")
            )
        return Control(limits, self.levels, **self._options)

    async def check(self) -> GovernorStep | None:
        """Look at the board once, and take the step that is due; return it.

        `run` does this again and again. While the pipeline does not run, nothing happens.

        Raises:
            GraphError: the pipeline has no source or task of a name in the ladder.
        """
        await self.open()
        assert self._control is not None
        if not self.pipeline.is_running:
            return None
        if not self._has_begun:
            self._check_names()
            self._set_rates(0)
            self._has_begun = True
        hot, slow = await asyncio.to_thread(self._look)
        verdict = self._control.decide(self._clock(), hot, slow)
        await self._tell_if_blind(self._control.blind and not slow)
        if verdict is None or not self.pipeline.is_running:
            return None
        level = self._control.level
        changes = [*self._set_rates(level), *await self._set_models(level)]
        step = GovernorStep(level, level - verdict.step, verdict.why, tuple(changes))
        log.log(logging.WARNING if verdict.step > 0 else logging.INFO, "%s", step)
        await self.emit("step", step)
        return step

    def _look(self) -> tuple[dict[str, float], list[str]]:
        return temperatures(self._root), list(throttled(self._root))

    def _check_names(self) -> None:
        stages = self.pipeline.stats().stages
        for name in self.models:
            if name not in stages:
                raise GraphError(
                    f"the governor's ladder has models for {name!r}, and the pipeline no such "
                    f"task; expected one of {', '.join(stages)}"
                )

    def _set_rates(self, level: int) -> list[str]:
        changes = []
        for source, rates in self.fps.items():
            rate, old = rates[level], self._limited.get(source, rates[0])
            self.pipeline.limit(source, rate)
            self._limited[source] = rate
            if rate != old:
                changes.append(f"{source}: {_said(old)} -> {_said(rate)} fps")
        return changes

    async def _set_models(self, level: int) -> list[str]:
        from edgeml.runtime._load import said

        changes = []
        for task, paths in self.models.items():
            path, old = paths[level], self._running[task]
            if path == old:
                continue
            try:
                await self.pipeline.swap(task, path)
            except EdgeMLError as error:
                log.warning("%s goes on with %s: %s", task, said(old), error)
                await self.emit("error", error)
                continue
            self._running[task] = path
            changes.append(f"{task}: {said(old)} -> {said(path)}")
        return changes

    async def _tell_if_blind(self, blind: bool) -> None:
        if blind and not self._is_blind:
            error = DeviceError(
                f"the governor cannot read a temperature in {self._root}; it stays at level "
                f"{self.level} until it can"
            )
            log.warning("%s", error)
            await self.emit("error", error)
        self._is_blind = blind

    async def _listener_failed(self, error: Exception) -> None:
        log.error("a listener of 'step' raised", exc_info=error)
        await super()._listener_failed(error)

    async def run(self) -> None:
        """Look at the board until cancelled; `async with` does this beside the block."""
        while True:
            await self.check()
            # The rates of the top level are due as soon as the pipeline runs.
            await asyncio.sleep(self._interval if self._has_begun else min(self._interval, _SOON))

    async def __aenter__(self) -> Self:
        await self.open()
        self._task = asyncio.create_task(self._run_and_tell(), name="edgeml governor")
        return self

    async def _run_and_tell(self) -> None:
        try:
            await self.run()
        except Exception as error:  # what is governed goes on without
            log.exception("the governor has stopped")
            await self.emit("error", error)

    async def __aexit__(self, *exc_info: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._end_events()


def _check_ladder(fps: Levels, models: Levels) -> int:
    lists = {
        **{f"fps {k}": v for k, v in fps.items()},
        **{f"models {k}": v for k, v in models.items()},
    }
    lengths = {name: len(values) for name, values in lists.items()}
    if not lengths or len(set(lengths.values())) > 1 or min(lengths.values()) < 2:
        received = ", ".join(f"{n} with {k}" for n, k in lengths.items()) or "none"
        raise ValueError(
            f"Governor: expected fps= or models= with lists of one length, one entry a level and "
            f"at least two; received {received}"
        )
    for name, rates in fps.items():
        numbers = [float("inf") if rate is None else rate for rate in rates]
        if not all(rate > 0 for rate in numbers) or numbers != sorted(numbers, reverse=True):
            raise ValueError(
                f"Governor: fps of {name} must be positive and not grow from level to level; "
                f"received {list(rates)}"
            )
    return min(lengths.values())


def _check_numbers(least: float = 1e-9, **numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and not least <= value < float("inf"):
            kind = "a number of at least 0" if least == 0 else "a positive number"
            raise ValueError(f"Governor: {name} must be {kind}; received {value!r}")


def _said(rate: float | None) -> str:
    return "all" if rate is None else f"{rate:g}"
