"""What the streams of all runtimes share: one call at a time, and an end."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from edgeml.errors import InputError, ModelError
from edgeml.runtime._session import Arrays, Inputs, ModelStream, Session


class LockedStream(ModelStream):
    """A stream whose calls follow one another, whatever threads they come from."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._closed = False

    def run(self, inputs: Inputs) -> Arrays:
        """Run one step; see `ModelStream.run`."""
        with self._lock:
            self._check_open()
            return self._run(inputs)

    async def run_async(self, inputs: Inputs) -> Arrays:
        """Run one step in a worker thread of the session's."""
        return await self._session._in_worker(self.run, inputs)

    def reset(self) -> None:
        """Forget what came before."""
        with self._lock:
            self._check_open()
            self._reset()

    def close(self) -> None:
        """Free the state; idempotent. A call that runs finishes first."""
        with self._lock:
            self._closed = True
            self._free()

    @abstractmethod
    def _run(self, inputs: Inputs) -> Arrays:
        """Run one step."""

    @abstractmethod
    def _reset(self) -> None:
        """Forget the state."""

    @abstractmethod
    def _free(self) -> None:
        """Let go of the state."""

    def _check_open(self) -> None:
        self._session._check_open()
        if self._closed:
            raise ModelError(
                f"{self._session.path}: the stream is closed; make another with session.stream()",
                path=self._session.path,
            )

    def _named(
        self, inputs: Inputs, constants: Mapping[str, Any], state: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return the inputs by name, with the constants."""
        if not isinstance(inputs, Mapping):
            given = {*constants, *state}
            left = [spec.name for spec in self._session.inputs if spec.name not in given]
            if len(left) != 1:
                raise InputError(
                    f"the stream takes {len(left)} inputs ({', '.join(left)}), so give a dict by "
                    f"name; received {type(inputs).__name__}"
                )
            inputs = {left[0]: inputs}
        if held := [name for name in inputs if name in state]:
            raise InputError(
                f"input {held[0]!r} is state, which the stream holds; leave it out, or use "
                f"Session.run",
                name=held[0],
            )
        return {**constants, **inputs}
