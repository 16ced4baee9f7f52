"""The evaluation of a model, and of one against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, DataError
from edgeml.evaluation._baselines import baselines
from edgeml.evaluation._calibration import Calibration, fit_temperature, of_problem
from edgeml.evaluation._classes import by_class, confusion, curves
from edgeml.evaluation._differences import Difference, difference, holm, worse_than
from edgeml.evaluation._measures import Measure, measure_of, measures_of, prepared
from edgeml.evaluation._predict import as_masks, gather, groups_of
from edgeml.evaluation._problem import LISTED, Problem, problem
from edgeml.evaluation._report import Baseline, Report, Slice
from edgeml.evaluation._stats import LEAST_UNITS, Array, Estimate, Options, Units, estimates, point
from edgeml.evaluation._text import Normalizer, normalizer


def evaluate(
    model: Any, data: Any = None, y: Any = None, *, kind: str | None = None, metric: Any = None,
    groups: Any = None, slices: Mapping[str, Any] | None = None, labels: Sequence[str] = (),
    train_y: Any = None, validation: Any = None, history: Any = None, season: int | None = None,
    normalize: Normalizer = "basic", sigmas: Sequence[float] | None = None, output: Any = None,
    batch_size: int = 256, level: float = 0.95, resamples: int = 1000, seed: int = 0,
) -> Report:  # fmt: skip
    """Say how good a model is: with intervals, by slice, and against common sense.

    Args:
        model: A `Model`, a `Trainer`, a `Session`, the path of a model, any function of a batch
            (of one example for objects and texts), or the predictions themselves as an array or
            list.
        data: An `edgeml.data.Dataset`, ``(x, y)``, or x; arrays, or a dict or tuple of them.
        y: Targets, when `data` has none: class numbers, one-hot rows, rows of 0 and 1, values,
            `Objects`, or texts.
        kind: "binary", "multiclass", "multilabel", "regression", "forecast", "detection",
            "keypoints" or "text"; None infers it, and a note says what was inferred.
        metric: The main one: a name, or a `Measure`; None is the first of the kind.
        groups: What each example belongs to, such as a person or a recording. Examples of one
            group resemble each other: intervals then treat a group as one. None takes the
            groups or sources that a dataset knows; False takes none.
        slices: By name an array with one value an example, bool or a category, or a function
            ``fn(x, y)`` of a batch that returns one.
        labels: Names of the classes; None takes those of a session.
        train_y: The training targets, which the baseline then knows instead of those at hand.
        validation: ``(x, y)`` or a dataset that is not the test set, to fit a temperature on.
        history: Values before each target, (examples, steps), for a forecast; None takes x.
        season: Steps of a period, for a forecast's baseline.
        normalize: What texts are compared as; see `word_error_rate`.
        sigmas: Of keypoints; None is COCO's 17.
        output: Name or number of the output, of several.
        batch_size: Examples in one run.
        level: Of the intervals.
        resamples: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        DataError: data are empty, do not fit together, or are out of range.
        OutputError: predictions hold NaN or infinity.
        ConfigError: there is no such kind, metric or output.

    Example:
        >>> import numpy as np, edgeml
        >>> x = np.random.default_rng(0).normal(size=(400, 2))
        >>> y = x[:, 0] + 0.1 * x[:, 1]
        >>> report = edgeml.evaluate(lambda x: x[:, 0], x, y, slices={"high": y > 1})
        >>> report.kind, round(report.metrics["mae"].value, 2), report.beats_baseline
        ('regression', 0.08, True)
    """
    options = Options(level, resamples, seed)
    named = dict(slices or {})
    functions = {name: fn for name, fn in named.items() if callable(fn)}
    keep = kind == "forecast" and history is None
    got = gather(model, data, y, kind=kind, batch_size=batch_size, output=output,
                 slices=functions, keep=keep)  # fmt: skip
    targets, predictions = _plain_texts(got.y, got.p, kind, normalize)
    history = got.last_x if keep else history
    found = problem(targets, predictions, kind, labels or got.labels, history, sigmas)
    n, times = len(got.y), len(found) // len(got.y)
    units, notes = _units(data, groups, n, times)
    masks = {name: mask for key, values in {**named, **got.slices}.items()
             for name, mask in as_masks(key, values, n).items()}  # fmt: skip
    own = measures_of(found)
    main = measure_of(metric, found)
    measures = {main.name: main} | own
    plain = _baselines(found, train_y, season, sigmas, measures, main, units, options)
    return Report(
        kind=found.kind,
        count=n,
        groups=units.count if units.grouped and times == 1 else None,
        level=level,
        metric=main.name,
        metrics=estimates(prepared(measures, found), units, options),
        baselines=plain,
        slices=_slices(main, found, masks, units, options, times),
        classes=by_class(found, units, options),
        labels=found.labels,
        confusion=confusion(found),
        curves=curves(found),
        calibration=_calibration(model, found, validation, output, batch_size, level),
        notes=(*found.notes, *notes, *_warnings(found, train_y)),
    )


def compare(
    a: Any, b: Any, data: Any = None, y: Any = None, *, kind: str | None = None,
    metric: Any = None, groups: Any = None, normalize: Normalizer = "basic", output: Any = None,
    batch_size: int = 256, level: float = 0.95, resamples: int = 1000, seed: int = 0,
) -> Difference:  # fmt: skip
    """Return how much better model `a` is than model `b`, on the same data.

    The arguments are those of `evaluate`; the interval is that of `paired_difference`.

    Args:
        a: A model, as `evaluate` takes it.
        b: Another.
        data: As for `evaluate`, and so are the others; a dataset is read once for each model,
            and must give the same elements in the same order.
        y: Targets.
        kind: Kind of problem.
        metric: What is compared.
        groups: What each example belongs to.
        normalize: What texts are compared as.
        output: Which output, of several.
        batch_size: Examples in one run.
        level: Of the interval.
        resamples: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        DataError: data do not fit together, or came in another order the second time.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import compare
        >>> x = np.linspace(-1, 1, 200)
        >>> difference = compare(lambda x: x, lambda x: 0.9 * x, x, x + 0.01 * np.cos(9 * x))
        >>> difference.verdict, difference.not_worse_by(0.01)
        ('better', True)
    """
    options = Options(level, resamples, seed)
    found, count = [], 0
    for model in (a, b):
        got = gather(model, data, y, kind=kind, batch_size=batch_size, output=output, slices={},
                     keep=kind == "forecast")  # fmt: skip
        targets, predictions = _plain_texts(got.y, got.p, kind, normalize)
        found.append(problem(targets, predictions, kind, got.labels, got.last_x))
        count = len(got.y)
    first, second = found
    same = first.y == second.y if first.kind == "text" else None
    if first.kind not in LISTED:
        same = np.array_equal(first.y, second.y)
    if same is False or first.kind != second.kind:
        raise DataError(
            "the two models saw different targets: a dataset must not shuffle for a comparison"
        )
    units, _ = _units(data, groups, count, len(first) // count)
    return difference(measure_of(metric, first), first, second, units, options)


def _plain_texts(y: Any, p: Any, kind: str | None, normalize: Normalizer) -> tuple[Any, Any]:
    texts = len(y) and isinstance(y[0], str) and kind in (None, "text")
    if not texts:
        return y, p
    plain = normalizer(normalize)
    return [plain(v) for v in y], [plain(v) if isinstance(v, str) else v for v in p]


def _units(data: Any, groups: Any, n: int, times: int) -> tuple[Units, tuple[str, ...]]:
    """Return what is drawn anew; the positions of a sequence or picture stay together."""
    notes: tuple[str, ...] = ()
    if groups is None:
        groups, notes = groups_of(data, n)
    if groups is False:
        groups = None
    units = Units.make(n, groups)
    if times > 1:
        units = Units(np.repeat(units.of, times), units.count, True)
        notes += (f"each example has {times} positions, which are drawn together",)
    return units, notes


def _baselines(
    found: Problem, train_y: Any, season: int | None, sigmas: Sequence[float] | None,
    measures: Mapping[str, Measure], main: Measure, units: Units, options: Options,
) -> tuple[Baseline, ...]:  # fmt: skip
    rows = []
    for name, plain in baselines(found, train_y, season, sigmas).items():
        own = {key: Estimate(point(metric, len(plain)))
               for key, metric in prepared(measures, plain).items()}  # fmt: skip
        rows.append(Baseline(name, own, difference(main, found, plain, units, options)))
    return tuple(rows)


def _slices(
    main: Measure, found: Problem, masks: Mapping[str, Array], units: Units, options: Options,
    times: int,
) -> tuple[Slice, ...]:  # fmt: skip
    rows = []
    for name, mask in masks.items():
        sides: list[Estimate | None] = []
        for own in (np.repeat(mask, times), ~np.repeat(mask, times)):
            index = np.flatnonzero(own)
            if not len(index):
                sides.append(None)
                continue
            parts = {"it": main.prepare(found.take(index))}
            sides.append(estimates(parts, units.take(index), options)["it"])
        part, rest = sides
        assert part is not None
        p = np.nan if rest is None else worse_than(part, rest, main.better, options.level)
        rows.append((name, int(mask.sum()), part, rest, p))
    corrected = holm(np.array([row[-1] for row in rows]))
    return tuple(
        Slice(name, count, part, rest, None if np.isnan(p) else float(p),
              bool(p < 1 - options.level))
        for (name, count, part, rest, _), p in zip(rows, corrected, strict=True)
    )  # fmt: skip


def _calibration(
    model: Any, found: Problem, validation: Any, output: Any, batch_size: int, level: float
) -> Calibration | None:
    if not found.probabilities or found.kind == "multilabel":
        if validation is not None:
            raise ConfigError("validation= is to fit a temperature: it needs probabilities")
        return None
    temperature = None
    if validation is not None:
        got = gather(model, validation, None, kind=found.kind, batch_size=batch_size,
                     output=output, slices={}, keep=False)  # fmt: skip
        temperature = fit_temperature(got.y, got.p)
    return of_problem(found, level=level, temperature=temperature)


def _warnings(found: Problem, train_y: Any) -> tuple[str, ...]:
    notes = []
    if found.kind in ("binary", "multiclass") and len(np.unique(found.y)) == 1:
        notes.append(
            f"all examples are of class {found.labels[int(found.y[0])]}: nothing is said of others"
        )
    if train_y is None and found.kind not in ("forecast",):
        notes.append(
            "the baseline was fitted to these very targets, which makes it the best of its kind; "
            "train_y= fits it to others"
        )
    if len(found) < LEAST_UNITS * 6:
        notes.append(f"{len(found)} examples are few: mind how wide the intervals are")
    return tuple(notes)
