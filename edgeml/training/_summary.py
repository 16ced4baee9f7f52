"""A model as a table and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.graph._tree import leaves
from edgeml.layers._layer import Call, Layer, shape_of

if TYPE_CHECKING:
    from edgeml.training._model import Model


def summary(model: Model) -> str:
    """Return the table of layers."""
    shapes = _output_shapes(model)
    rows = [("Layer (type)", "Output shape", "Parameters")]
    for layer in model.layers:
        shape = shapes.get(id(layer), "?")
        rows.append((f"{layer.name} ({type(layer).__name__})", shape, f"{layer.count_params():,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows
    ]  # fmt: skip
    lines.insert(1, "-" * len(lines[0]))
    total = model.count_params()
    trained = sum(int(np.prod(p.shape)) for p in model.trainable_weights)
    return "\n".join([
        f"Model: {model.name}", *lines, "-" * len(lines[0]),
        f"Parameters: {total:,} ({total * 4 / 1024:,.1f} KiB), {trained:,} of them trainable",
    ])  # fmt: skip


def _output_shapes(model: Model) -> dict[int, str]:
    found = {}
    for entry in model.entries:
        if isinstance(entry, Call):
            made = [shape_of(y) for y in leaves(entry.result)]
            found[id(entry.layer)] = str(made[0] if len(made) == 1 else made)
    return found


def plot(model: Model, path: Any = None) -> Any:
    """Draw the layers in rows, by their distance from the input; see `Model.plot`."""
    from edgeml.plots import network

    return network(model).plot(path)


__all__ = ["Layer", "plot", "summary"]
