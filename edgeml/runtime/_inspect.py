"""What is in a model file, for people."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgeml.runtime._load import load, resolve, said
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._onnx import OnnxSession
from edgeml.runtime._onnx_file import read_onnx
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
        ops: How many nodes of each operator there are, subgraphs included.
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

    Args:
        path: As for `load`.

    Raises:
        ModelError: as `load`, with which the model is opened.

    Example:
        >>> from edgeml.runtime import inspect
        >>> info = inspect("edgeml:silero_vad.onnx")
        >>> info.format, info.opsets["ai.onnx"], info.metadata.license
        ('onnx', 15, 'MIT')
    """
    file = resolve(path)
    with load(file, "cpu", threads=1) as session:
        # "DELEGATE" stands for what the runtime fused, not for an operator of the file.
        ops = Counter(node.op for node in session.placement() if node.op != "DELEGATE")
        opsets: Mapping[str, int] = {}
        parameters = None
        if isinstance(session, OnnxSession):
            found = read_onnx(file, said(path))
            ops, opsets, parameters = found.ops, found.opsets, found.parameters
        return ModelInfo(
            path=said(path),
            format="onnx" if isinstance(session, OnnxSession) else "tflite",
            size=file.stat().st_size,
            inputs=session.inputs,
            outputs=session.outputs,
            ops=dict(ops.most_common()),
            opsets=opsets,
            parameters=parameters,
            metadata=session.metadata,
        )
