"""The layers of a model as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeml.graph import Node, Tensor
from edgeml.plots._picture import BLUE, GREY, Picture, new_figure, shown
from edgeml.plots._probe import WEIGHTED, Part, Probe, find_parts

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass
class LayerRow:
    """One layer of a model.

    Attributes:
        name: Its name, as other pictures take it.
        kind: Its operators.
        output_shape: Shape of what it passes on; names and None stand for what is not known.
        parameters: Numbers in its weights, biases and statistics.
        macs: Multiplications and additions, in pairs, for one example; None when a dimension
            besides the batch is not known, or when it depends on values.
    """

    name: str
    kind: str
    output_shape: tuple[int | str, ...] | None
    parameters: int
    macs: int | None


@dataclass
class LayerTable(Picture):
    """The layers of a model, in the order of execution; see `layers`.

    ``str(table)`` is the table as text.

    Attributes:
        model: Name of the model.
        rows: The layers.
    """

    model: str
    rows: list[LayerRow]

    @property
    def parameters(self) -> int:
        """Numbers in all layers."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int | None:
        """Of all layers; None when one is not known."""
        known = [row.macs for row in self.rows if row.macs is not None]
        return sum(known) if len(known) == len(self.rows) else None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON values, with the totals."""
        return super().to_dict() | {"parameters": self.parameters, "macs": self.macs}

    def __str__(self) -> str:
        rows = [("Layer", "Operators", "Output shape", "Parameters", "MACs"), *self._cells()]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = [
            "  ".join(
                cell.ljust(w) if i < 3 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:], rule, self._total()])

    def _total(self) -> str:
        macs = self.macs
        work = f"; {macs:,} MACs for one example" if macs is not None else ""
        return f"{self.model}: {len(self.rows)} layers, {self.parameters:,} parameters{work}"

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.name, row.kind, _shape(row.output_shape), f"{row.parameters:,}",
                "?" if row.macs is None else f"{row.macs:,}",
            )
            for row in self.rows
        ]  # fmt: skip

    def _draw(self) -> Any:
        count = len(self.rows)
        height = 0.19 * (count + 1) + 0.55
        figure = new_figure(9.4, height)
        axis = figure.add_subplot()
        axis.set_axis_off()
        axis.set_xlim(0, 100)
        axis.set_ylim(count - 0.4, -1.5)
        places = ((0, "left"), (26, "left"), (46, "left"), (81, "right"), (100, "right"))
        limits = (32, 26, 24, 0, 0)
        heads = ("layer", "operators", "output shape", "parameters", "MACs")
        for (x, side), text in zip(places, heads, strict=True):
            axis.text(x, -1.1, text, ha=side, va="center", fontsize=8, color=GREY)
        axis.axhline(-0.65, color=GREY, linewidth=0.6)
        for column, right in (("parameters", 70), ("macs", 89)):
            values = [getattr(row, column) or 0 for row in self.rows]
            most = max([*values, 1])
            lengths = [6 * value / most for value in values]
            axis.barh(range(count), lengths, left=[right - n for n in lengths], height=0.7,
                      color=BLUE)  # fmt: skip
        for i, cells in enumerate(self._cells()):
            for (x, side), text, most in zip(places, cells, limits, strict=True):
                axis.text(x, i, shown(text, most), ha=side, va="center", fontsize=7)
        axis.set_title(shown(self._total(), 110), fontsize=9, loc="left")
        return figure


def layers(model: Any) -> LayerTable:
    """Return the layers of a model: output shapes, parameters, multiplications.

    Args:
        model: An `edgeml.Model`, an ``onnx.ModelProto``, or a file: a path, ``"edgeml:NAME"`` or
            URL of an ONNX model. Shapes are the file's: of a convolution channels first.

    Raises:
        ModelNotFound: there is no such file.
        ModelFormatError: it is no ONNX model.

    Example:
        >>> import edgeml
        >>> from edgeml import plots
        >>> model = edgeml.Sequential([edgeml.Input((4,)), edgeml.layers.Dense(3, name="head")])
        >>> print(plots.layers(model).rows)  # doctest: +NORMALIZE_WHITESPACE
        [LayerRow(name='head', kind='MatMul + Add', output_shape=('batch', 3), parameters=15,
         macs=12)]
    """
    probe = Probe.open(model)
    parts = find_parts(probe.graph())
    return LayerTable(probe.name, [_row(part) for part in parts])


def _row(part: Part) -> LayerRow:
    work = [_macs(node) for node in part.nodes]
    macs = None if None in work else sum(n for n in work if n is not None)
    size = sum(x.size for x in part.parameters)
    return LayerRow(part.name, part.kind, part.output.shape, size, macs)


def _macs(node: Node) -> int | None:
    """Return the multiplications of one node for one example; 0 where there are hardly any."""
    if node.subgraphs():
        return None
    at = WEIGHTED.get(node.op)
    if at is None:
        return 0
    weights, x, y = node.inputs[at], node.x, node.output
    assert weights is not None
    try:
        if node.op in ("Conv", "ConvInteger", "QLinearConv"):
            return _of_one(y) * math.prod(weights.static_shape[1:])
        if node.op == "ConvTranspose":
            return _of_one(x) * math.prod(weights.static_shape[1:])
        if node.op in _GATES:
            recurrent = node.inputs[2]
            assert recurrent is not None
            steps = _dims(x)[0]
            return steps * (weights.size + recurrent.size)
        inner = _dims(x)[0 if node.op == "Gemm" and node.attr("transA") else -1]
        return _of_one(y) * inner
    except _Unknown:
        return None


class _Unknown(Exception):
    """A dimension is not known."""


def _dims(tensor: Tensor) -> list[int]:
    if tensor.shape is None:
        raise _Unknown
    return [dim if isinstance(dim, int) else -1 for dim in tensor.shape]


def _of_one(tensor: Tensor) -> int:
    """Return how many values one example has: the first dimension is the batch."""
    dims = _dims(tensor)[1:]
    if any(dim < 0 for dim in dims):
        raise _Unknown
    return math.prod(dims)


def _shape(shape: Sequence[int | str] | None) -> str:
    if shape is None:
        return "?"
    return f"({', '.join('?' if str(d).startswith('?') else str(d) for d in shape)})"
