"""What a loaded model can do, whatever runs it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgeml.errors import ModelError
from edgeml.platform import cores
from edgeml.runtime._metadata import Metadata
from edgeml.runtime._spec import TensorSpec

Arrays = dict[str, np.ndarray[Any, Any]]
Inputs = Mapping[str, Any] | Any


@dataclass(frozen=True)
class PlacedNode:
    """Where a node of the model runs."""

    name: str
    op: str
    delegate: str


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
        self._closed = False

    @abstractmethod
    def run(self, inputs: Inputs, out: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Arrays:
        """Run the model once.

        Args:
            inputs: Arrays by input name, or one array when there is one input. float64
                becomes float32; other dtypes must be what the model takes.
            out: Arrays by output name to write into, without a copy.

        Returns:
            All outputs by name; the arrays are the caller's.

        Raises:
            InputError: a name, shape or dtype is not what the model takes.
            ModelError: the model failed, or the session is closed.
        """

    async def run_async(self, inputs: Inputs) -> Arrays:
        """Run the model in a worker thread of the session's own.

        A cancelled call goes on in its thread, and its result is thrown away.
        """
        self._check_open()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(cores(), thread_name_prefix="edgeml-session")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.run, inputs)

    @abstractmethod
    def stream(self, *, batch: int = 1, constants: Mapping[str, Any] | None = None) -> ModelStream:
        """Return a stream that owns the state of a recurrent model.

        Args:
            batch: Size of the free dimensions of the state.
            constants: Inputs that stay the same, such as a sample rate.

        Raises:
            ModelError: the model has no state.
        """

    @abstractmethod
    def placement(self) -> Sequence[PlacedNode]:
        """Return where each node runs."""

    def close(self) -> None:
        """Free the model; idempotent. Calls that run finish first."""
        self._closed = True
        if self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None

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

    Not thread-safe: its calls follow one another.

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
        """Run one step; returns the outputs that are not state."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what came before."""

    def close(self) -> None:  # noqa: B027 - arrays need no closing
        """Free the state; idempotent."""

    async def run_async(self, inputs: Inputs) -> Arrays:
        """Run one step in a worker thread."""
        return await asyncio.to_thread(self.run, inputs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()
