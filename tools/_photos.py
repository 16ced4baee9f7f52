"""Real pictures to calibrate and to compare with: half of them for each, never the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _sources import find
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pictures:
    """BGR uint8 pictures of any size."""

    photos: list[Image]
    stamps: list[Image]  # things cut out, on white
    frames: list[Image]  # the street, ten a second


def load_pictures(folder: Path) -> Pictures:
    samples = find(folder / "opencv-doc", "vtest.avi").parent
    files = sorted(
        [*samples.iterdir(), *find(folder / "scikit-image", "astronaut.png").parent.iterdir()]
    )
    photos = [p for f in files if f.suffix in (".jpg", ".png") and _rich(p := cv2.imread(str(f)))]
    stamps = []
    for file in sorted((folder / "tuxpaint-stamps-default").rglob("*.png")):
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if image is not None and image.ndim == 3 and image.shape[2] == 4:
            square = _on_white(image)
            if _rich(square, size=96, colours=1500):
                stamps.append(square)
    return Pictures(photos, stamps, list(read_video(samples / "vtest.avi")))


def read_video(path: Path) -> Iterator[Image]:
    capture: Any = cv2.VideoCapture(str(path))
    while (frame := capture.read())[0]:
        yield frame[1]
    capture.release()


def crops(image: Image, rng: np.random.Generator, count: int) -> Iterator[Image]:
    """Yield the picture and `count` random squares of it."""
    yield image
    height, width = image.shape[:2]
    for _ in range(count):
        side = int(min(height, width) * rng.uniform(0.5, 0.9))
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        yield image[top : top + side, left : left + side]


def _rich(image: Image | None, size: int = 128, colours: int = 2500) -> bool:
    """Tell photos from diagrams by their number of colours."""
    if image is None or min(image.shape[:2]) < (150 if size == 128 else 1):
        return False
    small = cv2.resize(image, (size, size)).reshape(-1, 3)
    return len(np.unique(small, axis=0)) >= colours


def _on_white(image: NDArray[Any]) -> Image:
    alpha = image[..., 3:] / 255
    flat = image[..., :3] * alpha + 255 * (1 - alpha)
    height, width = flat.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), 255, np.uint8)
    square[top : top + height, left : left + width] = flat.astype(np.uint8)
    return square
