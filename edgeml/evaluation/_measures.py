"""Metrics as functions of the weights of examples, so that any resample of them is a product."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edgeml.errors import ConfigError, DataError
from edgeml.evaluation._problem import Problem
from edgeml.evaluation._stats import Array, Measured, Share, divide

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Measure:
    """A metric for `evaluate`, `compare` and the others.

    Args:
        name: Its name in the report.
        fn: ``fn(y_true, y_pred) -> float`` of arrays (lists for texts and objects).
        better: "up" when larger is better, or "down".

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import Measure, evaluate
        >>> worst = Measure("worst", lambda y, p: float(np.abs(y - p).max()), "down")
        >>> y = np.arange(50.0)
        >>> evaluate(y + np.sin(y), y=y, metric=worst).metrics["worst"].value < 1.01
        True
    """

    name: str
    fn: Callable[[Any, Any], Any]
    better: Literal["up", "down"] = "up"

    def __post_init__(self) -> None:
        if self.better not in ("up", "down"):
            raise ConfigError(f'better: expected "up" or "down", received {self.better!r}')

    def prepare(self, problem: Problem) -> Measured:
        """Return the metric of these examples, as a function of weights."""
        return _Repeated(self.fn, problem)


@dataclass(frozen=True)
class BuiltIn(Measure):
    """One of ours: `fn` takes the problem and returns what is measured."""

    scored: bool = False
    probabilities: bool = False

    def prepare(self, problem: Problem) -> Measured:
        """Return the metric of these examples, as a function of weights."""
        measured: Measured = self.fn(problem, None)
        return measured

    def fits(self, problem: Problem) -> bool:
        """Return whether the predictions are what it takes."""
        if self.probabilities:
            return problem.probabilities
        return problem.scored or not self.scored


class _Repeated:
    """Any function of targets and predictions: examples are repeated as weights say."""

    def __init__(self, fn: Callable[[Any, Any], Any], problem: Problem) -> None:
        self.fn, self.problem = fn, problem

    def values(self, weights: Array) -> Array:
        found = []
        for row in weights:
            part = self.problem.take(np.repeat(np.arange(len(row)), row.astype(np.int64)))
            y, p = part.y, part.p
            if part.kind in ("regression", "forecast") and y.shape[1] == 1:
                y, p = y[:, 0], p[:, 0]
            found.append(float(self.fn(y, p)))
        return np.array(found)


class Sums:
    """A formula of sums over examples.

    Args:
        statistics: (examples, k).
        formula: Takes sums (draws, k), returns (draws,).
    """

    def __init__(self, statistics: Array, formula: Callable[[Array], Array]) -> None:
        self.statistics, self.formula = statistics, formula

    def values(self, weights: Array) -> Array:
        """Return the metric for each row of weights."""
        return self.formula(weights @ self.statistics)


def mean(values: Array, then: Callable[[Array], Array] = lambda m: m) -> Sums:
    """Return what measures the mean of a value an example, or a function of it."""
    return Sums(np.stack([values, np.ones(len(values))], 1), lambda s: then(divide(*s.T)))


class Counts:
    """A formula of each class's hits, predictions and cases."""

    def __init__(self, y: Array, p: Array, formula: Callable[..., float]) -> None:
        self.y, self.p, self.formula = y, p, formula
        self.classes = int(max(y.max(initial=0), p.max(initial=0))) + 1

    def values(self, weights: Array) -> Array:
        """Return the metric for each row of weights."""
        right = self.y == self.p
        return np.array(
            [
                self.formula(
                    np.bincount(self.y[right], row[right], self.classes),
                    np.bincount(self.p, row, self.classes),
                    np.bincount(self.y, row, self.classes),
                )
                for row in weights
            ]
        )


class LabelCounts:
    """The same for several labels an example, (examples, labels)."""

    def __init__(self, y: Array, p: Array, formula: Callable[..., float]) -> None:
        self.y, self.p, self.formula = y.astype(float), p.astype(float), formula

    def values(self, weights: Array) -> Array:
        """Return the metric for each row of weights."""
        counts = (weights @ part for part in (self.y * self.p, self.p, self.y))
        return np.array([self.formula(*row) for row in zip(*counts, strict=True)])


