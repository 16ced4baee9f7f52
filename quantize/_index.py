"""A model's graph, with the questions that passes ask answered once."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._model import Model


class Index:
    """Who makes a tensor, who reads it, what is constant; of the outermost graph.

    It is a picture of the model at the time it was taken.

    Args:
        model: The ``onnx.ModelProto``.
    """

    def __init__(self, model: Model) -> None:
        onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
        graph = model.graph
        self.nodes: list[Any] = list(graph.node)
        self.producer: dict[str, Any] = {}
        self.readers: dict[str, list[Any]] = defaultdict(list)
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [i.name for i in graph.input if i.name not in self._tensors]
        self.outputs = {o.name for o in graph.output}
        self.captured: set[str] = set()
        for node in self.nodes:
            for name in node.output:
                self.producer[name] = node
            for name in node.input:
                self.readers[name].append(node)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    self.captured |= _read_within(attribute.g)
        self._types = {
            info.name: info.type.tensor_type
            for info in (*graph.value_info, *graph.input, *graph.output)
        }
        self._to_array = onnx.numpy_helper.to_array
        self._float = onnx.TensorProto.FLOAT

    @property
    def names(self) -> set[str]:
        """The names of all tensors."""
        return {*self.producer, *self.readers, *self._tensors, *self.inputs, *self.captured}

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return an initializer's array, or None."""
        tensor = self._tensors.get(name)
        return None if tensor is None else np.asarray(self._to_array(tensor))

    def is_constant(self, name: str) -> bool:
        """Return whether a tensor is an initializer."""
        return name in self._tensors

    def kind(self, name: str) -> int:
        """Return a tensor's element type, of ``onnx.TensorProto``; 0 when it is not known."""
        if name in self._tensors:
            return int(self._tensors[name].data_type)
        kind = self._types.get(name)
        return 0 if kind is None else int(kind.elem_type)

    def is_float(self, name: str) -> bool:
        """Return whether a tensor is known to be float32."""
        return self.kind(name) == int(self._float)

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """Return a tensor's shape as far as the file says it, with None for open dimensions."""
        if name in self._tensors:
            return tuple(self._tensors[name].dims)
        kind = self._types.get(name)
        if kind is None or not kind.HasField("shape"):
            return None
        return tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)

    def sole_reader(self, name: str) -> Any | None:
        """Return the one node that reads a tensor, when nothing else does."""
        found = self.readers.get(name, [])
        if len(found) != 1 or name in self.outputs or name in self.captured:
            return None
        return found[0]


def drop_unread(model: Model) -> None:
    """Remove the initializers that no node, no body and no output reads."""
    index = Index(model)
    read = index.readers.keys() | index.captured | index.outputs
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Return a node's attribute as a Python value."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    for found in node.attribute:
        if found.name == name:
            value = onnx.helper.get_attribute_value(found)
            return value.decode() if isinstance(value, bytes) else value
    return default


def all_nodes(graph: Any) -> list[Any]:
    """Return a graph's nodes, with those in the bodies of If, Loop and Scan."""
    found = list(graph.node)
    for node in graph.node:
        for inner in node.attribute:
            if inner.HasField("g"):
                found += all_nodes(inner.g)
    return found


def reads(node: Any) -> set[str]:
    """Return the names that a node reads, also in the bodies of If, Loop and Scan."""
    found = set(node.input)
    for inner in node.attribute:
        if inner.HasField("g"):
            found |= _read_within(inner.g)
    return found


def _read_within(graph: Any) -> set[str]:
    return {output.name for output in graph.output}.union(*map(reads, graph.node))
