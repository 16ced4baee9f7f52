"""Cutting channels out of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.quantize._channels import Channels, Labels, Rewrite
from edgeml.quantize._model import Model, constant, set_constant


def cut(model: Model, flow: Channels, gone: set[int]) -> Model:
    """Return a model without some channels.

    Args:
        model: What `flow` is of; it stays as it was.
        flow: Its channels.
        gone: Roots of the channels that go.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    found = onnx.ModelProto()
    found.CopyFrom(model)
    keep: dict[str, dict[int, NDArray[np.bool_]]] = {}
    for share in flow.shares:
        keep.setdefault(share.name, {})[share.axis] = _kept(flow, share.labels, gone)
    for name, axes in keep.items():
        values = constant(found, name)
        for axis, chosen in axes.items():
            values = np.compress(chosen, values, axis)
        set_constant(found, name, values)
    places = {id(node): i for i, node in enumerate(flow.index.nodes)}
    for rewrite in flow.rewrites:
        _rewrite(found, found.graph.node[places[id(rewrite.node)]], rewrite, flow, gone)
    del found.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(found)


def masked(model: Model, flow: Channels, gone: set[int]) -> Model:
    """Return the model in which everything reads zeros for some channels."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    found = onnx.ModelProto()
    found.CopyFrom(model)
    for share in flow.shares:
        if share.reads:
            values = constant(found, share.name)
            shape = [-1 if i == share.axis else 1 for i in range(values.ndim)]
            chosen = _kept(flow, share.labels, gone).reshape(shape)
            set_constant(found, share.name, np.where(chosen, values, np.zeros_like(values)))
    return found


def _kept(flow: Channels, labels: Labels, gone: set[int]) -> NDArray[np.bool_]:
    return ~np.isin(flow.roots(labels), list(gone))


def _rewrite(model: Model, node: Any, rewrite: Rewrite, flow: Channels, gone: set[int]) -> None:
    counts = [int(_kept(flow, labels, gone).sum()) for labels in rewrite.labels]
    if rewrite.kind == "group":
        for attribute in node.attribute:
            if attribute.name == "group":
                attribute.i = counts[0]
        return
    at = 1 if rewrite.kind == "split" else int(rewrite.kind)
    if rewrite.kind == "split":
        stated = np.array(counts, np.int64)
        for attribute in [a for a in node.attribute if a.name == "num_outputs"]:
            node.attribute.remove(attribute)
        if len(node.input) < 2:
            node.input.append("")
    else:
        stated = constant(model, node.input[at]).copy()
        stated[rewrite.axis] = counts[0]
    name = f"{node.name or node.output[0]}/channels"
    set_constant(model, name, stated)  # of its own: others may read what was there
    node.input[at] = name
