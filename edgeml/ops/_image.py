"""Images (batch, channels, height, width): colours, regions, sampling at computed places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeml.errors import ShapeError
from edgeml.graph import Tensor, as_tensor, emit
from edgeml.ops._math import Like, cast, cos, matmul, sin
from edgeml.ops._shape import (
    concatenate,
    expand_dims,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    take,
)

_GREY = np.array([0.2989, 0.587, 0.114], np.float32)  # ITU-R BT.601


def rgb_to_grayscale(x: Like) -> Tensor:
    """Return the brightness of colours, (batch, 3, height, width) to (batch, 1, height, width).

    Example:
        >>> import numpy as np, edgeml
        >>> edgeml.function(edgeml.ops.rgb_to_grayscale)(np.ones((1, 3, 2, 2))).shape
        (1, 1, 2, 2)
    """
    return emit("Conv", x, _GREY.reshape(1, 3, 1, 1))


def depth_to_space(x: Like, block_size: int) -> Tensor:
    """Return channels as blocks of places: (n, b * b * c, h, w) to (n, c, b * h, b * w).

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.depth_to_space(x, 2))
        >>> run(np.arange(4.0).reshape(1, 4, 1, 1)).tolist()
        [[[[0.0, 1.0], [2.0, 3.0]]]]
    """
    return emit("DepthToSpace", x, blocksize=block_size)


def space_to_depth(x: Like, block_size: int) -> Tensor:
    """Return blocks of places as channels: the inverse of `depth_to_space`."""
    return emit("SpaceToDepth", x, blocksize=block_size)


def local_response_norm(
    x: Like, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Tensor:
    """Return `x` over ``(bias + alpha * sum of squares of near channels) ** beta``.

    Source: Krizhevsky et al., 2012.

    Args:
        x: Tensor (batch, channels, ...).
        depth_radius: How many channels on each side are near.
        bias: Keeps the divisor from zero.
        alpha: Factor of the sum.
        beta: Exponent.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.local_response_norm(x, 1, beta=2.0))
        >>> run(np.ones((1, 2, 1, 1))).ravel().round(3).astype(str).tolist()
        ['0.111', '0.111']
    """
    size = 2 * depth_radius + 1
    return emit("LRN", x, size=size, bias=float(bias), alpha=float(alpha * size), beta=float(beta))


def grid_sample(
    x: Like, grid: Like, *, mode: str = "linear", padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:  # fmt: skip
    """Return the values of images at computed places; both have gradients.

    Args:
        x: Tensor (batch, channels, height, width).
        grid: Where to read, (batch, new height, new width, 2): x and y from -1 (left, top) to 1.
        mode: "linear", "nearest" or "cubic".
        padding_mode: What is outside: "zeros", "border" or "reflection".
        align_corners: Whether -1 and 1 are the middles of the outermost pixels, not their edges.

    Returns:
        A tensor (batch, channels, new height, new width).

    Example:
        >>> import numpy as np, edgeml
        >>> centre = np.zeros((1, 1, 1, 2), np.float32)
        >>> edgeml.function(lambda x: edgeml.ops.grid_sample(x, centre))(
        ...     np.arange(4.0).reshape(1, 1, 2, 2)).tolist()
        [[[[1.5]]]]
    """
    value = as_tensor(x)
    old = {"linear": "bilinear", "cubic": "bicubic"} if value.graph.opset < 20 else {}
    return emit(
        "GridSample", value, grid, mode=old.get(mode, mode), padding_mode=padding_mode,
        align_corners=int(align_corners),
    )  # fmt: skip


def affine_transform(
    x: Like, theta: Like, size: Sequence[int] | None = None, *, mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:  # fmt: skip
    """Return images moved, turned, scaled or sheared.

    Args:
        x: Tensor (batch, channels, height, width).
        theta: Matrices (batch, 2, 3): which place (x, y) of the input each place (x, y, 1) of the
            output shows, both from -1 (left, top) to 1.
        size: Height and width of the output; None is those of the input.
        mode: See `grid_sample`, also for `padding_mode`.
        padding_mode: What is outside.

    Example:
        >>> import numpy as np, edgeml
        >>> mirrored = np.float32([[[-1, 0, 0], [0, 1, 0]]])
        >>> edgeml.function(lambda x: edgeml.ops.affine_transform(x, mirrored))(
        ...     np.arange(4.0).reshape(1, 1, 2, 2)).tolist()
        [[[[1.0, 0.0], [3.0, 2.0]]]]
    """
    value = as_tensor(x)
    high, wide = (int(n) for n in (size or value.known_shape[2:]))
    rows, columns = ((2 * np.arange(n) + 1) / n - 1 for n in (high, wide))
    places = np.stack([*np.meshgrid(columns, rows), np.ones((high, wide))], -1)
    flat = places.reshape(1, -1, 3).astype(np.float32)
    grid = matmul(flat, swapaxes(as_tensor(theta, value), 1, 2))
    return grid_sample(value, reshape(grid, [-1, high, wide, 2]), mode=mode,
                       padding_mode=padding_mode)  # fmt: skip


def rotate(x: Like, radians: Like, *, mode: str = "linear", padding_mode: str = "zeros") -> Tensor:
    """Return images turned about their middle.

    Args:
        x: Tensor (batch, channels, height, width).
        radians: Angles (batch,), counter-clockwise.
        mode: See `grid_sample`, also for `padding_mode`.
        padding_mode: What is outside.

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(edgeml.ops.rotate)
        >>> run(np.arange(4.0).reshape(1, 1, 2, 2), np.array([np.pi / 2])).round(4).tolist()
        [[[[1.0, 3.0], [0.0, 2.0]]]]
    """
    value = as_tensor(x)
    high, wide = (int(n) for n in value.known_shape[2:])
    angle = as_tensor(radians, value)
    c, s = cos(angle), sin(angle)
    zero = c * 0.0
    rows = [stack([c, s * (-high / wide), zero], -1), stack([s * (wide / high), c, zero], -1)]
    return affine_transform(value, stack(rows, 1), mode=mode, padding_mode=padding_mode)


def crop_and_resize(
    x: Like, boxes: Like, box_indices: Like, crop_size: Sequence[int], *, mode: str = "linear"
) -> Tensor:
    """Return regions of images, all made of one size.

    Args:
        x: Tensor (batch, channels, height, width).
        boxes: Regions (n, 4): y1, x1, y2, x2, from 0, the middle of the first pixel, to 1, that
            of the last; what is outside is 0.
        box_indices: Which image each region is of, integers (n,).
        crop_size: Height and width of the result.
        mode: "linear", "nearest" or "cubic".

    Returns:
        A tensor (n, channels, *crop_size).

    Raises:
        ShapeError: the boxes do not have four numbers.

    Example:
        >>> import numpy as np, edgeml
        >>> box, image = np.float32([[0, 0, 1, 0.5]]), np.array([0])
        >>> run = edgeml.function(lambda x: edgeml.ops.crop_and_resize(x, box, image, (2, 2)))
        >>> run(np.arange(6.0).reshape(1, 1, 2, 3)).tolist()
        [[[[0.0, 1.0], [3.0, 4.0]]]]
    """
    value = as_tensor(x)
    corners = as_tensor(boxes, value)
    if corners.ndim != 2 or corners.known_shape[1] != 4:
        raise ShapeError(
            f"crop_and_resize: boxes are (n, 4), y1, x1, y2, x2; received {corners!r}",
            expected=("n", 4), received=corners.shape,
        )  # fmt: skip
    axes = []
    ends = split(corners * 2.0 - 1.0, 4, axis=1)
    for low, high, size in zip(ends[:2], ends[2:], crop_size, strict=True):
        share = np.linspace(0, 1, size) if size > 1 else np.array([0.5])
        axes.append(low + (high - low) * share[None].astype(np.float32))
    rows, columns = expand_dims(axes[0], [2, 3]), expand_dims(axes[1], [1, 3])
    grid = concatenate([columns + rows * 0.0, rows + columns * 0.0], -1)
    images = take(value, box_indices)
    return grid_sample(images, grid, mode=mode, align_corners=True)


def non_max_suppression(
    boxes: Like, scores: Like, max_output_size: int, iou_threshold: float = 0.5,
    score_threshold: float | None = None,
) -> Tensor:  # fmt: skip
    """Return the indices of the boxes to keep: the best of those that overlap, best first.

    Args:
        boxes: Tensor (n, 4): y1, x1, y2, x2, or with these exchanged.
        scores: Tensor (n,).
        max_output_size: How many to keep at most.
        iou_threshold: Boxes that share more of their union than this with a better one are left
            out, 0 to 1.
        score_threshold: Boxes with a score not above are left out; None leaves none out.

    Returns:
        int64 (at most `max_output_size`,).

    Example:
        >>> import numpy as np, edgeml
        >>> boxes = np.float32([[0, 0, 1, 1], [0, 0, 1, 0.9], [2, 2, 3, 3]])
        >>> run = edgeml.function(lambda b, s: edgeml.ops.non_max_suppression(b, s, 9))
        >>> run(boxes, np.float32([0.5, 0.9, 0.7])).tolist()
        [1, 2]
    """
    value = as_tensor(boxes)
    each = expand_dims(as_tensor(scores, value), [0, 1])
    limit = np.array([max_output_size], np.int64)
    least = None if score_threshold is None else np.array([score_threshold], np.float32)
    found = emit("NonMaxSuppression", expand_dims(value, 0), each, limit,
                 np.array([iou_threshold], np.float32), least)  # fmt: skip
    return cast(squeeze(found[:, 2:], 1), np.int64)
