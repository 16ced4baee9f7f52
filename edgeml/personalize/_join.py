"""A backbone and a head as one ONNX model, and the backbone's features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeml.errors import ModelError
from edgeml.graph import Graph, Tensor, from_onnx, live_nodes, to_onnx
from edgeml.graph._onnx import read_proto

NAMES = ("features", "embedding", "embeddings")
_DENSE = ("MatMul", "Gemm", "QLinearMatMul", "MatMulInteger")


def find_features(model: Any, name: str | None, said: Any = None) -> str:
    """Return which value of an ONNX model holds the features.

    Args:
        model: Path or ModelProto.
        name: Output or inner value that the user named; None: what the metadata says, an output
            with a usual name, or what goes into the last dense layer.
        said: What the metadata says.

    Raises:
        ModelError: there is none.
    """
    proto = read_proto(model)
    outputs = [output.name for output in proto.graph.output]
    values = {value for node in proto.graph.node for value in node.output}
    if name is not None:
        if name not in values:
            raise ModelError(
                f"there is no value {name!r} in the model; its outputs are {', '.join(outputs)}"
            )
        return name
    for candidate in (said, *NAMES):
        if candidate in outputs:
            return str(candidate)
    constants = {tensor.name for tensor in proto.graph.initializer}
    for node in reversed(proto.graph.node):
        if node.op_type in _DENSE:
            return next(str(x) for x in node.input if x not in constants)
    raise ModelError(
        "the model has no output with features and no dense layer: pass features= with the name "
        f"of a value in it; its outputs are {', '.join(outputs)}"
    )


def cut_at(model: Any, features: str) -> Any:
    """Return the part of an ONNX model up to its features, as a ModelProto."""
    graph = from_onnx(model)
    graph.outputs = {"features": _value(graph, features)}
    return to_onnx(graph, name="backbone")


def joined(model: Any, features: str, head: Any, metadata: Mapping[str, str]) -> Any:
    """Return a ModelProto from the backbone's inputs to the head's probabilities.

    Args:
        model: Path or ModelProto of the backbone.
        features: The value in it that the head takes.
        head: The head's ModelProto.
        metadata: More for the file's metadata.
    """
    from edgeml import ops

    graph, added = from_onnx(model), from_onnx(head)
    with graph:
        x = _value(graph, features)
        flat = x if x.ndim == 2 else ops.reshape(x, (-1, _size(x)))
    (taken,) = added.inputs
    for node in live_nodes(added.outputs.values()):
        node.inputs = [flat if value is taken else value for value in node.inputs]
    graph.outputs = {"probabilities": added.outputs["probabilities"], "features": flat}
    kept = {key: value for key, value in graph.metadata.items() if key.startswith("edgeml.")}
    task = {"edgeml.task": kept.get("edgeml.task", "personal-classification")}
    graph.metadata = {**kept, **added.metadata, **task, **metadata}
    for key in ("edgeml.layers", "edgeml.parameters", "edgeml.state"):
        graph.metadata.pop(key, None)
    return to_onnx(graph, name="personal")


def _size(x: Tensor) -> int:
    size = 1
    for n in (x.shape or (None, None))[1:]:
        if not isinstance(n, int):
            raise ModelError(f"the features have a free dimension, {x.shape}: name others")
        size *= n
    return size


def _value(graph: Graph, name: str) -> Tensor:
    if name in graph.outputs:
        return graph.outputs[name]
    for node in graph.nodes:
        for value in node.outputs:
            if value is not None and value.name == name:
                return value
    raise ModelError(f"there is no value {name!r} in the model")
