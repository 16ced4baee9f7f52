"""What an ONNX file holds, read from its bytes without the `onnx` package.

Loading needs it for files nobody vouches for, on devices that have no `onnx`: where external
data lies is checked before any runtime opens it. Weights are stepped over, not read.
"""

from __future__ import annotations

import math
import mmap
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edgeml.errors import ModelFormatError

_MAX_DEPTH = 32  # of subgraphs in subgraphs
_EMPTY = memoryview(b"")


@dataclass
class OnnxFile:
    """What is in the file.

    Attributes:
        ir_version: Version of the file format.
        opsets: Version by domain; the default domain is ``"ai.onnx"``.
        nodes: (name, operator) of each node of the main graph.
        ops: How many nodes of each operator there are, subgraphs and functions included.
        parameters: Numbers in the initializers.
        without_shape: Inputs and outputs of which the file says no shape.
        external: Files beside the model that hold weights.
    """

    ir_version: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    nodes: list[tuple[str, str]] = field(default_factory=list)
    ops: Counter[str] = field(default_factory=Counter)
    parameters: int = 0
    without_shape: set[str] = field(default_factory=set)
    external: set[str] = field(default_factory=set)


def read_onnx(path: Path, name: str) -> OnnxFile:
    """Read the file's frame.

    Args:
        path: The file.
        name: What the user calls it.

    Raises:
        ModelFormatError: the file is truncated, or no ONNX model.
    """
    with path.open("rb") as file:
        # Not closed by hand: the views of its parts go with the last of them.
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        return _model(data)
    except _Broken as error:
        raise ModelFormatError(
            f"{name}: not an ONNX model, or a truncated one: {error}; the file has {len(data)} "
            f"bytes. Copy or export it again",
            path=name,
        ) from None


def check_external(found: OnnxFile, path: Path, name: str) -> None:
    """Refuse weights outside the model's folder, which a model could use to read any file.

    Raises:
        ModelFormatError: a file of weights is missing or lies elsewhere.
    """
    folder = path.resolve().parent
    for location in sorted(found.external):
        try:
            file = (folder / location).resolve()
        except (ValueError, RuntimeError, OSError) as error:  # a NUL; links in a circle
            raise ModelFormatError(
                f"{name}: its weights are in {location!r}, which is no file: {error}", path=name
            ) from error
        if PurePosixPath(location).is_absolute() or not file.is_relative_to(folder):
            raise ModelFormatError(
                f"{name}: its weights are in {location!r}, which is outside the model's folder; "
                f"that is refused. Save the model with its weights beside it",
                path=name,
            )
        if not os.path.isfile(file):
            raise ModelFormatError(
                f"{name}: its weights are in {location!r}, which is missing; put it into {folder}",
                path=name,
            )


class _Broken(Exception):
    """The bytes are not what the format says."""


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (number, value) of a protobuf message: a number, or the bytes of anything else."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _Broken(f"there is no wire type {wire}")
        if size > end - at:
            raise _Broken(f"a part of {size} bytes is cut off after {end - at}")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _Broken("it ends in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Broken("a number is too long")


def _messages(data: memoryview, *numbers: int) -> Iterator[memoryview]:
    for number, value in _fields(data):
        if number in numbers:
            yield _bytes(value)


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _Broken("a number stands where a message should")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8", "replace")


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _Broken("a message stands where a number should")
    return value


def _model(data: memoryview) -> OnnxFile:
    found = OnnxFile()
    graphs = []
    for number, value in _fields(data):
        if number == 1:
            found.ir_version = _number(value)
        elif number == 7:
            graphs.append(_bytes(value))
        elif number == 8:
            opset = dict(_fields(_bytes(value)))
            found.opsets[_text(opset.get(1, _EMPTY)) or "ai.onnx"] = _number(opset.get(2, 0))
        elif number == 25:
            for node in _messages(_bytes(value), 7):
                _node(node, found, 1)
    if not found.ir_version or not graphs:
        raise _Broken("it has no graph")
    for graph in graphs:
        _graph(graph, found, 0)
    return found


def _graph(data: memoryview, found: OnnxFile, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _Broken(f"its subgraphs are nested more than {_MAX_DEPTH} deep")
    for number, value in _fields(data):
        if number == 1:
            name, op = _node(_bytes(value), found, depth)
            if depth == 0:
                found.nodes.append((name, op))
        elif number == 5:
            found.parameters += _tensor(_bytes(value), found)
        elif number == 15:  # sparse: values and indices
            for tensor in _messages(_bytes(value), 1, 2):
                _tensor(tensor, found)
        elif number in (11, 12) and depth == 0:
            _value_info(_bytes(value), found)


def _node(data: memoryview, found: OnnxFile, depth: int) -> tuple[str, str]:
    name = op = ""
    for number, value in _fields(data):
        if number == 3:
            name = _text(value)
        elif number == 4:
            op = _text(value)
        elif number == 5:
            _attribute(_bytes(value), found, depth)
    found.ops[op] += 1
    return name, op


def _attribute(data: memoryview, found: OnnxFile, depth: int) -> None:
    for number, value in _fields(data):
        if number in (5, 10):
            _tensor(_bytes(value), found)
        elif number in (6, 11):
            _graph(_bytes(value), found, depth + 1)
        elif number in (22, 23):
            for tensor in _messages(_bytes(value), 1, 2):
                _tensor(tensor, found)


def _tensor(data: memoryview, found: OnnxFile) -> int:
    """Note where the tensor's numbers are, if not here; return how many there are."""
    dims: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == 13:
            entry = dict(_fields(_bytes(value)))
            if _text(entry.get(1, _EMPTY)) == "location":
                found.external.add(_text(entry.get(2, _EMPTY)))
    return math.prod(dims)


def _packed(data: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _value_info(data: memoryview, found: OnnxFile) -> None:
    """Note a tensor without a shape: its rank is free, which the runtime reports as rank 0."""
    name, shaped = "", True
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            tensors = _messages(_bytes(value), 1)
            shaped = all(any(n == 2 for n, _ in _fields(tensor)) for tensor in tensors)
    if not shaped:
        found.without_shape.add(name)
