"""Problems whose targets are texts or objects in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from edgeml.errors import DataError
from edgeml.evaluation._measures import BuiltIn, Sums
from edgeml.evaluation._objects import COCO_SIGMAS, MeanPrecision, Objects, match
from edgeml.evaluation._problem import Problem
from edgeml.evaluation._stats import Measured, Share, divide
from edgeml.evaluation._text import edits


def listed_problem(
    kind: str, y: Any, p: Any, labels: tuple[str, ...], sigmas: Sequence[float] | None = None
) -> Problem:
    """Return texts, or pictures' objects with what belongs together, as a problem.

    Raises:
        DataError: an entry is no text, or no objects.
    """
    if kind == "text":
        for values, what in ((y, "targets"), (p, "predictions")):
            if wrong := [v for v in values if not isinstance(v, str)]:
                raise DataError(f"text: {what} must be text; received {type(wrong[0]).__name__}")
        return Problem(kind, [str(v) for v in y], [str(v) for v in p])
    truth = [Objects.of(v) for v in y]
    found = [Objects.of(v) for v in p]
    if kind == "keypoints":
        sigmas = COCO_SIGMAS if sigmas is None else sigmas
        if any(t.keypoints is None for t in truth if len(t)):
            raise DataError("keypoints: every target needs keypoints=")
    else:
        sigmas = None
    pictures = [match(t, f, sigmas) for t, f in zip(truth, found, strict=True)]
    names = sorted({name for t in truth for name in t.labels})
    if labels and (unknown := [name for name in names if name not in labels]):
        raise DataError(f"the targets' class {unknown[0]!r} is none of the labels")
    return Problem(kind, truth, pictures, labels or tuple(names))


def fill(table: dict[str, dict[str, BuiltIn]]) -> None:
    """Add the metrics of these kinds."""
    every = range(10)
    boxes = {
        "map": (every, "all"), "map50": ((0,), "all"), "map75": ((5,), "all"),
        "map_small": (every, "small"), "map_medium": (every, "medium"),
        "map_large": (every, "large"),
    }  # fmt: skip
    table["detection"] = {name: _precision(name, *how) for name, how in boxes.items()}
    table["detection"]["recall"] = _precision("recall", every, "all", recall=True)
    points = {name.replace("map", "oks_ap"): how for name, how in boxes.items()
              if name != "map_small"}  # fmt: skip
    table["keypoints"] = {name: _precision(name, *how) for name, how in points.items()}
    table["text"] = {
        "wer": BuiltIn("wer", partial(_rate, split=str.split), "down"),
        "cer": BuiltIn("cer", partial(_rate, split=list), "down"),
        "exact_match": BuiltIn("exact_match", _exact),
    }


def _precision(name: str, thresholds: Any, size: str, recall: bool = False) -> BuiltIn:
    def fn(problem: Problem, _: Any) -> Measured:
        return MeanPrecision(problem.p, thresholds, size, recall=recall)

    return BuiltIn(name, fn)


def _rate(problem: Problem, _: Any, split: Any) -> Measured:
    return Sums(edits(problem.y, problem.p, split), lambda s: divide(s[:, 0], s[:, 1]))


def _exact(problem: Problem, _: Any) -> Measured:
    return Share(np.array([a == b for a, b in zip(problem.y, problem.p, strict=True)]))
