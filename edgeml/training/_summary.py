"""A model as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml._require import require
from edgeml.graph import Tensor
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
    figures = require("matplotlib.figure", extra="plot", purpose="Drawing a model")
    boxes, arrows = _boxes(model)
    columns: dict[int, int] = {}
    places = {}
    for key, (row, _) in boxes.items():
        places[key] = (columns.get(row, 0), row)
        columns[row] = columns.get(row, 0) + 1
    widest, rows = max(columns.values()), max(columns) + 1
    figure = figures.Figure(figsize=(3.2 * widest, 0.75 * rows + 0.3))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()

    def at(key: Any) -> tuple[float, float]:
        column, row = places[key]
        return (column + 0.5) / columns[row] * widest, -float(row)

    for source, target in arrows:
        (x0, y0), (x1, y1) = at(source), at(target)
        axis.annotate("", (x1, y1 + 0.27), (x0, y0 - 0.27),
                      arrowprops={"arrowstyle": "-|>", "color": "#5b6573", "lw": 1})  # fmt: skip
    for key, (_, text) in boxes.items():
        x, y = at(key)
        axis.text(
            x,
            y,
            text,
            ha="center",
            va="center",
            fontsize=8,
            linespacing=1.3,
            bbox={"boxstyle": "round,pad=0.45", "fc": "#eef3fb", "ec": "#7d95bd"},
        )
    axis.set_xlim(0, widest)
    axis.set_ylim(-rows + 0.4, 0.6)
    if path is not None:
        figure.savefig(Path(path), dpi=120)
    return figure


def _boxes(model: Model) -> tuple[dict[Any, tuple[int, str]], list[tuple[Any, Any]]]:
    """Return {key: (row, text)} and the arrows between keys."""
    boxes: dict[Any, tuple[int, str]] = {}
    arrows: list[tuple[Any, Any]] = []
    maker: dict[Tensor, Any] = {}
    for x in model.inputs:
        boxes[id(x)] = (0, f"{x.name}\n{shape_of(x)}")
        maker[x] = id(x)
    for i, entry in enumerate(model.entries):
        if isinstance(entry, Call):
            taken, made = leaves([entry.args, entry.kwargs]), leaves(entry.result)
            label = f"{entry.layer.name} ({type(entry.layer).__name__})"
        else:
            taken, made, label = entry.inputs, entry.outputs, entry.op
        sources = [maker[x] for x in taken if isinstance(x, Tensor) and x in maker]
        row = 1 + max((boxes[source][0] for source in sources), default=0)
        boxes[i] = (row, f"{label}\n{shape_of(made[0])}")
        arrows += [(source, i) for source in dict.fromkeys(sources)]
        maker.update(dict.fromkeys(made, i))
    if not boxes:  # a subclass: its layers, one under the other
        for i, layer in enumerate(model.layers):
            boxes[i] = (i, f"{layer.name} ({type(layer).__name__})")
    return boxes or {0: (0, model.name)}, arrows


__all__ = ["Layer", "plot", "summary"]
