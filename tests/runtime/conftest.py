"""Small models, made here; and a cache of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

Node = tuple[str, Sequence[str], Sequence[str]] | tuple[str, Sequence[str], Sequence[str], dict]
Values = Mapping[str, tuple[Sequence[Any] | None, str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the cache at a folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGEML_CACHE_DIR", str(folder))
    return folder


def _values(values: Values) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, onnx.TensorProto.DataType.Value(dtype), shape)
        for name, (shape, dtype) in values.items()
    ]


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[..., Path]:
    """Return what builds a model and writes it to a file.

    A node is (operator, inputs, outputs) with a dict of attributes if it has some; inputs
    and outputs are {name: (shape, dtype)}.
    """

    def build(
        nodes: Sequence[Node],
        inputs: Values,
        outputs: Values,
        weights: Mapping[str, Any] | None = None,
        props: Mapping[str, str] | None = None,
        opset: int = 17,
        ir_version: int = 9,
        name: str = "model.onnx",
    ) -> Path:
        arrays = [
            array if isinstance(array, onnx.TensorProto) else onnx.numpy_helper.from_array(array, n)
            for n, array in (weights or {}).items()
        ]
        made = [
            helper.make_node(op, takes, gives, name=f"node{i}", **(rest[0] if rest else {}))
            for i, (op, takes, gives, *rest) in enumerate(nodes)
        ]
        graph = helper.make_graph(made, "g", _values(inputs), _values(outputs), arrays)
        built = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
        )
        helper.set_model_props(built, dict(props or {}))
        path = tmp_path / name
        path.write_bytes(built.SerializeToString())
        return path

    return build


@pytest.fixture
def doubles_with(onnx_file: Callable[..., Path]) -> Callable[..., Path]:
    """Return what writes y = 2 x, with x of shape [N, 3], and other changes."""

    def build(**changes: Any) -> Path:
        return onnx_file(
            [("Mul", ["x", "two"], ["y"])],
            {"x": (["N", 3], "FLOAT")},
            {"y": (["N", 3], "FLOAT")},
            {"two": np.array(2, np.float32)},
            **changes,
        )

    return build


@pytest.fixture
def doubles(doubles_with: Callable[..., Path]) -> Path:
    """Return the file of y = 2 x, with x of shape [N, 3]."""
    return doubles_with()
