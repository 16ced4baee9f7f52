"""Targets and predictions, checked and brought into one form for each kind of problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from edgeml.errors import ConfigError, DataError, OutputError

Array = np.ndarray[Any, Any]
Kind = Literal[
    "binary", "multiclass", "multilabel", "regression", "forecast", "detection", "keypoints", "text"
]
KINDS: tuple[str, ...] = get_args(Kind)
LISTED = ("detection", "keypoints", "text")
"""Kinds whose targets are lists; a model of them is called with one example at a time."""

_CLASSES = ("binary", "multiclass", "multilabel")
_ROUGHLY = 1e-3


@dataclass(frozen=True)
class Problem:
    """Targets and predictions of one kind.

    Attributes:
        kind: See `KINDS`.
        y: Targets. Class numbers int64 (n,); 0 and 1 (n, labels); values float64 (n, outputs);
            a list for the listed kinds.
        p: Predictions. Probabilities float64 (n,) of a binary problem, (n, classes), (n, labels);
            class numbers int64 (n,) where there are no more; values float64 (n, outputs); a list.
        labels: Names of the classes.
        scored: Whether `p` has scores of classes, not class numbers alone.
        probabilities: Whether these are probabilities.
        history: Values before those to be forecast, (n, steps); for "forecast".
        notes: What was assumed.
    """

    kind: str
    y: Any
    p: Any
    labels: tuple[str, ...] = ()
    scored: bool = False
    probabilities: bool = False
    history: Array | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Array) -> Problem:
        """Return that of some examples, by their numbers."""
        if self.kind in LISTED:
            y, p = ([values[i] for i in index] for values in (self.y, self.p))
        else:
            y, p = self.y[index], self.p[index]
        history = None if self.history is None else self.history[index]
        return replace(self, y=y, p=p, history=history)

    def predicting(self, p: Any) -> Problem:
        """Return the same with other predictions, in the form of `p`."""
        return replace(self, p=p, notes=())

    @property
    def chosen(self) -> Array:
        """The class that is predicted for each example; 0 and 1 for "multilabel"."""
        if not self.scored:
            return np.asarray(self.p)
        if self.kind == "multiclass":
            return np.asarray(self.p.argmax(1))
        return np.asarray(self.p >= 0.5).astype(np.int64)


def problem(
    y: Any, p: Any, kind: str | None = None, labels: Sequence[str] = (), history: Any = None,
    sigmas: Sequence[float] | None = None,
) -> Problem:  # fmt: skip
    """Return targets and predictions as a problem of a kind, which is inferred when not given.

    Raises:
        ConfigError: there is no such kind.
        DataError: targets and predictions do not fit together, or are out of range.
        OutputError: predictions hold NaN or infinity.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"kind: expected one of {', '.join(KINDS)}; received {kind!r}")
    labels = tuple(map(str, labels))
    listed = kind in LISTED or (kind is None and listed_kind(y) is not None)
    if not listed:
        y, p = (_numbers(v, what, labels) for v, what in ((y, "targets"), (p, "predictions")))
    if len(y) != len(p):
        raise DataError(
            f"there are {len(y)} targets and {len(p)} predictions: they must be as many"
        )
    if not len(y):
        raise DataError("there are no examples: expected at least one")
    if listed:
        from edgeml.evaluation._listed import listed_problem

        return listed_problem(kind or str(listed_kind(y)), y, p, labels, sigmas)
    _check_finite(y, p)
    return _of_arrays(y, p, kind, labels, history)


def listed_kind(y: Any) -> str | None:
    """Return the kind of targets that are a list of texts or of objects in pictures."""
    first = y[0] if isinstance(y, (list, tuple)) and y else None
    if isinstance(y, np.ndarray) and y.dtype.kind in "UTO" and y.ndim == 1 and len(y):
        first = y[0]
    if isinstance(first, str):
        return "text"
    if _is_truth(first):
        first = {name: value for name, value in vars(first).items() if value is not None}
    if not isinstance(first, dict):
        return None
    return "keypoints" if "keypoints" in first else "detection" if "boxes" in first else None


def _is_truth(value: Any) -> bool:
    from edgeml.evaluation._objects import Objects

    return isinstance(value, Objects)


