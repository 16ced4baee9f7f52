"""Layers that add to pictures, cut from them, or make them larger."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, emit
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_first, channels_last, check_data_format, pending
from edgeml.layers._windows import channels_of, spread


def _pairs(value: Any, rank: int, what: str) -> list[tuple[int, int]]:
    """Return (before, after) for each dimension."""
    found = [value] * rank if isinstance(value, int) else list(value)
    if rank == 1 and len(found) == 2 and all(isinstance(n, int) for n in found):
        found = [tuple(found)]
    pairs = [(n, n) if isinstance(n, int) else tuple(int(k) for k in n) for n in found]
    if len(pairs) != rank or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        pair = "a pair" if rank == 1 else f"{rank} numbers or pairs"
        raise ConfigError(f"{what}: expected a number from 0 or {pair}, received {value!r}")
    return [(before, after) for before, after in pairs]


class _Edges(Layer):
    """What padding and cropping share: they work where the channels are."""

    rank = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = False
        check_data_format(getattr(self, "data_format", None))

    def build(self, input_shape: Any) -> None:
        """Check the shape."""
        channels_of(input_shape, self.rank, type(self).__name__)


class _ZeroPadding(_Edges):
    padding: Any = 1
    data_format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._widths = _pairs(self.padding, self.rank, f"{type(self).__name__}: padding")

    def call(self, x: Tensor) -> Tensor:
        """Return the padded input."""
        if pending(x):
            return channels_last(ops.pad(channels_first(x), [(0, 0), (0, 0), *self._widths]))
        return ops.pad(x, [(0, 0), *self._widths, (0, 0)])


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after the steps.

    Args:
        padding: Number of steps at both ends, or (before, after).
        data_format: None or "channels_last".

    Input shape: (batch, steps, channels). Output shape: the same, larger.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ZeroPadding1D
        >>> ZeroPadding1D(1)(np.ones((1, 4, 2))).shape
        (1, 6, 2)
    """

    rank = 1


class ZeroPadding2D(_ZeroPadding):
    """Zeros around pictures.

    Args:
        padding: A number for all sides, one for rows and columns each, or a pair
            (before, after) for each.
        data_format: None or "channels_last".

    Input shape: (batch, rows, columns, channels). Output shape: the same, larger.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ZeroPadding2D
        >>> ZeroPadding2D(1)(np.ones((1, 4, 4, 2))).shape
        (1, 6, 6, 2)
    """


