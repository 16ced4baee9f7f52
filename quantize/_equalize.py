"""Cross-layer equalization: weights of neighbouring layers share out their ranges."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import ModelFormatError
from edgeml.quantize._channel_rules import channels_of
from edgeml.quantize._channels import Channels, Labels, check_float
from edgeml.quantize._model import Model, constant, load, set_constant
from edgeml.quantize._parity import difference

_log = logging.getLogger("edgeml.quantize")
_SCALING = frozenset(
    {"AveragePool", "Dropout", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity",
     "LeakyRelu", "MaxPool", "PRelu", "Pad", "ReduceMax", "ReduceMean", "ReduceSum", "Relu",
     "Reshape", "Resize", "Squeeze", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""f(s * x) = s * f(x) for s > 0, channel by channel."""
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_ROUNDS = 200
_ENOUGH = 1e-4  # of a factor's logarithm
_TOLERANCE = 1e-3  # float32 sums in nets that amplify them


def equalize(model: Model | str | os.PathLike[str]) -> Model:
    """Give each channel the same weight range in the layer that makes it and the one that reads it.

    What one layer's channel loses in size the next layer's weights for it gain, so that the
    outputs stay, and one scale for a whole tensor fits all of its channels. Of use where weights
    have one scale a tensor, and for depthwise convolutions.

    1. Pairs are Conv, ConvTranspose, Gemm or MatMul, depthwise among them, with nothing between
       but what scales along: Relu, LeakyRelu, PRelu, pools, Pad with zeros, Resize, reshapes.
    2. A tensor between that something else reads, too, ends the pair; so do Clip (its limits
       would have to become one a channel) and all other operators. The log says where and why.
    3. Longer chains are gone through until no factor moves any more.

    Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
    Correction" (2019), section 4.1.

    Args:
        model: Path or ``onnx.ModelProto``, float32; run `simplify` on it first.

    Raises:
        ModelFormatError: the model is quantized already.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import equalize, simplify
        >>> net = edgeml.Sequential([edgeml.Input((4,)), edgeml.layers.Dense(8, "relu"),
        ...                          edgeml.layers.Dense(2)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> len(equalize(simplify("/tmp/edgeml-example.onnx")).graph.node)
        3
    """
    proto = load(model)
    check_float(proto)
    flow = channels_of(proto)
    pairs = _pairs(flow)
    if not pairs:
        _log.info("equalize: no two layers follow each other; nothing was changed")
        return proto
    values = {
        name: constant(proto, name).astype(np.float64)
        for pair in pairs for name in (pair.first, pair.second, pair.bias) if name
    }  # fmt: skip
    for _ in range(_ROUNDS):
        if max(pair.equalize(values) for pair in pairs) < _ENOUGH:
            break
    changed = load(proto)
    for name, array in values.items():
        set_constant(changed, name, array.astype(constant(proto, name).dtype))
    found = difference(proto, changed)
    if found is not None and not found <= _TOLERANCE:
        raise ModelFormatError(f"equalizing would change outputs by {found:.2g} of the largest")
    return changed


@dataclass(frozen=True)
class _Pair:
    """Two layers; places are numbers of channels along the weights' axes."""

    first: str
    first_axis: int
    bias: str
    second: str
    second_axis: int
    places: Labels
    """For each slice of the second's weights, the first's channel that it reads."""

    def equalize(self, values: dict[str, NDArray[np.float64]]) -> float:
        """Share out the ranges; return the largest logarithm of a factor."""
        one, two = values[self.first], values[self.second]
        made, read = _largest(one, self.first_axis), np.zeros(one.shape[self.first_axis])
        np.maximum.at(read, self.places, _largest(two, self.second_axis))
        some = (made > 0) & (read > 0)
        factor = np.ones_like(made)
        factor[some] = np.sqrt(made[some] / read[some])
        one /= _along(factor, self.first_axis, one.ndim)
        two *= _along(factor[self.places], self.second_axis, two.ndim)
        if self.bias:
            values[self.bias] /= _along(factor, values[self.bias].ndim - 1, values[self.bias].ndim)
        return float(np.abs(np.log(factor)).max())


def _largest(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    others = tuple(i for i in range(values.ndim) if i != axis)
    return np.asarray(np.abs(values).max(others))


def _along(factor: NDArray[np.float64], axis: int, ndim: int) -> NDArray[np.float64]:
    return factor.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _pairs(flow: Channels) -> list[_Pair]:
    found = []
    for node in flow.index.nodes:
        if node.name in flow.layers:
            pair = _pair(flow, node)
            if isinstance(pair, _Pair):
                found.append(pair)
            else:
                _log.info("equalize leaves %s alone: %s", node.name, pair)
    return found


def _pair(flow: Channels, node: Any) -> _Pair | str:
    """Return the pair that a layer starts, or why there is none."""
    layer = flow.layers[node.name]
    name = node.output[0]
    while True:
        reader = flow.index.sole_reader(name)
        if reader is None:
            return f"{name!r} is an output, or read by several nodes"
        if reader.op_type in _LAYERS and reader.input[0] == name:
            break
        if reader.op_type not in _SCALING or reader.input[0] != name or _fills(flow, reader):
            return f"{reader.op_type} {reader.name!r} does not scale along with its input"
        name = reader.output[0]
    layout = flow.layout(name)
    if layout is None:
        return f"its channels cannot be followed to {reader.name!r}"
    bias = node.input[2] if len(node.input) > 2 else ""
    alone = all(len(flow.index.readers[w]) == 1 for w in (layer.weight, reader.input[1], bias) if w)
    shape = flow.index.shape(bias) if bias else None
    if not alone or (shape is not None and shape[-1:] != (len(layer.labels),)):
        return "its weights are shared with other nodes, or its bias is for all channels at once"
    depthwise = [x for n, x in flow.layers.items() if n == reader.name and not x.own]
    shares = [s for s in flow.shares if s.name == reader.input[1] and s.reads]
    if not (depthwise or shares):
        return f"{reader.name!r}: {flow.left.get(reader.name, 'its channels are not followed')}"
    axis, labels = (
        (depthwise[0].axis, depthwise[0].labels) if depthwise
        else (shares[0].axis, shares[0].labels)
    )  # fmt: skip
    channels = {label: i for i, label in enumerate(layer.labels.tolist())}
    if len(channels) < len(layer.labels) or not channels.keys() >= set(labels.tolist()):
        return f"{reader.name!r} reads other channels, too"
    places = np.array([channels[label] for label in labels.tolist()], np.int64)
    return _Pair(layer.weight, layer.axis, bias, reader.input[1], axis, places)


def _fills(flow: Channels, node: Any) -> bool:
    """Return whether a Pad fills with something else than zero."""
    if node.op_type != "Pad" or len(node.input) < 3 or not node.input[2]:
        return False
    value = flow.value(node.input[2])
    return value is None or bool(np.any(value))
