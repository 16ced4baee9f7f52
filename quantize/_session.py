"""Models as sessions of ONNX Runtime, and what the runtime made of them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeml._require import require
from edgeml.platform import cores
from edgeml.quantize._model import Model
from edgeml.runtime._errors import translated


def open_model(
    model: Model, *, threads: int | None = None, config: Mapping[str, str] | None = None,
    optimized: Path | None = None, name: str = "the model",
) -> Any:  # fmt: skip
    """Return an ``onnxruntime.InferenceSession``, as `edgeml.load` would open it.

    Args:
        model: The ``onnx.ModelProto``.
        threads: Threads of one call; None is all cores that the process may use.
        config: Entries of the session's configuration, such as a target's.
        optimized: Where to write the graph that really runs.
        name: What errors call the model.
    """
    ort = require("onnxruntime", extra="optimize", purpose="edgeml.quantize")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for key, value in (config or {}).items():
        options.add_session_config_entry(key, value)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    with translated(name, loading=True):
        return ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def what_runs(model: Model, *, config: Mapping[str, str] | None = None) -> Model:
    """Return the graph that the runtime really runs, after its own fusions."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    with tempfile.TemporaryDirectory(prefix="edgeml-") as folder:
        path = Path(folder) / "optimized.onnx"
        open_model(model, config=config, optimized=path)
        return onnx.load(str(path))
