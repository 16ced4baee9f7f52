"""A model file opened to look inside: its layers, and what they put out."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, InputError, ModelFormatError
from edgeml.graph import Graph, Node, Tensor, from_onnx, live_nodes, to_onnx
from edgeml.runtime._metadata import Metadata

Array = np.ndarray[Any, Any]

WEIGHTED = {
    "Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "LSTM": 1, "GRU": 1, "RNN": 1,
    "ConvInteger": 1, "MatMulInteger": 1, "QLinearConv": 3, "QLinearMatMul": 3,
}  # fmt: skip
"""Where an operator's weights stand among its inputs."""

# What belongs to the layer before it: biases, normalization, activations, (de)quantization.
_FOLLOWERS = frozenset({
    "BatchNormalization", "Clip", "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu",
    "Sigmoid", "HardSigmoid", "HardSwish", "Mish", "Tanh", "Softplus", "Softsign", "Softmax",
    "LogSoftmax", "ThresholdedRelu", "Dropout", "QuantizeLinear", "DequantizeLinear", "Identity",
    "Cast", "Swish",
})  # fmt: skip
_HIDDEN = frozenset({"Transpose", "Identity", "Cast", "QuantizeLinear", "DequantizeLinear",
                     "Unsqueeze", "Squeeze", "Reshape"})  # fmt: skip
_QUANTIZATION = frozenset({"QuantizeLinear", "DequantizeLinear"})
_TAILS = ("_quantized", ".weight", "/kernel", "/weight", ".kernel", ".w", "_weight", "_kernel")


@dataclass(eq=False)
class Part:
    """A layer: an operator, and what directly belongs to it.

    Attributes:
        name: How it is called in pictures.
        nodes: Its operators, in order.
        parameters: Its weights, biases and statistics, each in one layer only.
    """

    name: str
    nodes: list[Node]
    parameters: list[Tensor] = field(default_factory=list)

    @property
    def output(self) -> Tensor:
        """What it passes on."""
        return self.nodes[-1].output

    @property
    def kind(self) -> str:
        """Its operators, without those that only arrange or round."""
        ops = [node.op for node in self.nodes]
        return " + ".join([op for op in ops if op not in _HIDDEN] or ops[:1])

    @property
    def linear(self) -> Tensor:
        """What it computes before its activation and rounding: there each unit has a gradient."""
        plain = {"Add", "BatchNormalization"}
        start = next((i for i, n in enumerate(self.nodes) if n.op in WEIGHTED), 0)
        after = range(start + 1, len(self.nodes))
        end = next((i for i in after if self.nodes[i].op not in plain), len(self.nodes))
        return self.nodes[end - 1].output


@dataclass(eq=False)
class Probe:
    """A model, read for its inside.

    Attributes:
        name: How errors call it.
        proto: The ``onnx.ModelProto``.
        metadata: What it says of itself.
    """

    name: str
    proto: Any
    metadata: Metadata

    @classmethod
    def open(cls, model: Any) -> Probe:
        """Open a path, ``"edgeml:NAME"``, URL, ``onnx.ModelProto`` or `edgeml.Model`.

        Raises:
            ModelNotFound: there is no such file.
            ModelFormatError: it is no ONNX model.
            InputError: it is no model at all.
        """
        from edgeml.graph._onnx import read_proto

        name = "the model"
        if isinstance(model, str | os.PathLike):
            name = os.fspath(model)
            _refuse_tflite(model, name)
        elif hasattr(model, "entries"):
            from edgeml.training._save import inference_graph

            return cls(model.name, to_onnx(inference_graph(model), name=model.name), Metadata())
        elif not hasattr(model, "graph"):
            raise InputError(
                "expected a model: a path, an onnx.ModelProto or an edgeml.Model; received "
                f"{type(model).__name__}",
                received=type(model).__name__,
            )
        proto = read_proto(model)
        props = {entry.key: entry.value for entry in proto.metadata_props}
        return cls(name, proto, Metadata.of(props, name))

    def graph(self, shapes: Mapping[str, Sequence[int | str]] | None = None) -> Graph:
        """Return the graph, with these shapes of its inputs."""
        return from_onnx(self.proto, shapes)

    def part(self, parts: Sequence[Part], name: str) -> Part:
        """Return a layer by its name, or by that of an operator or tensor of it.

        Raises:
            ConfigError: there is none; the message has the nearest names.
        """
        for part in parts:
            inner = [n.name for n in part.nodes]
            inner += [str(x.name) for n in part.nodes for x in n.outputs if x is not None]
            if name == part.name or name in inner:
                return part
        names = [part.name for part in parts]
        lower = {n.lower(): n for n in names}
        near = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, 3, 0.4)]
        within = [n for n in names if name and name.lower() in n.lower()][:3]
        nearest = list(dict.fromkeys([*within, *near])) or names[-3:]
        raise ConfigError(
            f"{self.name} has no layer {name!r}; the nearest of its {len(names)} are "
            f"{', '.join(nearest)}. `edgeml plot layers` lists them all"
        )


