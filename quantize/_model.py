"""Reading and writing models, and the few graph questions that every pass asks."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import ModelFormatError, ModelNotFound
from edgeml.platform import replacing
from edgeml.runtime._onnx_file import check_external, read_onnx

Model = Any
"""An ``onnx.ModelProto`` (onnx has no usable types, and is imported late)."""
LARGEST = 2**31 - 1
"""Bytes that one ONNX file may have, weights included."""


def read(model: Model | str | os.PathLike[str]) -> Model:
    """Read a model file, or copy a model that is already in memory.

    Args:
        model: Path of an ``.onnx`` file, or an ``onnx.ModelProto``.

    Raises:
        ModelNotFound: there is no file at the path.
        ModelFormatError: it is not a valid ONNX model, its weights lie outside its folder, or it
            is over 2 GB.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    if not isinstance(model, (str, os.PathLike)):
        if not isinstance(model, onnx.ModelProto):
            raise ModelFormatError(
                f"expected a path or an onnx.ModelProto, received {type(model).__name__}"
            )
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return _checked(copy)
    path = Path(model)
    if not path.is_file():
        raise ModelNotFound(f"no model file at {path}", path=str(path))
    if path.suffix == ".tflite":
        raise ModelFormatError(
            f"{path} is a LiteRT model: expected .onnx, exported from what it was made of",
            path=str(path),
        )
    try:
        _check_file(path)
    except OSError as error:
        raise ModelFormatError(
            f"{path}: cannot be read: {error.strerror}", path=str(path)
        ) from error
    try:
        return _checked(onnx.load(str(path)))
    except Exception as error:  # protobuf and onnx each raise classes of their own here
        said = str(error).removeprefix("the model is not valid: ")
        raise ModelFormatError(
            f"{path} is not a valid ONNX model: {said}", path=str(path)
        ) from error


def _checked(model: Model) -> Model:
    """Return a valid model; shapes of outputs, which some exporters leave out, are worked out."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    kinds = [info.type.tensor_type for info in model.graph.output]
    if any(kind.elem_type and not kind.HasField("shape") for kind in kinds):
        model = onnx.shape_inference.infer_shapes(model)
    check(model)
    return model


def load(model: Model | str | os.PathLike[str]) -> Model:
    """Read a model as passes want it: what is not said in each file is made plain.

    1. Each node has a name of its own, by which it is found again in what became of the model.
    2. Weights that are listed among the inputs, too, as old files must and some exporters do, are
       constants: they are no longer inputs.

    Args:
        model: Path of an ``.onnx`` file, or an ``onnx.ModelProto``; it stays as it was.

    Raises:
        ModelNotFound: there is no file at the path.
        ModelFormatError: as `read`, or the weights are sparse.
    """
    found = read(model)
    graph = found.graph
    if graph.sparse_initializer:
        names = ", ".join(repr(t.values.name) for t in graph.sparse_initializer)
        raise ModelFormatError(f"the weights {names} are sparse: save the model with dense ones")
    if replaceable(found):
        weights = {tensor.name for tensor in graph.initializer}
        inputs = [info for info in graph.input if info.name not in weights]
        del graph.input[:]
        graph.input.extend(inputs)
        found.ir_version = max(found.ir_version, 4)  # the first that may leave them out
    name_nodes(graph)
    return found


def opset_of(model: Model) -> int:
    """Return the version of ONNX's own operators that a model uses; 0 when it uses none."""
    versions = (e.version for e in model.opset_import if e.domain in ("", "ai.onnx"))
    return max(versions, default=0)


