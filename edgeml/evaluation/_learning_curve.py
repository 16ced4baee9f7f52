"""Whether more data would help: the error over growing parts of the training set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgeml.data import Dataset
from edgeml.errors import ConfigError, DataError
from edgeml.evaluation._measures import Measure, measure_of
from edgeml.evaluation._predict import gather, groups_of
from edgeml.evaluation._problem import problem
from edgeml.evaluation._stats import (
    LEAST_UNITS,
    Array,
    Estimate,
    Measured,
    Options,
    Units,
    percentiles,
    resample,
    too_few,
)

_EXPONENTS = np.linspace(0.05, 2.0, 40)
_LEAST_SIZES = 4  # for three numbers of a curve


@dataclass(frozen=True)
class LearningCurve:
    """The metric over the amount of training data, and what twice as much would bring.

    Attributes:
        metric: Name of the metric.
        better: "up" when larger is better, or "down".
        unit: What sizes count: "examples" or "groups".
        sizes: How many were trained on.
        scores: The metric at each size, mean over the repeats.
        each: The metric of every model, (repeats, sizes).
        floor: What the metric would come to with data without end, by the curve.
        exponent: Of the power law that the error follows.
        gain: How much better the metric would be with twice the data, positive is better; with
            the interval that the test set leaves.
        worth: Share of the present error that doubling the data must take to be worth it.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import learning_curve
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(1000, 1)), np.zeros(1000)
        >>> def make_model(x, y):  # an error that falls with the root of the number
        ...     return lambda inputs: np.full(len(inputs), len(x) ** -0.5)
        >>> curve = learning_curve(make_model, (x, y), (x, rng.normal(size=1000) * 1e-3))
        >>> curve.verdict, round(curve.exponent, 1)
        ('more data would help', 0.5)
    """

    metric: str
    better: str
    unit: str
    sizes: tuple[int, ...]
    scores: tuple[Estimate, ...]
    each: Array
    floor: float
    exponent: float
    gain: Estimate
    worth: float

    @property
    def verdict(self) -> str:
        """What is to be expected of twice the data.

        "more data would help", "more data would hardly help" or "cannot say".
        """
        if self.gain.low is None or self.gain.high is None:
            return "cannot say"
        least = self.worth * self._error
        if self.gain.low > 0 and self.gain.value >= least:
            return "more data would help"
        return "more data would hardly help" if self.gain.high < least else "cannot say"

    @property
    def _error(self) -> float:
        """What is left of the error with all the data."""
        value = self.scores[-1].value
        return 1 - value if self.better == "up" else value

    def summary(self) -> str:
        """Return it as text."""
        rows = [f"  {n:>8} {self.unit}  {self.metric} {score}"
                for n, score in zip(self.sizes, self.scores, strict=True)]  # fmt: skip
        twice = f"twice the {self.unit} would gain {self.gain}"
        why = f" ({self.gain.note})" if self.gain.note else ""
        return "\n".join([f"{self.verdict}{why}: {twice}", *rows])

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        scores = [score.to_dict() for score in self.scores]
        return {**asdict(self), "scores": scores, "gain": self.gain.to_dict(),
                "each": self.each.tolist(), "verdict": self.verdict}  # fmt: skip


def learning_curve(
    make_model: Callable[[Any, Any], Any], data: Any, test: Any, *,
    sizes: Sequence[float] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), repeats: int = 3,
    kind: str | None = None, metric: Any = None, groups: Any = None, test_groups: Any = None,
    worth: float = 0.1, level: float = 0.95, resamples: int = 300, seed: int = 0,
) -> LearningCurve:  # fmt: skip
    """Train on growing parts of the data, and say whether more of them would help.

    Each part holds the one before. A power law with a floor, ``a + b n**-c``, is fitted to the
    error (Figueroa et al. 2012; Hestness et al. 2017) and continued to twice the data, no further;
    the interval is of fits to resamples of the test set and of the repeats.

    Args:
        make_model: ``fn(x, y)`` that trains on these arrays and returns what `evaluate` takes.
        data: All training data: a dataset or ``(x, y)``.
        test: Data that models are not trained on: a dataset or ``(x, y)``.
        sizes: Parts to train on: shares up to 1.0 (floats), or numbers.
        repeats: Orders in which data are added, each with models of its own.
        kind: Kind of problem; None infers it.
        metric: What is looked at; see `evaluate`.
        groups: Group of each training example: then whole groups are added, and the answer is
            about more groups, such as people.
        test_groups: Group of each test example.
        worth: Share of the present error that doubling the data must take to be worth it.
        level: Of the intervals.
        resamples: Draws of the bootstrap.
        seed: Of orders and draws.

    Raises:
        ConfigError: fewer than four sizes, or two repeats.
        DataError: a part is empty, or data do not fit together.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import learning_curve
        >>> x = np.random.default_rng(0).normal(size=200)
        >>> def make_model(x, y):  # it has learned all that there is from the first example on
        ...     return lambda inputs: inputs
        >>> learning_curve(make_model, (x, x + 0.1), (x, x + np.sin(x))).gain.value
        0.0
    """
    options = Options(level, resamples, seed)
    if len(sizes) < _LEAST_SIZES or repeats < 2:
        raise ConfigError(
            f"a curve takes {_LEAST_SIZES} sizes and 2 repeats; received {len(sizes)} and {repeats}"
        )
    x, y = _arrays(data)
    if groups is None:
        groups, _ = groups_of(data, len(y))
    order_of = _Orders(y, groups, seed)
    counts = _counts(sizes, order_of.count)
    parts: dict[str, Measured] = {}
    units, measure = Units.make(1), None
    for repeat in range(repeats):
        positions = order_of(repeat)
        for size, n in enumerate(counts):
            index = np.sort(np.flatnonzero(positions < n))
            model = make_model(_rows(x, index), y[index])
            units, measure, parts[f"{repeat}/{size}"] = _measured(
                model, test, kind, metric, test_groups
            )
    assert measure is not None
    shape = (repeats, len(counts))
    each = np.array([m.values(np.ones((1, len(units.of))))[0] for m in parts.values()])
    if not np.isfinite(each).all():
        raise DataError(f"{measure.name} is not defined on the test set: it cannot make a curve")
    unit = "examples" if groups is None else "groups"
    draws = np.stack(list(resample(parts, units, options).values())).reshape(*shape, -1)
    return _fitted(measure, unit, counts, each.reshape(shape), draws, units, options, worth)


class _Orders:
    """In which order examples, or whole groups, are added; classes in their shares."""

    def __init__(self, y: Array, groups: Any, seed: int) -> None:
        self.seed = seed
        self.units = Units.make(len(y), groups)
        self.count = self.units.count
        by_class = groups is None and y.ndim == 1 and y.dtype.kind in "biu"
        self.classes = y if by_class else np.zeros(self.count, int)

    def __call__(self, repeat: int) -> Array:
        """Return the place of each example in the order."""
        rng = np.random.default_rng([self.seed, repeat])
        share = np.empty(self.count)
        for label in np.unique(self.classes):
            own = np.flatnonzero(self.classes == label)
            share[rng.permutation(own)] = (np.arange(len(own)) + rng.uniform()) / len(own)
        place = np.empty(self.count, int)
        place[np.argsort(share, kind="stable")] = np.arange(self.count)
        return place[self.units.of]


def _arrays(data: Any) -> tuple[Any, Array]:
    if isinstance(data, Dataset):
        data = (data.unbatch() if data._is_batched() else data).to_arrays()
    if not isinstance(data, tuple) or len(data) < 2:
        raise DataError("expected a dataset of (x, y), or (x, y)")
    return data[0], np.asarray(data[1])


def _rows(x: Any, index: Array) -> Any:
    if isinstance(x, dict):
        return {key: np.asarray(value)[index] for key, value in x.items()}
    if isinstance(x, tuple):
        return tuple(np.asarray(value)[index] for value in x)
    return np.asarray(x)[index]


def _counts(sizes: Sequence[float], whole: int) -> list[int]:
    found = []
    for size in sizes:
        n = round(size * whole) if isinstance(size, float) else int(size)
        if not 1 <= n <= whole:
            raise DataError(f"sizes: {size!r} of {whole} is {n}; expected 1 to {whole}")
        found.append(n)
    if sorted(set(found)) != found:
        raise DataError(f"sizes must grow; of {whole} these are {found}")
    return found


def _measured(
    model: Any, test: Any, kind: str | None, metric: Any, groups: Any
) -> tuple[Units, Measure, Measured]:
    got = gather(model, test, None, kind=kind, batch_size=256, output=None, slices={}, keep=False)
    found = problem(got.y, got.p, kind, got.labels)
    if groups is None:
        groups, _ = groups_of(test, len(got.y))
    measure = measure_of(metric, found)
    return Units.make(len(found), groups), measure, measure.prepare(found)


def _fitted(
    measure: Measure, unit: str, counts: list[int], each: Array, draws: Array, units: Units,
    options: Options, worth: float,
) -> LearningCurve:  # fmt: skip
    sizes = np.array(counts, float)
    scores = [percentiles(float(each[:, i].mean()), draws[:, i].mean(0), units, options.level)
              for i in range(len(counts))]  # fmt: skip

    def error(values: Array) -> Array:
        return 1 - values if measure.better == "up" else values

    rng = np.random.default_rng(options.seed)
    chosen = rng.integers(0, len(each), (len(each), draws.shape[2]))
    mixed = np.take_along_axis(draws, chosen[:, None, :], 0).mean(0)
    a, b, c = (float(v[0]) for v in power_law(sizes, error(each.mean(0))[:, None]))
    value = float(_gain(b, c, sizes[-1]))
    _, many_b, many_c = power_law(sizes, error(np.where(np.isfinite(mixed), mixed, 0.0)))
    if units.count < LEAST_UNITS:
        gain = Estimate(value, note=too_few(units))
    else:
        gain = percentiles(value, _gain(many_b, many_c, sizes[-1]), units, options.level)
    floor = 1 - a if measure.better == "up" else a
    return LearningCurve(measure.name, measure.better, unit, tuple(counts), tuple(scores), each,
                         floor, c, gain, worth)  # fmt: skip


def _gain(b: Any, c: Any, n: float) -> Any:
    return b * n**-c * (1 - 2**-c)


def power_law(sizes: Array, errors: Array) -> tuple[Array, Array, Array]:
    """Return a, b and c, none below 0, of ``a + b n**-c`` for each column of errors."""
    best = np.full(errors.shape[1], np.inf)
    a, b, c = (np.zeros(errors.shape[1]) for _ in range(3))
    for exponent in _EXPONENTS:
        x = sizes**-exponent
        gap = x - x.mean()
        slope = np.maximum(0, gap @ (errors - errors.mean(0)) / (gap @ gap))
        floor = errors.mean(0) - slope * x.mean()
        through = x @ errors / (x @ x)  # where the floor would be below 0
        slope, floor = np.where(floor < 0, through, slope), np.maximum(floor, 0)
        off = ((errors - floor - slope * x[:, None]) ** 2).sum(0)
        better = off < best * (1 - 1e-9)
        best, a, b = (
            np.where(better, off, best),
            np.where(better, floor, a),
            np.where(better, slope, b),
        )
        c = np.where(better, exponent, c)
    return a, b, c
