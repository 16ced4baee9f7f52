"""Measuring the ranges of a model's tensors on a stream of inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import InputError
from edgeml.quantize._model import Model
from edgeml.quantize._ranges import Histogram
from edgeml.quantize._session import open_model
from edgeml.runtime._errors import translated

Batch = Mapping[str, NDArray[Any]]


def calibrate(
    model: Model, batches: Iterable[Batch], tensors: Collection[str]
) -> dict[str, Histogram]:
    """Return a histogram of each tensor's values over a stream of batches.

    Memory is that of one batch's activations, and 32 kB a tensor; it does not grow with the
    number of batches. The stream is read once.

    Args:
        model: Float model.
        batches: {input name: array}.
        tensors: Names of float tensors of the graph, inputs among them.

    Raises:
        InputError: there is no batch, or one holds NaN or infinity or is not for this model.
    """
    wanted = list(dict.fromkeys(tensors))
    inputs = {i.name for i in model.graph.input} & set(wanted)
    made = [name for name in wanted if name not in inputs]
    session = open_model(with_outputs(model, made))
    found = {name: Histogram() for name in wanted}
    count = 0
    for count, batch in enumerate(batches, 1):
        _check(batch, session, count - 1)
        for name in inputs:
            found[name].add(batch[name])
        for name, values in zip(made, _run(session, made, batch), strict=True):
            try:
                found[name].add(values)
            except InputError as error:
                raise InputError(f"batch {count - 1} gives {name!r} {error}", name=name) from None
    if not count:
        raise InputError("the calibration data is empty: pass at least one batch")
    return found


def with_outputs(model: Model, tensors: Sequence[str]) -> Model:
    """Return a model that gives out tensors of its graph, too."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    found = onnx.ModelProto()
    found.CopyFrom(model)
    known = {output.name for output in found.graph.output}
    for name in tensors:
        if name not in known:
            found.graph.output.add(name=name)
    return found


def _run(session: Any, names: list[str], batch: Batch) -> list[NDArray[Any]]:
    with translated("calibration"):
        return list(session.run(names, dict(batch))) if names else []


def _check(batch: Batch, session: Any, number: int) -> None:
    expected = {node.name for node in session.get_inputs()}
    if set(batch) != expected:
        raise InputError(
            f"calibration batch {number}: expected {sorted(expected)}, received {sorted(batch)}",
            expected=sorted(expected), received=sorted(batch),
        )  # fmt: skip
    for name, values in batch.items():
        if np.asarray(values).dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(
                f"calibration batch {number}: {name!r} holds NaN or infinity, which leaves no "
                "range to quantize to",
                name=name,
            )
