"""TFLite models on LiteRT."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeml.errors import InputError, MissingExtra, ModelError, ModelFormatError
from edgeml.platform import cores
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._session import Arrays, Inputs, ModelStream, PlacedNode, Session
from edgeml.runtime._spec import TensorSpec, check_inputs

_ENTRY = "edgeml"  # name of the metadata entry that holds our keys, as JSON


class LiteRTSession(Session):
    """A TFLite model on LiteRT's CPU kernels (XNNPACK).

    An interpreter is not thread-safe, so each call in flight has one of its own; they are
    kept for the next.

    Args:
        path: Where the model comes from.
        threads: Threads of one call; None is all cores that the process may use.
        content: The model's bytes.
    """

    def __init__(self, path: str, threads: int | None, content: bytes) -> None:
        super().__init__()
        self.path = path
        self.delegate = "cpu"
        self._content = content
        self._threads = threads or cores()
        self._free: list[Any] = []
        self._lock = threading.Lock()
        self.metadata = Metadata.of(read_props(content), path)
        interpreter = self.new_interpreter()
        self.inputs = tuple(_spec(d) for d in interpreter.get_input_details())
        self.outputs = tuple(_spec(d) for d in interpreter.get_output_details())
        self._ops = [(op["index"], op["op_name"]) for op in interpreter._get_ops_details()]
        self.has_state = any(name == "VAR_HANDLE" for _, name in self._ops)
        self._free.append(interpreter)

    def new_interpreter(self) -> Any:
        """Return an interpreter with state of its own."""
        make = _interpreter_class()
        try:
            interpreter = make(model_content=self._content, num_threads=self._threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelFormatError(f"{self.path}: {error}", path=self.path) from error
        return interpreter

    def run(self, inputs: Inputs, out: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Arrays:
        """Run the model once; see `Session.run`."""
        self._check_open()
        if self.has_state:
            raise ModelError(
                f"{self.path}: the model keeps state between calls, so it runs in a stream: "
                f"session.stream().run(…)",
                path=self.path,
            )
        with self._lock:
            interpreter = self._free.pop() if self._free else None
        interpreter = interpreter or self.new_interpreter()
        try:
            outputs = self.invoke(interpreter, inputs)
        finally:
            with self._lock:
                self._free.append(interpreter)
        for name, array in (out or {}).items():
            if name not in outputs or array.shape != outputs[name].shape:
                raise InputError(
                    f"out[{name!r}]: expected one of {', '.join(outputs)} in its shape"
                )
            np.copyto(array, outputs[name], casting="no")
            outputs[name] = array
        return outputs

    def invoke(self, interpreter: Any, inputs: Inputs) -> Arrays:
        """Run one interpreter once."""
        arrays = check_inputs(inputs, self.inputs)
        details = interpreter.get_input_details()
        try:
            resized = False
            for detail in details:
                shape = arrays[detail["name"]].shape
                if tuple(detail["shape"]) != shape:
                    interpreter.resize_tensor_input(detail["index"], shape)
                    resized = True
            if resized:
                interpreter.allocate_tensors()
            for detail in details:
                interpreter.set_tensor(detail["index"], arrays[detail["name"]])
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.path}: {error}", path=self.path) from error
        return {
            d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()
        }

    def stream(self, *, batch: int = 1, constants: Mapping[str, Any] | None = None) -> ModelStream:
        """Return a stream that owns an interpreter; see `Session.stream`."""
        self._check_open()
        if not self.has_state:
            raise ModelError(f"{self.path}: the model has no state; use run()", path=self.path)
        return LiteRTStream(self, constants or {})

    def placement(self) -> Sequence[PlacedNode]:
        """Return where each node runs."""
        return [
            PlacedNode(str(index), name, "xnnpack" if name == "DELEGATE" else "cpu")
            for index, name in self._ops
        ]

    def close(self) -> None:
        """Free the model; idempotent."""
        super().close()
        with self._lock:
            self._free.clear()


class LiteRTStream(ModelStream):
    """The state of a TFLite model: an interpreter of its own."""

    def __init__(self, session: LiteRTSession, constants: Mapping[str, Any]) -> None:
        self._session = session
        self._constants = constants
        self.reset()

    def run(self, inputs: Inputs) -> Arrays:
        """Run one step."""
        if self._interpreter is None:
            raise ModelError(f"{self._session.path}: the stream is closed", path=self._session.path)
        if isinstance(inputs, Mapping):
            inputs = {**self._constants, **inputs}
        return self._session.invoke(self._interpreter, inputs)

    def reset(self) -> None:
        """Forget what came before."""
        # reset_all_variables() leaves resource variables, which these models use, as they are.
        self._interpreter: Any = self._session.new_interpreter()

    def close(self) -> None:
        """Free the state; idempotent."""
        self._interpreter = None


def _interpreter_class() -> Any:
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        try:
            return importlib.import_module(module).Interpreter
        except ImportError:
            continue
    raise MissingExtra(
        "A TFLite model needs ai_edge_litert, which is not installed: "
        'pip install "edgeml-runtime[litert]"',
        extra="litert",
    )


def _spec(detail: Mapping[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    signature = detail.get("shape_signature", detail["shape"])
    return TensorSpec(
        detail["name"],
        tuple(None if d < 0 else int(d) for d in signature),
        np.dtype(detail["dtype"]),
        float(scale) if scale else None,
        int(zero_point) if scale else None,
    )


def read_props(content: bytes) -> dict[str, str]:
    """Return our keys from the model's metadata entry `edgeml`; {} when there is none.

    The entry is one JSON object whose keys lack the prefix ``edgeml.``.
    """
    try:
        schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    except ImportError:  # tflite-runtime has no schema; the task's arguments say what is needed
        return {}
    model = schema.Model.GetRootAsModel(content, 0)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == _ENTRY.encode():
            data = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            try:
                return {
                    f"edgeml.{key}": value if isinstance(value, str) else json.dumps(value)
                    for key, value in json.loads(data).items()
                }
            except (ValueError, AttributeError) as error:
                raise ModelFormatError(f"metadata entry {_ENTRY!r} is not JSON: {error}") from error
    return {}
