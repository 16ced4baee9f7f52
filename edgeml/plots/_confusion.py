"""What was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import DataError
from edgeml.plots._picture import BLUE, GREY, Picture, new_figure, percent, shown, tidy

_WITH_NUMBERS = 20  # classes above which numbers no longer fit into the cells
_WITH_NAMES = 60  # classes above which names no longer fit beside the rows
_LISTED = 15


@dataclass
class ConfusionMatrix(Picture):
    """How often a class was taken for another; see `confusion_matrix`.

    Attributes:
        labels: Names of the classes.
        counts: int [classes, classes]: rows are what it is, columns what was predicted.
        normalize: Whether cells show shares of their row instead of counts.
    """

    labels: list[str]
    counts: NDArray[np.int64]
    normalize: bool = False

    @property
    def shares(self) -> NDArray[np.float64]:
        """Shares of each row, 0 to 1; NaN for classes that no example has."""
        rows = self.counts.sum(axis=1, keepdims=True)
        return np.asarray(self.counts / np.where(rows > 0, rows, np.nan))

    @property
    def accuracy(self) -> float:
        """Share of the examples on the diagonal."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def per_class(self) -> dict[str, float]:
        """Share of each class's examples that were predicted as such; NaN without any."""
        return dict(zip(self.labels, np.diag(self.shares).tolist(), strict=True))

    def mistakes(self) -> list[tuple[str, str, int]]:
        """Return (what it is, what was predicted, how often), the most frequent first."""
        wrong = self.counts * (1 - np.eye(len(self.counts), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")
        pairs = [np.unravel_index(i, wrong.shape) for i in order[: int(np.count_nonzero(wrong))]]
        return [(self.labels[r], self.labels[c], int(wrong[r, c])) for r, c in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON values, with shares, accuracy and accuracy by class."""
        from edgeml.plots._picture import plain

        more = {"shares": self.shares, "accuracy": self.accuracy, "per_class": self.per_class}
        return super().to_dict() | {key: plain(value) for key, value in more.items()}

    def _draw(self) -> Any:
        count = len(self.labels)
        side = min(max(3.2, 0.42 * count + 1.6), 9.0)
        listed = self.mistakes()[:_LISTED] if count > _WITH_NUMBERS else []
        figure = new_figure(side + (4.2 if listed else 1.0), side)
        if listed:
            axis, beside = figure.subplots(1, 2, width_ratios=(side + 0.9, 3.3))
            self._list(beside, listed, 0.2 / side)
        else:
            axis = figure.add_subplot()
        # The root of the share, where there are many classes: each is taken for several others.
        colors = require("matplotlib.colors", extra="plot", purpose="Drawing")
        scale = colors.PowerNorm(0.5 if listed else 1.0, vmin=0, vmax=1)
        image = axis.imshow(np.nan_to_num(self.shares), cmap="Blues", norm=scale)
        bar = figure.colorbar(image, ax=axis, fraction=0.045, pad=0.02)
        bar.set_label("share of the true class", fontsize=9)
        bar.ax.tick_params(labelsize=8)
        if count <= _WITH_NUMBERS:
            self._cells(axis)
        step = 1 if count <= _WITH_NAMES else 10 ** (len(str(count - 1)) - 1)
        names = [shown(label, 24) for label in self.labels] if step == 1 else range(count)
        size = 9 if count <= 20 else 6 if count <= 40 else 5
        tilt = {"rotation": 90} if max(len(str(n)) for n in names) > 2 else {}
        axis.set_xticks(range(0, count, step), names[::step], fontsize=size, **tilt)
        axis.set_yticks(range(0, count, step), names[::step], fontsize=size)
        axis.set_xlabel("predicted")
        axis.set_ylabel("true" if step == 1 else "true (number of the class)")
        axis.set_title(f"accuracy {percent(self.accuracy)} of {self.counts.sum():,}", fontsize=11)
        return figure

    def _cells(self, axis: Any) -> None:
        size = 9 if len(self.labels) <= 12 else 7
        for (row, column), share in np.ndenumerate(self.shares):
            if not self.counts[row, column]:
                continue
            text = f"{100 * share:.0f}%" if self.normalize else f"{self.counts[row, column]:,}"
            axis.text(column, row, text, ha="center", va="center", fontsize=size,
                      color="white" if share > 0.55 else "black")  # fmt: skip

    def _list(self, axis: Any, listed: Sequence[tuple[str, str, int]], line: float) -> None:
        axis.set_axis_off()
        axis.set_title("most frequent mistakes", fontsize=11, loc="left")
        for i, (true, predicted, times) in enumerate(listed):
            y = 0.99 - i * line
            axis.text(0.1, y, f"{times:,}", ha="right", va="top", fontsize=8, color=GREY)
            axis.text(0.14, y, f"{shown(true, 20)} → {shown(predicted, 20)}", va="top", fontsize=8)


@dataclass
class ClassAccuracy(Picture):
    """How well each class is recognised; see `class_accuracy`.

    Attributes:
        labels: Names of the classes.
        accuracy: Share of each class's examples that were predicted as such; NaN without any.
        examples: How many examples each class has.
    """

    labels: list[str]
    accuracy: NDArray[np.float64]
    examples: NDArray[np.int64]

    def _draw(self) -> Any:
        order = np.argsort(np.nan_to_num(self.accuracy, nan=2.0), kind="stable")
        count = len(order)
        figure = new_figure(6.4, max(2.0, 0.24 * count + 1.0))
        axis = figure.add_subplot()
        values = np.nan_to_num(self.accuracy[order])
        axis.barh(range(count), values, color=BLUE, height=0.7)
        for i, at in enumerate(order):
            known = self.examples[at] > 0
            said = f"{percent(values[i])} of {self.examples[at]:,}" if known else "no examples"
            axis.text(values[i] + 0.01, i, said, va="center", fontsize=8,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})  # fmt: skip
        mean = float(np.nanmean(self.accuracy))
        axis.axvline(mean, color="black", linewidth=1, linestyle=":")
        axis.set_title(f"mean over the classes {percent(mean)}", fontsize=11)
        axis.set_yticks(range(count), [shown(self.labels[i], 30) for i in order], fontsize=8)
        axis.invert_yaxis()
        axis.set_xlim(0, 1.22)
        axis.set_xticks(np.linspace(0, 1, 6))
        axis.set_xlabel("share recognised, worst class first")
        tidy(axis, grid="x")
        return figure


def confusion_matrix(
    y_true: Any, y_pred: Any, labels: Sequence[str] | None = None, *, normalize: bool = False
) -> ConfusionMatrix:
    """Return how often each class was taken for which.

    Args:
        y_true: Class of each example, (examples,): numbers from 0, or names; or one-hot.
        y_pred: What was predicted, likewise; or probabilities (examples, classes), or
            (examples,) of the second of two classes.
        labels: Names of the classes; without them, their numbers, or the names found, sorted.
        normalize: Whether cells show shares of their row instead of counts.

    Raises:
        DataError: there are no examples, not as many of both, or a class that has no label.

    Example:
        >>> from edgeml import plots
        >>> matrix = plots.confusion_matrix(["cat", "dog", "dog"], ["cat", "dog", "cat"])
        >>> matrix.labels, matrix.counts.tolist(), matrix.per_class["dog"]
        (['cat', 'dog'], [[1, 0], [1, 1]], 0.5)
    """
    true, predicted = _classes(y_true), _classes(y_pred)
    if not len(true) or len(true) != len(predicted):
        raise DataError(
            f"expected as many true classes as predicted ones, at least one; received {len(true)} "
            f"and {len(predicted)}"
        )
    names = list(map(str, labels)) if labels is not None else _names(true, predicted)
    rows, columns = to_numbers(true, names), to_numbers(predicted, names)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (rows, columns), 1)
    return ConfusionMatrix(names, counts, normalize)


def class_accuracy(y_true: Any, y_pred: Any, labels: Sequence[str] | None = None) -> ClassAccuracy:
    """Return how well each class is recognised; arguments as for `confusion_matrix`.

    Raises:
        DataError: there are no examples, not as many of both, or a class that has no label.

    Example:
        >>> from edgeml import plots
        >>> plots.class_accuracy([0, 1, 1, 1], [0, 1, 0, 1]).accuracy.round(2).tolist()
        [1.0, 0.67]
    """
    matrix = confusion_matrix(y_true, y_pred, labels)
    return ClassAccuracy(matrix.labels, np.diag(matrix.shares).copy(), matrix.counts.sum(axis=1))


def _classes(values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] > 1:
        array = array.argmax(axis=1)
    array = array.reshape(-1)
    if array.dtype.kind == "f":  # whole numbers, or the probability of the second class
        whole = bool(np.all(array == np.rint(array)))
        return array.astype(np.int64) if whole else (array > 0.5).astype(np.int64)
    return array


def _names(*columns: NDArray[Any]) -> list[str]:
    if all(column.dtype.kind in "iub" for column in columns):
        return [str(i) for i in range(int(max(column.max() for column in columns)) + 1)]
    return sorted({str(value) for column in columns for value in column})


def to_numbers(column: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    """Return the classes as numbers; columns of names are looked up."""
    if column.dtype.kind in "iub":
        found = column.astype(np.int64)
        bad = found[(found < 0) | (found >= len(names))]
    else:
        known = {name: i for i, name in enumerate(names)}
        found = np.array([known.get(str(value), -1) for value in column], np.int64)
        bad = column[found < 0]
    if len(bad):
        raise DataError(
            f"class {bad[0]!s} has no label: there are {len(names)}, {', '.join(names[:10])}"
            + (" …" if len(names) > 10 else "")
        )
    return found