class Ranked:
    """The area under a curve of decisions: exact, ties at once.

    Args:
        y: 0 and 1.
        scores: Of each example.
        curve: "roc" (the probability that a case is above a non-case) or "pr" (the mean of the
            precision over recalls, without interpolation).
    """

    def __init__(self, y: Array, scores: Array, curve: str) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        self.starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self.positive = (y[self.order] != 0).astype(float)
        self.curve = curve

    def values(self, weights: Array) -> Array:
        """Return the area for each row of weights; NaN without both classes."""
        w = weights[:, self.order]
        hits = np.add.reduceat(w * self.positive, self.starts, axis=1)
        alarms = np.add.reduceat(w * (1 - self.positive), self.starts, axis=1)
        tp, fp = hits.cumsum(1), alarms.cumsum(1)
        if self.curve == "roc":
            area = (alarms * (tp - hits / 2)).sum(1)
            return divide(area, tp[:, -1] * fp[:, -1])
        return divide((hits * _share(tp, tp + fp)).sum(1), tp[:, -1])


class Average:
    """The mean of several measured things, of those that are defined."""

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts

    def values(self, weights: Array) -> Array:
        """Return the mean for each row of weights."""
        found = np.stack([part.values(weights) for part in self.parts])
        known = np.isfinite(found)
        return divide(np.where(known, found, 0.0).sum(0), known.sum(0).astype(float))


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) != 0)


def _balanced(hits: Array, _: Array, cases: Array) -> float:
    return float((hits[cases > 0] / cases[cases > 0]).mean())


def _macro_f1(hits: Array, predicted: Array, cases: Array) -> float:
    seen = predicted + cases > 0
    return float((2 * hits[seen] / (predicted + cases)[seen]).mean()) if seen.any() else np.nan


def _micro_f1(hits: Array, predicted: Array, cases: Array) -> float:
    whole = (predicted + cases).sum()
    return float(2 * hits.sum() / whole) if whole else np.nan


def _mcc(s: Array) -> Array:
    tp, predicted, cases, n = s.T
    top = tp * n - predicted * cases
    return divide(top, np.sqrt(predicted * cases * (n - predicted) * (n - cases)))


def _binary_parts(q: Problem) -> tuple[Array, Array]:
    return q.y.astype(float), q.chosen.astype(float)


def _f1(q: Problem, _: Any) -> Measured:
    y, p = _binary_parts(q)
    return Sums(np.stack([2 * y * p, y + p], 1), lambda s: divide(*s.T))


def _matthews(q: Problem, _: Any) -> Measured:
    y, p = _binary_parts(q)
    return Sums(np.stack([y * p, p, y, np.ones_like(y)], 1), _mcc)


def _log_loss(q: Problem, _: Any) -> Measured:
    if q.kind == "multiclass":
        chosen = q.p[np.arange(len(q)), q.y]
    else:
        chosen = np.where(q.y == 1, q.p, 1 - q.p)
    loss = -np.log(np.clip(chosen, _EPSILON, 1))
    return mean(loss if loss.ndim == 1 else loss.mean(1))


def _brier(q: Problem, _: Any) -> Measured:
    if q.kind == "binary":
        return mean((q.p - q.y) ** 2)
    return mean(((q.p - np.eye(q.p.shape[1])[q.y]) ** 2).sum(1))


def _r2(q: Problem, _: Any) -> Measured:
    k = q.y.shape[1]
    y = q.y - q.y.mean(0)  # so that squares lose no digits
    statistics = np.concatenate([y, y**2, (q.y - q.p) ** 2, np.ones((len(y), 1))], 1)

    def formula(s: Array) -> Array:
        spread = s[:, k : 2 * k] - s[:, :k] ** 2 / s[:, -1:]
        spread[spread <= 1e-12 * (1 + s[:, k : 2 * k])] = 0
        return np.asarray(1 - divide(s[:, 2 * k : 3 * k], spread).mean(1))

    return Sums(statistics, formula)


def _naive_ratio(q: Problem, _: Any) -> Measured:
    assert q.history is not None
    naive = np.abs(q.y - q.history[:, -1:]).mean(1)
    return Sums(np.stack([np.abs(q.y - q.p).mean(1), naive], 1), lambda s: divide(*s.T))


def _row_error(q: Problem) -> Array:
    return np.asarray(np.abs(q.y - q.p).mean(1))


def _macro_average_precision(q: Problem, _: Any) -> Measured:
    return Average([Ranked(q.y[:, i], q.p[:, i], "pr") for i in range(q.y.shape[1])])


def _table(kind: str, **measures: tuple[str, Callable[..., Measured], str]) -> None:
    TABLE[kind] = {
        name: BuiltIn(name, fn, better, scored=needs == "scores", probabilities=needs == "p")  # type: ignore[arg-type]
        for name, (better, fn, needs) in measures.items()
    }