def _numbers(values: Any, what: str, labels: Sequence[str]) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{what} must have one shape: {error}") from error
    if array.dtype.kind in "UTO" and labels and array.ndim == 1:
        numbers = {label: i for i, label in enumerate(labels)}
        unknown = [v for v in map(str, array) if v not in numbers]
        if unknown:
            raise DataError(f"{what}: {unknown[0]!r} is none of the labels {', '.join(labels)}")
        array = np.array([numbers[str(v)] for v in array])
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise DataError(
            f"{what}: expected an array of numbers with one row for each example, received "
            f"{array.dtype} of shape {array.shape}; names of classes need labels="
        )
    return array


def _check_finite(y: Array, p: Array) -> None:
    for array, what, error in ((y, "targets", DataError), (p, "predictions", OutputError)):
        if array.dtype.kind != "f" or (finite := np.isfinite(array)).all():
            continue
        rows = np.unique(np.nonzero(~finite)[0])
        raise error(
            f"the {what} hold {array[~finite][0]} in {len(rows)} of {len(array)} examples, the "
            f"first is number {rows[0]}"
        )


def _of_arrays(
    y: Array, p: Array, kind: str | None, labels: tuple[str, ...], history: Any
) -> Problem:
    y, p = _squeezed(y, p), _squeezed(p, y)
    notes: tuple[str, ...] = ()
    if kind is None:
        kind = "forecast" if history is not None else _inferred(y, p)
        notes = (f"the kind of problem, {kind}, was inferred from targets and predictions",)
    found = _classes(y, p, kind, labels) if kind in _CLASSES else _values(y, p, kind, history)
    return replace(found, notes=notes + found.notes)


def _squeezed(array: Array, other: Array) -> Array:
    """Drop a last axis of 1 that the other has not, or both have."""
    if array.ndim > 1 and array.shape[-1] == 1 and (array.ndim > other.ndim or array.ndim == 2):
        return array[..., 0]
    return array


def _inferred(y: Array, p: Array) -> str:
    whole = bool(np.all(y == np.rint(y)))
    bits = whole and bool(np.isin(y, (0, 1)).all())
    if p.ndim == y.ndim + 1 and whole:
        return "binary" if p.shape[-1] == 2 else "multiclass"
    if p.shape != y.shape:
        raise DataError(
            f"targets of shape {y.shape} and predictions of shape {p.shape} are no kind of "
            "problem: give kind=, and class numbers, one-hot rows or values as targets"
        )
    if y.ndim == 2 and bits:
        one_hot = bool(np.all(y.sum(1) == 1))
        return ("binary" if y.shape[1] == 2 else "multiclass") if one_hot else "multilabel"
    if p.dtype.kind in "biu" and y.dtype.kind in "biu":
        return "binary" if bits and np.isin(p, (0, 1)).all() else "multiclass"
    if bits and (y.dtype.kind in "biu" or (p.min() >= 0 and p.max() <= 1)):
        return "binary"
    return "regression"


def _classes(y: Array, p: Array, kind: str, labels: tuple[str, ...]) -> Problem:
    if kind != "multilabel":
        y, p = _one_class_each(y, p, kind)
    elif y.ndim != 2 or p.shape != y.shape:
        raise DataError(
            f"multilabel: expected targets and predictions (examples, labels), received {y.shape} "
            f"and {p.shape}"
        )
    if not np.all(y == np.rint(y)):
        raise DataError(f"{kind}: targets must be class numbers; {y[y != np.rint(y)][0]} is none")
    y = y.astype(np.int64)
    quantized = kind == "multiclass" and p.ndim == 2 and p.dtype.kind != "f"
    scored = p.dtype.kind == "f" or quantized
    classes = 2 if kind == "binary" else p.shape[1] if p.ndim == 2 else 0
    classes = classes or max(len(labels), int(max(y.max(), p.max())) + 1)
    highest = 1 if kind == "multilabel" else classes - 1
    for values, what in ((y, "targets"), (p, "predictions")):
        if (
            values.ndim == y.ndim
            and values.dtype.kind != "f"
            and (values.min() < 0 or values.max() > highest)
        ):
            wrong = values.min() if values.min() < 0 else values.max()
            raise DataError(f"{kind}: the classes are 0 to {highest}; the {what} hold {wrong}")
    if labels and len(labels) != classes:
        raise DataError(f"there are {classes} classes and {len(labels)} labels")
    names = labels or tuple(map(str, range(classes)))
    if not scored:
        return Problem(kind, y, p.astype(np.int64), names)
    if quantized:
        note = "the predictions are whole numbers: they are scores, not probabilities"
        return Problem(kind, y, p.astype(np.float64), names, True, notes=(note,))
    p, sure, notes = _probabilities(p.astype(np.float64), kind)
    return Problem(kind, y, p, names, True, sure, notes=notes)


