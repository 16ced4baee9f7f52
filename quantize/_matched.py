"""A float model's layers beside those of its quantized model, and what flows in both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import InputError, ModelFormatError
from edgeml.quantize._index import Index
from edgeml.quantize._model import Model
from edgeml.quantize._session import open_model
from edgeml.runtime._errors import translated

Array = NDArray[Any]
Batches = Iterable[Mapping[str, Array]]
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Matched:
    """A layer whose weights are quantized, in both models.

    Args:
        name: The node's name, the same in both.
        node: Its node in the quantized model.
        dequantize: The DequantizeLinear behind which its weights are stored.
        original: Its node in the float model.
        limits: Least and greatest value after the activation that follows, in the float model;
            infinite where none does.
    """

    name: str
    node: Any
    dequantize: Any
    original: Any
    limits: tuple[float, float]


def matched(float_model: Model, quantized: Model) -> list[Matched]:
    """Return the layers with quantized weights, from input to output.

    Raises:
        ModelFormatError: the second model is not quantized, or not from the first.
    """
    ours, theirs = Index(quantized), Index(float_model)
    originals = {node.name: node for node in theirs.nodes if node.op_type in LAYERS}
    found, missing = [], []
    for node in ours.nodes:
        if node.op_type not in LAYERS or len(node.input) < 2:
            continue
        made = ours.producer.get(node.input[1])
        if made is None or made.op_type != "DequantizeLinear" or not _stored(ours, made):
            continue
        original = originals.get(node.name)
        if original is None or original.op_type != node.op_type:
            missing.append(node.name)
        elif theirs.shape(original.input[1]) == ours.shape(made.input[0]):
            limits = _limits(theirs, original)
            found.append(Matched(node.name, node, made, original, limits))
    if found:
        return found
    if missing:
        raise ModelFormatError(
            f"layer {missing[0]!r} of the quantized model is not in the float model: give the "
            "model that was quantized (after simplify)"
        )
    raise ModelFormatError(
        "expected a model with weights behind DequantizeLinear; found none: quantize it first"
    )


def _stored(index: Index, node: Any) -> bool:
    return all(index.is_constant(name) for name in node.input if name)


def _limits(index: Index, node: Any) -> tuple[float, float]:
    reader = index.sole_reader(node.output[0])
    if reader is None or reader.op_type not in ("Relu", "Clip"):
        return -np.inf, np.inf
    if reader.op_type == "Relu":
        return 0.0, np.inf
    ends = [index.constant(name) if name else None for name in [*reader.input[1:], "", ""][:2]]
    low, high = (None if end is None else float(end.reshape(-1)[0]) for end in ends)
    return -np.inf if low is None else low, np.inf if high is None else high


class Tap:
    """Runs a model up to some of its tensors.

    Args:
        model: The model.
        tensors: Names of the tensors that are wanted; nothing else is computed.
    """

    def __init__(self, model: Model, tensors: Iterable[str]) -> None:
        onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
        part = onnx.ModelProto()
        part.CopyFrom(model)
        del part.graph.output[:]
        self._names = list(dict.fromkeys(tensors))
        inputs = {info.name for info in part.graph.input}
        for name in self._names:
            if name not in inputs:
                part.graph.output.add(name=name)
        self._given = [name for name in self._names if name in inputs]
        self._made = [name for name in self._names if name not in inputs]
        self._session = open_model(part) if self._made else None
        self._inputs = sorted(inputs - {t.name for t in part.graph.initializer})

    def run(self, batch: Mapping[str, Array], number: int = 0) -> dict[str, Array]:
        """Return the tensors for a batch, by name.

        Raises:
            InputError: the batch is not for this model, or holds NaN or infinity.
        """
        if sorted(batch) != self._inputs:
            raise InputError(
                f"batch {number}: expected {self._inputs}, received {sorted(batch)}",
                expected=self._inputs, received=sorted(batch),
            )  # fmt: skip
        for name, values in batch.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise InputError(f"batch {number}: {name!r} holds NaN or infinity", name=name)
        found = {name: np.asarray(batch[name]) for name in self._given}
        if self._session is not None:
            with translated(f"batch {number}"):
                made = self._session.run(self._made, dict(batch))
            found |= dict(zip(self._made, made, strict=True))
        return found


def repeated(batches: Batches) -> Iterator[Mapping[str, Array]]:
    """Return a pass over batches that are gone through several times.

    Raises:
        InputError: they can be gone through once only, or there are none.
    """
    passed = iter(batches)
    if passed is batches:
        raise InputError(
            "each layer needs a pass over the batches, and an iterator gives them once: give a "
            "list or a dataset",
            received=type(batches).__name__,
        )
    count = 0
    for count, batch in enumerate(passed, 1):  # noqa: B007
        yield batch
    if not count:
        raise InputError("there are no batches: give at least one")


def channel_axis(node: Any, ndim: int) -> int:
    """Return the axis along which a layer's output has its channels."""
    return 1 if node.op_type in ("Conv", "ConvTranspose") else ndim - 1


def stored(model: Model, name: str) -> Array:
    """Return an initializer, as integers that NumPy can count with when it has less than 8 bits."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values: Array = onnx.numpy_helper.to_array(tensor)
            return values
    raise ModelFormatError(f"{name!r} is no initializer")


def scales_of(model: Model, node: Any, ndim: int) -> tuple[Array, Array]:
    """Return scale and zero point of a DequantizeLinear, in shapes that go with its values."""
    from edgeml.quantize._index import attribute

    scale = stored(model, node.input[1]).astype(np.float32)
    zero = np.zeros(scale.shape, np.int32)
    if len(node.input) > 2 and node.input[2]:
        zero = stored(model, node.input[2]).astype(np.int32)
    block = attribute(node, "block_size", 0)
    axis = attribute(node, "axis", 1) % max(ndim, 1)
    if block:
        return np.repeat(scale, block, axis), np.repeat(zero, block, axis)
    if scale.ndim == 1 and ndim > 1:
        shape = [-1 if i == axis else 1 for i in range(ndim)]
        return scale.reshape(shape), zero.reshape(shape)
    return scale, zero
