"""TFLite models on LiteRT."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeml.errors import DelegateError, MissingExtra, ModelError, ModelFormatError
from edgeml.platform import cores
from edgeml.runtime._backend import Backend, Delegate
from edgeml.runtime._delegate import DelegateLike, first
from edgeml.runtime._errors import translated
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._placement import PlacedNode, Placement
from edgeml.runtime._session import Arrays, Inputs, ModelStream, Session
from edgeml.runtime._spec import TensorSpec, check_inputs, check_out, copy_out
from edgeml.runtime._stream import LockedStream

_FUSED = "DELEGATE"  # the operator that stands for what XNNPACK took
_ENTRY = "edgeml"  # name of the metadata entry that holds our keys, as JSON

# Operators that keep state in variable tensors, which reset_all_variables() clears.
_RECURRENT = frozenset(
    {
        "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN", "SVDF",
        "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
    }
)  # fmt: skip


class LiteRTSession(Session):
    """A TFLite model on LiteRT's CPU kernels (XNNPACK).

    An interpreter is not thread-safe, so each call in flight has one of its own; they are
    kept for the next.

    Args:
        name: What the user calls the model.
        threads: Threads of one call; None is all cores that the process may use.
        content: The model's bytes.
        delegate: Where to run it.
    """

    def __init__(
        self, name: str, threads: int | None, content: bytes, delegate: DelegateLike = "cpu"
    ) -> None:
        super().__init__()
        self.path = name
        self._content = content
        self._threads = threads or cores()
        self._free: list[Any] = []
        interpreter, used = first(delegate, "tflite", self._open)
        self.delegate = str(used)
        self.metadata = Metadata.of(_read_props(content, name), name)
        self.inputs = tuple(_spec(d) for d in interpreter.get_input_details())
        self.outputs = tuple(_spec(d) for d in interpreter.get_output_details())
        self._ops = [(op["index"], op["op_name"]) for op in interpreter._get_ops_details()]
        names = {name for _, name in self._ops}
        self._has_resources = "VAR_HANDLE" in names
        self.has_state = self._has_resources or not names.isdisjoint(_RECURRENT)
        self._free.append(interpreter)

    def _open(self, entry: Delegate, backend: Backend) -> Any:
        """Return the first interpreter; refuse if it leaves nodes that it was to take."""
        if "dims" in entry.options:
            raise DelegateError(f"dims= is for ONNX models; {self.path} takes the inputs' shapes")
        self._plain = not entry.options.get("xnnpack", True)
        interpreter = self.new_interpreter()
        if backend.name == "xnnpack":
            if entry.required:
                raise DelegateError(
                    "LiteRT does not tell which nodes XNNPACK takes: leave out the !"
                )
            if all(op["op_name"] != _FUSED for op in interpreter._get_ops_details()):
                raise DelegateError(
                    f"it takes no node of {self.path}; LiteRT's own kernels run them all on cpu"
                )
        return interpreter

    def new_interpreter(self) -> Any:
        """Return an interpreter with state of its own."""
        module = _interpreter_module()
        options = {}
        if self._plain:
            kind = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            options["experimental_op_resolver_type"] = kind
        with translated(self.path, loading=True):
            interpreter = module.Interpreter(
                model_content=self._content, num_threads=self._threads, **options
            )
            interpreter.allocate_tensors()
        return interpreter

    def run(self, inputs: Inputs, out: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Arrays:
        """Run the model once; see `Session.run`."""
        self._check_open()
        if self._has_resources:
            raise ModelError(
                f"{self.path}: the model keeps state between calls, so it runs in a stream: "
                f"session.stream().run(…)",
                path=self.path,
            )
        arrays = check_inputs(inputs, self.inputs)
        into = check_out(out or {}, self.outputs)
        with self._lock:
            interpreter = self._free.pop() if self._free else None
        if interpreter is None:
            interpreter = self.new_interpreter()
        elif self.has_state:
            interpreter.reset_all_variables()
        outputs = self.invoke(interpreter, arrays)
        with self._lock:  # one that failed is not kept: it may be half resized
            if not self._closed:
                self._free.append(interpreter)
        return copy_out(into, outputs)

    def invoke(self, interpreter: Any, arrays: Arrays) -> Arrays:
        """Run one interpreter once."""
        details = interpreter.get_input_details()
        with translated(self.path):
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
            return {
                detail["name"]: interpreter.get_tensor(detail["index"])
                for detail in interpreter.get_output_details()
            }

    def stream(self, *, batch: int = 1, constants: Mapping[str, Any] | None = None) -> ModelStream:
        """Return a stream that owns an interpreter; see `Session.stream`."""
        self._check_open()
        if not self.has_state:
            raise ModelError(f"{self.path}: the model has no state; use run()", path=self.path)
        return LiteRTStream(self, constants or {})

    def placement(self, profile: bool = False, inputs: Inputs | None = None) -> Placement:
        """Return where each node runs; what XNNPACK took is one node, ``DELEGATE``."""
        self._check_open()
        if profile:
            raise ModelError(
                f"{self.path}: LiteRT does not tell the time of a TFLite model's nodes; edgeml "
                "bench measures the model",
                path=self.path,
            )
        nodes = tuple(
            PlacedNode(str(index), name, "xnnpack" if name == _FUSED else "cpu")
            for index, name in self._ops
        )
        parts = sum(node.op == _FUSED for node in nodes)
        return Placement(nodes, f"XNNPACK runs {parts} parts of the model, LiteRT the rest.")

    def close(self) -> None:
        """Free the model; see `Session.close`."""
        super().close()
        with self._lock:
            self._free.clear()


class LiteRTStream(LockedStream):
    """The state of a TFLite model: an interpreter of its own."""

    def __init__(self, session: LiteRTSession, constants: Mapping[str, Any]) -> None:
        super().__init__(session)
        self._model = session
        self._constants = constants
        self._reset()

    def _run(self, inputs: Inputs) -> Arrays:
        arrays = check_inputs(self._named(inputs, self._constants), self._model.inputs)
        return self._model.invoke(self._interpreter, arrays)

    def _reset(self) -> None:
        # reset_all_variables() leaves resource variables as they are.
        self._interpreter: Any = self._model.new_interpreter()

    def _free(self) -> None:
        self._interpreter = None


def _interpreter_module() -> Any:
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        try:
            return importlib.import_module(module)
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


def _read_props(content: bytes, name: str) -> dict[str, str]:
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
        if entry.Name() != _ENTRY.encode():
            continue
        try:
            data = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            return {
                f"edgeml.{key.removeprefix('edgeml.')}": (
                    value if isinstance(value, str) else json.dumps(value)
                )
                for key, value in json.loads(data).items()
            }
        except (ValueError, AttributeError, RecursionError) as error:
            raise ModelFormatError(
                f"{name}: its metadata entry {_ENTRY!r} is not a JSON object: {error}", path=name
            ) from error
    return {}
