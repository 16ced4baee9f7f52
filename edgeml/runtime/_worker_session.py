"""Sessions whose model runs in a process of its own."""

from __future__ import annotations

import itertools
import json
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeml.errors import DelegateError, InputError, ModelError, OutputError, WorkerLost
from edgeml.runtime._backend import Delegate
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._onnx import OnnxStream
from edgeml.runtime._placement import PlacedNode, Placement
from edgeml.runtime._session import Arrays, Inputs, ModelStream, Session
from edgeml.runtime._spec import TensorSpec, check_inputs, check_out, check_out_shapes
from edgeml.runtime._state import find_state
from edgeml.runtime._stream import LockedStream
from edgeml.runtime._worker_host import Isolation
from edgeml.runtime._worker_protocol import Value, objects
from edgeml.runtime._worker_seat import Seat, SessionState, Source

log = logging.getLogger("edgeml.runtime")

Listener = Callable[[SessionState], None]


def load_isolated(
    source: Source, entries: Sequence[Delegate], isolation: Isolation
) -> IsolatedSession:
    """Open a model on the first delegate whose worker can.

    Raises:
        DelegateError: no delegate can be had.
        WorkerLost: the worker did not survive it.
        ModelError: as for `edgeml.load`.
    """
    if not sys.platform.startswith("linux"):
        raise DelegateError(f"isolated= is for Linux, and this is {sys.platform}: leave it out")
    refused: list[DelegateError | WorkerLost] = []
    for entry in entries:
        try:
            json.dumps(entry.to_dict())
        except TypeError as error:
            raise DelegateError(
                f"delegate {entry}: its options cannot be sent to a worker: {error}"
            ) from error
        try:
            return IsolatedSession(source, entry, isolation)
        except (DelegateError, WorkerLost) as error:
            log.warning("delegate %s: %s", entry, error)
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    reasons = "; ".join(f"{entry}: {error}" for entry, error in zip(entries, refused, strict=True))
    asked = ",".join(map(str, entries))
    raise DelegateError(f"no delegate of {asked!r} can be had: {reasons}", delegate=asked)


