"""What common sense would say: predictions that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, DataError
from edgeml.evaluation._listed import listed_problem
from edgeml.evaluation._objects import Objects
from edgeml.evaluation._problem import Problem, problem
from edgeml.evaluation._stats import Array


def baselines(
    found: Problem, train: Any, season: int | None, sigmas: Sequence[float] | None = None
) -> dict[str, Problem]:
    """Return what needs no model, by name, on the same targets.

    Args:
        found: The model's predictions.
        train: Targets that the baseline may know; None lets it know those at hand, which makes
            it the best of its kind.
        season: Steps of a period, for a forecast.
        sigmas: Of keypoints.
    """
    if found.kind == "forecast":
        return _forecasts(found, season)
    if found.kind in ("detection", "keypoints"):
        return {"median object of each class": _median_objects(found, train, sigmas)}
    if found.kind == "text":
        return _texts(found, train)
    known = _known(found, train)
    if found.kind == "regression":
        each = {"mean": known.mean(0), "median": np.median(known, 0)}
        return {name: found.predicting(np.tile(row, (len(found), 1))) for name, row in each.items()}
    return {"majority class" if found.kind != "multilabel" else "majority of each label":
            _majority(found, known)}  # fmt: skip


def _known(found: Problem, train: Any) -> Array:
    if train is None:
        return np.asarray(found.y)
    y = np.asarray(train)
    if found.kind == "regression":
        y = y.astype(np.float64).reshape(len(y), -1)
        if y.shape[1:] != found.y.shape[1:]:
            raise DataError(f"train_y: expected targets like {found.y.shape}, received {y.shape}")
        return y
    if found.kind == "multilabel":
        return y.astype(np.int64)
    return np.asarray(problem(train, train, found.kind, found.labels).y)


def _majority(found: Problem, known: Array) -> Problem:
    """Return the shares of classes as the probabilities of each example."""
    n = len(found)
    if found.kind == "multiclass":
        shares = np.bincount(known, minlength=len(found.labels))[: len(found.labels)] / len(known)
        if not found.scored:
            return found.predicting(np.full(n, shares.argmax()))
        return found.predicting(np.tile(shares, (n, 1)))
    share = known.mean(0)
    if not found.scored:
        share = (share >= 0.5).astype(np.int64)
    return found.predicting(np.full(n, share) if np.ndim(share) == 0 else np.tile(share, (n, 1)))


def _forecasts(found: Problem, season: int | None) -> dict[str, Problem]:
    history, horizon = found.history, found.y.shape[1]
    assert history is not None
    result = {"last value": found.predicting(np.repeat(history[:, -1:], horizon, 1))}
    if season is not None:
        if not 1 <= season <= history.shape[1]:
            raise ConfigError(
                f"season: expected 1 to {history.shape[1]}, the steps of the history; received "
                f"{season!r}"
            )
        steps = history.shape[1] - season + np.arange(horizon) % season
        result[f"value {season} steps before"] = found.predicting(history[:, steps])
    return result


def _median_objects(found: Problem, train: Any, sigmas: Sequence[float] | None) -> Problem:
    """Return the median object of each class in every picture, by how often there is one."""
    known = found.y if train is None else [Objects.of(v) for v in train]
    boxes, labels, scores, points = [], [], [], []
    for label in sorted({name for t in known for name in t.labels}):
        own = [t.only(label) for t in known]
        boxes.append(np.median(np.concatenate([o.boxes for o in own]), 0))
        labels.append(label)
        scores.append(np.mean([len(o) > 0 for o in own]))
        if found.kind == "keypoints":
            people = np.concatenate([o.keypoints for o in own if len(o)])
            points.append(_median_points(people))
    keypoints = np.array(points) if points else None
    constant = Objects(np.array(boxes).reshape(-1, 4), labels, scores, keypoints=keypoints)
    return listed_problem(found.kind, found.y, [constant] * len(found), (), sigmas)


def _median_points(people: Array) -> Array:
    """Return the median of each point where it is known; the middle of all where it never is."""
    known = people[:, :, -1] > 0
    middle = np.median(people[known][:, :2], 0) if known.any() else np.zeros(2)
    rows = [np.median(people[known[:, k], k, :2], 0) if known[:, k].any() else middle
            for k in range(people.shape[1])]  # fmt: skip
    return np.concatenate([np.array(rows), np.ones((len(rows), 1))], 1)


def _texts(found: Problem, train: Any) -> dict[str, Problem]:
    known = found.y if train is None else list(train)
    names, counts = np.unique(np.array(known, dtype=str), return_counts=True)
    commonest = str(names[counts.argmax()])
    return {
        "nothing recognised": found.predicting([""] * len(found)),
        "commonest text": found.predicting([commonest] * len(found)),
    }
