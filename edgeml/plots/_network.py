"""The layers of a model, and how they are connected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeml.plots._picture import GREY, Picture, new_figure, shown

if TYPE_CHECKING:
    from edgeml.training import Model


@dataclass
class Network(Picture):
    """A model's layers in rows, by their distance from the input; see `network`.

    Attributes:
        boxes: The row, from 0, and the text of each layer.
        arrows: From which box to which, by their places in `boxes`.
    """

    boxes: list[tuple[int, str]]
    arrows: list[tuple[int, int]]

    def _draw(self) -> Any:
        filled: dict[int, int] = {}
        columns = []
        for row, _ in self.boxes:
            columns.append(filled.get(row, 0))
            filled[row] = columns[-1] + 1
        widest, rows = max(filled.values()), max(filled) + 1
        figure = new_figure(3.2 * widest, 0.75 * rows + 0.3)
        figure.set_layout_engine("none")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set_axis_off()
        places = [
            ((column + 0.5) / filled[row] * widest, -float(row))
            for column, (row, _) in zip(columns, self.boxes, strict=True)
        ]
        for source, target in self.arrows:
            (x0, y0), (x1, y1) = places[source], places[target]
            axis.annotate("", (x1, y1 + 0.27), (x0, y0 - 0.27),
                          arrowprops={"arrowstyle": "-|>", "color": GREY, "lw": 1})  # fmt: skip
        for (x, y), (_, text) in zip(places, self.boxes, strict=True):
            axis.text(
                x, y, shown(text), ha="center", va="center", fontsize=8, linespacing=1.3,
                bbox={"boxstyle": "round,pad=0.45", "fc": "#eef3fb", "ec": "#7d95bd"},
            )  # fmt: skip
        axis.set_xlim(0, widest)
        axis.set_ylim(-rows + 0.4, 0.6)
        return figure


def network(model: Model) -> Network:
    """Return how the layers of a model are connected; `Model.plot` draws it.

    Args:
        model: An `edgeml.Model`.

    Example:
        >>> import edgeml
        >>> from edgeml import plots
        >>> model = edgeml.Sequential([edgeml.Input((4,)), edgeml.layers.Dense(3)])
        >>> plots.network(model).arrows
        [(0, 1)]
    """
    from edgeml.graph import Tensor
    from edgeml.graph._tree import leaves
    from edgeml.layers._layer import Call, shape_of

    made = Network([], [])
    maker: dict[Tensor, int] = {}
    for x in model.inputs:
        maker[x] = len(made.boxes)
        made.boxes.append((0, f"{x.name}\n{shape_of(x)}"))
    for entry in model.entries:
        if isinstance(entry, Call):
            taken, results = leaves([entry.args, entry.kwargs]), leaves(entry.result)
            label = f"{entry.layer.name} ({type(entry.layer).__name__})"
        else:
            taken, results, label = entry.inputs, entry.outputs, entry.op
        sources = [maker[x] for x in taken if isinstance(x, Tensor) and x in maker]
        row = 1 + max((made.boxes[source][0] for source in sources), default=0)
        here = len(made.boxes)
        made.boxes.append((row, f"{label}\n{shape_of(results[0])}"))
        made.arrows += [(source, here) for source in dict.fromkeys(sources)]
        maker.update(dict.fromkeys(results, here))
    if not made.boxes:  # a subclass: its layers, one under the other
        made.boxes = [
            (i, f"{layer.name} ({type(layer).__name__})") for i, layer in enumerate(model.layers)
        ]
    return made if made.boxes else Network([(0, model.name)], [])
