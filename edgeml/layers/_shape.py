"""Layers that move values about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, emit
from edgeml.layers._layer import Layer
from edgeml.layers._layout import reshape_rest, under_layout
from edgeml.layers._windows import spread


class Flatten(Layer):
    """All axes but the batch in one, in Keras's order.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Flatten
        >>> Flatten()(np.ones((2, 3, 4))).shape
        (2, 12)
    """

    def call(self, x: Tensor) -> Tensor:
        """Return (batch, values)."""
        if x.ndim == 1:
            return ops.expand_dims(x, -1)
        return reshape_rest(x, [0, _product(x.known_shape[1:])])

    def compute_mask(self, x: Any, mask: Tensor | None) -> None:
        """There are no steps any more."""
        return


def _product(sizes: Sequence[Any]) -> int:
    if any(isinstance(n, str) for n in sizes):
        return -1
    return int(np.prod([int(n) for n in sizes], dtype=np.int64))


class Reshape(Layer):
    """Another shape for each example.

    Args:
        target_shape: The shape without the batch; -1 once, for what is left.
    """

    target_shape: Any

    def call(self, x: Tensor) -> Tensor:
        """Return (batch, *target_shape)."""
        target = [int(n) for n in self.target_shape]
        size = _product(x.known_shape[1:])
        known = int(np.prod([n for n in target if n != -1], dtype=np.int64))
        if size != -1 and (size % max(known, 1) or (-1 not in target and known != size)):
            raise ShapeError(f"{size} values cannot become {tuple(target)}", received=size)
        if -1 in target and size != -1:
            target[target.index(-1)] = size // known
        return reshape_rest(x, [0, *target])

    def compute_mask(self, x: Any, mask: Tensor | None) -> None:
        """Steps are no longer those of the input."""
        return


class Permute(Layer):
    """Another order of the axes.

    Args:
        dims: The new order, counted from 1; the batch stays first.
    """

    dims: Any

    def call(self, x: Tensor) -> Tensor:
        """Return the permuted input."""
        if sorted(self.dims) != list(range(1, x.ndim)):
            raise ConfigError(f"dims: expected an order of 1 to {x.ndim - 1}, got {self.dims}")
        return ops.transpose(x, [0, *self.dims])


class RepeatVector(Layer):
    """(batch, values) `n` times: (batch, n, values)."""

    n: int

    def call(self, x: Tensor) -> Tensor:
        """Return the repeated input."""
        return ops.tile(ops.expand_dims(x, 1), [1, self.n, 1])


def _pairs(value: Any, rank: int, what: str) -> list[tuple[int, int]]:
    """Return (before, after) for each dimension."""
    found = [value] * rank if isinstance(value, int) else list(value)
    if rank == 1 and len(found) == 2 and all(isinstance(n, int) for n in found):
        found = [tuple(found)]
    pairs = [(n, n) if isinstance(n, int) else (int(n[0]), int(n[1])) for n in found]
    if len(pairs) != rank or any(n < 0 for pair in pairs for n in pair):
        raise ConfigError(f"{what}: expected a number or {rank} pairs, received {value!r}")
    return pairs


class _ZeroPadding(Layer):
    rank = 2
    padding: Any = 1

    def call(self, x: Tensor) -> Tensor:
        """Return the padded input."""
        pairs = _pairs(self.padding, self.rank, "padding")
        return ops.pad(x, [(0, 0), *pairs, (0, 0)])


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after, over time; `padding` is a number or (before, after)."""

    rank = 1


class ZeroPadding2D(_ZeroPadding):
    """Zeros around pictures; `padding` is a number or a pair for rows and columns each."""

    rank = 2


class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes; `padding` is a number or a pair for each dimension."""

    rank = 3


class _Cropping(Layer):
    rank = 2
    cropping: Any = 1

    def call(self, x: Tensor) -> Tensor:
        """Return the input without its edges."""
        pairs = _pairs(self.cropping, self.rank, "cropping")
        axes = list(range(1, self.rank + 1))
        ends = [-after if after else np.iinfo(np.int64).max for _, after in pairs]
        return ops.slice_(x, [before for before, _ in pairs], ends, axes)


class Cropping1D(_Cropping):
    """Without the first and last steps; `cropping` is a number or (before, after)."""

    rank = 1


class Cropping2D(_Cropping):
    """Without the edges of pictures; `cropping` is a number or a pair for rows and columns."""

    rank = 2


class Cropping3D(_Cropping):
    """Without the edges of volumes; `cropping` is a number or a pair for each dimension."""

    rank = 3


class _UpSampling(Layer):
    rank = 2
    size: Any = 2

    def call(self, x: Tensor) -> Tensor:
        """Return the enlarged input."""
        return self._resize(x, "nearest")

    def _resize(self, x: Tensor, mode: str) -> Tensor:
        scales = [1.0, 1.0, *map(float, spread(self.size, self.rank, "size"))]
        how = {"nearest": ("asymmetric", "floor"), "linear": ("half_pixel", None),
               "cubic": ("half_pixel", None)}[mode]  # fmt: skip

        from edgeml.layers._layout import channels_first, channels_last

        y = emit(
            "Resize", channels_first(x), None, np.array(scales, np.float32), mode=mode,
            coordinate_transformation_mode=how[0], nearest_mode=how[1],
            cubic_coeff_a=-0.5 if mode == "cubic" else None,
        )  # fmt: skip
        return channels_last(y)


class UpSampling1D(_UpSampling):
    """Each step `size` times."""

    rank = 1


class UpSampling2D(_UpSampling):
    """Rows and columns `size` times as many.

    Args:
        size: A number, or one for rows and columns each.
        interpolation: "nearest", "bilinear" or "bicubic".
    """

    rank = 2

    interpolation: str = "nearest"

    def call(self, x: Tensor) -> Tensor:
        """Return the enlarged input."""
        modes = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}
        if self.interpolation not in modes:
            raise ConfigError(f"interpolation: expected {', '.join(modes)}")
        return self._resize(x, modes[self.interpolation])


class UpSampling3D(_UpSampling):
    """Depth, rows and columns `size` times as many."""

    rank = 3


class Rescaling(Layer):
    """``x * scale + offset``.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Rescaling
        >>> Rescaling(1 / 255)(np.full((1, 2), 255, np.uint8)).tolist()
        [[1.0, 1.0]]
    """

    scale: Any
    offset: Any = 0.0

    def call(self, x: Tensor) -> Tensor:
        """Return the scaled input, float32."""
        x = ops.cast(x, np.float32)
        if isinstance(self.scale, (int, float)) and isinstance(self.offset, (int, float)):
            scale, offset = float(self.scale), float(self.offset)
            return under_layout(lambda v: v * scale + offset if offset else v * scale, x)
        return x * np.asarray(self.scale, np.float32) + np.asarray(self.offset, np.float32)


class Lambda(Layer):
    """A function of tensors as a layer.

    Args:
        function: Written with `edgeml.ops`; register it (`edgeml.layers.register`) to save it.
    """

    function: Any

    def call(self, x: Any) -> Any:
        """Return the function's value."""
        return self.function(x)
