"""How channels go through each operator; a rule raises Unsafe where that cannot be proved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeml.quantize._channels import Channels, Labels, Layer, Layout, Rewrite, Rule, Unsafe
from edgeml.quantize._index import attribute
from edgeml.quantize._model import Model

RULES: dict[str, Rule] = {}


def channels_of(model: Model) -> Channels:
    """Return the channels of a float model; it stays as it was."""
    return Channels(model, RULES)


def _rule(*ops: str) -> Callable[[Rule], Rule]:
    def register(fn: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, fn))
        return fn

    return register


def _constant(flow: Channels, name: str) -> str:
    if not flow.index.is_constant(name):
        raise Unsafe(f"the weights {name!r} are computed: run simplify first")
    return name


def _on_axis(layout: Layout | None, axis: int, node: Any) -> None:
    if layout is not None and layout.axis != axis:
        raise Unsafe(f"{node.op_type} {node.name!r} mixes what lies along its channels' axis")


def _weighted(
    flow: Channels, node: Any, layout: Layout | None, *, reading: int, making: int, bias_axis: int
) -> Labels:
    """Attach weights and bias; return the labels of the channels that begin here."""
    weight = _constant(flow, node.input[1])
    bias = node.input[2] if len(node.input) > 2 else ""
    count = flow.shape(weight)[making]
    if bias:
        _constant(flow, bias)
    if layout is not None:
        flow.attach(node, weight, reading, layout.labels, reads=True)
    labels = flow.fresh(count)
    flow.attach(node, weight, making, labels)
    shape = flow.shape(bias) if bias else ()
    if shape and shape[bias_axis] == count > 1:
        flow.attach(node, bias, len(shape) - 1 if bias_axis < 0 else bias_axis, labels)
    flow.layers[node.name] = Layer(weight, making, labels, own=True)
    return labels


@_rule("Conv", "ConvTranspose")
def _conv(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    _on_axis(layout, 1, node)
    groups = attribute(node, "group", 1)
    if groups > 1:
        return _depthwise(flow, node, layout, groups)
    plain = node.op_type == "Conv"
    labels = _weighted(
        flow, node, layout, reading=1 if plain else 0, making=0 if plain else 1, bias_axis=0
    )
    return Layout(1, labels)


def _depthwise(flow: Channels, node: Any, layout: Layout | None, groups: int) -> Layout | None:
    weight = _constant(flow, node.input[1])
    shape = flow.shape(weight)
    if node.op_type != "Conv" or shape[1] != 1:
        raise Unsafe(f"{node.name!r} is a convolution in {groups} groups")
    if layout is None:
        flow.left[node.name] = "the channels that it reads cannot be followed"
        return None
    bias = node.input[2] if len(node.input) > 2 else ""
    labels = np.repeat(layout.labels, shape[0] // groups)
    flow.attach(node, weight, 0, labels)
    if bias:
        flow.attach(node, _constant(flow, bias), 0, labels)
    flow.rewrites.append(Rewrite(node, "group", 1, (layout.labels,)))
    flow.layers[node.name] = Layer(weight, 0, labels, own=False)
    return Layout(1, labels)


@_rule("Gemm")
def _gemm(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    _on_axis(layout, 1, node)
    if attribute(node, "transA", 0):
        raise Unsafe(f"{node.name!r} turns its input")
    turned = bool(attribute(node, "transB", 0))
    labels = _weighted(
        flow, node, layout, reading=1 if turned else 0, making=0 if turned else 1, bias_axis=-1
    )
    return Layout(1, labels)


@_rule("MatMul")
def _matmul(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    if not flow.index.is_constant(node.input[1]):
        if layout is None and flow.layout(node.input[1]) is None:
            return None
        raise Unsafe(f"{node.name!r} multiplies two computed tensors")
    last = len(flow.dims(node.input[0])) - 1
    if len(flow.dims(node.input[1])) != 2 or last < 1:
        raise Unsafe(f"{node.name!r} has weights of more than two axes")
    _on_axis(layout, last, node)
    return Layout(
        last, _weighted(flow, node, layout, reading=0, making=1, bias_axis=-1)
    )  # fmt: skip


@_rule("Abs", "Cast", "Ceil", "Celu", "Clip", "Cos", "Dropout", "Elu", "Erf", "Exp", "Floor",
       "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg",
       "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
       "Sqrt", "Tanh", "ThresholdedRelu")  # fmt: skip
def _unary(flow: Channels, node: Any) -> Layout | None:
    return flow.layout(node.input[0])


@_rule("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
def _pool(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    _on_axis(layout, 1, node)
    if len(node.output) > 1 and layout is not None:
        raise Unsafe(f"{node.name!r} returns positions")
    return layout


@_rule("Add", "Div", "Max", "Mean", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum", "Where")
def _elementwise(flow: Channels, node: Any) -> Layout | None:
    names = [name for name in node.input if name]
    held = [(name, layout) for name in names if (layout := flow.layout(name))]
    if not held:
        return None
    ranks = {name: len(flow.dims(name)) for name in names}
    rank = max(ranks.values())
    axes = {layout.axis + rank - ranks[name] for name, layout in held}
    if len(axes) > 1:
        raise Unsafe(f"{node.op_type} {node.name!r} joins channels of different axes")
    axis = axes.pop()
    labels = held[0][1].labels
    size = max(_size(flow, name, axis - rank) for name in names)
    if any(len(layout.labels) != size for _, layout in held):
        raise Unsafe(f"{node.op_type} {node.name!r} spreads one channel over many")
    others = [name for name in names if not flow.layout(name)]
    wide = [name for name in others if _size(flow, name, axis - rank) == size > 1]
    if any(not flow.index.is_constant(name) for name in wide):
        raise Unsafe(f"{node.op_type} {node.name!r} joins them with what cannot be pruned")
    for name in wide:
        flow.attach(node, name, axis - rank + ranks[name], labels)
    for _, layout in held[1:]:
        flow.tie(labels, layout.labels)
    return Layout(axis, labels)


def _size(flow: Channels, name: str, axis: int) -> int:
    """Return a tensor's size along an axis counted from the end; 1 where it has none."""
    dims = flow.dims(name)
    size = dims[axis] if len(dims) >= -axis else 1
    if size is None:
        raise Unsafe(f"the shape of {name!r} is not known")
    return size


