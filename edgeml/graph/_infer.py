"""Output dtypes and shapes of a node, by ONNX's own inference functions."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.errors import ShapeError
from edgeml.graph._ir import Node, Shape, Tensor

Type = tuple[Any, Shape]

_SMALL = 64  # constants up to this size may decide a shape: targets, axes, pads
_LIKE_FIRST = frozenset(["GroupNormalization", "MeanVarianceNormalization"])  # ONNX has no shape
_unknown = itertools.count()


@functools.cache
def onnx() -> Any:
    """Return the onnx package, which is imported when the first graph is built."""
    found = require("onnx", extra="train", purpose="Building a graph")
    require("onnx.shape_inference", extra="train", purpose="Building a graph")
    return found


@functools.cache
def to_elem_type(dtype: np.dtype[Any]) -> int:
    """Return ONNX's number of a NumPy dtype."""
    if dtype.kind == "O":
        return int(onnx().TensorProto.STRING)
    return int(onnx().helper.np_dtype_to_tensor_dtype(dtype))


@functools.cache
def to_dtype(elem_type: int) -> np.dtype[Any]:
    """Return the NumPy dtype of ONNX's number."""
    found: np.dtype[Any] = onnx().helper.tensor_dtype_to_np_dtype(elem_type)
    return found


@functools.cache
def _errors() -> tuple[type[Exception], ...]:
    found = onnx()
    errors = found.shape_inference.InferenceError, found.checker.ValidationError
    return (*errors, ValueError, TypeError)


@functools.lru_cache(maxsize=512)
def _schema(op: str, opset: int, domain: str) -> Any:
    try:
        return onnx().defs.get_schema(op, opset, domain)
    except onnx().defs.SchemaError:
        return None


@functools.lru_cache(maxsize=4096)
def _type_proto(dtype: np.dtype[Any], shape: Shape) -> Any:
    return onnx().helper.make_tensor_type_proto(to_elem_type(dtype), shape)


def infer(node: Node, opsets: dict[str, int], outputs: int) -> list[Type]:
    """Return (dtype, shape) of each output of `node`.

    Raises:
        ShapeError: the inputs do not fit the operator or each other.
    """
    if node.domain == "edgeml":  # boundaries of ours, which have the type of what they pass on
        return [(x.dtype, x.shape) for x in node.inputs[:outputs] if x is not None]
    if not node.domain and node.op in _LIKE_FIRST:
        return [(node.x.dtype, node.x.shape)]
    schema = _schema(node.op, opsets.get(node.domain, 1), node.domain)
    if schema is None:
        raise ShapeError(
            f"there is no operator {node.domain or 'ai.onnx'}::{node.op} in opset "
            f"{opsets.get(node.domain, 1)}",
            where=node.name,
        )
    names = [f"i{i}" if x is not None else "" for i, x in enumerate(node.inputs)]
    outs = [f"o{i}" for i in range(outputs)]
    given = [(name, x) for name, x in zip(names, node.inputs, strict=True) if x is not None]
    types = {name: _type_proto(x.dtype, x.shape) for name, x in given}
    data = {
        name: onnx().numpy_helper.from_array(value)
        for name, x in given
        if (value := x.value) is not None and value.size <= _SMALL and value.dtype != object
    }
    try:
        proto = onnx().helper.make_node(
            node.op, names, outs, domain=node.domain, **plain(node.attributes)
        )
        found = onnx().shape_inference.infer_node_outputs(
            schema, proto, types, data,
            opset_imports=[onnx().helper.make_opsetid(d, v) for d, v in opsets.items()],
            ir_version=10,
        )  # fmt: skip
    except _errors() as error:
        raise _misfit(node, error) from None
    _check_broadcast(node, given)
    made = [_read(found.get(name), node) for name in outs]
    if node.op == "Reshape":
        _check_size(node, made[0][1])
    return made


def plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes as protobuf takes them: arrays become TensorProtos."""
    return {
        key: onnx().numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for key, value in attributes.items()
    }


def _read(proto: Any, node: Node) -> Type:
    if proto is None or not proto.HasField("tensor_type") or not proto.tensor_type.elem_type:
        # An operator whose output ONNX does not know; its first input is the best guess.
        first = next((x for x in node.inputs if x is not None), None)
        return (first.dtype if first is not None else np.dtype(np.float32)), None
    tensor = proto.tensor_type
    dtype = to_dtype(tensor.elem_type)
    if not tensor.HasField("shape"):
        return dtype, None
    return dtype, tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"?{next(_unknown)}"
        for dim in tensor.shape.dim
    )


_BROADCASTING = frozenset(
    [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Mod",
        "And",
        "Or",
        "Xor",
        "Less",
        "LessOrEqual",
        "Greater",
        "GreaterOrEqual",
        "Equal",
        "Where",
        "Max",
        "Min",
        "Sum",
        "Mean",
        "BitShift",
        "BitwiseAnd",
        "BitwiseOr",
        "BitwiseXor",
        "PRelu",
    ]
)


def _check_broadcast(node: Node, given: list[tuple[str, Tensor]]) -> None:
    """ONNX's inference lets some shapes pass that cannot be broadcast."""
    if node.op not in _BROADCASTING:
        return
    shapes = [x.shape for _, x in given]
    if any(shape is None or any(isinstance(d, str) for d in shape) for shape in shapes):
        return
    try:
        np.broadcast_shapes(*shapes)  # type: ignore[arg-type]
    except ValueError as error:
        raise _misfit(node, error) from None


def _check_size(node: Node, shape: Shape) -> None:
    """ONNX's inference lets reshapes pass that gain or lose values."""
    sizes = [
        math.prod(int(dim) for dim in dims)
        for dims in (node.x.shape, shape)
        if dims is not None and not any(isinstance(dim, str) for dim in dims)
    ]
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        error = ValueError(f"{sizes[0]} values cannot be given the shape {list(shape or ())}")
        raise _misfit(node, error)


def _misfit(node: Node, error: Exception) -> ShapeError:
    received = ", ".join(
        "-" if x is None else f"{x.dtype}{'[?]' if x.shape is None else list(x.shape)}"
        for x in node.inputs
    )
    label = f"{node.op} {node.name!r}" if node.name else node.op
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ShapeError(
        f"{label}: its inputs do not fit: received {received}; {reason}",
        where=node.name or node.op, received=received,
    )  # fmt: skip
