"""How good scores and probabilities are: ROC, precision and recall, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import DataError
from edgeml.plots._confusion import to_numbers
from edgeml.plots._picture import (
    COLORS,
    GREY,
    ORANGE,
    SKY,
    Picture,
    new_figure,
    percent,
    shown,
    tidy,
)  # fmt: skip

if TYPE_CHECKING:
    from edgeml.evaluation import Calibration, Curve, Estimate

Floats = NDArray[np.float64]
_STYLES = ("-", "--", ":", "-.")
_MOST_LINES = 20


@dataclass
class ScoreCurve(Picture):
    """One curve a class, over all thresholds; see `roc` and `precision_recall`.

    Attributes:
        kind: ``"roc"`` or ``"precision-recall"``.
        labels: Name of the class of each curve.
        x: False positive rate, or recall, of each curve's points.
        y: True positive rate, or precision.
        thresholds: Score from which on an example counts as of the class; the first point of a
            curve is that of no example (None in JSON).
        area: Area under each ROC curve; the average precision of each other.
        share: Share of the examples that are of the class.
    """

    kind: str
    labels: list[str]
    x: list[Floats]
    y: list[Floats]
    thresholds: list[Floats]
    area: list[float]
    share: list[float]

    def _draw(self) -> Any:
        roc = self.kind == "roc"
        figure = new_figure(4.6 if len(self.labels) <= 4 else 6.4, 4.4)
        axis = figure.add_subplot()
        drawn = np.argsort(self.area, kind="stable")[:_MOST_LINES]  # the worst
        for i, at in enumerate(drawn if len(self.labels) > _MOST_LINES else range(len(self.area))):
            axis.plot(
                self.x[at], self.y[at], color=COLORS[i % len(COLORS)], linewidth=1.6,
                linestyle=_STYLES[i // len(COLORS) % len(_STYLES)],
                drawstyle="default" if roc else "steps-pre",
                label=f"{shown(self.labels[at], 24)}  {self.area[at]:.3f}",
            )  # fmt: skip
        if roc:
            axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (1, 3)))
        elif len(self.share) == 1:
            axis.axhline(self.share[0], color=GREY, linewidth=1, linestyle=(0, (1, 3)))
        axis.set_xlabel("false positive rate" if roc else "recall")
        axis.set_ylabel("true positive rate (recall)" if roc else "precision")
        axis.set_xlim(-0.01, 1.01)
        axis.set_ylim(-0.01, 1.02)
        axis.set_aspect("equal")
        title = "area under the curve" if roc else "average precision"
        more = len(self.labels) - _MOST_LINES
        if more > 0:
            title += f"\n(the {_MOST_LINES} worst; {more} more)"
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
        place = beside if len(self.labels) > 4 else {"loc": "lower right" if roc else "lower left"}
        axis.legend(title=title, fontsize=8, title_fontsize=8, **place)
        tidy(axis)
        return figure


@dataclass
class Reliability(Picture):
    """Whether probabilities are what they say; see `reliability`.

    Attributes:
        table: Bins, errors and intervals, as `edgeml.evaluation.calibration` has them.
    """

    table: Calibration

    def _draw(self) -> Any:
        figure = new_figure(4.6, 5.2)
        upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
        bins = self.table.bins
        left = [b.low for b in bins]
        width = [b.high - b.low for b in bins]
        style = {"align": "edge", "edgecolor": "white", "linewidth": 0.8}
        upper.bar(left, [b.accuracy.value for b in bins], width, color=SKY, **style)
        upper.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="as it says")
        ends = np.array([_reach(b.accuracy) for b in bins]).T
        upper.errorbar(
            [b.confidence for b in bins], [b.accuracy.value for b in bins], ends,
            fmt="o", color=ORANGE, markersize=4, capsize=2, linewidth=1,
            label="share, with its 95% interval",
        )  # fmt: skip
        upper.set_ylabel("share that came true")
        upper.set_ylim(0, 1.02)
        upper.legend(fontsize=8, loc="upper left")
        usual = percent(self.table.ece_if_calibrated)
        upper.set_title(
            f"calibration error {percent(self.table.ece)}\n(a perfect model: up to {usual})",
            fontsize=10,
        )
        lower.bar(left, [b.count for b in bins], width, color=GREY, **style)
        lower.set_ylabel("examples")
        lower.set_xlabel("predicted probability")
        lower.set_xlim(0, 1)
        for axis in (upper, lower):
            tidy(axis, grid="y")
        return figure


def roc(y_true: Any, y_score: Any, labels: Sequence[str] | None = None) -> ScoreCurve:
    """Return the receiver operating characteristic: what each threshold finds, and takes wrongly.

    Args:
        y_true: Class of each example, (examples,): numbers from 0, or names.
        y_score: Score of the second class, (examples,); or of each class, (examples, classes):
            then each class has a curve, against all others.
        labels: Names of the classes.

    Raises:
        DataError: shapes do not fit, a score is not finite, or a class has no or only examples.

    Example:
        >>> from edgeml import plots
        >>> plots.roc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).area
        [0.75]
    """
    found = _curves(y_true, y_score, labels)
    areas = [float(np.trapezoid(c.tpr, c.fpr)) for c, _ in found]
    return _made("roc", found, [c.fpr for c, _ in found], [c.tpr for c, _ in found], areas)


def precision_recall(y_true: Any, y_score: Any, labels: Sequence[str] | None = None) -> ScoreCurve:
    """Return precision over recall for all thresholds; arguments as for `roc`.

    The area is the average precision: the mean of precision, weighted by the gain in recall.

    Raises:
        DataError: shapes do not fit, a score is not finite, or a class has no or only examples.

    Example:
        >>> from edgeml import plots
        >>> round(plots.precision_recall([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).area[0], 3)
        0.833
    """
    found = _curves(y_true, y_score, labels)
    areas = [float(np.sum(np.diff(c.tpr) * c.precision[1:])) for c, _ in found]
    x, y = [c.tpr for c, _ in found], [c.precision for c, _ in found]
    return _made("precision-recall", found, x, y, areas)


def reliability(y_true: Any, y_prob: Any, bins: int = 10) -> Reliability:
    """Return how often predictions of a probability come true.

    Args:
        y_true: Class of each example, (examples,), numbers from 0.
        y_prob: Probability of the second class, (examples,); or of each class, (examples,
            classes).
        bins: Number of bins, all as wide.

    Raises:
        DataError: shapes do not fit, or a probability is outside 0 to 1.

    Example:
        >>> from edgeml import plots
        >>> shown = plots.reliability([1, 1, 1, 0], [0.75, 0.75, 0.75, 0.75])
        >>> round(shown.table.ece, 3)
        0.0
    """
    from edgeml.evaluation import calibration

    return Reliability(calibration(np.asarray(y_true), np.asarray(y_prob), bins))


def _reach(share: Estimate) -> tuple[float, float]:
    """Return how far its interval reaches down and up; 0 where there is none."""
    low = share.value if share.low is None else share.low
    high = share.value if share.high is None else share.high
    return max(share.value - low, 0.0), max(high - share.value, 0.0)


def _made(
    kind: str, found: Sequence[tuple[Curve, float]], x: list[Floats], y: list[Floats],
    areas: list[float],
) -> ScoreCurve:  # fmt: skip
    curves = [c for c, _ in found]
    return ScoreCurve(
        kind, [c.label for c in curves], x, y, [c.thresholds for c in curves], areas,
        [share for _, share in found],
    )  # fmt: skip


def _curves(y_true: Any, y_score: Any, labels: Sequence[str] | None) -> list[tuple[Curve, float]]:
    """Return the curve of each class against the others, and the class's share."""
    from edgeml.evaluation import decision_curve

    scores = np.asarray(y_score, np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    truth = np.asarray(y_true).reshape(-1)
    if scores.ndim != 2 or not len(scores) or len(scores) != len(truth):
        raise DataError(
            f"expected scores (examples,) or (examples, classes) and as many classes, at least "
            f"one; received {list(np.shape(y_score))} and {list(np.shape(y_true))}"
        )
    count = max(2, scores.shape[1])
    named = truth.dtype.kind in "UO"
    names = list(map(str, labels if labels is not None else sorted(set(map(str, truth)))
                     if named else range(count)))  # fmt: skip
    if len(names) != count:
        raise DataError(f"expected {count} labels, one a class; received {len(names)}")
    numbers = to_numbers(truth if named else truth.astype(np.int64), names)
    classes = range(count) if scores.shape[1] > 1 else [1]
    return [
        (decision_curve(numbers == k, scores[:, j], names[k]), float((numbers == k).mean()))
        for j, k in enumerate(classes)
    ]