def _one_class_each(y: Array, p: Array, kind: str) -> tuple[Array, Array]:
    """Return class numbers (n,), and scores (n,) or (n, classes), of any shapes that mean these."""
    if y.ndim == p.ndim == 2 and y.shape == p.shape:  # one-hot
        if not np.all(np.isin(y, (0, 1))) or not np.all(y.sum(1) == 1):
            raise DataError(
                f"{kind}: targets of shape {y.shape} must be one-hot rows or class numbers; for "
                'several labels an example give kind="multilabel"'
            )
        y = y.argmax(1)
    if p.ndim == y.ndim + 1 and y.ndim >= 1:
        y, p = y.reshape(-1), p.reshape(-1, p.shape[-1])
    elif p.shape == y.shape:
        y, p = y.reshape(-1), p.reshape(-1)
    else:
        raise DataError(
            f"{kind}: targets of shape {y.shape} do not fit predictions of shape {p.shape}"
        )
    if kind == "binary" and p.ndim == 2:
        if p.shape[1] != 2:
            raise DataError(f"binary: expected 1 or 2 scores an example, received {p.shape[1]}")
        if p.dtype.kind == "f":
            # The second column stands for both, be it probability or the difference of logits.
            rows = p.sum(1)
            sure = p.min() >= 0 and np.abs(rows - 1).max() < _ROUGHLY
            p = p[:, 1] / rows if sure else _sigmoid(p[:, 1].astype(float) - p[:, 0])
        else:
            p = p.argmax(1)
    if kind == "multiclass" and p.ndim == 1 and p.dtype.kind == "f":
        if not np.all(p == np.rint(p)):
            raise DataError("multiclass: expected scores (examples, classes), or class numbers")
        p = p.astype(np.int64)
    return y, p


def _probabilities(p: Array, kind: str) -> tuple[Array, bool, tuple[str, ...]]:
    """Return probabilities where scores are such or logits, whether they are, and a note."""
    within = p.min() >= -1e-6 and p.max() <= 1 + 1e-6
    told = "the predictions are not all from 0 to 1 and are taken as logits"
    if kind != "multiclass":
        return (np.clip(p, 0, 1), True, ()) if within else (_sigmoid(p), True, (told,))
    if not within:
        e = np.exp(p - p.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True), True, (told,)
    rows = p.sum(1, keepdims=True)
    if np.abs(rows - 1).max() < 10 * _ROUGHLY:
        return np.clip(p, 0, 1) / rows, True, ()
    note = "the rows of predictions do not sum to 1: they are scores, not probabilities"
    return p, False, (note,)


def _sigmoid(z: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def _values(y: Array, p: Array, kind: str, history: Any) -> Problem:
    if y.shape != p.shape:
        raise DataError(
            f"{kind}: targets of shape {y.shape} and predictions of shape {p.shape} must be equal"
        )
    y, p = (values.astype(np.float64).reshape(len(values), -1) for values in (y, p))
    if kind == "regression":
        return Problem(kind, y, p)
    past = np.asarray(history if history is not None else [], np.float64)
    past = past[..., 0] if past.ndim == 3 and past.shape[-1] == 1 else past
    if past.ndim != 2 or len(past) != len(y) or not past.shape[1]:
        raise DataError(
            f"forecast: history= must hold the values before each target, ({len(y)}, steps); "
            f"received {past.shape}"
        )
    return Problem(kind, y, p, history=past)
