"""A model on data, and two models side by side: the same machinery as the optimization's."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from edgeml.errors import DataError, OptimizeError
from edgeml.evaluation import Estimate, evaluate, score_difference
from edgeml.quantize._judge import Judge
from edgeml.quantize._measure import side_by_side
from edgeml.quantize._model import Model, read
from edgeml.quantize._samples import input_names, samples_of
from edgeml.quantize._session import open_model

_TIMED = 8  # examples to time with


def compare(
    first: Model | str | os.PathLike[str], second: Model | str | os.PathLike[str], data: Any, *,
    metric: Any = None, labels: Any = None, groups: Any = None, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Return how much better a second model is than a first, on the same data and machine.

    Args:
        first: Path or ``onnx.ModelProto``.
        second: Another, with the same inputs and outputs.
        data: As `optimize` takes it.
        metric: As `optimize` takes it.
        labels: The truth of each example, if not in `data`.
        groups: What each example belongs to, such as a person.
        seed: Of the interval.

    Returns:
        ``metric``, ``examples``, scores ``first`` and ``second`` in points, ``difference`` with
        its 95% interval, ``flips``, ``divergence``, ``bytes`` and ``latency`` of both.

    Raises:
        DataError: the data are empty, or labels are missing for the metric.
        OptimizeError: the models' inputs differ in name, or their outputs in name or rank.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import compare
        >>> net = edgeml.Sequential([edgeml.Input((8,)), edgeml.layers.Dense(4)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> x = np.random.default_rng(0).standard_normal((40, 8)).astype("float32")
        >>> compare("/tmp/edgeml-example.onnx", "/tmp/edgeml-example.onnx", x)["flips"]
        0
    """
    before, after = load_any(first), load_any(second)
    names = [sorted(input_names(model)) for model in (before, after)]
    if names[0] != names[1]:
        raise OptimizeError(
            f"the first model's inputs are {names[0]}, the second one's {names[1]}: expected the "
            "same names, so that both take the same data"
        )
    samples = samples_of(data, before, labels=labels, groups=groups)
    judge = Judge(before, samples, metric)
    indices = np.arange(len(samples))
    scores = judge.scores(after, indices)
    feeds = list(samples.feeds(indices[:_TIMED]))
    timings = side_by_side([judge.session, open_model(after)], feeds)
    return {
        "metric": judge.metric.name, "examples": len(samples),
        "first": float(scores.theirs.mean()) * 100, "second": float(scores.ours.mean()) * 100,
        "difference": scores.difference(seed).to_dict(),
        "flips": int((scores.ours != scores.theirs).sum()), "divergence": scores.divergence,
        "bytes": {"first": before.ByteSize(), "second": after.ByteSize()},
        "latency": {"first": timings[0].to_dict(), "second": timings[1].to_dict()},
    }  # fmt: skip


def score(
    model: Model | str | os.PathLike[str], data: Any, *, metric: Any = "accuracy",
    labels: Any = None, groups: Any = None, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Return a model's metric on data, in points, with its 95% interval.

    For baselines, slices and calibration see `edgeml.evaluation.evaluate`.

    Args:
        model: Path or ``onnx.ModelProto``.
        data: As `optimize` takes it.
        metric: ``"accuracy"``, or a function of (outputs, label) that returns 0 to 1.
        labels: The truth of each example, if not in `data`.
        groups: What each example belongs to, such as a person.
        seed: Of the interval.

    Returns:
        ``metric``, ``examples`` and ``score``: value and interval.

    Raises:
        DataError: the data are empty, labels are missing for the metric, or it compares models.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import score
        >>> net = edgeml.Sequential([edgeml.Input((8,)), edgeml.layers.Dense(4)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> x = np.random.default_rng(0).standard_normal((40, 8)).astype("float32")
        >>> score("/tmp/edgeml-example.onnx", (x, np.zeros(40, int)))["examples"]
        40
    """
    found = load_any(model)
    samples = samples_of(data, found, labels=labels, groups=groups)
    judge = Judge(found, samples, metric)
    if not (callable(metric) or judge.metric.labelled):
        raise DataError(
            f"{judge.metric.name} says how near a model is to another one: take compare, or "
            "metric='accuracy' with labels"
        )
    values = np.array([
        judge.metric.score(judge.reference(i), judge.reference(i), samples.label(i))
        for i in range(len(samples))
    ])  # fmt: skip
    estimate = _mean(values, samples.groups, seed)
    return {"metric": judge.metric.name, "examples": len(samples), "score": estimate.to_dict()}


def _mean(values: Any, groups: Any, seed: int) -> Estimate:
    if np.isin(values, (0, 1)).all():
        right = np.ones(len(values), int)
        share = evaluate(
            values.astype(int), y=right, kind="binary", metric="accuracy", groups=groups, seed=seed
        ).metrics["accuracy"]
        low, high = (None if end is None else end * 100 for end in (share.low, share.high))
        return Estimate(share.value * 100, low, high, share.method, share.note)
    return score_difference(values * 100, np.zeros(len(values)), groups, seed=seed)


def load_any(model: Model | str | os.PathLike[str]) -> Model:
    """Return a model from a path, ``edgeml:NAME``, a URL or memory."""
    from edgeml.runtime._load import resolve

    return read(resolve(model) if isinstance(model, (str, os.PathLike)) else model)