def replaceable(model: Model) -> list[str]:
    """Return the weights that are inputs, too: whoever runs the model may give others."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [info.name for info in model.graph.input if info.name in weights]


def name_nodes(graph: Any) -> None:
    """Give each node of a graph a name of its own; those that have one keep it."""
    names = {node.name for node in graph.node}
    seen: set[str] = set()
    for place, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = unused(f"{node.op_type}_node_{place}", names)
            names.add(node.name)
        seen.add(node.name)


def unused(name: str, taken: Collection[str]) -> str:
    """Return the name, or one like it that is not taken."""
    while name in taken:
        name += "_"
    return name


def describe(found: Model, original: Model) -> None:
    """Give a model what another says of itself: metadata, version, and who made it."""
    del found.metadata_props[:]
    found.metadata_props.extend(original.metadata_props)
    for name in ("doc_string", "domain", "model_version", "producer_name", "producer_version"):
        setattr(found, name, getattr(original, name))


def _check_file(path: Path) -> None:
    """Refuse what must not be opened: weights outside the folder, more than a file can hold."""
    if not path.stat().st_size:
        raise ModelFormatError(f"{path}: the file is empty", path=str(path))
    found = read_onnx(path, str(path))
    check_external(found, path, str(path))
    files = (path, *(path.resolve().parent / location for location in found.external))
    size = sum(file.stat().st_size for file in files)
    if size > LARGEST:
        raise ModelFormatError(
            f"{path}: {size / 1e9:.1f} GB with its weights; expected at most 2 GB, which is what "
            "one ONNX file can hold",
            path=str(path),
        )


def check(model: Model) -> None:
    """Check that a model is what the standard calls one.

    Raises:
        ModelFormatError: it is not, or is over 2 GB.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    protobuf = require("google.protobuf.message", extra="optimize", purpose="edgeml.quantize")
    try:
        onnx.checker.check_model(model)
    except protobuf.EncodeError as error:  # whoever asks for its bytes
        raise ModelFormatError(
            "the model is over 2 GB, more than one ONNX file can hold"
        ) from error
    except onnx.checker.ValidationError as error:
        raise ModelFormatError(f"the model is not valid: {error}") from error


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Check a model and write it atomically.

    Args:
        model: The ``onnx.ModelProto`` to write.
        path: Where to; an existing file is replaced in one step.

    Raises:
        ModelFormatError: the model is not valid; nothing was written.

    Example:
        >>> import edgeml
        >>> from edgeml.layers import Conv2D
        >>> net = edgeml.Sequential([edgeml.Input((8, 8, 3)), Conv2D(4, 3)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> from edgeml.quantize import save, simplify
        >>> save(simplify("/tmp/edgeml-example.onnx"), "/tmp/edgeml-example.onnx")
    """
    target = Path(path)
    try:
        check(model)
    except ModelFormatError as error:
        raise ModelFormatError(f"not written to {target}: {error}", path=str(target)) from error
    with replacing(target) as file:
        file.write(model.SerializeToString())


def graph_input(model: Model, name: str | None = None) -> Any:
    """Return the graph's input called `name`, or its only one.

    Raises:
        ModelFormatError: no such input, or several and no name.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {i.name: i for i in model.graph.input if i.name not in weights}
    if name is None and len(inputs) == 1:
        return next(iter(inputs.values()))
    if name is None or name not in inputs:
        raise ModelFormatError(
            f"expected {'one input' if name is None else f'an input {name!r}'}, "
            f"the model has {sorted(inputs)}: pass one of them as `name`"
        )
    return inputs[name]


def readers(model: Model, tensor: str) -> list[Any]:
    """Return the nodes that read a tensor."""
    return [node for node in model.graph.node if tensor in node.input]


def constant(model: Model, name: str) -> NDArray[Any]:
    """Return an initializer's values.

    Raises:
        ModelFormatError: the tensor is computed, not constant.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
            return values
    raise ModelFormatError(f"expected a constant for {name!r}, but a node computes it")


def set_constant(model: Model, name: str, values: NDArray[Any]) -> None:
    """Replace an initializer's values, or add one."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    new = onnx.numpy_helper.from_array(np.require(values, requirements="C"), name)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(new)
            return
    model.graph.initializer.append(new)
