"""The runtime's own quantization tool, and what has to be mended of what it makes."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from edgeml._require import require
from edgeml.errors import EdgeMLError, ModelFormatError
from edgeml.quantize._index import all_nodes, reads
from edgeml.quantize._model import Model, check, describe, save
from edgeml.quantize._session import open_model


def made_by_tool(model: Model, make: Callable[[Any, str, str], None]) -> Model:
    """Return what the runtime's tool makes of a model: valid, and with the model's metadata.

    Args:
        model: The ``onnx.ModelProto``; it stays as it was.
        make: Called with the tool, the path of the model and the path to write to.

    Raises:
        ModelFormatError: the tool fails, or what it makes cannot be opened.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    tool = require("onnxruntime.quantization", extra="optimize", purpose="edgeml.quantize")
    with tempfile.TemporaryDirectory(prefix="edgeml-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
        save(model, source)
        try:
            with _quiet():
                make(tool, str(source), str(target))
            found = onnx.load(str(target))
            _mend(found)
        except EdgeMLError:
            raise
        except Exception as error:  # it raises anything
            raise ModelFormatError(
                f"the runtime's tool cannot quantize this model: {type(error).__name__}: {error}"
            ) from error
    describe(found, model)
    check(found)
    open_model(found, name="what the runtime's tool made")
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the tool warns of on the root logger; without a handler it would set one up."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addFilter(_is_error)  # of what is said on this logger itself: all others go on
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeFilter(_is_error)
        root.removeHandler(handler)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _mend(model: Model) -> None:
    """Sort graphs and the bodies of If, Loop and Scan, and import what they use."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    imported = {entry.domain or "ai.onnx" for entry in model.opset_import}
    used = {node.domain or "ai.onnx" for node in all_nodes(model.graph)}
    model.opset_import.extend(onnx.helper.make_opsetid(name, 1) for name in used - imported)
    _sort(model.graph)


def _sort(graph: Any) -> None:
    made_by = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    order = TopologicalSorter(
        {i: {made_by[n] for n in reads(node) if n in made_by} for i, node in enumerate(graph.node)}
    )
    try:
        nodes = [graph.node[i] for i in order.static_order()]
    except CycleError:
        raise ModelFormatError(
            "the runtime's tool took a name that the model has already: rename tensors such as "
            "NAME_quantized and NAME_scale"
        ) from None
    for node in nodes:
        for inner in node.attribute:
            if inner.HasField("g"):
                _sort(inner.g)
    del graph.node[:]
    graph.node.extend(nodes)
