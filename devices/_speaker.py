"""Sound out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import Any

import numpy as np

from edgeml.devices import _portaudio
from edgeml.devices._resample import Audio, Resampler
from edgeml.errors import DeviceLost, SinkClosed
from edgeml.streams import Sample, Sink
from edgeml.streams._workers import Workers

log = logging.getLogger("edgeml.devices")

_PATIENCE = 5.0  # seconds that the sound system may take for anything


class Speaker(Sink):
    """Plays audio, in order and without gaps while it is fed in time.

    Takes arrays, or samples of them: float32 in -1..1 or int16, shape [n], or
    [n, channels]. `send` waits while `buffer` seconds are queued; that holds the stream
    back. Closing plays what is queued.

    Args:
        device: None for the default speaker, an index, or a part of a name as
            ``edgeml devices`` lists them.
        rate: Samples a second of what comes in; resampled where the device has another.
        channels: Channels of what comes in; mono is played on all of the device's.
        buffer: Seconds of sound that may be queued.
        name: As for `Sink`.
        on_error: As for `Sink`. A device that was lost is opened again by the next `send`,
            so ``Retry(...)`` reconnects.

    Attributes:
        underflows: Times that the sound system ran dry.

    Raises:
        MissingExtra: sounddevice, PortAudio or soxr is not installed.
        DeviceNotFound: there is no such device.
        DeviceLost: the device went away.

    Example:
        A beep::

            t = np.arange(8000) / 16000
            await (Source.of([np.sin(2 * np.pi * 440 * t)]) | Speaker()).run()
    """

    def __init__(
        self,
        device: str | int | None = None,
        *,
        rate: int = 16000,
        channels: int = 1,
        buffer: float = 1.0,
        name: str | None = None,
        on_error: Any = "fail",
    ) -> None:
        super().__init__(name=name, on_error=on_error)
        for key, value in (("rate", rate), ("channels", channels), ("buffer", buffer)):
            if not value > 0:
                raise ValueError(f"Speaker: {key} must be positive; received {value!r}")
        self.device = device
        self.rate = rate
        self.channels = channels
        self.buffer = buffer
        self.underflows = 0
        self._workers: Workers | None = None
        self._stream: Any = None
        self._lost = False
        self._closed = False
        # One thread appends and one takes, so neither needs a lock.
        self._queue: deque[Audio] = deque()
        self._put = 0  # frames, written by the loop's side
        self._played = 0  # frames, written by PortAudio's thread
        self._room = asyncio.Event()

    async def open(self) -> None:
        """Open the device."""
        if self._closed:
            raise SinkClosed(f"{self.name} is closed; make a new one")
        if self._workers is None:
            self._workers = Workers(1, f"edgeml-{self.name}")
        self._loop = asyncio.get_running_loop()
        await self._workers.submit(self._open_blocking)

    def _open_blocking(self) -> None:
        if self._lost:
            _portaudio.refresh()
        info = _portaudio.find(self.device, "output", "edgeml.Speaker")
        self._queue.clear()
        self._rest: Audio | None = None
        self._put = self._played = 0
        self._lost = False
        self._stream = _portaudio.open_stream(
            info,
            "output",
            rate=self.rate,
            channels=self.channels,
            seconds=0.02,
            callback=self._on_need,
            finished=self._on_finished,
        )
        columns = self.channels if self.channels > 1 else None
        self._resampler = Resampler(self.rate, self._stream.samplerate, columns)

    def _on_need(self, out: Audio, frames: int, times: Any, status: Any) -> None:
        """PortAudio's thread: fill its buffer, with silence where nothing is queued."""
        if status.output_underflow:
            self.underflows += 1
        filled = 0
        while filled < frames:
            if self._rest is None:
                if not self._queue:
                    break
                self._rest = self._queue.popleft()
            part = self._rest[: frames - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            self._rest = self._rest[len(part) :] if len(part) < len(self._rest) else None
        out[filled:] = 0
        if filled:
            self._played += filled
            self._wake()

    def _on_finished(self) -> None:
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._room.set)

    async def send(self, item: Any) -> None:
        """Queue audio; wait while the buffer is full."""
        if self._closed:
            raise SinkClosed(f"{self.name} is closed; make a new one")
        audio = _as_float(item.data if isinstance(item, Sample) else item, self.channels)
        if self._stream is None:
            await self.open()
        await self._queue_up(audio, last=False)

    async def _queue_up(self, audio: Audio, *, last: bool) -> None:
        assert self._workers is not None
        out = await self._workers.submit(self._prepare, audio, last)
        limit = self.buffer * self._stream.samplerate
        await self._wait_until_queued(max(0.0, limit - len(out)))
        self._put += len(out)
        self._queue.append(out)

    def _prepare(self, audio: Audio, last: bool) -> Audio:
        out = self._resampler.push(audio, last=last)
        out = out[:, None] if out.ndim == 1 else out
        columns = self._stream.channels
        if out.shape[1] == columns:
            return out
        mono = out.mean(axis=1, keepdims=True)
        return np.repeat(mono, columns, axis=1)

    async def _wait_until_queued(self, frames: float) -> None:
        """Wait until at most `frames` are queued; DeviceLost when that cannot come true."""
        while self._put - self._played > frames:
            self._room.clear()
            if self._lost or self._put - self._played <= frames:
                break
            try:
                # The sound system takes blocks of 20 ms: one that takes none is gone.
                async with asyncio.timeout(_PATIENCE):
                    await self._room.wait()
            except TimeoutError:
                self._lost = True
        if self._lost:
            await self._release()
            raise DeviceLost(
                f"speaker {self.name!r} ({self.device or 'default'}) is gone: the audio system "
                f"ended its stream; what was queued is lost",
                device=self.device,
            )

    async def aclose(self) -> None:
        """Play what is queued, then release the device; idempotent.

        When it is cancelled meanwhile, the rest is not played, and the device still released.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._stream is not None:
                await self._drain()
        finally:
            await self._release()
            workers, self._workers = self._workers, None
            if workers is not None:
                await workers.aclose(1.0)

    async def _drain(self) -> None:
        assert self._workers is not None
        empty = np.zeros((0, self.channels) if self.channels > 1 else 0, np.float32)
        try:
            await self._queue_up(empty, last=True)
            await self._wait_until_queued(0)
            async with asyncio.timeout(_PATIENCE):
                await self._workers.submit(self._stream.stop)  # waits for the hardware
        except (DeviceLost, TimeoutError) as error:
            log.warning("%s: not everything was played: %s", self.name, error)

    async def _release(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None or self._workers is None:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._workers.submit(_portaudio.close_stream, stream)
        except TimeoutError:
            log.warning("%s: the sound system hangs; it is closed when it returns", self.name)


def _as_float(data: Any, channels: int) -> Audio:
    array = np.asarray(data)
    audio = array.astype(np.float32)
    if array.dtype == np.int16:
        audio /= 32768.0
    elif array.dtype.kind != "f":
        raise TypeError(
            f"Speaker takes float audio in -1..1 or int16; received an array of {array.dtype}"
        )
    if audio.ndim == 2 and audio.shape[1] == 1:
        audio = audio[:, 0]
    if audio.shape[1:] != (() if channels == 1 else (channels,)) or not audio.ndim:
        expected = "[n]" if channels == 1 else f"[n, {channels}]"
        raise ValueError(f"Speaker takes audio of shape {expected}; received {list(array.shape)}")
    return np.clip(audio, -1.0, 1.0)
