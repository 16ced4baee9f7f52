"""Raw pixel layouts, as commands write them to a pipe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeml.devices._camera._capture import Image


@dataclass(frozen=True, slots=True)
class _Format:
    bits: int  # per pixel, over all planes
    step: int  # bytes from one pixel to the next in the first plane
    code: str | None  # cv2's conversion to BGR
    planar: bool = False


FORMATS = {
    "bgr24": _Format(24, 3, None),
    "bgra": _Format(32, 4, "COLOR_BGRA2BGR"),
    "gray8": _Format(8, 1, "COLOR_GRAY2BGR"),
    "nv12": _Format(12, 1, "COLOR_YUV2BGR_NV12", planar=True),
    "rgb24": _Format(24, 3, "COLOR_RGB2BGR"),
    "rgba": _Format(32, 4, "COLOR_RGBA2BGR"),
    "uyvy422": _Format(16, 2, "COLOR_YUV2BGR_UYVY"),
    "yuv420p": _Format(12, 1, "COLOR_YUV2BGR_I420", planar=True),
    "yuyv422": _Format(16, 2, "COLOR_YUV2BGR_YUY2"),
}
ALIASES = {"bgr": "bgr24", "bgrx": "bgra", "gray": "gray8", "i420": "yuv420p", "rgb": "rgb24"}


class Layout:
    """How one raw frame lies in memory.

    Args:
        size: Width and height, pixels.
        pixel_format: One of `FORMATS`, by FFmpeg's or GStreamer's name.
        stride: Bytes from one row of the first plane to the next, if rows are padded.
    """

    def __init__(
        self, size: tuple[int, int], pixel_format: str = "bgr24", stride: int | None = None
    ) -> None:
        name = pixel_format.lower()
        name = ALIASES.get(name, name)
        if name not in FORMATS:
            raise ValueError(
                f"pixel_format must be one of {', '.join(sorted(FORMATS))}; "
                f"received {pixel_format!r}"
            )
        self.format = FORMATS[name]
        self.name = name
        self.width, self.height = size
        chroma = self.format.planar or name.endswith("422")
        if chroma and (self.width % 2 or (self.format.planar and self.height % 2)):
            raise ValueError(f"{name} needs even sizes; received {self.width}x{self.height}")
        row = self.width * self.format.step
        self.stride = row if stride is None else stride
        if self.stride < row or (self.format.planar and self.stride % 2):
            raise ValueError(f"a row of {name} has {row} bytes; received stride={stride}")
        rows = self.height * 3 // 2 if self.format.planar else self.height
        #: Bytes of one frame.
        self.nbytes = self.stride * rows

    def new(self) -> Image:
        """Return memory for one frame."""
        return np.empty(self.nbytes, np.uint8)

    def to_bgr(self, raw: Image) -> Image:
        """Convert one frame to uint8 HWC BGR; plain BGR without padding is not copied."""
        height, row = self.height, self.width * self.format.step
        if self.format.planar:
            packed = self._without_padding(raw).reshape(height * 3 // 2, self.width)
        else:
            packed = raw.reshape(height, self.stride)[:, :row]
            channels = self.format.step
            packed = packed.reshape(
                (height, self.width, channels) if channels > 1 else (height, row)
            )
        packed = np.ascontiguousarray(packed)
        if self.format.code is None:
            return packed
        import cv2

        image: Image = cv2.cvtColor(packed, getattr(cv2, self.format.code))
        return image

    def _without_padding(self, raw: Image) -> Image:
        if self.stride == self.width:
            return raw
        luma = raw[: self.stride * self.height].reshape(self.height, self.stride)
        # In I420 a padded row holds two chroma rows of half its stride; in NV12 one row.
        halves = 2 if self.name == "yuv420p" else 1
        chroma = raw[self.stride * self.height :].reshape(-1, self.stride // halves)
        return np.concatenate(
            [luma[:, : self.width].ravel(), chroma[:, : self.width // halves].ravel()]
        )
