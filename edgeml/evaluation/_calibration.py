"""Whether a probability of 0.8 comes true in 80 of 100 cases, and how to make it so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, DataError
from edgeml.evaluation._problem import Problem, problem
from edgeml.evaluation._stats import Array, Estimate, Share, Units, wilson

_DRAWS = 200  # of calibrated models, to compare with


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Examples of similar confidence.

    Attributes:
        low: Lower edge of the confidence.
        high: Upper edge.
        count: Number of examples.
        confidence: Their mean confidence.
        accuracy: How many of them came true.

    Example:
        >>> from edgeml.evaluation import calibration
        >>> calibration([1, 1, 1, 0], [0.9, 0.9, 0.9, 0.9]).bins[0].accuracy.value
        0.75
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far probabilities are from shares.

    Attributes:
        bins: The reliability table; empty bins are left out.
        ece: Expected calibration error: the mean gap of confidence and accuracy over examples.
        mce: The largest gap of a bin.
        ece_if_calibrated: What 95% of samples of this size stay below when each probability is
            exactly true: no model has an `ece` of 0.
        brier: Mean squared error of the probabilities.
        temperature: What logits are divided by, when validation data were given.
        ece_scaled: `ece` with it.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import calibration
        >>> rng = np.random.default_rng(0)
        >>> p = rng.uniform(size=2000)
        >>> calibration(rng.uniform(size=2000) < p, p).calibrated
        True
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float
    mce: float
    ece_if_calibrated: float
    brier: float
    temperature: float | None = None
    ece_scaled: float | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the data are as those of a calibrated model would be."""
        return self.ece <= self.ece_if_calibrated


@dataclass(frozen=True, slots=True)
class Temperature:
    """Probabilities made less, or more, sure; the order of classes stays.

    Attributes:
        value: What logits are divided by: above 1 the model was too sure.

    Example:
        >>> from edgeml.evaluation import Temperature
        >>> Temperature(2.0)([[0.9, 0.1]]).round(3).tolist()
        [[0.75, 0.25]]
    """

    value: float

    def __call__(self, p: Any) -> Array:
        """Return probabilities (examples,) or (examples, classes) with the temperature."""
        p = np.asarray(p, np.float64)
        if p.ndim == 1:
            return _softmax(_logits(np.stack([1 - p, p], 1)) / self.value)[:, 1]
        return _softmax(_logits(p) / self.value)


def fit_temperature(y: Any, p: Any) -> Temperature:
    """Return the temperature that fits validation data best (Guo et al. 2017).

    Args:
        y: Class numbers of data that were not trained on, and are not the test set.
        p: Probabilities or logits, (examples, classes); of a binary problem also (examples,).

    Raises:
        DataError: these are no probabilities of classes, or of fewer than two examples.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import fit_temperature
        >>> y = np.arange(100) % 2
        >>> sure = np.where(np.arange(100) % 10 < 2, 1 - y, y)  # one in five is wrong
        >>> round(fit_temperature(y, np.clip(sure, 0.01, 0.99)).value, 1)
        3.3
    """
    found = problem(y, p, None)
    if not found.probabilities or found.kind == "multilabel" or len(found) < 2:
        raise DataError("a temperature needs probabilities or logits of classes, and two examples")
    p = found.p if found.kind == "multiclass" else np.stack([1 - found.p, found.p], 1)
    logits = _logits(p)
    rows = np.arange(len(found))

    def slope(log_beta: float) -> float:
        # The loss is convex in beta = 1 / temperature; this is its derivative.
        q = _softmax(np.exp(log_beta) * logits)
        return float(((q * logits).sum(1) - logits[rows, found.y]).mean())

    low, high = np.log(1e-2), np.log(1e2)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return Temperature(float(np.exp(-(low + high) / 2)))


def calibration(y: Any, p: Any, bins: int = 15, level: float = 0.95) -> Calibration:
    """Return how far probabilities are from what comes true.

    Of several classes the confidence is that of the class that is predicted, and it comes true
    when that is right; of a binary problem it is the probability of class 1. Bins are equally
    wide (Naeini et al. 2015; Guo et al. 2017). A calibrated model of the same confidences is
    simulated for comparison (Bröcker and Smith 2007).

    Args:
        y: Class numbers.
        p: Probabilities or logits: (examples,) or (examples, classes).
        bins: Number of bins.
        level: Of the intervals of bins.

    Raises:
        DataError: these are no probabilities of classes.

    Example:
        >>> from edgeml.evaluation import calibration
        >>> round(calibration([1, 1, 1, 0], [0.9, 0.9, 0.9, 0.9]).ece, 2)
        0.15
    """
    found = problem(np.asarray(y).astype(np.int64) if np.asarray(y).dtype == bool else y, p)
    return of_problem(found, bins, level)


def of_problem(
    found: Problem, bins: int = 15, level: float = 0.95, temperature: Temperature | None = None
) -> Calibration:
    """Return the calibration of predictions."""
    if bins < 1:
        raise ConfigError(f"bins: expected at least 1, received {bins!r}")
    if not found.probabilities or found.kind == "multilabel":
        raise DataError("calibration needs probabilities of classes")
    confidence, true = _confidence(found, found.p)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    table = []
    for i in np.unique(place):
        own = place == i
        accuracy = wilson(Share(true[own]), Units.make(int(own.sum())), level)
        mean = float(confidence[own].mean())
        table.append(ReliabilityBin(i / bins, (i + 1) / bins, int(own.sum()), mean, accuracy))
    rng = np.random.default_rng(0)
    draws = [_ece(confidence, rng.uniform(size=len(true)) < confidence, place, bins)
             for _ in range(_DRAWS)]  # fmt: skip
    if found.kind == "binary":
        brier = float(((found.p - found.y) ** 2).mean())
    else:
        brier = float(((found.p - np.eye(found.p.shape[1])[found.y]) ** 2).sum(1).mean())
    scaled = None
    if temperature is not None:
        own, right = _confidence(found, temperature(found.p))
        scaled = _ece(own, right, np.minimum((own * bins).astype(int), bins - 1), bins)
    return Calibration(
        tuple(table), _ece(confidence, true, place, bins),
        max(abs(b.confidence - b.accuracy.value) for b in table),
        float(np.quantile(draws, 0.95)), brier,
        None if temperature is None else temperature.value, scaled,
    )  # fmt: skip


def _confidence(found: Problem, p: Array) -> tuple[Array, Array]:
    if found.kind == "binary":
        return p, found.y == 1
    return p.max(1), p.argmax(1) == found.y


def _ece(confidence: Array, true: Array, place: Array, bins: int) -> float:
    gaps = np.bincount(place, confidence - true, bins)
    return float(np.abs(gaps).sum() / len(true))


def _logits(p: Array) -> Array:
    return np.asarray(np.log(np.clip(p, 1e-12, None)))


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))
