"""Doing what a command says to a learner: the same from the command line and over MQTT."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeml.app._command import Command
from edgeml.app._construct import construct
from edgeml.errors import DataError, TrainingError
from edgeml.streams import Pipeline, stage

if TYPE_CHECKING:
    from edgeml.app._config import AppConfig
    from edgeml.app._personal import Personal
    from edgeml.personalize import Candidate, Learner, Version

Tell = Callable[[Mapping[str, Any]], Awaitable[None]]


class Teacher:
    """Does commands; the answers are for JSON, and never hold samples or features.

    Args:
        learner: Whom.
        stream: Opens the stream of samples to collect from.
        duty: Share of the time in which training works, in a process of its own; None: here, and
            as fast as it can.
    """

    def __init__(
        self, learner: Learner, stream: Callable[[], AsyncIterable[Any]], duty: float | None = 0.5
    ) -> None:
        self._learner = learner
        self._stream = stream
        self._duty = duty

    async def do(self, command: Command, tell: Tell) -> dict[str, Any]:
        """Do a command; return the result.

        Args:
            command: What to do; not "cancel".
            tell: Called with each step.

        Raises:
            EdgeMLError: it could not be done.
        """
        if command.name == "collect":
            return await self._collect(tell, **command.arguments)
        if command.name == "train":
            return await self._train(tell, **command.arguments)
        at_once: Mapping[str, Callable[..., dict[str, Any]]] = {
            "status": self._status, "accept": self._accept, "rollback": self._rollback,
            "history": self._history, "remove": self._remove, "forget": self._forget,
        }  # fmt: skip
        return await asyncio.to_thread(at_once[command.name], **command.arguments)

    async def _collect(
        self, tell: Tell, label: str, count: int, countdown: float, every: float, within: float,
        subject: str,
    ) -> dict[str, Any]:  # fmt: skip
        kept, rejected, reason = [], 0, ""
        stream = self._stream()
        collection = self._learner.collect(
            label, stream, count, countdown=countdown, every=every, subject=subject
        )
        try:
            async with asyncio.timeout(countdown + within), collection:
                async for step in collection:
                    await tell({"state": step.state, "left": step.left, "example": step.example,
                                "reason": step.reason})  # fmt: skip
                    if step.state == "kept":
                        kept.append(step.example)
                    elif step.state == "rejected":
                        rejected, reason = rejected + 1, step.reason
        except TimeoutError:
            last = f"; the last sample was turned away: {reason}" if reason else ""
            raise DataError(
                f"{len(kept)} of {count} examples of {label!r} came within {within:g} s"
                f"{', and are kept' if kept else ''}{last}"
            ) from None
        finally:
            if hasattr(stream, "aclose"):  # it may not have been begun
                await stream.aclose()
        counts = await asyncio.to_thread(self._learner.counts)
        return {"label": label, "kept": kept, "rejected": rejected, "counts": counts}

    async def _train(self, tell: Tell, accept: bool) -> dict[str, Any]:
        learner = self._learner
        await tell({"state": "training"})
        if self._duty is None:
            candidate = await asyncio.to_thread(learner.train)
        else:
            candidate = await learner.train_async(duty=self._duty)
        return await asyncio.to_thread(self._proposed, candidate, accept)

    def _proposed(self, candidate: Candidate, accept: bool) -> dict[str, Any]:
        learner = self._learner
        learner.store.propose(candidate.content, candidate.info)
        used = accept and not candidate.report.worse
        if used:
            learner.accept(candidate)
        return {"version": candidate.version, "accepted": used,
                "report": candidate.report.to_dict()}  # fmt: skip

    def _accept(self, force: bool) -> dict[str, Any]:
        from edgeml.personalize import Candidate

        kept = self._learner.store.proposed()
        if kept is None:
            raise TrainingError("there is no candidate to accept: train first")
        return {"version": self._learner.accept(Candidate.kept(*kept), force=force)}

    def _rollback(self) -> dict[str, Any]:
        return {"version": self._learner.rollback()}

    def _remove(self, example: int) -> dict[str, Any]:
        self._learner.remove(example)
        return {"removed": example, "counts": self._learner.counts()}

    def _forget(self, label: str) -> dict[str, Any]:
        gone = self._learner.forget(label)
        return {"label": label, "forgotten": gone, "counts": self._learner.counts()}

    def _history(self) -> dict[str, Any]:
        return {"history": [_step(version) for version in self._learner.history()]}

    def _status(self) -> dict[str, Any]:
        learner = self._learner
        proposed = learner.store.proposed()
        return {
            "backbone": learner.backbone.name, "counts": learner.counts(),
            "labels": list(learner.labels), "version": learner.store.version(),
            "candidate": None if proposed is None else proposed[0],
            "bytes": learner.store.nbytes, "budget": learner.store.budget,
        }  # fmt: skip


def _step(version: Version) -> dict[str, Any]:
    at = datetime.datetime.fromtimestamp(version.at, datetime.UTC).isoformat(timespec="seconds")
    return {"action": version.action, "version": version.id, "at": at.replace("+00:00", "Z"),
            "method": version.info.get("method"),
            "accuracy": version.info.get("accuracy")}  # fmt: skip


def samples_for(config: AppConfig, task: Personal) -> Pipeline:
    """Return a pipeline of the samples that a task learns from: its source, opened here.

    Args:
        config: What app.toml says.
        task: The task, loaded.
    """
    steps: list[Any] = [] if task.cut is None else [stage(task.cut)]
    name = config.tasks[task.name].source
    while name in config.tasks:
        steps.insert(0, construct(config.document, config.tasks[name]))
        name = config.tasks[name].source
    table = config.sources[name]
    own: dict[str, Any] = {}
    if table.kind.cls == "MqttSource" and "broker" not in table.options and config.mqtt is not None:
        own["broker"] = config.mqtt.broker()
    return Pipeline(construct(config.document, table, **own), *steps)
