"""What a loaded model can do, whatever runs it."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgeml.errors import ModelError
from edgeml.platform import cores
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._placement import Placement
from edgeml.runtime._spec import TensorSpec

Arrays = dict[str, np.ndarray[Any, Any]]
Inputs = Mapping[str, Any] | Any


class Session(ABC):
    """A model on a delegate, made by `edgeml.load`. Stateless and thread-safe.

    Attributes:
        path: Where it was loaded from.
        inputs: What `run` takes.
        outputs: What `run` returns.
        metadata: The `edgeml.*` keys of the file.
        delegate: Name of the delegate that runs it.
    """

    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Metadata
    delegate: str

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._closed = False

    @abstractmethod
    def run(self, inputs: Inputs, out: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Arrays:
        """Run the model once.

        Args:
            inputs: Arrays by input name, or one array when there is one input. float64
                becomes float32; other dtypes must be what the model takes.
            out: Arrays by output name to write into; others are allocated. They must have
                the output's dtype and shape and be C-contiguous.

        Returns:
            All outputs by name; the arrays are the caller's. An output that is no tensor,
            such as a classifier's probabilities by class, is a list.

        Raises:
            InputError: a name, shape or dtype is not what the model takes.
            ModelError: the model failed, or the session is closed.
        """

    async def run_async(self, inputs: Inputs) -> Arrays:
        """Run the model in a worker thread of the session's own.

        A cancelled call goes on in its thread, and its result is thrown away.
        """
        return await self._in_worker(self.run, inputs)

    @abstractmethod
    def stream(self, *, batch: int = 1, constants: Mapping[str, Any] | None = None) -> ModelStream:
        """Return a stream that owns the state of a recurrent model.

        Args:
            batch: Size of the free dimensions of the state.
            constants: Inputs that stay the same, such as a sample rate.

        Raises:
            ModelError: the model has no state that is declared in its metadata or known by
                its names.
        """

    @abstractmethod
    def placement(self, profile: bool = False, inputs: Inputs | None = None) -> Placement:
        """Return where each node runs, and one sentence that says what to change.

        Args:
            profile: Whether to run a second session that takes each node's time, which makes
                it slower; without, the nodes are those before the runtime fuses them.
            inputs: What to profile with; None is random numbers, with free dimensions of 1.

        Raises:
            ModelError: the runtime does not tell times: LiteRT.

        Example:
            >>> import edgeml
            >>> with edgeml.load("edgeml:activity_watch_int8.onnx") as session:
            ...     placement = session.placement(profile=True)
            >>> {node.delegate for node in placement}
            {'CPUExecutionProvider'}
            >>> bool(0 < placement[0].share <= 1)
            True
        """

    def close(self) -> None:
        """Free the model and end its streams; idempotent.

        Calls that run finish first; calls that wait for a thread fail as later ones do.
        """
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)

    async def _in_worker(self, call: Callable[[Inputs], Arrays], inputs: Inputs) -> Arrays:
        """Call in one of the session's own threads, which are started when first needed."""
        with self._lock:
            self._check_open()
            if self._executor is None:
                self._executor = ThreadPoolExecutor(cores(), thread_name_prefix="edgeml-session")
            future = self._executor.submit(call, inputs)
        return await asyncio.wrap_future(future)

    def _check_open(self) -> None:
        if self._closed:
            raise ModelError(f"{self.path}: the session is closed; load it again", path=self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Session {self.path!r} on {self.delegate}{' closed' if self._closed else ''}>"


class ModelStream(ABC):
    """One stream of inputs through a model with state; made by `Session.stream`.

    Calls from several threads follow one another. A call that fails leaves the state as it
    was; one whose `await` is cancelled may still complete and change it.

    Example:
        >>> import numpy as np, edgeml
        >>> session = edgeml.load("edgeml:silero_vad.onnx")
        >>> with session.stream(constants={"sr": 16000}) as vad:
        ...     outputs = vad.run({"input": np.zeros((1, 576), np.float32)})
        >>> float(outputs["output"][0, 0]) < 0.5
        True
    """

    @abstractmethod
    def run(self, inputs: Inputs) -> Arrays:
        """Run one step; returns the outputs that are not state.

        Args:
            inputs: As for `Session.run`, without state and constants; one array when that
                leaves one input.

        Raises:
            InputError: a name, shape or dtype is not what the model takes.
            ModelError: the model failed, or the stream or its session is closed.
        """

    @abstractmethod
    async def run_async(self, inputs: Inputs) -> Arrays:
        """Run one step in a worker thread of the session's."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what came before."""

    @abstractmethod
    def close(self) -> None:
        """Free the state; idempotent. The session stays open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()
