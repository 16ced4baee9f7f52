"""A graph as a session of ONNX Runtime."""

from __future__ import annotations

from typing import Any

from edgeml._require import require
from edgeml.platform import cores
from edgeml.runtime._errors import translated


def open_session(model: Any, *, threads: int | None = None, name: str = "the graph") -> Any:
    """Return an ``onnxruntime.InferenceSession`` of a ModelProto, on the CPU.

    Args:
        model: An ``onnx.ModelProto``.
        threads: Threads of one call; None is all cores that the process may use.
        name: What errors call the graph.

    Raises:
        ModelFormatError: the runtime does not take the graph.
    """
    ort = require("onnxruntime", extra="cpu", purpose="Running a graph")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors come as exceptions
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with translated(name, loading=True):
        return ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