class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes.

    Args:
        padding: A number for all sides, one for each dimension, or a pair (before,
            after) for each.
        data_format: None or "channels_last".

    Input shape: (batch, depth, rows, columns, channels). Output shape: the same, larger.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import ZeroPadding3D
        >>> ZeroPadding3D(1)(np.ones((1, 3, 3, 3, 2))).shape
        (1, 5, 5, 5, 2)
    """

    rank = 3


class _Cropping(_Edges):
    cropping: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        self._widths = _pairs(self.cropping, self.rank, f"{type(self).__name__}: cropping")

    def call(self, x: Tensor) -> Tensor:
        """Return the input without its edges."""
        for size, cut in zip(x.known_shape[1:], self._widths, strict=False):
            if isinstance(size, int) and sum(cut) >= size:
                raise ShapeError(
                    f"cropping {self.cropping} leaves nothing of {x.known_shape}",
                    received=x.known_shape,
                )
        below = pending(x)
        starts = [before for before, _ in self._widths]
        ends = [-after if after else np.iinfo(np.int64).max for _, after in self._widths]
        axes = [i + (2 if below else 1) for i in range(self.rank)]
        y = ops.slice_(channels_first(x) if below else x, starts, ends, axes)
        return channels_last(y) if below else y


class Cropping1D(_Cropping):
    """The input without its first and last steps.

    Args:
        cropping: Number of steps at both ends, or (before, after).

    Input shape: (batch, steps, channels). Output shape: the same, smaller.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Cropping1D
        >>> Cropping1D(1)(np.ones((1, 4, 2))).shape
        (1, 2, 2)
    """

    rank = 1

    cropping: Any = (1, 1)


class Cropping2D(_Cropping):
    """Pictures without their edges.

    Args:
        cropping: A number for all sides, one for rows and columns each, or a pair
            (before, after) for each.
        data_format: None or "channels_last".

    Input shape: (batch, rows, columns, channels). Output shape: the same, smaller.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Cropping2D
        >>> Cropping2D(1)(np.ones((1, 4, 4, 2))).shape
        (1, 2, 2, 2)
    """

    cropping: Any = ((0, 0), (0, 0))
    data_format: str | None = None


class Cropping3D(_Cropping):
    """Volumes without their edges.

    Args:
        cropping: A number for all sides, one for each dimension, or a pair (before,
            after) for each.
        data_format: None or "channels_last".

    Input shape: (batch, depth, rows, columns, channels). Output shape: the same, smaller.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Cropping3D
        >>> Cropping3D(1)(np.ones((1, 3, 3, 3, 2))).shape
        (1, 1, 1, 1, 2)
    """

    rank = 3

    cropping: Any = ((1, 1), (1, 1), (1, 1))
    data_format: str | None = None


class _UpSampling(_Edges):
    def _larger(self, x: Tensor, size: Any, mode: str) -> Tensor:
        scales = [1.0, 1.0, *map(float, spread(size, self.rank, "size"))]
        way = "asymmetric" if mode == "nearest" else "half_pixel"
        return channels_last(emit(
            "Resize", channels_first(x), None, np.array(scales, np.float32), mode=mode,
            coordinate_transformation_mode=way, nearest_mode="floor" if mode == "nearest" else None,
            cubic_coeff_a=-0.5 if mode == "cubic" else None,
            exclude_outside=1 if mode == "cubic" else None,
        ))  # fmt: skip


class UpSampling1D(_UpSampling):
    """Each step `size` times.

    Args:
        size: How often.

    Input shape: (batch, steps, channels). Output shape: (batch, steps * size, channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import UpSampling1D
        >>> UpSampling1D(2)(np.ones((1, 3, 2))).shape
        (1, 6, 2)
    """

    rank = 1

    size: int = 2

    def call(self, x: Tensor) -> Tensor:
        """Return the enlarged input."""
        return self._larger(x, self.size, "nearest")


class UpSampling2D(_UpSampling):
    """Rows and columns `size` times as many.

    Args:
        size: A number, or one for rows and columns each.
        data_format: None or "channels_last".
        interpolation: "nearest", "bilinear" or "bicubic".

    Input shape: (batch, rows, columns, channels). Output shape: (batch, rows * size[0],
    columns * size[1], channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import UpSampling2D
        >>> UpSampling2D((2, 3), interpolation="bilinear")(np.ones((1, 3, 3, 2))).shape
        (1, 6, 9, 2)
    """

    size: Any = 2
    data_format: str | None = None
    interpolation: str = "nearest"

    def __post_init__(self) -> None:
        super().__post_init__()
        modes = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}
        if self.interpolation not in modes:
            raise ConfigError(
                f"UpSampling2D: interpolation: expected {', '.join(modes)}, received "
                f"{self.interpolation!r}"
            )
        self._mode = modes[self.interpolation]

    def call(self, x: Tensor) -> Tensor:
        """Return the enlarged input."""
        return self._larger(x, self.size, self._mode)


class UpSampling3D(_UpSampling):
    """Depth, rows and columns `size` times as many.

    Args:
        size: A number, or one for each dimension.
        data_format: None or "channels_last".

    Input shape: (batch, depth, rows, columns, channels). Output shape: (batch, depth * size[0],
    rows * size[1], columns * size[2], channels).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import UpSampling3D
        >>> UpSampling3D(2)(np.ones((1, 2, 2, 2, 1))).shape
        (1, 4, 4, 4, 1)
    """

    rank = 3

    size: Any = 2
    data_format: str | None = None

    def call(self, x: Tensor) -> Tensor:
        """Return the enlarged input."""
        return self._larger(x, self.size, "nearest")
