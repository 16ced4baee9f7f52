"""How each class fares: precision, recall, F1; confusions; curves of decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import DataError
from edgeml.evaluation._measures import Ranked
from edgeml.evaluation._objects import MeanPrecision
from edgeml.evaluation._problem import Problem
from edgeml.evaluation._stats import Array, Estimate, Measured, Options, Share, Units, estimates

_MOST_POINTS = 200  # of a curve that is kept in a report


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How one class fares.

    Attributes:
        label: Its name.
        support: Number of cases in the data.
        scores: "precision", "recall", "f1" and, where there are scores, "auc" and
            "average_precision"; "ap" and "ap50" of detections.

    Example:
        >>> from edgeml.evaluation import evaluate
        >>> report = evaluate([0, 1, 1, 1, 0, 0], y=[0, 1, 1, 0, 0, 0], labels=["no", "yes"])
        >>> print(report.classes[1].label, report.classes[1].scores["recall"].value)
        yes 1.0
    """

    label: str
    support: int
    scores: dict[str, Estimate]


@dataclass(frozen=True)
class Curve:
    """What each threshold of one class's score brings, from the highest to the lowest.

    Attributes:
        label: The class.
        thresholds: Examples with a score of at least this are taken; the first takes none.
        tpr: Share of cases that are taken: the recall.
        fpr: Share of non-cases that are taken.
        precision: Share of the taken that are cases; 1 where none is taken.

    Example:
        >>> from edgeml.evaluation import decision_curve
        >>> decision_curve([0, 1, 1], [0.2, 0.4, 0.9]).precision.round(2).tolist()
        [1.0, 1.0, 1.0, 0.67]
    """

    label: str
    thresholds: Array
    tpr: Array
    fpr: Array
    precision: Array


def decision_curve(y: Any, scores: Any, label: str = "1") -> Curve:
    """Return what each threshold brings: the ROC and the precision-recall curve in one.

    Args:
        y: 0 and 1, (examples,).
        scores: (examples,).
        label: Name of the class.

    Raises:
        DataError: there are not as many, or only cases or only non-cases.

    Example:
        >>> from edgeml.evaluation import decision_curve
        >>> curve = decision_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        >>> curve.tpr.tolist(), curve.fpr.tolist()
        ([0.0, 0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5, 1.0])
    """
    y, scores = np.asarray(y) != 0, np.asarray(scores, np.float64)
    if y.shape != scores.shape or y.ndim != 1:
        raise DataError(f"expected one score a target; received {y.shape} and {scores.shape}")
    if np.isnan(scores).any():
        raise DataError("the scores hold NaN")
    if not 0 < y.sum() < len(y):
        raise DataError(f"class {label}: a curve needs cases and others; all examples are alike")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    tp, fp = np.cumsum(y[order])[last], np.cumsum(~y[order])[last]
    return Curve(
        label, np.r_[np.inf, ranked[last]], np.r_[0.0, tp / y.sum()], np.r_[0.0, fp / (~y).sum()],
        np.r_[1.0, tp / (tp + fp)],
    )  # fmt: skip


def thinned(curve: Curve) -> Curve:
    """Return a curve with few enough points to be kept."""
    n = len(curve.thresholds)
    if n <= _MOST_POINTS:
        return curve
    keep = np.unique(np.linspace(0, n - 1, _MOST_POINTS).astype(int))
    return Curve(curve.label, curve.thresholds[keep], curve.tpr[keep], curve.fpr[keep],
                 curve.precision[keep])  # fmt: skip


def confusion(found: Problem) -> Array | None:
    """Return counts (actual class, predicted class); (labels, 2, 2) for several labels."""
    if found.kind not in ("binary", "multiclass", "multilabel"):
        return None
    if found.kind == "multilabel":
        return np.stack([_counts(found.y[:, i], found.chosen[:, i], 2)
                         for i in range(len(found.labels))])  # fmt: skip
    return _counts(found.y, found.chosen, len(found.labels))


def _counts(y: Array, p: Array, classes: int) -> Array:
    return np.bincount(y * classes + p, minlength=classes**2).reshape(classes, classes)


def by_class(found: Problem, units: Units, options: Options) -> tuple[ClassScores, ...]:
    """Return how each class fares."""
    if found.kind in ("detection", "keypoints"):
        return tuple(_objects(found, label) for label in found.labels)
    if found.kind not in ("binary", "multiclass", "multilabel"):
        return ()
    rows = []
    for i, label in enumerate(found.labels):
        y, p, score = _one_against_rest(found, i)
        hits = (y & p).astype(float)
        parts: dict[str, Measured] = {"precision": Share(hits, p), "recall": Share(hits, y)}
        scores = estimates(parts, units, options)
        both = float(y.sum() + p.sum())
        scores["f1"] = Estimate(2 * hits.sum() / both if both else np.nan)
        if score is not None and 0 < y.sum() < len(y):
            whole = np.ones((1, len(y)))
            for name, curve in (("auc", "roc"), ("average_precision", "pr")):
                scores[name] = Estimate(float(Ranked(y, score, curve).values(whole)[0]))
        rows.append(ClassScores(label, int(y.sum()), scores))
    return tuple(rows)


def _one_against_rest(found: Problem, i: int) -> tuple[Array, Array, Array | None]:
    if found.kind == "multilabel":
        score = found.p[:, i] if found.scored else None
        return found.y[:, i] == 1, found.chosen[:, i] == 1, score
    score = None
    if found.scored:
        score = found.p[:, i] if found.kind == "multiclass" else found.p if i else 1 - found.p
    return found.y == i, found.chosen == i, score


def _objects(found: Problem, label: str) -> ClassScores:
    support = sum(picture[label, "all"].cases for picture in found.p if (label, "all") in picture)
    whole = np.ones((1, len(found)))
    scores = {
        name: Estimate(float(MeanPrecision(found.p, chosen, labels=[label]).values(whole)[0]))
        for name, chosen in (("ap", range(10)), ("ap50", (0,)))
    }
    return ClassScores(label, support, scores)


def curves(found: Problem) -> tuple[Curve, ...]:
    """Return the curve of each class that has cases and others."""
    if not found.scored or found.kind not in ("binary", "multiclass", "multilabel"):
        return ()
    result = []
    for i, label in enumerate(found.labels):
        y, _, score = _one_against_rest(found, i)
        if (found.kind == "binary" and i == 0) or score is None or not 0 < y.sum() < len(y):
            continue
        result.append(thinned(decision_curve(y, score, label)))
    return tuple(result)
