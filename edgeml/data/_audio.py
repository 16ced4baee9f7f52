"""Sound in folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.data._folder import Folder, OnError, find_classes
from edgeml.data._origin import Origin
from edgeml.data._rows import of_columns
from edgeml.errors import DataError

_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


def audio_folder(
    path: str | os.PathLike[str],
    sample_rate: int,
    seconds: float,
    hop: float | None,
    classes: Sequence[str] | None,
    workers: int,
    on_error: OnError,
) -> Folder:
    """Make the dataset of a folder of sound."""
    for what, value in (("sample_rate", sample_rate), ("seconds", seconds), ("hop", hop)):
        if value is not None and not value > 0:
            raise ValueError(f"{what} must be positive; received {value}")
    sf = require("soundfile", extra="audio", purpose="Dataset.from_audio_folder")
    soxr = require("soxr", extra="audio", purpose="Dataset.from_audio_folder")
    names, files, labels = find_classes(path, _SUFFIXES, classes)
    starts = [_starts(sf, file, seconds, hop, on_error) for file in files]
    count = np.array([len(own) for own in starts])
    columns = (
        np.repeat(np.array([str(file) for file in files]), count),
        np.repeat(np.array(labels, np.int64), count),
        np.concatenate(starts),
    )
    length = round(seconds * sample_rate)

    def decode(file: str, label: Any, start: float) -> tuple[NDArray[np.float32], Any]:
        sound, rate = read(sf, str(file), float(start), seconds)
        if rate != sample_rate:
            sound = soxr.resample(sound, rate, sample_rate)
        sound = sound[:length]
        return np.pad(sound, (0, length - len(sound))), label

    def origin(n: int) -> Origin:
        times = np.rint(columns[2].astype(np.float64) * 1e9).astype(np.int64)
        return Origin(columns[0], times, np.full(n, round(seconds * 1e9), np.int64))

    return Folder(of_columns(columns, origin), decode, names, workers, on_error)


def _starts(
    sf: Any, file: Path, seconds: float, hop: float | None, on_error: OnError
) -> NDArray[np.float64]:
    """Return where windows of a file start, seconds."""
    if hop is None:
        return np.zeros(1)
    try:
        duration = sf.info(str(file)).duration
    except (RuntimeError, OSError) as error:
        if on_error == "raise":
            raise DataError(f"{file}: cannot be decoded ({error})", path=str(file)) from error
        return np.zeros(1)  # the pass finds it again, skips it and counts it
    windows = 1 + max(0, int((duration - seconds) / hop + 1e-9))
    return np.arange(windows, dtype=np.float64) * hop


def read(sf: Any, file: str, start: float, seconds: float) -> tuple[NDArray[np.float32], int]:
    """Return a part of a file as mono, and its sampling rate in Hz.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with sf.SoundFile(file) as sound:
            sound.seek(min(round(start * sound.samplerate), sound.frames))
            data = sound.read(
                int(np.ceil(seconds * sound.samplerate)), dtype="float32", always_2d=True
            )
            rate = int(sound.samplerate)
    except (RuntimeError, OSError) as error:  # soundfile's errors are RuntimeErrors
        raise DataError(f"{file}: cannot be decoded ({error})", path=file) from error
    if not len(data):
        raise DataError(f"{file}: there is no sound in it", path=file)
    mono: NDArray[np.float32] = data.mean(axis=1)
    return mono, rate
