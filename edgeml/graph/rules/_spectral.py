"""Rules of Fourier transforms."""

from __future__ import annotations

import numpy as np

from edgeml.errors import NoGradient
from edgeml.graph._ir import Array, Node, Tensor, emit
from edgeml.graph._recipes_window import reshape, slice_axes
from edgeml.graph._rules import lowering, rule

Grads = tuple[Tensor | None, ...]


def _dft(x: Tensor, axis: int, *, inverse: int = 0, onesided: int = 0) -> Tensor:
    """Emit a DFT: its axis became an input in opset 20."""
    if x.graph.opset < 20:
        return emit("DFT", x, axis=axis, inverse=inverse, onesided=onesided)
    at = np.array(axis, np.int64)
    return emit("DFT", x, None, at, inverse=inverse, onesided=onesided)


def _constant(node: Node, i: int, default: int) -> int:
    given = node.input(i)
    if given is None:
        return default
    if given.value is None:
        raise NoGradient(
            f"{node.op} {node.name!r}: its {i}th input must be constant to be differentiated",
            op=node.op, node=node.name,
        )  # fmt: skip
    return int(given.value.reshape(-1)[0])


def _fit(x: Tensor, axis: int, size: int) -> Tensor:
    """Cut an axis off, or fill it up with zeros."""
    missing = size - x.static_shape[axis]
    if missing <= 0:
        return slice_axes(x, [axis], [0], [size])
    pads = [0] * 2 * x.ndim
    pads[x.ndim + axis] = missing
    return emit("Pad", x, np.array(pads, np.int64))


@rule("DFT")
def dft(node: Node, g: Tensor) -> Grads:
    """The transpose of a transform is, but for a factor, the transform back."""
    x = node.x
    axis = node.attr("axis", 1) if g.graph.opset < 20 else _constant(node, 2, -2)
    axis %= x.ndim
    inverse, onesided = node.attr("inverse", 0), node.attr("onesided", 0)
    size = g.static_shape[axis]
    if onesided and not inverse:
        size = _constant(node, 1, x.static_shape[axis])
        g = _fit(g, axis, size)
    if onesided and inverse:
        back = _dft(g, axis, onesided=1) * _shares(size, x.ndim - axis)
    elif inverse:
        back = _dft(g, axis) * (1.0 / size)
    else:
        back = _dft(g, axis, inverse=1) * float(size)
    back = _fit(back, axis, x.static_shape[axis])
    return (slice_axes(back, [x.ndim - 1], [0], [x.static_shape[-1]]),)


def _shares(size: int, rank: int) -> Array:
    """Return how much of the result each of the frequencies from 0 up stands for: most for two."""
    bins = np.arange(size // 2 + 1)
    alone = (bins == 0) | (2 * bins == size)
    shares: Array = np.where(alone, 1.0, 2.0).astype(np.float32)
    return (shares / np.float32(size)).reshape(-1, *[1] * (rank - 1))


@lowering("STFT")
def stft(node: Node) -> list[Tensor]:
    """Cut into frames, weigh, transform."""
    x, window = node.x, node.input(2)
    given = window.size if window is not None else 0
    length, step = _constant(node, 3, given), _constant(node, 1, 1)
    first = np.arange((x.static_shape[1] - length) // step + 1)[:, None] * step
    frames = emit("Gather", x, first + np.arange(length), axis=1)
    if window is not None:
        frames = frames * reshape(window, length, 1)
    return [_dft(frames, 2, onesided=node.attr("onesided", 1))]
