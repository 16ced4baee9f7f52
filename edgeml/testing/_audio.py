"""Simulated sound devices."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeml.errors import DeviceLost, DeviceNotFound, SinkClosed
from edgeml.streams import Backoff, Sample, Sink, Source


class FakeMicrophone(Source[Sample[Any]]):
    """Delivers an array as a live microphone would, then ends.

    Args:
        audio: Float array in -1..1, shape [n] or [n, channels].
        rate: Samples a second.
        block: Samples of a block; what is left of the array at the end is not delivered.
        realtime: Be a live source: deliver each block when it would have been spoken. False
            gives all as fast as it is taken, as a file does.
        **options: As for `edgeml.streams.Source`.

    Example:
        >>> import asyncio, numpy as np
        >>> async def main():
        ...     return [s.data.shape async for s in FakeMicrophone(np.zeros(1024))]
        >>> asyncio.run(main())
        [(512,), (512,)]
    """

    def __init__(
        self,
        audio: ArrayLike,
        *,
        rate: int = 16000,
        block: int = 512,
        realtime: bool = False,
        **options: Any,
    ) -> None:
        defaults: dict[str, Any] = {"reconnect": Backoff(), "read_timeout": 5.0}
        super().__init__(**(defaults | options))
        self.live = realtime
        self.rate = rate
        self.block = block
        self._audio: NDArray[np.float32] = np.asarray(audio, dtype=np.float32)
        self._realtime = realtime
        self._at = 0
        self._start = 0
        self._unplugged = False

    def unplug(self) -> None:
        """Take the device away."""
        self._unplugged = True

    def plug_in(self) -> None:
        """Bring it back."""
        self._unplugged = False

    @property
    def dropped(self) -> dict[str, int]:
        """Nothing is lost in this driver."""
        return {}

    async def _open(self) -> None:
        if self._unplugged:
            raise DeviceNotFound(f"{self.name} is unplugged", device=self.name)
        self._start = self.clock.now() - round(self._at * 1e9 / self.rate)

    async def _read(self) -> Sample[Any]:
        if self._unplugged:
            raise DeviceLost(f"{self.name} was unplugged", device=self.name)
        block = self._audio[self._at : self._at + self.block]
        if len(block) < self.block:
            raise StopAsyncIteration
        t = self._start + round(self._at * 1e9 / self.rate)
        duration = round(self.block * 1e9 / self.rate)
        if self._realtime:
            await asyncio.sleep(max(0, t + duration - self.clock.now()) / 1e9)
        self._at += self.block
        return self._sample(block.copy(), t=t, duration=duration)  # type: ignore[no-any-return]


class FakeSpeaker(Sink):
    """Keeps what is played.

    Example:
        >>> import asyncio, numpy as np
        >>> from edgeml.streams import Source
        >>> speaker = FakeSpeaker()
        >>> asyncio.run((Source.of([np.ones(3), np.zeros(2)]) | speaker).run())
        >>> speaker.audio
        array([1., 1., 1., 0., 0.], dtype=float32)
    """

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self._blocks: list[NDArray[np.float32]] = []
        self.closed = False

    @property
    def audio(self) -> NDArray[np.float32]:
        """All that was played, float32, [n] or [n, channels]."""
        return np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)

    async def send(self, item: Any) -> None:
        """Keep one block."""
        if self.closed:
            raise SinkClosed(f"{self.name} is closed; make a new one")
        data = item.data if isinstance(item, Sample) else item
        self._blocks.append(np.array(data, dtype=np.float32))

    async def aclose(self) -> None:
        """Refuse any more."""
        self.closed = True
