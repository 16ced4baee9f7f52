"""Which channels of a graph belong together: what one filter's removal takes with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import ModelFormatError
from edgeml.graph import from_onnx
from edgeml.quantize._index import Index
from edgeml.quantize._model import Model, opset_of

Labels = NDArray[np.int64]
BATCH = 2
"""Examples in the shapes that are reasoned about: a batch of one looks like no axis at all."""


class Unsafe(Exception):
    """Channels cannot be followed through a node; its text says why."""


@dataclass(frozen=True)
class Layout:
    """Where a tensor has its channels.

    Args:
        axis: The channels' axis.
        labels: Number of the channel that each slice along the axis belongs to.
    """

    axis: int
    labels: Labels


@dataclass(frozen=True)
class Share:
    """An axis of an initializer that has one slice for each of some channels."""

    name: str
    axis: int
    labels: Labels
    reads: bool
    """Whether it takes channels in; else it makes or changes them."""


@dataclass(frozen=True)
class Layer:
    """A node with weights, and the channels it makes."""

    weight: str
    axis: int
    labels: Labels
    own: bool
    """Whether the channels begin here; a depthwise convolution goes on with those it gets."""


@dataclass(frozen=True)
class Rewrite:
    """A node that states the number of channels: in an attribute or a constant."""

    node: Any
    kind: str
    """``"group"``, ``"split"``, or the number of the input that holds a shape."""
    axis: int
    labels: tuple[Labels, ...]


class Channels:
    """The channels of a model, tied where they must be kept or removed together.

    Args:
        model: Float model; it stays as it was.
        rules: How channels go through an operator, by its name.
    """

    def __init__(self, model: Model, rules: Mapping[str, Rule]) -> None:
        self._rules = rules
        self.index = Index(model)
        self.opset = opset_of(model)
        self.layers: dict[str, Layer] = {}
        self.left: dict[str, str] = {}
        """Why layers cannot be pruned, by name."""
        self.shares: list[Share] = []
        self.rewrites: list[Rewrite] = []
        self._layouts: dict[str, Layout] = {}
        self._parents: list[int] = []
        self._reasons: dict[int, str] = {}
        self._attached: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._read_shapes(model)
        for node in self.index.nodes:
            self._follow(node)
        self._close()

    def _read_shapes(self, model: Model) -> None:
        graph = from_onnx(model, example_shapes(model))
        tensors = [*graph.inputs, *graph.outputs.values()]
        tensors += [
            x for node in graph.nodes for x in (*node.inputs, *node.outputs) if x is not None
        ]
        self._shapes = {x.name: x.shape for x in tensors if x.name}
        self._values = {x.name: x.value for x in tensors if x.name and x.value is not None}

    # What rules ask.

    def layout(self, name: str) -> Layout | None:
        """Return where a tensor has its channels, if it is known."""
        return self._layouts.get(name)

    def dims(self, name: str) -> tuple[int | None, ...]:
        """Return a tensor's shape for a batch of two, with None for what is not known.

        Raises:
            Unsafe: not even the rank is known.
        """
        found = self.index.shape(name) if self.index.is_constant(name) else self._shapes.get(name)
        if found is None:
            raise Unsafe(f"the shape of {name!r} is not known")
        return tuple(dim if isinstance(dim, int) else None for dim in found)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape for a batch of two.

        Raises:
            Unsafe: a dimension is not known.
        """
        dims = self.dims(name)
        known = tuple(dim for dim in dims if dim is not None)
        if len(known) < len(dims):
            raise Unsafe(f"the shape of {name!r} is not known")
        return known

    def value(self, name: str) -> NDArray[Any] | None:
        """Return the array of a constant, or of shape arithmetic that became one."""
        found = self.index.constant(name)
        return self._values.get(name) if found is None else found

    # What rules do.

    def fresh(self, count: int, reason: str = "") -> Labels:
        """Return labels of new channels, which stay when there is a reason."""
        first = len(self._parents)
        self._parents += range(first, first + count)
        labels = np.arange(first, first + count, dtype=np.int64)
        if reason:
            self.freeze(labels, reason)
        return labels

    def attach(
        self, node: Any, name: str, axis: int, labels: Labels, *, reads: bool = False
    ) -> None:
        """Say that an initializer has a slice for each of some channels."""
        for share in self.shares:
            if share.name == name and share.axis == axis:
                self.tie(share.labels, labels)
        self.shares.append(Share(name, axis, labels, reads))
        self._attached[name].append((id(node), axis))

    def tie(self, first: Labels, second: Labels) -> None:
        """Say that channels are kept or removed together, one by one."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            one, other = self.root(a), self.root(b)
            if one != other:
                self._parents[other] = one
                reason = self._reasons.pop(other, None)
                if reason:
                    self._reasons.setdefault(one, reason)

    def freeze(self, labels: Labels, reason: str) -> None:
        """Say that channels must stay."""
        for label in labels.tolist():
            self._reasons.setdefault(self.root(label), reason)

    def root(self, label: int) -> int:
        """Return the channel that stands for all that are tied to this one."""
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label

    def roots(self, labels: Labels) -> Labels:
        """Return the root of each label."""
        return np.array([self.root(label) for label in labels.tolist()], np.int64)

    def reason(self, root: int) -> str:
        """Return why a channel must stay, or ""."""
        return self._reasons.get(root, "")

    # The walk.

    def _follow(self, node: Any) -> None:
        rule = self._rules.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        held = any(self.layout(name) for name in node.input)
        try:
            if any(a.HasField("g") or a.graphs for a in node.attribute):
                raise Unsafe(f"{node.op_type} {node.name!r} has bodies")
            if rule is None:
                if not held:
                    return
                raise Unsafe(f"{node.op_type} {node.name!r} is not followed")
            made = rule(self, node)
        except Unsafe as verdict:
            self._stop(node, str(verdict))
            return
        layouts = made if isinstance(made, list) else [made]
        for name, layout in zip(node.output, layouts, strict=False):
            if layout is not None:
                self._layouts[name] = layout

    def _stop(self, node: Any, reason: str) -> None:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            self.left[node.name] = reason
        for name in node.input:
            layout = self.layout(name)
            if layout is not None:
                self.freeze(layout.labels, reason)

    def _close(self) -> None:
        """Keep what the outside sees, and what a node reads in a way that was not followed."""
        for name in self.index.outputs | self.index.captured:
            layout = self.layout(name)
            if layout is not None:
                self.freeze(layout.labels, f"{name!r} is an output of the model")
        for share in self.shares:
            readers = [id(node) for node in self.index.readers[share.name]]
            known = {at for at, axis in self._attached[share.name] if axis == share.axis}
            outside = share.name in self.index.outputs | self.index.captured
            if outside or not known.issuperset(readers):
                self.freeze(share.labels, f"{share.name!r} is read by other nodes, too")
        for name, layer in self.layers.items():
            reasons = [self.reason(root) for root in self.roots(layer.labels)]
            if reasons and all(reasons):
                self.left[name] = reasons[0]


Rule = Callable[[Channels, Any], "Layout | list[Layout | None] | None"]


def example_shapes(model: Model) -> dict[str, Sequence[int | str]]:
    """Return the inputs' shapes with a batch of two, where the batch is open."""
    constants = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, Sequence[int | str]] = {}
    for info in model.graph.input:
        if info.name in constants:
            continue
        dims: list[int | str] = [
            d.dim_value if d.HasField("dim_value") else d.dim_param or f"{info.name}_{i}"
            for i, d in enumerate(info.type.tensor_type.shape.dim)
        ]
        if dims and isinstance(dims[0], str):
            dims[0] = BATCH
        found[info.name] = dims
    return found


def check_float(model: Model) -> None:
    """Refuse a model that is quantized already.

    Raises:
        ModelFormatError: it is; the message names a node.
    """
    for node in model.graph.node:
        if node.op_type in _INTEGER or node.op_type.startswith("QLinear"):
            raise ModelFormatError(
                f"{node.op_type} {node.name!r}: the model is quantized already; expected a float "
                "model: do this before quantizing"
            )


_INTEGER = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
                      "MatMulInteger", "ConvInteger", "MatMulNBits"})  # fmt: skip
