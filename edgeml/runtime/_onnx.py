"""ONNX models on ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgeml.errors import EdgeMLError, ModelError
from edgeml.platform import cores
from edgeml.runtime import _delegates
from edgeml.runtime._delegate import DelegateLike
from edgeml.runtime._errors import translated
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._onnx_file import check_external, read_onnx
from edgeml.runtime._open import assigned, open_onnx
from edgeml.runtime._placement import (
    CPU,
    PlacedNode,
    Placement,
    advise,
    from_profile,
    with_precision,
)
from edgeml.runtime._random import random_inputs
from edgeml.runtime._session import Arrays, Inputs, ModelStream, Session
from edgeml.runtime._spec import TensorSpec, check_inputs, check_out, check_out_shapes, copy_out
from edgeml.runtime._state import find_state
from edgeml.runtime._stream import LockedStream

_DTYPES = {
    "float16": np.float16, "float": np.float32, "double": np.float64, "bool": np.bool_,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "string": object,
}  # fmt: skip

_WARM, _PROFILED = 2, 10  # runs of a profile


class OnnxSession(Session):
    """An ONNX model on ONNX Runtime.

    Args:
        name: What the user calls the model.
        threads: Threads of one call; None is all cores that the process may use.
        file: File to load.
        delegate: Where to run it.
    """

    def __init__(self, name: str, threads: int | None, file: Path, delegate: DelegateLike) -> None:
        super().__init__()
        found = read_onnx(file, name)
        check_external(found, file, name)
        self._file, self._threads = file, threads or cores()
        self._ort: Any
        self._ort, self._used = open_onnx(
            str(file), delegate, threads=self._threads, name=name, configure=_configure
        )
        self.path = name
        self.delegate = str(self._used)
        self.inputs = tuple(_spec(node) for node in self._ort.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._ort.get_outputs())
        self.metadata = Metadata.of(self._ort.get_modelmeta().custom_metadata_map, name)
        self._names = [spec.name for spec in self.outputs]
        self._any_shape = found.without_shape
        self._nodes = found.nodes
        self._provider = self._ort.get_providers()[0]

    def run(self, inputs: Inputs, out: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Arrays:
        """Run the model once; see `Session.run`."""
        session = self._open_session()
        arrays = check_inputs(inputs, self.inputs, self._any_shape)
        with translated(self.path):
            if not out:
                return self._run(session, arrays)
            check_out(out, self.outputs)
            if any(array.dtype == object for array in arrays.values()):
                return copy_out(out, self._run(session, arrays))  # strings cannot be bound
            return self._run_into(session, arrays, out)

    def _run(self, session: Any, inputs: Arrays) -> Arrays:
        return dict(zip(self._names, session.run(self._names, inputs), strict=True))

    def _run_into(
        self, session: Any, inputs: Arrays, out: Mapping[str, np.ndarray[Any, Any]]
    ) -> Arrays:
        binding = session.io_binding()
        # The binding holds addresses only: the arrays must live until the run is over.
        bound = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        for name, array in bound.items():
            binding.bind_cpu_input(name, array)
        for name, array in out.items():
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        free = [name for name in self._names if name not in out]
        for name in free:
            binding.bind_output(name)
        try:
            session.run_with_iobinding(binding)
        except Exception:
            # Which shape the model would have returned, only the model knows.
            check_out_shapes(out, self._run(session, inputs))
            raise
        values = binding.get_outputs()
        if all(value.is_tensor() for value in values):
            arrays = [value.numpy() for value in values]
        else:  # maps and sequences
            arrays = binding.copy_outputs_to_cpu()
        outputs = dict(zip([*out, *free], arrays, strict=True)) | dict(out)
        return {name: outputs[name] for name in self._names}

    def _open_session(self) -> Any:
        session = self._ort  # taken first: another thread may close in between
        self._check_open()
        return session

    def stream(self, *, batch: int = 1, constants: Mapping[str, Any] | None = None) -> ModelStream:
        """Return a stream that owns the state; see `Session.stream`."""
        self._check_open()
        pairs = find_state(self.metadata.state, self.inputs, self.outputs, self.path)
        return OnnxStream(self, pairs, batch, constants or {})

    def placement(self, profile: bool = False, inputs: Inputs | None = None) -> Placement:
        """Return where each node runs; see `Session.placement`."""
        session = self._open_session()
        placed = [PlacedNode(n.name, n.op_type, p) for p, nodes in assigned(session) for n in nodes]
        if not placed:
            # Before 1.24 the runtime does not tell; but there is one provider it may use.
            placed = [PlacedNode(name, op, CPU) for name, op in self._nodes]
        found = Placement(tuple(placed), "")
        if profile:
            if inputs is None:
                inputs = random_inputs(self.inputs, {})
            found = self._profile(check_inputs(inputs, self.inputs, self._any_shape), found)
        free = sorted({str(d) for s in self.inputs for d in s.shape if not isinstance(d, int)})
        return replace(found, advice=advise(found, self.delegate, self._provider, free))

    def _profile(self, arrays: Arrays, placed: Placement) -> Placement:
        """Run a second session on the same delegate, which notes the time of each node."""
        try:
            events = self._events(arrays)
        except EdgeMLError:
            raise
        except (OSError, ValueError) as error:  # there is none, or it is full
            raise ModelError(
                f"{self.path}: a profile needs a folder for a file of the runtime's ({error}); set "
                "TMPDIR to one that can be written",
                path=self.path,
            ) from error
        found = from_profile(events, {node.name: node.op for node in placed}, _WARM)
        backend = _delegates.find(self._used.name)
        return (
            found
            if backend is None or self._provider == CPU
            else with_precision(found, placed, self._provider, backend.precision(self._used))
        )

    def _events(self, arrays: Arrays) -> Any:
        """Return what the runtime notes of some calls, in a file of its own."""
        with TemporaryDirectory(prefix="edgeml-") as folder, translated(self.path):

            def configure(options: Any) -> None:
                _configure(options)
                options.enable_profiling = True
                options.profile_file_prefix = f"{folder}/profile"

            session, _ = open_onnx(
                str(self._file), self._used, threads=self._threads, name=self.path,
                configure=configure,
            )  # fmt: skip
            for _ in range(_WARM + _PROFILED):
                self._run(session, arrays)
            return json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))

    def close(self) -> None:
        """Free the model; see `Session.close`."""
        super().close()
        self._ort = None  # a call in another thread holds it until it returns


class OnnxStream(LockedStream):
    """The state of an ONNX model, as tensors that go from each output to its input."""

    def __init__(
        self,
        session: Session,
        pairs: Mapping[str, str],
        batch: int,
        constants: Mapping[str, Any],
    ) -> None:
        super().__init__(session)
        self._pairs = pairs
        self._constants = constants
        self._zeros = {
            spec.name: np.zeros(
                [d if isinstance(d, int) else batch for d in spec.shape], spec.dtype
            )
            for spec in session.inputs
            if spec.name in pairs
        }
        self._state: Arrays = dict(self._zeros)

    def _run(self, inputs: Inputs) -> Arrays:
        named = self._named(inputs, self._constants, self._pairs)
        outputs = self._session.run({**named, **self._state})
        self._state = {name: outputs.pop(output) for name, output in self._pairs.items()}
        return outputs

    def _reset(self) -> None:
        self._state = dict(self._zeros)

    def _free(self) -> None:
        self._state = {}


def _configure(options: Any) -> None:
    # Threads that spin take the cores from the rest of the pipeline.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else the runtime goes by the file's ending.
    options.add_session_config_entry("session.load_model_format", "ONNX")


def _spec(node: Any) -> TensorSpec:
    kind = node.type
    if not kind.startswith("tensor("):  # seq(map(…)): what classifiers of scikit-learn return
        return TensorSpec(node.name, (), np.dtype(object))
    dtype = np.dtype(_DTYPES.get(kind[len("tensor(") : -1], object))
    return TensorSpec(node.name, tuple(node.shape), dtype)
