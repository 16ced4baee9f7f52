"""The last blocks of a backbone: where they begin, as a model of their own, and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import ModelError, ShapeError
from edgeml.graph import Graph, Node, Tensor, from_onnx, live_nodes, to_onnx
from edgeml.graph._execute import open_session
from edgeml.graph._infer import onnx
from edgeml.training._quantized import dequantized

Array = np.ndarray[Any, Any]
AUTO = "auto"
LAYERS = 2  # that a cut chosen by us leaves to train
LARGEST = 16384  # numbers of an example at such a cut: 64 KiB
_BATCH = 64
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Place:
    """A value through which all goes.

    Args:
        value: Where a model can be cut.
        layers: Layers with weights between it and the features.
    """

    value: Tensor
    layers: int

    @property
    def fits(self) -> bool:
        """Whether examples can be kept there: of a fixed size, and not too large."""
        rest = self.value.known_shape[1:]
        fixed = all(isinstance(n, int) for n in rest)
        return fixed and int(np.prod([int(n) for n in rest])) <= LARGEST


def last_blocks(model: Any, features: str, cut: str) -> tuple[str, bytes]:
    """Cut the last blocks off a backbone.

    Args:
        model: Path of an ONNX file.
        features: The value with the features.
        cut: The value where to cut, "auto" for the one before the last two layers.

    Returns:
        The value's name, and the ONNX file of what follows: from ``features`` (batch, numbers at
        the cut) to ``inner`` (batch, size), with float weights.

    Raises:
        ModelError: not all goes through that value, or none can be chosen.
    """
    graph = from_onnx(model)
    graph.inputs[0].shape = ("batch", *graph.inputs[0].known_shape[1:])
    target = _named(graph, features)
    nodes = live_nodes([target])
    found = [p for p in _places(graph, nodes, target) if p.value.name and p.layers]
    chosen = (
        _chosen(found) if cut == AUTO else next((p for p in found if p.value.name == cut), None)
    )
    if chosen is None:
        names = ", ".join(str(p.value.name) for p in found if p.fits) or "none"
        asked = "the layers before the features" if cut == AUTO else f"cut={cut!r}"
        raise ModelError(
            f"{asked}: expected a float value of a fixed size that all goes through on its way "
            f"from the input to {features!r}, with a layer after it; these are: {names}"
        )
    part = _part(graph, nodes, chosen.value, target)
    return str(chosen.value.name), with_float_weights(part).SerializeToString()


def _named(graph: Graph, name: str) -> Tensor:
    if name in graph.outputs:
        return graph.outputs[name]
    return next(y for node in graph.nodes for y in node.outputs if y is not None and y.name == name)


def _places(graph: Graph, nodes: list[Node], target: Tensor) -> list[Place]:
    """Return the float values through which all goes, from input to features."""
    used = {x: i for i, node in enumerate(nodes) for x in node.uses()}
    used[target] = len(nodes)
    moving = set(graph.inputs)  # what depends on the sample
    layers = [0]
    ends: list[tuple[int, Tensor]] = []
    for i, node in enumerate(nodes):
        depends = any(x in moving for x in node.uses())
        fixed = any(x is not None and x not in moving for x in node.inputs[1:])
        layers.append(layers[-1] + (depends and fixed and node.op in _LAYERS))
        if depends:
            moving.update(y for y in node.outputs if y is not None)
        waiting = [x for x in moving if used.get(x, -1) > i]
        if len(waiting) == 1 and waiting[0].dtype == np.float32 and waiting[0] is not target:
            ends.append((i, waiting[0]))
    return [Place(x, layers[-1] - layers[i + 1]) for i, x in ends if x.producer is not None]


def _chosen(places: list[Place]) -> Place | None:
    """Return the place right before the most layers, of those that may be left to train."""
    fitting = [p for p in places if p.fits and p.layers <= LAYERS]
    most = max((p.layers for p in fitting), default=0)
    return next((p for p in reversed(fitting) if p.layers == most), None)


def _part(graph: Graph, nodes: list[Node], cut: Tensor, target: Tensor) -> Any:
    """Return what lies between two values as a ModelProto."""
    shape = [int(n) for n in cut.known_shape[1:]]
    part = Graph()
    part.opsets = graph.opsets
    flat = part.input("features", np.float32, ("batch", int(np.prod(shape))))
    with part:
        taken = part.node("Reshape", [flat, part.constant(np.array([-1, *shape]))]).output
    for node in nodes:
        node.inputs = [taken if x is cut else x for x in node.inputs]
    part.outputs = {"inner": target}
    made = from_onnx(to_onnx(part, name="blocks"))
    last = made.outputs["inner"]
    if last.ndim != 2:
        with made:
            wide = int(np.prod([int(n) for n in last.known_shape[1:]]))
            made.outputs["inner"] = made.node(
                "Reshape", [last, made.constant(np.array([-1, wide]))]
            ).output
    return to_onnx(made, name="blocks")


def with_float_weights(proto: Any) -> Any:
    """Return a model whose quantized weights are float; its activations stay as they are."""
    values = {t.name: onnx().numpy_helper.to_array(t) for t in proto.graph.initializer}
    folded: dict[str, Array] = {}
    kept = []
    for node in proto.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            folded[node.output[0]] = dequantized(values, node)
        else:
            kept.append(node)
    if not folded:
        return proto
    found = onnx().ModelProto()
    found.CopyFrom(proto)
    del found.graph.node[:]
    found.graph.node.extend(kept)
    needed = {name for node in kept for name in node.input}
    stored = [t for t in proto.graph.initializer if t.name in needed]
    stored += [onnx().numpy_helper.from_array(v, name) for name, v in folded.items()]
    del found.graph.initializer[:]
    found.graph.initializer.extend(stored)
    return found


def with_values(blocks: bytes, values: Mapping[str, Array]) -> bytes:
    """Return blocks whose initializers have other values, by name."""
    from edgeml.training._save import set_initializers

    proto = onnx().load_from_string(blocks)
    set_initializers(proto, values)
    content: bytes = proto.SerializeToString()
    return content


def through(blocks: bytes, x: Array) -> Array:
    """Return the features that blocks make of what was kept of examples, (examples, size).

    Raises:
        ShapeError: of each example something else was kept.
    """
    session = open_session(onnx().load_from_string(blocks), threads=1, name="the last blocks")
    taken = session.get_inputs()[0].shape[1]
    if x.shape[1] != taken:
        raise ShapeError(
            f"the blocks take {taken} numbers of an example, and these have {x.shape[1]}: they are "
            "of another cut",
            expected=taken, received=x.shape[1],
        )  # fmt: skip
    parts = [session.run(["inner"], {"features": x[i : i + _BATCH]})[0]
             for i in range(0, len(x), _BATCH)]  # fmt: skip
    return np.concatenate(parts).astype(np.float32, copy=False)