@_rule("BatchNormalization", "InstanceNormalization")
def _normalization(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    if layout is None:
        return None
    _on_axis(layout, 1, node)
    if len(node.output) > 1:
        raise Unsafe(f"{node.name!r} is in training mode")
    for name in node.input[1:]:
        _constant(flow, name)
    for name in node.input[1:]:
        flow.attach(node, name, 0, layout.labels)
    return layout


@_rule("LogSoftmax", "Softmax")
def _softmax(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    if layout is None:
        return None
    rank = len(flow.dims(node.input[0]))
    if flow.opset < 13 or attribute(node, "axis", -1) % rank == layout.axis:
        raise Unsafe(f"{node.op_type} {node.name!r} is over the channels")
    return layout


@_rule("Concat")
def _concat(flow: Channels, node: Any) -> Layout | None:
    held = [layout for name in node.input if (layout := flow.layout(name))]
    if not held:
        return None
    rank = len(flow.dims(node.output[0]))
    axis = attribute(node, "axis") % rank
    if any(layout.axis != held[0].axis for layout in held):
        raise Unsafe(f"Concat {node.name!r} joins channels of different axes")
    if axis != held[0].axis:
        if len(held) < len(node.input):
            raise Unsafe(f"Concat {node.name!r} joins them with what cannot be pruned")
        for layout in held[1:]:
            flow.tie(held[0].labels, layout.labels)
        return held[0]
    parts = []
    for name in node.input:
        found = flow.layout(name)
        reason = f"{name!r} in Concat {node.name!r} cannot be pruned"
        size = len(found.labels) if found else _size(flow, name, axis - rank)
        parts.append(found.labels if found else flow.fresh(size, reason))
    return Layout(axis, np.concatenate(parts))


@_rule("Split")
def _split(flow: Channels, node: Any) -> list[Layout | None]:
    layout = flow.layout(node.input[0])
    if layout is None:
        return []
    axis = attribute(node, "axis", 0) % len(flow.dims(node.input[0]))
    if axis != layout.axis:
        return [layout] * len(node.output)
    if flow.opset < 13 or (len(node.input) > 1 and not flow.index.is_constant(node.input[1])):
        raise Unsafe(f"Split {node.name!r} has sizes that are computed, or a form of old opsets")
    rank = len(flow.dims(node.input[0]))
    sizes = [_size(flow, name, axis - rank) for name in node.output]
    parts = tuple(np.split(layout.labels, np.cumsum(sizes)[:-1]))
    flow.rewrites.append(Rewrite(node, "split", axis, parts))
    return [Layout(axis, labels) for labels in parts]


@_rule("Transpose")
def _transpose(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    if layout is None:
        return None
    rank = len(flow.dims(node.input[0]))
    axis = list(attribute(node, "perm", range(rank)[::-1])).index(layout.axis)
    if axis == 0:
        raise Unsafe(f"Transpose {node.name!r} puts the channels first")
    return Layout(axis, layout.labels)


@_rule("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def _reshape(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    if layout is None:
        return None
    if node.op_type == "Squeeze" and len(node.input) < 2 and not attribute(node, "axes"):
        raise Unsafe(f"Squeeze {node.name!r} would take a single channel for no axis")
    moved = _moved(layout, flow.shape(node.input[0]), flow.shape(node.output[0]))
    if moved is None:
        raise Unsafe(f"{node.op_type} {node.name!r} mixes channels with another axis")
    if node.op_type == "Reshape":
        _stated(flow, node, 1, layout, moved)
    return moved


def _moved(layout: Layout, before: tuple[int, ...], after: tuple[int, ...]) -> Layout | None:
    """Return where a reshape puts the channels, or None where no axis has them alone."""
    shape = [-1 if i == layout.axis else 1 for i in range(len(before))]
    spread = np.broadcast_to(layout.labels.reshape(shape), before).reshape(after)
    for axis in range(1, len(after)):
        line = spread[tuple(slice(None) if i == axis else 0 for i in range(len(after)))]
        wide = line.reshape([-1 if i == axis else 1 for i in range(len(after))])
        if np.array_equal(spread, np.broadcast_to(wide, after)):
            return Layout(axis, line)
    return None


def _stated(flow: Channels, node: Any, at: int, before: Layout, after: Layout) -> None:
    """See whether a target shape states the number of channels, so that it must change."""
    target = flow.value(node.input[at])
    if target is None:
        raise Unsafe(f"{node.op_type} {node.name!r} has a target that is computed")
    copied = [i for i, dim in enumerate(target.tolist()) if dim == 0]
    if any((i == before.axis) != (i == after.axis) for i in copied):
        raise Unsafe(f"{node.op_type} {node.name!r} copies the number of channels elsewhere")
    if int(target[after.axis]) in (0, -1):
        return
    if not flow.index.is_constant(node.input[at]):
        raise Unsafe(f"{node.op_type} {node.name!r} computes the number of channels")
    flow.rewrites.append(Rewrite(node, str(at), after.axis, (after.labels,)))


@_rule("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
       "ReduceSumSquare")  # fmt: skip
def _reduce(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    if layout is None:
        return None
    rank = len(flow.dims(node.input[0]))
    axes = attribute(node, "axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        found = flow.value(node.input[1])
        axes = None if found is None else found.tolist()
    over = {axis % rank for axis in axes} if axes is not None else set(range(rank))
    if layout.axis in over:
        raise Unsafe(f"{node.op_type} {node.name!r} is over the channels")
    if attribute(node, "keepdims", 1):
        return layout
    return Layout(layout.axis - sum(axis < layout.axis for axis in over), layout.labels)


@_rule("Pad")
def _pad(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    if layout is None:
        return None
    rank = len(flow.dims(node.input[0]))
    pads = attribute(node, "pads")
    if pads is None and len(node.input) > 1:
        found = flow.value(node.input[1])
        pads = None if found is None else found.tolist()
    if pads is None or len(pads) != 2 * rank or pads[layout.axis] or pads[layout.axis + rank]:
        raise Unsafe(f"Pad {node.name!r} adds channels, or how much it adds is not known")
    return layout


@_rule("Slice")
def _slice(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    if layout is None:
        return None
    rank = len(flow.dims(node.input[0]))
    axes = flow.value(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    if axes is None or layout.axis in np.asarray(axes).reshape(-1) % rank:
        raise Unsafe(f"Slice {node.name!r} takes some of the channels, or has no known axes")
    return layout


@_rule("Resize", "Upsample")
def _resize(flow: Channels, node: Any) -> Layout | None:
    layout = flow.layout(node.input[0])
    if layout is None:
        return None
    before, after = flow.dims(node.input[0]), flow.dims(node.output[0])
    named = attribute(node, "axes") is not None or attribute(
        node, "coordinate_transformation_mode", ""
    ) == "tf_crop_and_resize"  # fmt: skip
    if before[: layout.axis + 1] != after[: layout.axis + 1] or named:
        raise Unsafe(f"{node.op_type} {node.name!r} does more than to stretch pictures")
    if len(node.input) > 3 and node.input[3]:
        _stated(flow, node, 3, layout, layout)
    return layout


@_rule("Shape")
def _shape(flow: Channels, node: Any) -> Layout | None:
    """Shape arithmetic may ask for all dimensions but that of the channels."""
    layout = flow.layout(node.input[0])
    if layout is None:
        return None
    if attribute(node, "start", 0) or attribute(node, "end") is not None:
        raise Unsafe(f"Shape {node.name!r} is of a part")
    rank = len(flow.dims(node.input[0]))
    for reader in flow.index.readers[node.output[0]]:
        if reader.op_type == "Gather":
            chosen = flow.value(reader.input[1])
        elif reader.op_type == "Slice":
            chosen = _sliced(flow, reader, rank)
        else:
            chosen = None
        if chosen is None or layout.axis in np.asarray(chosen).reshape(-1) % rank:
            raise Unsafe(f"Shape {node.name!r}: the number of channels is computed with")
    return None


def _sliced(flow: Channels, node: Any, rank: int) -> Any:
    values = [flow.value(name) for name in node.input[1:3]]
    if len(node.input) > 4 or any(value is None for value in values):
        return None
    start, end = (int(np.asarray(value).reshape(-1)[0]) for value in values)
    return np.arange(rank)[start:end]
