"""The part of a model before its first trained parameter, run once for each example."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import TrainingError
from edgeml.graph import Graph, Tensor, from_onnx, live_nodes, to_onnx
from edgeml.graph._execute import open_session
from edgeml.training._inputs import Data

Array = np.ndarray[Any, Any]


@dataclass
class Cut:
    """A model in two: features, which stay as they are, and the rest, which is trained."""

    features: Any
    """ModelProto from the model's inputs to the features."""
    rest: Any
    """ModelProto from the features to the model's outputs."""


def cut(proto: Any, trained: Collection[str]) -> Cut:
    """Cut a model where the influence of the `trained` initializers begins.

    Raises:
        TrainingError: a trained parameter is used right at the input, so that nothing comes before.
    """
    graph = from_onnx(proto)
    nodes = live_nodes(graph.outputs.values())
    touched: set[Tensor] = set()
    for node in nodes:
        if any(x in touched or x.name in trained for x in node.uses()):
            touched.update(y for y in node.outputs if y is not None)
    borders = [
        x for node in nodes if any(y in touched for y in node.outputs)
        for x in node.uses() if x not in touched and (x.producer is not None or x in graph.inputs)
    ]  # fmt: skip
    frontier = list(dict.fromkeys(borders))
    if not frontier or all(x in graph.inputs for x in frontier):
        raise TrainingError(
            "there are no features to cache: the first layer is trained. Train later layers only, "
            "for instance trainable='head'"
        )
    names = {x: f"feature_{i}" for i, x in enumerate(frontier)}
    features = Graph()
    features.opsets, features.inputs = graph.opsets, list(graph.inputs)
    features.outputs = {name: x for x, name in names.items()}
    made = to_onnx(features, name="features")
    rest = Graph()
    rest.opsets = graph.opsets
    replaced = {x: rest.input(name, x.dtype, x.shape) for x, name in names.items()}
    for node in nodes:
        node.inputs = [replaced.get(x, x) if x is not None else None for x in node.inputs]
    rest.outputs = {name: replaced.get(y, y) for name, y in graph.outputs.items()
                    if y in touched or y in replaced}  # fmt: skip
    return Cut(made, to_onnx(rest, name="rest"))


def compute(features: Any, data: Data, *, threads: int | None) -> dict[str, Array]:
    """Return the features of all examples."""
    session = open_session(features, threads=threads, name="the features")
    names = [node.name for node in session.get_outputs()]
    parts = [session.run(names, arrays) for arrays, _, _ in data.batches(None)]
    return {
        name: np.concatenate(found)
        for name, found in zip(names, zip(*parts, strict=True), strict=True)
    }
