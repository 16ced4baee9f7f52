"""Whether a model bears noise, blur and brightness as well as the one it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.quantize._judge import Judge
from edgeml.quantize._model import Model
from edgeml.quantize._quality import outputs_of
from edgeml.quantize._samples import Indices
from edgeml.quantize._session import open_model

Array = NDArray[Any]


def _noise(x: Array, rng: np.random.Generator) -> Array:
    return np.asarray(x + rng.standard_normal(x.shape) * 0.1 * x.std())


def _blur(x: Array, _: np.random.Generator) -> Array:
    """Average three neighbours along height and width, wherever the channels are."""
    channels_last = x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3, 4)
    for axis in (1, 2) if channels_last else (-1, -2):
        x = (np.roll(x, 1, axis) + x + np.roll(x, -1, axis)) / 3
    return x


def _brighter(x: Array, _: np.random.Generator) -> Array:
    return np.asarray(x + 0.25 * x.std())


def _darker(x: Array, _: np.random.Generator) -> Array:
    return np.asarray(x - 0.25 * x.std())


CHANGES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "noise": _noise, "blur": _blur, "brighter": _brighter, "darker": _darker,
}  # fmt: skip


def robustness(
    original: Model, model: Model, judge: Judge, indices: Indices, *, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return both models' scores on changed inputs, in points, by change.

    Labels stay those of the unchanged inputs; without labels the original's answers to the
    *unchanged* inputs are the truth. Inputs of fewer than four axes (not pictures or spectra)
    are left alone; without any, the result is empty.

    Args:
        original: The model that came in.
        model: The candidate.
        judge: Its metric and examples.
        indices: Examples to change.
        seed: Of the noise.
    """
    samples = judge.samples
    names = [
        name for name, array in samples.feed(int(indices[0])).items()
        if array.ndim >= 4 and array.dtype.kind in "fu"
    ]  # fmt: skip
    if not names:
        return {}
    sessions = [open_model(m, config=judge.config) for m in (original, model)]
    found = {}
    for what, change in CHANGES.items():
        scores = []
        for session in sessions:
            rng = np.random.default_rng(seed)
            feeds = (_changed(samples.feed(int(i)), names, change, rng) for i in indices)
            scores.append(
                [
                    judge.metric.score(outputs, judge.reference(int(i)), samples.label(int(i)))
                    for i, outputs in zip(indices, outputs_of(session, feeds), strict=True)
                ]
            )
        theirs, ours = (float(np.mean(s)) * 100 for s in scores)
        found[what] = {"original": theirs, "model": ours}
    return found


def _changed(
    feed: Mapping[str, Array], names: Sequence[str],
    change: Callable[[Array, np.random.Generator], Array], rng: np.random.Generator,
) -> dict[str, Array]:  # fmt: skip
    found = dict(feed)
    for name in names:
        array = feed[name]
        values = change(array.astype(np.float32), rng)
        if array.dtype.kind == "u":
            values = np.clip(np.rint(values), 0, np.iinfo(array.dtype).max)
        else:
            values = np.clip(values, array.min(), array.max())
        found[name] = values.astype(array.dtype)
    return found
