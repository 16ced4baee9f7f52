"""From blocks and measured ranges to a plan of what is quantized how."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from edgeml.quantize._blocks import WEIGHTED, Block, connected
from edgeml.quantize._index import Index, attribute
from edgeml.quantize._qdq import Params, Plan, activation_params, weight_params
from edgeml.quantize._ranges import METHODS, Histogram, Range, narrowed_below
from edgeml.quantize._targets import Target

_ALIKE = 2.0  # widths of ranges that may become one: a bit less of the narrower one's steps


def tensors_of(index: Index, blocks: list[Block]) -> list[str]:
    """Return the tensors whose ranges a plan for these blocks needs."""
    names = [name for block in blocks for name in (*block.inputs, *block.outputs)]
    return [name for name in dict.fromkeys(names) if not index.is_constant(name)]


def ranges_by(
    method: str, histograms: Mapping[str, Histogram], index: Index | None = None
) -> dict[str, Range]:
    """Return the range of each tensor by a method: minmax, percentile, entropy or mse.

    With the graph, three kinds of tensors are apart: what goes out keeps its extremes, as the few
    highest scores are what a model is asked for; what a LeakyRelu reads gives up some of the far
    negative, which that makes small, for finer steps; and what a Concat joins has one range where
    they are alike, so that it is copied and not rounded anew.

    Args:
        method: Of `METHODS`.
        histograms: What was seen of each tensor.
        index: The graph, or None.
    """
    found = {name: METHODS[method](seen) for name, seen in histograms.items()}
    if index is None:
        return found
    last = _going_out(index)
    for name, seen in histograms.items():
        if name in last:
            found[name] = METHODS["minmax"](seen)
        reader = index.sole_reader(name)
        if reader is not None and reader.op_type == "LeakyRelu":
            slope = float(attribute(reader, "alpha", 0.01))
            found[name] = narrowed_below(seen, found[name], slope)
    return _joined(found, index)


def _joined(ranges: Mapping[str, Range], index: Index) -> dict[str, Range]:
    """Return ranges that are one for the inputs and the output of each Concat, where alike."""
    found = dict(ranges)
    groups = [
        [name for name in (*node.input, *node.output) if name in found]
        for node in index.nodes if node.op_type == "Concat"
    ]  # fmt: skip
    changed = True
    while changed:  # what one joins another may join again
        changed = False
        for names in filter(None, groups):
            low, high = min(found[n][0] for n in names), max(found[n][1] for n in names)
            narrowest = min(ranges[n][1] - ranges[n][0] for n in names)
            if high - low <= _ALIKE * narrowest and any(found[n] != (low, high) for n in names):
                found |= dict.fromkeys(names, (low, high))
                changed = True
    return found


def _going_out(index: Index) -> set[str]:
    """Return the tensors from which an output is reached without another layer."""
    found: set[str] = set()
    left = list(index.outputs)
    while left:
        name = left.pop()
        maker = index.producer.get(name)
        if name not in found and maker is not None and maker.op_type not in WEIGHTED:
            left += maker.input
        found.add(name)
    return found


def make_plan(
    index: Index, blocks: list[Block], ranges: Mapping[str, Range], target: Target, *,
    floating: Collection[str] = (), fixed: Mapping[str, Params] | None = None,
    per_channel: bool = True,
) -> Plan:  # fmt: skip
    """Return the plan that puts all blocks but `floating` into the target's 8 bits.

    Args:
        index: The graph.
        blocks: What `find_blocks` found.
        ranges: (low, high) by tensor.
        target: Where it is to run.
        floating: Names of blocks that stay float.
        fixed: Parameters of tensors that are not measured: inputs that come on a grid.
        per_channel: Whether weights have a scale for each output channel.
    """
    plan = Plan(connected(blocks, floating))
    fixed = fixed or {}
    axes: dict[str, set[int]] = {}
    for block in plan.blocks:
        for name, axis in block.weights.items():
            axes.setdefault(name, set()).add(axis)
    for block in plan.blocks:
        for name in (*block.inputs, *block.outputs):
            if name not in plan.activations:
                plan.activations[name] = (
                    fixed.get(name) or _activation(index, name, ranges, target)
                )  # fmt: skip
        if block.passes:
            for name in block.outputs:
                plan.activations[name] = plan.activations[block.inputs[0]]
        for name, axis in block.weights.items():
            array = index.constant(name)
            assert array is not None
            # Weights that two blocks read along different axes have one scale for all, and so have
            # stacks of matrices, for which the runtime's kernel takes no other.
            single = len(axes[name]) > 1 or (block.op == "MatMul" and array.ndim > 2)
            apart = per_channel and not single
            plan.weights[name] = weight_params(
                array, axis, bits=target.weight_bits, per_channel=apart
            )
    _fit_biases(index, plan)
    return plan


def _activation(index: Index, name: str, ranges: Mapping[str, Range], target: Target) -> Params:
    array = index.constant(name)
    low, high = ranges[name] if array is None else (float(array.min()), float(array.max()))
    return activation_params(low, high, target.activations, symmetric=target.symmetric)


def _fit_biases(index: Index, plan: Plan) -> None:
    """Widen weight scales so far that each bias fits 32 bits in the units of the products."""
    for block in plan.blocks:
        bias = index.constant(block.bias) if block.bias else None
        if bias is None or not block.weights:
            continue
        weight = next(iter(block.weights))
        params = plan.weights[weight]
        least = np.abs(bias) / (2.0**30 * float(plan.activations[block.inputs[0]].scale))
        if params.scale.ndim == 0:
            least = least.max(initial=0.0)
        if np.any(least > params.scale):
            wider = np.maximum(params.scale, least).astype(np.float32)
            plan.weights[weight] = replace(params, scale=wider)