class IsolatedSession(Session):
    """A model that runs in a worker process, which may hang, crash and be killed.

    While the worker of another delegate than the CPU is away, the model runs on the CPU, in
    another worker; calls in flight are answered there, too. When the CPU's own worker goes, or
    with ``Isolation(fallback=False)``, calls in flight raise `WorkerLost` and later ones
    wait until the worker is back. `delegate` tells what runs the model now.

    Args:
        source: What to open.
        entry: On which delegate.
        isolation: How it is guarded.
    """

    def __init__(self, source: Source, entry: Delegate, isolation: Isolation) -> None:
        super().__init__()
        self.path = source.name
        self._isolation = isolation
        self._listeners: list[Listener] = []
        changed = weakref.WeakMethod(self._changed)

        def notify(state: SessionState) -> None:
            if (method := changed()) is not None:
                method(state)

        self._seat = Seat(source, entry, isolation, notify)
        info = self._seat.info
        self.inputs = tuple(map(_spec, info["inputs"]))
        self.outputs = tuple(map(_spec, info["outputs"]))
        self.metadata = Metadata.of(info["props"], self.path)
        self.delegate = info["delegate"]
        self._names = [spec.name for spec in self.outputs]
        # A session that nobody closed frees its worker; not here, where any lock may be held.
        self._finalizer = weakref.finalize(self, _close_later, self._seat)
        self._finalizer.atexit = False

    @property
    def pid(self) -> int | None:
        """The worker's process, where the model runs on its delegate; None while it is away."""
        return self._seat.pid

    def run(self, inputs: Inputs, out: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Arrays:
        """Run the model once; see `Session.run`."""
        self._check_open()
        arrays = check_inputs(inputs, self.inputs, self._seat.info["any_shape"])
        into = check_out(out or {}, self.outputs)
        return self.call({"op": "run"}, arrays, into)

    def call(
        self,
        message: dict[str, Any],
        arrays: Arrays,
        out: Mapping[str, np.ndarray[Any, Any]] | None = None,
    ) -> Arrays:
        """Run the model, or a step of a stream, on checked inputs."""
        into = out or {}

        def take(outputs: dict[str, Any]) -> Arrays:
            check_out_shapes(into, outputs)
            for name, array in into.items():
                np.copyto(array, outputs[name])
            return {
                name: into[name] if name in into else _own(outputs[name]) for name in self._names
            }

        values = _values(arrays)
        taken: Arrays = self._seat.call(message, values, take)
        if not self._isolation.finite or (bad := _not_finite(taken)) is None:
            return taken
        if not self._seat.falls_back:
            raise OutputError(
                f"{self.path}: {self.delegate} returned NaN or infinity in {bad!r}; see whether "
                'delegate="cpu" does, too',
                path=self.path,
            )
        there, taken = self.delegate, self._seat.by_cpu(message, values, take)
        if _not_finite(taken) is None:
            self._seat.blame(f"{there} returned NaN or infinity in {bad!r}, where the CPU does not")
        return taken

    def stream(self, *, batch: int = 1, constants: Mapping[str, Any] | None = None) -> ModelStream:
        """Return a stream that owns the state; see `Session.stream`.

        The state of an ONNX model is kept in this process, so it outlives a worker. That of a
        TFLite model goes with its worker: the stream begins anew, which is logged.
        """
        self._check_open()
        if self._seat.info["kind"] == "OnnxSession":
            pairs = find_state(self.metadata.state, self.inputs, self.outputs, self.path)
            return OnnxStream(self, pairs, batch, constants or {})
        if not self._seat.info["has_state"]:
            raise ModelError(f"{self.path}: the model has no state; use run()", path=self.path)
        return RemoteStream(self, constants or {})

    def placement(self, profile: bool = False, inputs: Inputs | None = None) -> Placement:
        """Return where each node runs; see `Session.placement`."""
        self._check_open()
        arrays: Arrays = {}
        if inputs is not None:
            arrays = check_inputs(inputs, self.inputs, self._seat.info["any_shape"])
        message = {"op": "placement", "profile": profile}
        found = self._seat.call(message, _values(arrays), dict, self._isolation.load_deadline)
        told = found["placement"]
        nodes = tuple(PlacedNode(**node) for node in told.pop("nodes"))
        return Placement(nodes=nodes, **told)

    def on(self, event: str, listener: Listener) -> Listener:
        """Call `listener(SessionState)` at each ``"state"``; returns the listener.

        It is called in the thread that found out, which may be in a call of the session's: it
        should return soon, and must not close the session. From there,
        ``loop.call_soon_threadsafe`` reaches a loop.

        Raises:
            ValueError: there is no such event.
        """
        self._check_event(event)
        self._listeners.append(listener)
        return listener

    def off(self, event: str, listener: Listener) -> None:
        """Remove a listener; nothing happens when it is not there."""
        self._check_event(event)
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _check_event(self, event: str) -> None:
        if event != "state":
            raise ValueError(f"there is no event {event!r}; expected state")

    def _changed(self, state: SessionState) -> None:
        self.delegate = state.delegate
        level = logging.INFO if state.state == "running" else logging.WARNING
        cause = f": {state.cause}" if state.cause else ""
        log.log(level, "%s: %s on %s%s", self.path, state.state, state.delegate, cause)
        for listener in tuple(self._listeners):
            try:
                listener(state)
            except Exception:
                log.exception("a listener of 'state' raised")

    def close(self) -> None:
        """Free the model; see `Session.close`. Its worker ends with its last model."""
        super().close()
        self._finalizer.detach()
        self._seat.close()


class RemoteStream(LockedStream):
    """The state of a TFLite model, in the worker."""

    _numbers = itertools.count()

    def __init__(self, session: IsolatedSession, constants: Mapping[str, Any]) -> None:
        super().__init__(session)
        self._model = session
        self._constants = constants
        self._number = next(self._numbers)
        self._begun = False

    def _run(self, inputs: Inputs) -> Arrays:
        arrays = check_inputs(self._named(inputs, self._constants), self._model.inputs)
        try:
            outputs = self._step(arrays)
        except ModelError as error:
            if not getattr(error, "stream_lost", False):
                raise
            log.warning("%s: a stream begins anew: its state went with a worker", self._model.path)
            self._begun = False
            outputs = self._step(arrays)
        self._begun = True
        return outputs

    def _step(self, arrays: Arrays) -> Arrays:
        message = {"op": "step", "stream": self._number, "begun": self._begun}
        return self._model.call(message, arrays)

    def _reset(self) -> None:
        self._free()
        self._number = next(self._numbers)

    def _free(self) -> None:
        if self._begun:
            self._model._seat.tell({"op": "forget", "stream": self._number})
        self._begun = False


def _close_later(seat: Seat) -> None:
    threading.Thread(target=seat.close, name="edgeml-worker-close", daemon=True).start()


def _values(arrays: Arrays) -> dict[str, Value]:
    """Return inputs as what can be sent."""
    found = {}
    for name, array in arrays.items():
        try:
            found[name] = objects(array)
        except TypeError as error:
            raise InputError(
                f"input {name!r}: expected strings, received other objects ({error})", name=name
            ) from error
    return found


def _not_finite(outputs: Arrays) -> str | None:
    """Return the first output with NaN or infinity."""
    for name, array in outputs.items():
        floats = isinstance(array, np.ndarray) and array.dtype.kind == "f"
        if floats and not np.isfinite(array).all():
            return name
    return None


def _own(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _spec(told: dict[str, Any]) -> TensorSpec:
    return TensorSpec(**{**told, "dtype": np.dtype(told["dtype"]), "shape": tuple(told["shape"])})
