"""ONNX models on ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.errors import InputError, ModelError
from edgeml.platform import cores
from edgeml.runtime._errors import translated
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._session import Arrays, Inputs, ModelStream, PlacedNode, Session
from edgeml.runtime._spec import TensorSpec, check_inputs

_DTYPES = {
    "float16": np.float16, "float": np.float32, "double": np.float64, "bool": np.bool_,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "string": object,
}  # fmt: skip

# How exporters name a state's output after its input.
_STATE_NAMES = ("{}N", "{}n", "{}_out", "{}_n", "new_{}", "{}_new", "next_{}", "{}_next")


class OnnxSession(Session):
    """An ONNX model on ONNX Runtime's CPU provider.

    Args:
        path: File to load.
        threads: Threads of one call; None is all cores that the process may use.
        content: The model's bytes, when they don't come from the file.
    """

    def __init__(self, path: str, threads: int | None, content: bytes | None = None) -> None:
        super().__init__()
        ort = require("onnxruntime", extra="cpu", purpose="An ONNX model")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors come as exceptions
        # Threads that spin take the cores from the rest of the pipeline.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        with translated(path, loading=True):
            self._ort = ort.InferenceSession(
                content if content is not None else path,
                options,
                providers=["CPUExecutionProvider"],
            )
        self.path = path
        self.delegate = "cpu"
        self.inputs = tuple(_spec(node) for node in self._ort.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._ort.get_outputs())
        props = self._ort.get_modelmeta().custom_metadata_map
        self.metadata = Metadata.of(props, path)
        self._names = [spec.name for spec in self.outputs]

    def run(self, inputs: Inputs, out: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Arrays:
        """Run the model once; see `Session.run`."""
        self._check_open()
        arrays = check_inputs(inputs, self.inputs)
        session = self._ort
        with translated(self.path, loading=False):
            if out is None:
                return dict(zip(self._names, session.run(self._names, arrays), strict=True))
            return self._run_into(session, arrays, out)

    def _run_into(
        self, session: Any, arrays: Arrays, out: Mapping[str, np.ndarray[Any, Any]]
    ) -> Arrays:
        specs = {spec.name: spec for spec in self.outputs}
        binding = session.io_binding()
        for name, array in arrays.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name, array in out.items():
            _check_out(name, array, specs)
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        free = [name for name in self._names if name not in out]
        for name in free:
            binding.bind_output(name)
        session.run_with_iobinding(binding)
        values = dict(zip([*out, *free], binding.get_outputs(), strict=True))
        return {n: out[n] if n in out else values[n].numpy() for n in self._names}

    def stream(self, *, batch: int = 1, constants: Mapping[str, Any] | None = None) -> ModelStream:
        """Return a stream that owns the state; see `Session.stream`."""
        pairs = dict(self.metadata.state) or _find_state(self.inputs, self.outputs)
        names = {spec.name for spec in self.inputs}
        if not pairs or not set(pairs) <= names or not set(pairs.values()) <= set(self._names):
            raise ModelError(
                f"{self.path}: no state is known; name the pairs in its metadata, as "
                f"edgeml.state = {json.dumps({'INPUT': 'OUTPUT'})}. Inputs: {', '.join(names)}; "
                f"outputs: {', '.join(self._names)}",
                path=self.path,
            )
        return OnnxStream(self, pairs, batch, constants or {})

    def placement(self) -> Sequence[PlacedNode]:
        """Return where each node runs, after the runtime's own fusions."""
        self._check_open()
        return [
            PlacedNode(node.name, node.op_type, part.ep_name)
            for part in self._ort.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        ]


class OnnxStream(ModelStream):
    """The state of an ONNX model, as tensors that go from each output to its input."""

    def __init__(
        self,
        session: OnnxSession,
        pairs: Mapping[str, str],
        batch: int,
        constants: Mapping[str, Any],
    ) -> None:
        self._session = session
        self._pairs = pairs
        self._constants = constants
        specs = {spec.name: spec for spec in session.inputs}
        self._zeros = {
            name: np.zeros([d if isinstance(d, int) else batch for d in spec.shape], spec.dtype)
            for name, spec in specs.items()
            if name in pairs
        }
        self._state: Arrays = dict(self._zeros)
        self._left = [s for s in session.inputs if s.name not in pairs and s.name not in constants]

    def run(self, inputs: Inputs) -> Arrays:
        """Run one step; returns the outputs that are not state."""
        if not isinstance(inputs, Mapping):
            if len(self._left) != 1:
                names = ", ".join(spec.name for spec in self._left)
                raise InputError(f"give a dict by name; the stream takes {names}")
            inputs = {self._left[0].name: inputs}
        outputs = self._session.run({**self._constants, **inputs, **self._state})
        self._state = {name: outputs.pop(output) for name, output in self._pairs.items()}
        return outputs

    def reset(self) -> None:
        """Forget what came before."""
        self._state = dict(self._zeros)


def _spec(node: Any) -> TensorSpec:
    kind = node.type
    if not kind.startswith("tensor("):  # seq(map(…)): what classifiers of scikit-learn return
        return TensorSpec(node.name, (), np.dtype(object))
    dtype = np.dtype(_DTYPES.get(kind[len("tensor(") : -1], object))
    return TensorSpec(node.name, tuple(node.shape), dtype)


def _find_state(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    """Pair inputs with the outputs that are named after them and have their dtype and rank."""
    found = {}
    by_name = {spec.name: spec for spec in outputs}
    for spec in inputs:
        stem = spec.name.removesuffix("_in")
        names = [pattern.format(stem) for pattern in _STATE_NAMES]
        names += [spec.name.replace("past", "present")] if "past" in spec.name else []
        for name in names:
            other = by_name.get(name)
            if other and (other.dtype, len(other.shape)) == (spec.dtype, len(spec.shape)):
                found[spec.name] = name
                break
    return found


def _check_out(name: str, array: np.ndarray[Any, Any], specs: Mapping[str, TensorSpec]) -> None:
    if name not in specs:
        raise InputError(f"out: the model has no output {name!r}; expected {', '.join(specs)}")
    if array.dtype != specs[name].dtype or not array.flags.c_contiguous:
        raise InputError(
            f"out[{name!r}]: expected a C-contiguous array of {specs[name].dtype}, received "
            f"{array.dtype}"
        )


def is_onnx(head: bytes) -> bool:
    """Whether a file's first bytes may be an ONNX model's: field 1, `ir_version`, a varint."""
    return len(head) > 1 and head[0] == 0x08
