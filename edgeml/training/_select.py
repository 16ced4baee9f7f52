"""Which initializers of an ONNX model are parameters, and which of them to train."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml.errors import TrainingError
from edgeml.graph import Graph, Node, Tensor, live_nodes
from edgeml.graph._infer import onnx

# Where an operator's weights and biases stand among its inputs.
_WEIGHTS = {
    "Conv": (1,), "ConvTranspose": (1,), "Gemm": (0, 1), "MatMul": (0, 1), "Einsum": (0, 1, 2),
    "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "Gather": (0,),
}  # fmt: skip
_BIASES = {
    "Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,), "LSTM": (3,), "GRU": (3,), "RNN": (3,),
    "BatchNormalization": (2,), "LayerNormalization": (2,), "InstanceNormalization": (2,),
    "GroupNormalization": (2,), "Add": (0, 1),
}  # fmt: skip
_SCALES = {
    "BatchNormalization": (1,), "LayerNormalization": (1,), "InstanceNormalization": (1,),
    "GroupNormalization": (1,), "RMSNormalization": (1,), "PRelu": (1,), "Mul": (0, 1),
}  # fmt: skip

# Other arrangements of the same values; a layer's gates can be in another order than the file's.
_VIEWS = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Concat",
                    "Split", "Slice", "DequantizeLinear", "QuantizeLinear"})  # fmt: skip

# What an Add of one number may be the bias of.
_BIASED = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"})


@dataclass
class Group:
    """The parameters of one layer: weights, and what scales and shifts their result."""

    names: list[str] = field(default_factory=list)
    biases: list[str] = field(default_factory=list)


def untied(proto: Any) -> Any:
    """Give each parameter a value of its own.

    PyTorch's exporter stores equal initializers once and the others as Identity of it: a new
    model's BatchNormalization then has its scale tied to its running variance.
    """
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    copies = [n for n in proto.graph.node if n.op_type == "Identity" and n.input[0] in stored]
    if not copies:
        return proto
    found = onnx().ModelProto()
    found.CopyFrom(proto)
    made = {node.output[0] for node in copies}
    kept = [n for n in found.graph.node if not (n.op_type == "Identity" and n.output[0] in made)]
    del found.graph.node[:]
    found.graph.node.extend(kept)
    for node in copies:
        tensor = found.graph.initializer.add()
        tensor.CopyFrom(stored[node.input[0]])
        tensor.name = node.output[0]
    return found


def find_groups(graph: Graph) -> list[Group]:
    """Return the parameters of a graph by layer, from input to output.

    A parameter is a float initializer that an operator uses as weight, bias or scale. Single
    numbers in arithmetic are not, but for the bias of a layer with one output.
    """
    groups: list[Group] = []
    seen: set[str] = set()
    for node in live_nodes(graph.outputs.values()):
        weights = _at(node, _WEIGHTS)
        scales, biases = _at(node, _SCALES), _at(node, _BIASES)
        new = [name for name in weights if name not in seen]
        if new or (not groups and (scales or biases)):
            groups.append(Group())
        for name in (*weights, *scales, *biases):
            if name not in seen:
                seen.add(name)
                groups[-1].names.append(name)
                if name in biases:
                    groups[-1].biases.append(name)
    return groups


def _at(node: Node, places: dict[str, tuple[int, ...]]) -> list[str]:
    found = []
    for i in places.get(node.op, ()):
        tensor = node.input(i)
        if tensor is None or tensor.dtype.kind != "f":
            continue
        for behind in filter(_is_parameter, _behind(tensor)):
            single = _size(behind) <= 1 and not _is_bias(node, i, behind)
            if not (single and node.op in ("Add", "Mul")):
                found.append(str(behind.name))
    return found


def _is_bias(node: Node, i: int, tensor: Tensor) -> bool:
    """Return whether a single number is the bias of a layer with one output."""
    other = node.input(1 - i)
    made = other.producer if other is not None else None
    return node.op == "Add" and tensor.ndim == 1 and made is not None and made.op in _BIASED


def _behind(tensor: Tensor) -> list[Tensor]:
    """Return what stands behind the views that an exporter put before an operator's input."""
    node = tensor.producer
    if node is None or node.op not in _VIEWS:
        return [tensor]
    inputs = node.inputs if node.op == "Concat" else [node.x]
    found = (y for x in inputs if x is not None for y in _behind(x))
    return list(dict.fromkeys(found))


def _is_parameter(tensor: Tensor) -> bool:
    # Integers here are quantized weights: the view was followed through a DequantizeLinear.
    return (
        tensor.producer is None and tensor.value is not None and bool(tensor.name)
        and (tensor.dtype.kind == "f" or tensor.dtype in (np.int8, np.uint8, np.int32))
        and not tensor.from_constant
    )  # fmt: skip


def _size(tensor: Tensor) -> int:
    return int(tensor.value.size) if tensor.value is not None else 0


def select(groups: Sequence[Group], trainable: Any) -> list[str]:
    """Return the names of the parameters to train.

    Args:
        groups: What `find_groups` returned.
        trainable: "all", "head" (the last layer), "last:N", "bias", a pattern such as
            ``"classifier.*"``, or a list of patterns.

    Raises:
        TrainingError: nothing matches; the message has the nearest names.
    """
    names = [name for group in groups for name in group.names]
    if not names:
        raise TrainingError("the model has no parameters: no float initializer is used as weights")
    if trainable == "all":
        return names
    if trainable == "bias":
        return _some([n for group in groups for n in group.biases], trainable, names)
    if trainable == "head":
        return list(groups[-1].names)
    if isinstance(trainable, str) and trainable.startswith("last:"):
        count = trainable.removeprefix("last:")
        if not count.isdigit() or int(count) < 1:
            raise TrainingError(f"trainable={trainable!r}: expected last:N with N of at least 1")
        return [name for group in groups[-int(count) :] for name in group.names]
    patterns = [trainable] if isinstance(trainable, str) else list(trainable)
    found: dict[str, None] = {}
    for pattern in patterns:
        matched = fnmatch.filter(names, pattern)
        found.update(dict.fromkeys(_some(matched, pattern, names)))
    return [name for name in names if name in found]


def _some(found: list[str], pattern: Any, names: Sequence[str]) -> list[str]:
    if found:
        return found
    near = difflib.get_close_matches(str(pattern).strip("*"), names, 3, 0.3) or list(names[-3:])
    raise TrainingError(
        f"trainable={pattern!r} matches none of the model's {len(names)} parameters; the nearest "
        f"are {', '.join(near)}. Or use 'all', 'head', 'last:N' or 'bias'",
        pattern=pattern,
    )
