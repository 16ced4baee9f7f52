"""Frames into model inputs, as the model's metadata says, and boxes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import InputError, ModelError

_CHOICES = {
    "layout": ("NCHW", "NHWC"),
    "color": ("BGR", "RGB"),
    "resize": ("stretch", "letterbox"),
    "dtype": ("uint8", "float32"),
}
_LARGEST = 16384  # pixels along a side
_OPTIONAL = (*_CHOICES, "mean", "std", "pad")


class Placement(NamedTuple):
    """Where a frame lies in the model's input: frame = (input - offset) * scale, in pixels."""

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    width: int  # of the frame
    height: int

    def to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map corners [n, 4] (left, top, right, bottom) to the frame, cut at its edges."""
        offset = np.array([self.offset_x, self.offset_y] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        limit = np.array([self.width, self.height] * 2, np.float32)
        mapped: NDArray[np.float32] = np.clip((boxes - offset) * scale, 0, limit)
        return mapped


@dataclass(frozen=True)
class ImagePreprocess:
    """How frames become a model's input; the ``edgeml.preprocess`` entry of image models.

    The value of a channel is ``(pixel - mean) / std``, with pixels of 0 to 255.

    Args:
        height: Of the model's input, pixels.
        width: Of the model's input, pixels.
        layout: ``"NCHW"`` or ``"NHWC"``.
        color: Order of the channels that the model takes: ``"BGR"`` or ``"RGB"``.
        dtype: ``"uint8"`` (raw pixels: mean 0, std 1) or ``"float32"``.
        resize: ``"stretch"`` to the input's size, or ``"letterbox"``: keep the proportions,
            centred, and fill the rest.
        mean: Of each channel, in the model's order.
        std: Of each channel, in the model's order.
        pad: Pixel value of a letterbox's borders.

    Raises:
        ModelError: a value is not one of these.
    """

    height: int
    width: int
    layout: str = "NCHW"
    color: str = "BGR"
    dtype: str = "uint8"
    resize: str = "stretch"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    pad: int = 0

    def __post_init__(self) -> None:
        for key, allowed in _CHOICES.items():
            if (value := getattr(self, key)) not in allowed:
                raise ModelError(
                    f"preprocess: {key} must be one of {', '.join(allowed)}; received {value!r}"
                )
        for key in ("height", "width"):
            if not (isinstance(value := getattr(self, key), int) and 0 < value <= _LARGEST):
                raise ModelError(
                    f"preprocess: {key} must be a positive number of pixels, at most {_LARGEST}; "
                    f"received {value!r}"
                )
        if not (isinstance(self.pad, int) and 0 <= self.pad <= 255):
            raise ModelError(f"preprocess: pad must be a pixel, 0 to 255; received {self.pad!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or 0 in self.std:
            raise ModelError(
                f"preprocess: mean and std must have three values, std none of 0; received "
                f"mean {self.mean} and std {self.std}"
            )
        if self.dtype == "uint8" and not self._is_raw:
            raise ModelError(
                f"preprocess: dtype uint8 means raw pixels, but mean is {self.mean} and std "
                f"{self.std}"
            )

    @classmethod
    def parse(cls, spec: Any, *, model: str) -> ImagePreprocess:
        """Read the metadata entry; `model` is named in errors.

        Raises:
            ModelError: it is not the description of an image.
        """
        if isinstance(spec, ImagePreprocess):
            return spec
        if not isinstance(spec, Mapping) or not spec or spec.get("type", "image") != "image":
            raise ModelError(
                f"{model} says nothing of how a picture becomes its input: expected metadata "
                f"edgeml.preprocess of type image, received {spec or 'none'!r}. Pass "
                f"preprocess=ImagePreprocess(height=…, width=…, …)"
            )
        try:
            height, width = (int(n) for n in spec["size"])
            given: dict[str, Any] = {key: spec[key] for key in _OPTIONAL if key in spec}
            for key in ("mean", "std"):
                if key in given:
                    given[key] = tuple(float(x) for x in given[key])
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise ModelError(
                f"{model}: metadata edgeml.preprocess is incomplete or wrong at {error}; expected "
                f"size [height, width] and optional layout, color, dtype, resize, mean, std, pad; "
                f"received {spec!r}"
            ) from error
        return cls(height=height, width=width, **given)

    @property
    def _is_raw(self) -> bool:
        return not any(self.mean) and all(s == 1 for s in self.std)

    def __call__(self, frame: NDArray[np.uint8]) -> tuple[NDArray[Any], Placement]:
        """Return the input [1, …] for a frame uint8 [height, width, 3] BGR, and its place.

        The array is a new one: inferences in flight don't share it.
        """
        cv2 = require("cv2", extra="camera", purpose="edgeml.tasks")
        height, width = frame.shape[:2]
        if self.resize == "stretch":
            pixels = cv2.resize(frame, (self.width, self.height))
            x, y = width / self.width, height / self.height
            place = Placement(x, y, 0.0, 0.0, width, height)
        else:
            pixels, place = self._letterbox(cv2, frame)
        if self.dtype == "float32":
            return self._normalised(cv2, pixels), place
        if self.layout == "NHWC":
            return (cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if self.color == "RGB" else pixels)[
                None
            ], place
        # Split into planes: blobFromImage is slower, with CV_8U a little, with floats by far.
        planes = np.empty((1, 3, self.height, self.width), np.uint8)
        cv2.split(pixels, list(planes[0] if self.color == "BGR" else planes[0, ::-1]))
        return planes, place

    def _letterbox(self, cv2: Any, frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Placement]:
        height, width = frame.shape[:2]
        ratio = min(self.width / width, self.height / height)
        inner_w, inner_h = max(1, round(width * ratio)), max(1, round(height * ratio))
        left, top = (self.width - inner_w) // 2, (self.height - inner_h) // 2
        canvas = np.full((self.height, self.width, 3), self.pad, np.uint8)
        inside = canvas[top : top + inner_h, left : left + inner_w]
        inside[:] = cv2.resize(frame, (inner_w, inner_h))
        # Rounding to whole pixels makes the two scales differ a little.
        x, y = width / inner_w, height / inner_h
        return canvas, Placement(x, y, float(left), float(top), width, height)

    def _normalised(self, cv2: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.color == "RGB":
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        values = pixels.astype(np.float32)
        if not self._is_raw:
            values -= np.asarray(self.mean, np.float32)
            values *= 1 / np.asarray(self.std, np.float32)
        if self.layout == "NCHW":
            values = np.ascontiguousarray(values.transpose(2, 0, 1))
        return values[None]


def check_frame(frame: Any, who: str) -> NDArray[np.uint8]:
    """Return the frame if it is one.

    Raises:
        InputError: it is not uint8 [height, width, 3].
    """
    expected = "uint8 array [height, width, 3] in BGR order"
    if not isinstance(frame, np.ndarray):
        received, what_to_do = f"{type(frame).__name__}", "pass numpy.asarray(frame)"
    elif frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1):
        received = f"a grey picture, {_describe(frame)}"
        what_to_do = "convert it: cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)"
    elif frame.ndim == 3 and frame.shape[2] == 4:
        received = f"four channels, {_describe(frame)}"
        what_to_do = "convert it: cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)"
    elif frame.ndim != 3 or frame.shape[2] != 3:
        received, what_to_do = _describe(frame), "pass one frame at a time, channels last"
    elif not frame.size:
        received = f"an empty frame, {_describe(frame)}"
        what_to_do = "check the source: it delivered no pixels"
    elif frame.dtype != np.uint8:
        received = _describe(frame)
        what_to_do = "pass pixels of 0 to 255: frame.astype(numpy.uint8)"
    else:
        return frame
    raise InputError(
        f"{who}: expected a frame as {expected}; received {received}: {what_to_do}",
        name="frame",
        expected=expected,
        received=received,
    )


def _describe(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"
