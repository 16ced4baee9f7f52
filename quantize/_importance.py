"""How much each channel matters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import InputError
from edgeml.quantize._channels import Channels, Labels
from edgeml.quantize._model import Model

Scores = dict[int, float]
"""A number for each root, the larger the more it matters."""


def by_size(flow: Channels) -> Scores:
    """Return the mean size of each channel's weights, relative to the mean of their layer."""
    totals: Scores = {}
    counts: dict[int, int] = {}
    for layer in flow.layers.values():
        if not layer.own:
            continue
        weights = flow.index.constant(layer.weight)
        assert weights is not None
        size = _of_channels(np.abs(weights), layer.axis)
        size = size / max(float(size.mean()), 1e-30)
        for root, value in zip(flow.roots(layer.labels).tolist(), size.tolist(), strict=True):
            totals[root] = totals.get(root, 0.0) + value
            counts[root] = counts.get(root, 0) + 1
    return {root: total / counts[root] for root, total in totals.items()}


def by_taylor(
    flow: Channels, model: Model, batches: Iterable[tuple[Any, Any]] | None, loss: Any
) -> Scores:
    """Return the squared first-order change of a loss when a channel becomes zero.

    Args:
        flow: The channels.
        model: What they are of.
        batches: ``(x, y)``.
        loss: As `edgeml.training.Trainer` takes it.

    Raises:
        InputError: there are no batches, or no labels.
    """
    from edgeml.training import Trainer

    if batches is None:
        raise InputError("importance='taylor' needs batches=: an iterable of (x, y)")
    trainer = Trainer(model, loss=loss)
    values = {name: flow.index.constant(name) for name in trainer.parameters}
    totals: Scores = {}
    count = 0
    for count, batch in enumerate(batches, 1):
        if not (isinstance(batch, tuple) and len(batch) >= 2 and batch[1] is not None):
            raise InputError(
                f"importance='taylor': batch {count - 1} has no labels; expected (x, y)",
                expected="(x, y)", received=type(batch).__name__,
            )  # fmt: skip
        changes: Scores = {}
        gradients = trainer.gradients(*batch[:2])
        for name, axis, labels in _made(flow):
            weights, gradient = values.get(name), gradients.get(name)
            if weights is None or gradient is None:
                continue
            change = _of_channels(weights * gradient, axis, np.sum)
            for root, value in zip(flow.roots(labels).tolist(), change.tolist(), strict=True):
                changes[root] = changes.get(root, 0.0) + value
        for root, value in changes.items():
            totals[root] = totals.get(root, 0.0) + value**2
    if not count:
        raise InputError("importance='taylor': batches is empty: give at least one (x, y)")
    return {root: total / count for root, total in totals.items()}


def _made(flow: Channels) -> list[tuple[str, int, Labels]]:
    """Return what makes and changes channels, each once, however many nodes use it."""
    found = {(s.name, s.axis): s.labels for s in flow.shares if not s.reads}
    return [(name, axis, labels) for (name, axis), labels in found.items()]


def _of_channels(values: NDArray[Any], axis: int, over: Any = np.mean) -> NDArray[Any]:
    return np.asarray(over(values, axis=tuple(i for i in range(values.ndim) if i != axis)))
