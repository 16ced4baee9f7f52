"""The shipped recordings."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

MEDIA = files("edgeml") / "media"


@pytest.fixture(scope="session")
def photo() -> Any:
    """Return a function that reads a shipped picture, uint8 BGR."""

    def read(name: str) -> NDArray[np.uint8]:
        frame = cv2.imread(str(MEDIA / name))
        assert frame is not None
        return frame

    return read


@pytest.fixture(scope="session")
def street() -> list[NDArray[np.uint8]]:
    """Every tenth of the first 120 frames of the street: one a second."""
    video = cv2.VideoCapture(str(MEDIA / "street.mp4"))
    frames = [video.read()[1] for _ in range(120)][::10]
    video.release()
    return frames


@pytest.fixture(scope="session")
def voice() -> NDArray[np.float32]:
    """The recording of speech, noise and wake words: float32 at 16 kHz."""
    import soundfile

    sound, rate = soundfile.read(str(MEDIA / "voice.flac"), dtype="float32")
    assert rate == 16000
    return sound
