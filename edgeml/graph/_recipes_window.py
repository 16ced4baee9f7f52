"""The geometry of windows that slide over an image: convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit


@dataclass(frozen=True)
class Window:
    """Where a window reads, axis by axis: ``large[o * stride - before + tap * dilation]``.

    Attributes:
        kernel: Taps along each axis.
        strides: Distance between neighbouring windows.
        dilations: Distance between neighbouring taps.
        before: Padding at the start.
        large: Size of the side that is read: the input of Conv, the output of ConvTranspose.
        small: Number of windows: the output of Conv, the input of ConvTranspose.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    large: tuple[int, ...]
    small: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """How far a window reaches."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def after(self) -> tuple[int, ...]:
        """Padding at the end that the windows read; negative where the last values are not read."""
        return tuple(
            (n - 1) * s + e - size - b
            for n, s, e, size, b in zip(
                self.small, self.strides, self.extent, self.large, self.before, strict=True
            )
        )

    @property
    def taps(self) -> int:
        """Number of taps of a whole window."""
        return int(np.prod(self.kernel))

    @property
    def dense(self) -> bool:
        """Whether windows are next to each other and taps, too."""
        return all(n == 1 for n in (*self.strides, *self.dilations))

    @property
    def pointwise(self) -> bool:
        """Whether a window is one value, and each value has a window."""
        return self.taps == 1 and self.large == self.small and not any(self.before)

    def spreading(self) -> dict[str, Any]:
        """Return the attributes of the ConvTranspose that spreads what these windows gather."""
        after = self.after
        return {
            "strides": list(self.strides),
            "dilations": list(self.dilations),
            "pads": [*self.before, *(max(n, 0) for n in after)],
            "output_padding": [max(-n, 0) for n in after],
        }


def window_of(node: Node, kernel: Sequence[int]) -> Window:
    """Return the windows of a Conv or of a pool."""
    large, small = node.x.static_shape[2:], node.output.static_shape[2:]
    rank = len(large)
    strides = tuple(node.attr("strides") or [1] * rank)
    dilations = tuple(node.attr("dilations") or [1] * rank)
    before = tuple((node.attr("pads") or [0] * rank)[:rank])
    found = Window(tuple(kernel), strides, dilations, before, large, small)
    auto = node.attr("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return found
    before = (0,) * rank
    if auto.startswith("SAME"):
        totals = Window(tuple(kernel), strides, dilations, before, large, small).after
        up = int(auto == "SAME_LOWER")
        before = tuple((max(total, 0) + up) // 2 for total in totals)
    return Window(tuple(kernel), strides, dilations, before, large, small)


def transposed_window_of(node: Node, kernel: Sequence[int]) -> Window:
    """Return the windows of a ConvTranspose, whose output is the large side."""
    small, large = node.x.static_shape[2:], node.output.static_shape[2:]
    rank = len(small)
    strides = tuple(node.attr("strides") or [1] * rank)
    dilations = tuple(node.attr("dilations") or [1] * rank)
    before = tuple((node.attr("pads") or [0] * rank)[:rank])
    auto = node.attr("auto_pad", "NOTSET")
    if auto != "NOTSET" or node.attr("output_shape"):
        extra = node.attr("output_padding") or [0] * rank
        unpadded = Window(tuple(kernel), strides, dilations, (0,) * rank, large, small).after
        totals = [max(n + e, 0) for n, e in zip(unpadded, extra, strict=True)]
        upper = auto == "SAME_UPPER"
        before = tuple(n // 2 if upper else n - n // 2 for n in totals)
    return Window(tuple(kernel), strides, dilations, before, large, small)


def fit(x: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Pad the spatial axes with zeros, or cut what negative numbers say."""
    if any(n < 0 for n in after):
        sizes = x.static_shape[2:]
        axes = [i for i, n in enumerate(after) if n < 0]
        x = slice_axes(x, [i + 2 for i in axes], [0] * len(axes),
                       [sizes[i] + after[i] for i in axes])  # fmt: skip
    pads = [0, 0, *before, 0, 0, *(max(n, 0) for n in after)]
    return emit("Pad", x, np.array(pads, np.int64)) if any(pads) else x


def slice_axes(
    x: Tensor, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int],
    steps: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Emit a Slice, unless it takes everything."""
    shape = x.static_shape
    steps = steps or [1] * len(axes)
    kept = [
        i for i, axis in enumerate(axes)
        if starts[i] > 0 or ends[i] < shape[axis] or steps[i] > 1
    ]  # fmt: skip
    if not kept:
        return x
    parts = [
        np.array([values[i] for i in kept], np.int64) for values in (starts, ends, axes, steps)
    ]
    return emit("Slice", x, *(parts if max(parts[3]) > 1 else parts[:3]))


def reshape(x: Tensor, *shape: int) -> Tensor:
    """Emit a Reshape, unless the shape is that already."""
    if x.static_shape == shape:
        return x
    return emit("Reshape", x, np.array(shape, np.int64), allowzero=1 if 0 in shape else None)


def total(x: Tensor, *axes: int) -> Tensor:
    """Emit a sum over `axes`, which are dropped."""
    return emit("ReduceSum", x, np.array(axes, np.int64), keepdims=0)
