"""Fitting a head, here or in a process of its own that leaves the stream its time."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml import errors
from edgeml.errors import ConfigError, EdgeMLError, TrainingError
from edgeml.personalize._adapt import LastBlocks
from edgeml.personalize._choose import choose, deeper
from edgeml.personalize._head import Head
from edgeml.personalize._held_out import HeldOut
from edgeml.personalize._simple import KNN, NearestMean
from edgeml.personalize._softmax import Softmax

Array = np.ndarray[Any, Any]
_HEADS = {cls.__name__: cls for cls in (KNN, LastBlocks, NearestMean, Softmax)}

# The priority is low before anything is imported: a ninth of what the stream gets, never nothing.
_START = "import os; os.nice(10); from edgeml.personalize._worker import main; main()"


@dataclass(frozen=True)
class Job:
    """What a head is fitted to.

    Args:
        method: A name, or a `Head`.
        features: float32 (examples, size).
        labels: One for each.
        weights: One for each, or None.
        keep: As for `Head.fit`.
        groups: As for `Head.fit`.
        metadata: More for the file's metadata.
        blocks: ONNX file of what follows the backbone's cut, or None.
    """

    method: Any
    features: Array
    labels: Sequence[str]
    weights: Sequence[float] | None
    keep: float
    groups: Array | None
    metadata: Mapping[str, str]
    blocks: bytes | None = None


@dataclass(frozen=True)
class Fitted:
    """A head's file, and how it came about."""

    content: bytes
    method: str
    why: str
    held_out: HeldOut


def counts_of(labels: Sequence[str]) -> dict[str, int]:
    """Return how often each label occurs, in the order of the first."""
    counts: dict[str, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    return counts


def fit(job: Job, rest: float = 0.0) -> Fitted:
    """Fit a head; `rest` is the share of time in which it does nothing."""
    counts = counts_of(job.labels)
    head, why = choose(job.method, counts)
    _fit(head, job, rest)
    more, note = None, ""
    if job.method == "auto" and job.blocks is not None:
        more, note = deeper(head, counts, job.blocks)
    why += note
    if more is not None:
        _fit(more, job, rest)
        was, now = head.held_out.accuracy, more.held_out.accuracy
        if now > was:
            head, why = more, (f"{more.name}: held out, it is right for {now:.3g}, and {head.name} "
                               f"on the features as they are for {was:.3g}")  # fmt: skip
        else:
            why += f"; {more.name} was no better when held out ({now:.3g}, and {was:.3g})"
    return Fitted(head.to_onnx(job.metadata).SerializeToString(), head.name, why, head.held_out)


def _fit(head: Head, job: Job, rest: float) -> None:
    head.rest = rest
    head.blocks = job.blocks
    head.fit(job.features, job.labels, weights=job.weights, keep=job.keep, groups=job.groups)


async def fit_apart(job: Job, *, duty: float, memory_limit: int) -> Fitted:
    """Fit a head in a process of low priority.

    Raises:
        ConfigError: the method is a head that the process cannot make.
        TrainingError: the process took too much memory, or was killed.
    """
    task = {"method": _described(job.method), "keep": job.keep, "rest": 1 - duty,
            "metadata": dict(job.metadata), "memory": memory_limit}  # fmt: skip
    arrays = {"features": job.features, "labels": np.array(job.labels),
              "task": np.frombuffer(json.dumps(task).encode(), np.uint8)}  # fmt: skip
    if job.weights is not None:
        arrays["weights"] = np.asarray(job.weights, np.float64)
    if job.groups is not None:
        arrays["groups"] = job.groups
    if job.blocks is not None:
        arrays["blocks"] = np.frombuffer(job.blocks, np.uint8)
    content = await asyncio.to_thread(_saved, arrays)  # many examples would hold up the loop
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _START, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
             "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        output, said = await process.communicate(content)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["nothing was said"]
        raise TrainingError(
            f"the training process ended with {process.returncode}: {last[0]}. Raise memory_limit "
            f"({memory_limit} bytes), or train with fewer examples"
        )
    return _read(output)


def _saved(arrays: Mapping[str, Array]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _described(method: Any) -> Any:
    if not isinstance(method, Head):
        return method
    if type(method) not in _HEADS.values():
        raise ConfigError(
            f"{type(method).__name__} cannot be trained in another process: use one of "
            f"{', '.join(_HEADS)}, or asyncio.to_thread(learner.train)"
        )
    names = inspect.signature(type(method)).parameters
    return {"head": type(method).__name__, **{name: getattr(method, name) for name in names}}


def made(method: Any) -> Any:
    """Return the method that `_described` was given."""
    if isinstance(method, dict):
        settings = dict(method)
        return _HEADS[settings.pop("head")](**settings)
    return method


def packed(fitted: Fitted) -> bytes:
    """Return what the process answers."""
    held = fitted.held_out
    said = {"method": fitted.method, "why": fitted.why, "actual": held.actual,
            "predicted": held.predicted, "folds": held.folds,
            "similarity": [None if np.isnan(s) else float(s) for s in held.similarity]}  # fmt: skip
    return json.dumps(said).encode() + b"\n" + fitted.content


def refused(error: EdgeMLError) -> bytes:
    """Return the answer when the examples cannot be learned from."""
    return json.dumps({"error": type(error).__name__, "message": str(error)}).encode() + b"\n"


def _read(output: bytes) -> Fitted:
    head, _, content = output.partition(b"\n")
    said = json.loads(head)
    if "error" in said:
        raise getattr(errors, said["error"])(said["message"])
    similarity = np.array([np.nan if s is None else s for s in said["similarity"]], np.float32)
    held = HeldOut(tuple(said["actual"]), tuple(said["predicted"]), similarity, said["folds"])
    return Fitted(content, said["method"], said["why"], held)
