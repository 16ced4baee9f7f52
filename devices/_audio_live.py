"""Live audio input: PortAudio's thread fills a bounded queue, the source's thread empties it."""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from typing import Any

import numpy as np

from edgeml.devices import _portaudio
from edgeml.devices._audio_file import fit_channels
from edgeml.devices._drops import Drops
from edgeml.devices._resample import Audio, Resampler
from edgeml.errors import DeviceLost

log = logging.getLogger("edgeml.devices")

_JUMP_NS = 100_000_000


class SampleClock:
    """Capture time of each sample of a stream, from the driver's jittery stamps.

    Samples are counted, and stamps only steer: a block's time follows from the one before,
    moved by a sixteenth of what the driver says it is off. A stamp that is more than 0.1 s
    off is believed at once.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._index = 0
        self._t: float | None = None

    def observe(self, index: int, t: int) -> None:
        """Note that the driver stamped sample `index` with `t`, ns."""
        if self._t is None or abs(off := t - self.at(index)) > _JUMP_NS:
            self._index, self._t = index, float(t)
        else:
            self._index, self._t = index, self.at(index) + off / 16

    def at(self, index: float) -> float:
        """Return the capture time of sample `index`, ns."""
        assert self._t is not None
        return self._t + (index - self._index) * 1e9 / self.rate


class LiveInput:
    """An open microphone; `read` blocks, `stop` may be called from another thread.

    Args:
        device: Name, index or None, as PortAudio knows it.
        rate: Rate of what is read, Hz; resampled where the hardware has another.
        channels: Channels of what is read.
        block: Samples of one read.
        buffer: Seconds that may wait to be read; the oldest are dropped beyond that.
        drops: Where those are counted.
        fresh: Look for devices again first, as after one was lost.
    """

    def __init__(
        self,
        device: str | int | None,
        *,
        rate: int,
        channels: int,
        block: int,
        buffer: float,
        drops: Drops,
        fresh: bool,
    ) -> None:
        if fresh and not _portaudio.refresh():
            log.info("not looking for new sound devices while another stream is open")
        info = _portaudio.find(device, "input", "edgeml.Microphone")
        self._name = info["name"]
        self._drops = drops
        self._queue: queue.SimpleQueue[tuple[int, int, Audio] | None] = queue.SimpleQueue()
        self._captured = 0
        # Counted in PortAudio's thread, where nothing may log; told by the reader's.
        self._lost = {"overflow": 0, "driver-overflow": 0}
        self._told = dict(self._lost)
        self._limit = max(2, round(buffer * rate / block))
        self._stopped = False
        # All that the callback uses is set before the stream starts.
        self._rate, self._channels = rate, channels
        self._hardware_rate = float(rate)
        self._stream = _portaudio.open_stream(
            info,
            "input",
            rate=rate,
            channels=channels,
            seconds=block / rate,
            callback=self._on_audio,
            finished=self._on_finished,
        )
        self._hardware_rate = self._stream.samplerate
        self._start_afresh(0)

    def _on_audio(self, data: Audio, frames: int, times: Any, status: Any) -> None:
        """PortAudio's thread: copy, stamp, hand over; nothing here may wait."""
        now = time.monotonic_ns()
        age = times.currentTime - times.inputBufferAdcTime
        # PortAudio's clock has its own zero, so only the age can be used; some drivers
        # stamp nothing, or nonsense.
        age = age if times.inputBufferAdcTime > 0 and 0 <= age < 5 else frames / self._hardware_rate
        if status.input_overflow:
            self._lost["driver-overflow"] += 1
            self._captured += 1  # a number left out tells `read` of the gap
        if self._queue.qsize() >= self._limit:
            with contextlib.suppress(queue.Empty):
                self._queue.get_nowait()
                self._lost["overflow"] += 1
        self._queue.put((self._captured, now - int(age * 1e9), data.copy()))
        self._captured += frames

    def _count_losses(self) -> None:
        for cause, n in self._lost.items():
            if n > self._told[cause]:
                self._drops.add(cause, n - self._told[cause])
                self._told[cause] = n

    def _on_finished(self) -> None:
        self._queue.put(None)

    def _start_afresh(self, index: int) -> None:
        columns = self._channels if self._channels > 1 else None
        self._resampler = Resampler(self._hardware_rate, self._rate, columns)
        self._clock = SampleClock(self._hardware_rate)
        self._first = index  # of the hardware samples that this run of the filter has seen
        self._next = index
        self._given = 0
        self._pending: list[Audio] = []
        self._ready = 0

    def read(self, n: int) -> tuple[Audio, int, bool]:
        """Return `n` samples, the capture time of the first, and whether a gap is before it.

        Raises:
            DeviceLost: the device went away.
            EOFError: `stop` was called.
        """
        gap = False
        while self._ready < n:
            item = self._queue.get()
            if self._stopped:
                raise EOFError
            if item is None:
                raise DeviceLost(
                    f"microphone {self._name!r} is gone: the audio system ended its stream",
                    device=self._name,
                )
            index, t, data = item
            self._count_losses()
            if index != self._next:
                gap = True
                self._start_afresh(index)
            self._clock.observe(index, t)
            self._next = index + len(data)
            out = self._resampler.push(fit_channels(data, self._channels))
            if len(out):
                self._pending.append(out)
                self._ready += len(out)
        joined = np.concatenate(self._pending) if len(self._pending) > 1 else self._pending[0]
        start = self._clock.at(self._first + self._given * self._hardware_rate / self._rate)
        self._given += n
        self._pending = [joined[n:]] if len(joined) > n else []
        self._ready = len(joined) - n
        return joined[:n], int(start), gap

    def stop(self) -> None:
        """Wake a `read` that waits; from any thread."""
        self._stopped = True
        self._queue.put(None)

    def close(self) -> None:
        """Release the device."""
        _portaudio.close_stream(self._stream)
