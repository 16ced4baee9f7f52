"""Sound in: a live microphone, or an audio file that behaves like one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Literal

from edgeml.devices._audio_file import SUFFIXES, AudioFile
from edgeml.devices._audio_live import LiveInput
from edgeml.devices._drops import Drops
from edgeml.devices._files import media_path
from edgeml.errors import DeviceNotFound
from edgeml.streams import Backoff, BlockingSource, Sample

Pace = Literal["realtime"] | None


class Microphone(BlockingSource[Sample[Any]]):
    """Sound as `Sample`s of float32 in -1..1, shape [n], or [n, channels] for several.

    A live device delivers blocks of exactly `block` samples, each stamped with the capture
    time of its first one. A device that goes away is opened again when it is back. A file
    delivers the same, `t` counted from the pipeline's start; its last block may be shorter.

    Args:
        device: None for the default microphone, an index or a part of a name as
            ``edgeml devices`` lists them, or the path of a wav, flac, ogg, mp3 or raw
            16-bit PCM file; ``"edgeml:NAME"`` is a recording that ships with edgeml.
        rate: Samples a second of what comes out; resampled where the device has another.
        channels: 1 mixes all channels into one.
        block: Length of a block: samples if int, seconds if float.
        buffer: Live: seconds of sound that may wait before the oldest is dropped.
        pace: File: ``"realtime"`` delivers it as it was spoken, None as fast as it is taken.
        loop: File: start again at the end, without a gap.
        raw_rate: File without a header (.raw, .pcm): its rate, by default `rate`.
        **options: As for `Source`: name, keep, max_age, reconnect, open_timeout,
            read_timeout. A live device reconnects and has a read_timeout of 5 s.

    Attributes:
        dropped: Losses inside the driver by cause: ``"overflow"`` (nobody read in time, in
            blocks) and ``"driver-overflow"`` (the sound system told us of a gap).

    Raises:
        MissingExtra: sounddevice, PortAudio, soundfile or soxr is not installed.
        DeviceNotFound: there is no such device or file.
        MediaError: the file cannot be decoded.

    Example:
        >>> import asyncio
        >>> from edgeml import Microphone
        >>> async def main():
        ...     async with Microphone("edgeml:voice.flac", rate=16000, block=512) as microphone:
        ...         async for sample in microphone:
        ...             return sample.data.shape, sample.duration
        >>> asyncio.run(main())
        ((512,), 32000000)
    """

    def __init__(
        self,
        device: str | int | os.PathLike[str] | None = None,
        *,
        rate: int = 16000,
        channels: int = 1,
        block: float = 0.032,
        buffer: float = 2.0,
        pace: Pace = None,
        loop: bool = False,
        raw_rate: int | None = None,
        **options: Any,
    ) -> None:
        samples = block if isinstance(block, int) else round(block * rate)
        for key, value in (("rate", rate), ("channels", channels), ("block", samples)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Microphone: {key} must be a positive integer; got {value!r}")
        if pace not in ("realtime", None):
            raise ValueError(f'Microphone: pace must be "realtime" or None; received {pace!r}')
        self.live = not _is_file(device)
        if self.live:
            options = {"reconnect": Backoff(), "read_timeout": 5.0} | options
        super().__init__(**options)
        self.device = device
        self.rate = rate
        self.channels = channels
        self.block = samples
        self._buffer = buffer
        self._pace = pace
        self._loop = loop
        self._raw_rate = raw_rate
        self._drops = Drops(self.name)
        self._input: LiveInput | None = None
        self._given = 0

    @property
    def dropped(self) -> dict[str, int]:
        """Losses inside the driver by cause."""
        return self._drops.counts

    def _open_blocking(self) -> LiveInput | AudioFile:
        if not self.live:
            path = media_path(self.device)  # type: ignore[arg-type] # a file: not None, not int
            return AudioFile(
                path,
                rate=self.rate,
                channels=self.channels,
                raw_rate=self._raw_rate,
                loop=self._loop,
            )
        options: dict[str, Any] = {
            "rate": self.rate, "channels": self.channels, "block": self.block,
            "buffer": self._buffer, "drops": self._drops,
        }  # fmt: skip
        device: Any = self.device
        try:
            self._input = LiveInput(device, **options, fresh=self.reconnects > 0)
        except DeviceNotFound:  # PortAudio may have listed the devices before it was plugged in
            self._input = LiveInput(device, **options, fresh=True)
        return self._input

    def _read_blocking(self, handle: LiveInput | AudioFile) -> Sample[Any]:
        if isinstance(handle, AudioFile):
            data = handle.read(self.block)
            t = self.clock.start + round(self._given * 1e9 / self.rate)
            meta = {}
            self._given += len(data)
        else:
            data, t, gap = handle.read(self.block)
            meta = {"discontinuity": True} if gap else {}
        duration = round(len(data) * 1e9 / self.rate)
        return self._sample(data, t=t, duration=duration, **meta)  # type: ignore[no-any-return]

    async def _read(self) -> Sample[Any]:
        sample = await super()._read()
        if not self.live and self._pace == "realtime":
            # A microphone has a block only when its last sample was spoken.
            await asyncio.sleep(max(0, sample.end - self.clock.now()) / 1e9)
            now = self.clock.now()
            return sample.replace(arrived=now)
        return sample

    async def _close(self) -> None:
        if self._input is not None:
            self._input.stop()
            self._input = None
        await super()._close()

    def _close_blocking(self, handle: LiveInput | AudioFile) -> None:
        handle.close()


def _is_file(device: str | int | os.PathLike[str] | None) -> bool:
    if device is None or isinstance(device, int):
        return False
    text = os.fspath(device)
    return (
        not isinstance(device, str)
        or text.startswith(("edgeml:", "/", "./", "../", "~"))
        or Path(text).suffix.lower() in SUFFIXES
        or Path(text).is_file()
    )
