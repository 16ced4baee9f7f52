"""What is in a model file, for people."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeml._require import require
from edgeml.runtime._load import load, resolve
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._spec import TensorSpec


@dataclass(frozen=True)
class ModelInfo:
    """What `inspect` found.

    Attributes:
        path: As it was given.
        format: ``"onnx"`` or ``"tflite"``.
        size: Bytes.
        inputs: What the model takes.
        outputs: What it returns.
        ops: How many nodes of each operator there are in the file.
        opsets: ONNX: version by domain.
        parameters: ONNX: numbers in the weights; None when unknown.
        metadata: The `edgeml.*` keys.
    """

    path: str
    format: str
    size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: Mapping[str, int]
    opsets: Mapping[str, int]
    parameters: int | None
    metadata: Metadata

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        fields = asdict(self)
        for key in ("inputs", "outputs"):
            fields[key] = [
                {**asdict(spec), "dtype": str(spec.dtype), "shape": list(spec.shape)}
                for spec in getattr(self, key)
            ]
        fields["metadata"] = dict(self.metadata.props)
        return fields


def inspect(path: str | os.PathLike[str]) -> ModelInfo:
    """Read a model's shapes, metadata, size and operators.

    Raises:
        ModelError: as `load`, with which the model is opened.
        MissingExtra: an ONNX model's operators need the `onnx` package.
    """
    file = resolve(path)
    with load(file, threads=1) as session:
        common = (os.fspath(path), file.stat().st_size, session)
        if type(session).__name__ == "LiteRTSession":
            ops = Counter(node.op for node in session.placement() if node.op != "DELEGATE")
            return _info(*common, "tflite", ops, {}, None)
        return _info(*common, "onnx", *_read_onnx(file))


def _info(
    path: str, size: int, session: Any, kind: str, ops: Counter[str], opsets: dict[str, int],
    parameters: int | None,
) -> ModelInfo:  # fmt: skip
    return ModelInfo(
        path, kind, size, session.inputs, session.outputs,
        dict(ops.most_common()), opsets, parameters, session.metadata,
    )  # fmt: skip


def _read_onnx(file: Path) -> tuple[Counter[str], dict[str, int], int]:
    onnx = require("onnx", extra="train", purpose="The list of a model's operators")
    model = onnx.load(str(file), load_external_data=False)
    ops = Counter(node.op_type for node in model.graph.node)
    opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    parameters = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    return ops, opsets, parameters