def _refuse_tflite(model: Any, name: str) -> None:
    from edgeml.runtime._load import resolve

    with resolve(model).open("rb") as file:
        if file.read(8)[4:] == b"TFL3":
            raise ModelFormatError(
                f"{name} is a TFLite model, which shows nothing of its inside: give the ONNX "
                "model that it was made from",
                path=name,
            )


def find_parts(graph: Graph) -> list[Part]:
    """Return the layers of a graph, in the order of execution.

    Operators whose names have a common scope (``"model/conv2d/Relu"``) are one layer; of files
    without scopes, an operator and the activations, rounding and additions of constants after it.
    """
    nodes = live_nodes(graph.outputs.values())
    fixed = _constants(nodes)
    readers: dict[Tensor, int] = {}
    for node in nodes:
        for x in node.uses():
            readers[x] = readers.get(x, 0) + 1
    parts: list[Part] = []
    home: dict[Tensor, Part] = {}
    for node in nodes:
        if any(y in fixed for y in node.outputs):
            continue
        before = (home[x] for x in node.uses() if x in home)
        part = next((p for p in before if _follows(node, p, readers, fixed)), None)
        if part is None:
            part = Part(node.name, [])
            parts.append(part)
        part.nodes.append(node)
        home.update((y, part) for y in node.outputs if y is not None)
    _take_parameters(parts, fixed)
    parts = [p for p in parts if not all(n.op in _QUANTIZATION for n in p.nodes)] or parts
    _name(parts)
    return parts


def _constants(nodes: Iterable[Node]) -> set[Tensor]:
    """Return what depends on no input: weights, and what is computed of them alone."""
    found: set[Tensor] = set()
    for node in nodes:
        given = node.uses()
        found.update(x for x in given if x.producer is None and x.value is not None)
        if given and all(x in found for x in given):
            found.update(y for y in node.outputs if y is not None)
    return found


def _follows(node: Node, before: Part, readers: Mapping[Tensor, int], fixed: set[Tensor]) -> bool:
    scope = _scope(node)
    if node.op not in _QUANTIZATION and (scope or _scope(before.nodes[0])):
        return scope == _scope(before.nodes[0])
    data = [x for x in node.uses() if x not in fixed]
    alone = len(data) == 1 and data[0] is before.output
    if node.op in ("Add", "Mul", "Sub", "Div"):
        return alone and readers[data[0]] == 1
    if node.op not in _FOLLOWERS or not alone:
        return False
    return node.op in _QUANTIZATION or readers[data[0]] == 1


def _scope(node: Node) -> str:
    return "" if node.op in _QUANTIZATION else node.name.rpartition("/")[0]


def _take_parameters(parts: Iterable[Part], fixed: set[Tensor]) -> None:
    seen: set[Tensor] = set()
    for part in parts:
        for node in part.nodes:
            found = [y for i, x in enumerate(node.inputs) if x in fixed for y in behind(node, i)]
            found += [y for body in node.subgraphs() for y in _within(body)]
            new = [y for y in dict.fromkeys(found) if y not in seen]
            part.parameters += new
            seen.update(new)


def _within(body: Graph) -> Iterator[Tensor]:
    """Yield the initializers that the body of a control-flow operator uses."""
    for node in body.nodes:
        for i, x in enumerate(node.inputs):
            if x is not None and x.producer is None and x.value is not None:
                yield from behind(node, i)
        for inner in node.subgraphs():
            yield from _within(inner)


def behind(node: Node, i: int) -> list[Tensor]:
    """Return the initializers that a constant input is made of: no scales, shapes or numbers."""
    tensor = node.input(i)
    scale = node.op in _QUANTIZATION or node.op.startswith("QLinear")
    if tensor is None or (scale and i not in (0, WEIGHTED.get(node.op), 8)):
        return []
    maker = tensor.producer
    if maker is not None:
        found = (x for j in range(len(maker.inputs)) for x in behind(maker, j))
        return list(dict.fromkeys(found))
    known = bool(tensor.name) and not tensor.from_constant and bool(tensor.shape)
    return [tensor] if known and tensor.dtype.kind in "fiu" and tensor.dtype != np.int64 else []


def _name(parts: Sequence[Part]) -> None:
    """Name the layers after their scopes, else after their weights, else after their operator."""
    roots = {s.strip("/").partition("/")[0] for p in parts if (s := _scope(p.nodes[0]))}
    root = f"{roots.pop()}/" if len(roots) == 1 else ""
    taken: dict[str, int] = {}
    for part in parts:
        scope = next((s for n in part.nodes if (s := _scope(n))), "").strip("/")
        weights = [str(x.name) for x in part.parameters if x.value is not None and x.ndim > 1]
        if scope and f"{scope}/" != root:
            name = scope.removeprefix(root)
        elif weights and "::" not in weights[0]:
            name = weights[0]
            for tail in _TAILS:
                name = name.removesuffix(tail)
        else:
            first = part.nodes[0]
            name = first.name.strip("/").removeprefix(root) or str(part.output.name or first.op)
        taken[name] = taken.get(name, 0) + 1
        part.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