TABLE: dict[str, dict[str, BuiltIn]] = {}
"""The metrics of each kind; the first is the one that verdicts are about."""

_table(
    "binary",
    accuracy=("up", lambda q, _: Share(q.y == q.chosen), ""),
    balanced_accuracy=("up", lambda q, _: Counts(q.y, q.chosen, _balanced), ""),
    precision=("up", lambda q, _: Share((q.y * q.chosen), q.chosen), ""),
    recall=("up", lambda q, _: Share((q.y * q.chosen), q.y), ""),
    f1=("up", _f1, ""),
    mcc=("up", _matthews, ""),
    auc=("up", lambda q, _: Ranked(q.y, q.p, "roc"), "scores"),
    average_precision=("up", lambda q, _: Ranked(q.y, q.p, "pr"), "scores"),
    log_loss=("down", _log_loss, "p"),
    brier=("down", _brier, "p"),
)
_table(
    "multiclass",
    accuracy=("up", lambda q, _: Share(q.y == q.chosen), ""),
    balanced_accuracy=("up", lambda q, _: Counts(q.y, q.chosen, _balanced), ""),
    macro_f1=("up", lambda q, _: Counts(q.y, q.chosen, _macro_f1), ""),
    log_loss=("down", _log_loss, "p"),
    brier=("down", _brier, "p"),
)
_table(
    "multilabel",
    micro_f1=("up", lambda q, _: LabelCounts(q.y, q.chosen, _micro_f1), ""),
    macro_f1=("up", lambda q, _: LabelCounts(q.y, q.chosen, _macro_f1), ""),
    exact_match=("up", lambda q, _: Share((q.y == q.chosen).all(1)), ""),
    average_precision=("up", _macro_average_precision, "scores"),
    log_loss=("down", _log_loss, "p"),
)
_table(
    "regression",
    mae=("down", lambda q, _: mean(_row_error(q)), ""),
    rmse=("down", lambda q, _: mean(((q.y - q.p) ** 2).mean(1), np.sqrt), ""),
    r2=("up", _r2, ""),
)
_table(
    "forecast",
    mae=("down", lambda q, _: mean(_row_error(q)), ""),
    rmse=("down", lambda q, _: mean(((q.y - q.p) ** 2).mean(1), np.sqrt), ""),
    relative_mae=("down", _naive_ratio, ""),
)


def measures_of(problem: Problem) -> dict[str, Measure]:
    """Return the metrics that these predictions allow, by name."""
    if problem.kind not in TABLE:
        from edgeml.evaluation import _listed

        _listed.fill(TABLE)
    return {name: m for name, m in TABLE[problem.kind].items() if m.fits(problem)}


def measure_of(metric: Any, problem: Problem) -> Measure:
    """Return a metric by name, of ours or of `edgeml.metrics`, or the kind's first for None.

    Raises:
        ConfigError: there is none of that name, or nothing says which values are better.
        DataError: it needs probabilities, and the predictions are class numbers.
    """
    own = measures_of(problem)
    if metric is None:
        return next(iter(own.values()))
    if isinstance(metric, Measure):
        return metric
    if isinstance(metric, str):
        if metric in own:
            return own[metric]
        if metric in TABLE[problem.kind]:
            raise DataError(f"{metric} needs scores of each class; the predictions are no such")
        raise ConfigError(
            f"there is no metric {metric!r} for {problem.kind}; there are {', '.join(own)}, and "
            "edgeml.evaluation.Measure makes others"
        )
    return _foreign(metric)


def _foreign(metric: Any) -> Measure:
    """Return one of `edgeml.metrics` as a measure."""
    from edgeml.metrics import Metric

    if inspect.isclass(metric) and issubclass(metric, Metric):
        metric = metric()
    if isinstance(metric, Metric) and getattr(metric, "direction", "") in ("up", "down"):

        def value(y: Any, p: Any) -> float:
            metric.reset_state()
            metric.update_state(y, p)
            return float(metric.result())

        return Measure(metric.name, value, metric.direction)  # type: ignore[arg-type]
    raise ConfigError(
        f"metric: expected a name or an edgeml.evaluation.Measure, received {metric!r}; "
        'Measure("name", fn, better="up") says which values are better'
    )


def prepared(measures: Mapping[str, Measure], problem: Problem) -> dict[str, Measured]:
    """Return each metric on these examples."""
    return {name: measure.prepare(problem) for name, measure in measures.items()}
