"""Real pictures and two networks for the benchmark of shrinking.

Also imported by the process of NNCF, which has NumPy alone: OpenCV is imported when it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).resolve().parent.parent
MAX_DROP = 10.0
"""Points that may be lost, of agreement with the float model: a flip where it was unsure counts
in full, so that accuracy loses a fraction of it."""


@dataclass(frozen=True)
class Network:
    """A float32 network that looks at pictures.

    Args:
        name: What the table calls it.
        file: Name of its ONNX file.
        input: Name of its input.
        size: Its pictures' side.
        mean: Of the channels, as it takes them.
        deviation: What they are divided by.
        rgb: Whether it takes RGB, not BGR.
        metric: How it is judged.
        metadata: What `edgeml` must know to judge it.
    """

    name: str
    file: str
    input: str
    size: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    rgb: bool
    metric: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def feed(self, picture: Array) -> dict[str, Array]:
        """Return the input for a uint8 BGR picture (size, size, 3)."""
        channels = picture[..., ::-1] if self.rgb else picture
        scaled = (channels.astype(np.float32) - np.float32(self.mean)) / np.float32(self.deviation)
        return {self.input: np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])}


LITE0 = Network(
    "EfficientNet-Lite0", "efficientnet_lite0.onnx", "input", 224, (127,) * 3, (128,) * 3, True,
    "agreement",
)  # fmt: skip
NANODET = Network(
    "NanoDet-g 416", "nanodet_g_416.onnx", "input_1", 416, (103.53, 116.28, 123.675),
    (57.375, 57.12, 58.395), False, "boxes",
    {"task": "object-detection", "preprocess": {"size": [416, 416]},
     "postprocess": {"decoder": "nanodet", "strides": [8, 16, 32], "bins": 11}},
)  # fmt: skip
NETWORKS = {network.file: network for network in (LITE0, NANODET)}


@dataclass(frozen=True)
class Pictures:
    """Uint8 BGR pictures (n, size, size, 3): to calibrate with, and others to judge with."""

    calibration: Array
    evaluation: Array


def load_pictures(sources: Path, network: Network, calibration: int, evaluation: int) -> Pictures:
    """Choose pictures for a network, from the packages that tools/ fetches.

    No photo, thing or scene is in both parts: photos and things go in turn to one and the other
    (two at a time, as neighbours in a folder are often the same scene), and the street's
    recording is cut in its middle.
    """
    found = _read(sources)
    streets = 0.08 if network is LITE0 else 0.3  # a classifier has little to say of a street
    halves = []
    for half, count in enumerate((calibration, evaluation)):
        middle = len(found.frames) // 2
        frames = found.frames[middle:] if half else found.frames[:middle]
        rng = np.random.default_rng(half)
        photos = [p for i, p in enumerate(found.photos) if i // 2 % 2 == half]
        things = [p for i, p in enumerate(found.stamps) if i // 2 % 2 == half]
        chosen = [*_spread(frames, int(count * streets)), *_spread(things, int(count * 0.4))]
        chosen += [next(crops) for crops in _crops(photos, rng, count - len(chosen))]
        halves.append(np.stack([_fit(picture, network.size) for picture in chosen]))
    return Pictures(*halves)


@cache
def _read(sources: Path) -> Any:
    sys.path.insert(0, str(ROOT / "tools"))
    from _photos import load_pictures as read

    return read(sources)


def _spread(pictures: list[Array], count: int) -> list[Array]:
    return [pictures[i] for i in np.linspace(0, len(pictures) - 1, count).astype(int)]


def _crops(photos: list[Array], rng: np.random.Generator, count: int) -> Iterator[Iterator[Array]]:
    """Yield the source of each picture: all whole photos, then random squares of them in turn."""
    from _photos import crops

    sources = [crops(photo, rng, count) for photo in photos]
    return (sources[i % len(sources)] for i in range(count))


def _fit(picture: Array, size: int) -> Array:
    import cv2

    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA))
