"""Fourier transforms over the last axis; complex numbers are pairs (real, imaginary)."""

from __future__ import annotations

import numpy as np

from edgeml.errors import ShapeError
from edgeml.graph import Tensor, as_tensor, emit
from edgeml.ops._math import Like
from edgeml.ops._shape import concatenate, expand_dims, flip, slice_, squeeze, stack

Pair = tuple[Tensor, Tensor]


def fft(x: tuple[Like, Like]) -> Pair:
    """Return the discrete Fourier transform over the last axis.

    Args:
        x: Real and imaginary part, (..., n).

    Returns:
        Real and imaginary part, (..., n).

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.fft((x, x * 0.0)))
        >>> run(np.array([1.0, 1.0]))[0].tolist()
        [2.0, 0.0]
    """
    return _parts(_dft(_joined("fft", x)))


def ifft(x: tuple[Like, Like]) -> Pair:
    """Return the inverse of `fft`."""
    return _parts(_dft(_joined("ifft", x), inverse=1))


def rfft(x: Like, fft_length: int | None = None) -> Pair:
    """Return the transform of real numbers, of which the first half is enough.

    Args:
        x: Tensor (..., n).
        fft_length: How many numbers to transform: zeros are added, or the last left out. None is
            n.

    Returns:
        Real and imaginary part, (..., fft_length // 2 + 1).

    Example:
        >>> import numpy as np, edgeml
        >>> real, _ = edgeml.function(edgeml.ops.rfft)(np.array([1.0, 0.0, 0.0, 0.0]))
        >>> real.tolist()
        [1.0, 1.0, 1.0]
    """
    value = _fit(as_tensor(x), fft_length)
    return _parts(_dft(expand_dims(value, -1), onesided=1))


def irfft(x: tuple[Like, Like], fft_length: int | None = None) -> Tensor:
    """Return the inverse of `rfft`.

    Args:
        x: Real and imaginary part, (..., bins).
        fft_length: How many numbers to return; None is ``2 * (bins - 1)``.

    Returns:
        A tensor (..., fft_length).

    Example:
        >>> import numpy as np, edgeml
        >>> run = edgeml.function(lambda x: edgeml.ops.irfft(edgeml.ops.rfft(x)))
        >>> run(np.array([1.0, 2.0, 3.0, 4.0])).round(5).tolist()
        [1.0, 2.0, 3.0, 4.0]
    """
    real, imaginary = (as_tensor(part) for part in x)
    size = 2 * (int(real.known_shape[-1]) - 1) if fft_length is None else fft_length
    bins = size // 2 + 1
    real, imaginary = _fit(real, bins), _fit(imaginary, bins)
    rest = [1], [size - bins + 1], [-1]  # what the frequencies above half are the mirror image of
    whole = _joined("irfft", (
        concatenate([real, flip(slice_(real, *rest), -1)], -1),
        concatenate([imaginary, -flip(slice_(imaginary, *rest), -1)], -1),
    ))  # fmt: skip
    return _parts(_dft(whole, inverse=1))[0]


def _joined(name: str, x: tuple[Like, Like]) -> Tensor:
    real, imaginary = (as_tensor(part) for part in x)
    if real.shape != imaginary.shape:
        raise ShapeError(
            f"{name}: the real part has shape {real.shape}, the imaginary part {imaginary.shape}",
            expected=real.shape, received=imaginary.shape,
        )  # fmt: skip
    return stack([real, imaginary], -1)


def _dft(x: Tensor, *, inverse: int = 0, onesided: int = 0) -> Tensor:
    """Emit a DFT over the last axis but that of the parts; a vector becomes a batch of one."""
    value = expand_dims(x, 0) if x.ndim == 2 else x
    at = value.ndim - 2
    old = value.graph.opset < 20
    made = emit(
        "DFT", value, None, None if old else np.array(at, np.int64), axis=at if old else None,
        inverse=inverse, onesided=onesided,
    )  # fmt: skip
    return squeeze(made, 0) if x.ndim == 2 else made


def _parts(x: Tensor) -> Pair:
    real, imaginary = (squeeze(slice_(x, [i], [i + 1], [-1]), -1) for i in (0, 1))
    return real, imaginary


def _fit(x: Tensor, size: int | None) -> Tensor:
    missing = 0 if size is None else size - int(x.known_shape[-1])
    if missing <= 0:
        return x if not missing else slice_(x, [0], [int(size or 0)], [-1])
    pads = [0] * 2 * x.ndim
    pads[-1] = missing
    return emit("Pad", x, np.array(pads, np.int64))
