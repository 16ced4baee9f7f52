"""Audio files: decode, mix, resample, all by the block."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.devices._resample import Audio, Resampler
from edgeml.errors import MediaError

log = logging.getLogger("edgeml.devices")

RAW_SUFFIXES = frozenset({".raw", ".pcm"})
SUFFIXES = RAW_SUFFIXES | {
    ".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav",
}  # fmt: skip
_CHUNK = 4096


class AudioFile:
    """Reads one file as float32 at `rate`.

    Args:
        path: The file. ``.raw`` and ``.pcm`` are headerless little-endian 16-bit PCM.
        rate: Rate of what is read, Hz.
        channels: Channels of what is read.
        raw_rate: Rate that a headerless file was recorded at, Hz.
        loop: Start again at the end, without a gap.

    Raises:
        MediaError: the file cannot be decoded, or its channels don't fit.
    """

    def __init__(
        self, path: Path, *, rate: int, channels: int, raw_rate: int | None, loop: bool
    ) -> None:
        self._soundfile = require("soundfile", extra="audio", purpose="edgeml.Microphone")
        self._path = path
        self._loop = loop
        self._channels = channels
        self._file = self._open(raw_rate or rate)
        self._resampler = Resampler(self._file.samplerate, rate, channels if channels > 1 else None)
        self._pending: list[Audio] = []
        self._ready = 0
        self._ended = False
        self._decoded = 0

    def _open(self, raw_rate: int) -> Any:
        options: dict[str, Any] = {}
        if self._path.suffix.lower() in RAW_SUFFIXES:
            options = {
                "format": "RAW", "subtype": "PCM_16", "endian": "LITTLE",
                "samplerate": raw_rate, "channels": self._channels,
            }  # fmt: skip
        if self._path.stat().st_size == 0:
            raise MediaError(f"{self._path} is empty (0 bytes)", device=str(self._path))
        try:
            file = self._soundfile.SoundFile(str(self._path), **options)
        except self._soundfile.LibsndfileError as error:
            raise MediaError(
                f"{self._path} cannot be decoded as audio: {error.error_string} Expected wav, "
                f"flac, ogg, mp3 or raw 16-bit PCM (.raw); convert it: "
                f"ffmpeg -i {self._path.name} audio.wav",
                device=str(self._path),
            ) from error
        if self._channels not in (1, file.channels) and file.channels != 1:
            file.close()
            raise MediaError(
                f"{self._path} has {file.channels} channels; expected {self._channels}, or ask "
                f"for channels=1 to mix them",
                device=str(self._path),
            )
        if "should be" in file.extra_info:  # how libsndfile notes a header it had to correct
            log.warning("%s is truncated: its header promises more than there is", self._path)
        return file

    def read(self, n: int) -> Audio:
        """Return the next `n` samples, fewer at the end, then EOFError."""
        while self._ready < n and not self._ended:
            self._decode()
        if not self._ready:
            raise EOFError
        joined = np.concatenate(self._pending) if len(self._pending) > 1 else self._pending[0]
        block, rest = joined[:n], joined[n:]
        self._pending = [rest] if len(rest) else []
        self._ready = len(rest)
        return block

    def _decode(self) -> None:
        try:
            chunk = self._file.read(_CHUNK, dtype="float32", always_2d=True)
            if not len(chunk) and self._loop and self._decoded:
                self._file.seek(0)
                chunk = self._file.read(_CHUNK, dtype="float32", always_2d=True)
        except self._soundfile.LibsndfileError as error:
            raise MediaError(
                f"{self._path} cannot be decoded further: {error.error_string}",
                device=str(self._path),
            ) from error
        self._decoded += len(chunk)
        self._ended = not len(chunk)
        if not self._decoded:
            raise MediaError(f"{self._path} holds no audio samples", device=str(self._path))
        out = self._resampler.push(fit_channels(chunk, self._channels), last=self._ended)
        if len(out):
            self._pending.append(out)
            self._ready += len(out)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def fit_channels(chunk: Audio, channels: int) -> Audio:
    """Turn [n, c] into mono [n], or [n, channels]; more channels are mixed, one is spread."""
    if channels == 1:
        return chunk[:, 0].copy() if chunk.shape[1] == 1 else chunk.mean(axis=1)
    return np.repeat(chunk, channels, axis=1) if chunk.shape[1] == 1 else chunk[:, :channels].copy()
