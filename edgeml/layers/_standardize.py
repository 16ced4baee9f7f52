"""Normalization by statistics of the data, taken once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, DataError, ShapeError
from edgeml.graph import Tensor, as_tensor
from edgeml.layers._layer import Layer
from edgeml.layers._parameter import Array


class Normalization(Layer):
    """Inputs with the mean 0 and the variance 1, by statistics that `adapt` takes of data.

    Args:
        axis: The axes that keep statistics of their own; None: one mean for all.
        mean: The mean, when it is known: a number, or one for each place along `axis`.
        variance: The variance, when it is known.
        invert: Whether to go the other way: from normalized values to the data's.

    Input and output shape: any; the output is float32. Weights, unless given: mean, variance, of
    the size of the axes, and count.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Normalization
        >>> layer = Normalization()
        >>> layer.adapt(np.array([[1.0], [3.0]]))
        >>> layer(np.array([[1.0], [3.0]])).tolist()
        [[-1.0], [1.0]]
    """

    axis: Any = -1
    mean: Any = None
    variance: Any = None
    invert: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.mean is None) != (self.variance is None):
            raise ConfigError("Normalization: mean and variance go together: give both, or none")
        if self.variance is not None and np.min(self.variance) < 0:
            raise ConfigError(f"Normalization: variance must not be negative: {self.variance}")

    def build(self, input_shape: Any) -> None:
        """Make the statistics."""
        rank = len(input_shape)
        axes = () if self.axis is None else tuple(np.atleast_1d(self.axis))
        self._kept = sorted(int(a) % rank for a in axes)
        sizes = tuple(input_shape[a] for a in self._kept)
        if None in sizes:
            raise ShapeError(f"Normalization needs to know axis {self.axis} of {input_shape}")
        self._across = [input_shape[a] if a in self._kept else 1 for a in range(rank)]
        if self.mean is not None:
            self._fixed = [self._spread(value, sizes) for value in (self.mean, self.variance)]
            return
        self.adapt_mean = self.add_weight("mean", sizes, "zeros", trainable=False)
        self.adapt_variance = self.add_weight("variance", sizes, "ones", trainable=False)
        self.count = self.add_weight("count", (), "zeros", trainable=False, dtype=np.int64)

    def _spread(self, value: Any, sizes: tuple[int, ...]) -> Array:
        try:
            whole = np.broadcast_to(np.asarray(value, np.float32), sizes)
        except ValueError:
            raise ShapeError(
                f"Normalization: statistics of shape {np.shape(value)} do not fit axis "
                f"{self.axis}, of size {sizes}",
                expected=sizes, received=np.shape(value),
            ) from None  # fmt: skip
        return whole.reshape(self._across)

    def adapt(self, data: Any) -> None:
        """Take the statistics of data, in one pass.

        Args:
            data: An array, or batches (of a dataset, only the inputs count).

        Raises:
            ConfigError: mean and variance were given.
            DataError: there is no data, or it is not numbers.
        """
        if self.mean is not None:
            raise ConfigError("Normalization: mean and variance were given; leave them out")
        count, mean, square = 0, np.float64(0.0), np.float64(0.0)
        for x in _batches(data):
            if not self.built:
                self.build((None, *x.shape[1:]))
                self.built = True
            axes = tuple(a for a in range(x.ndim) if a not in self._kept)
            new = x.size // max(int(np.prod([x.shape[a] for a in self._kept])), 1)
            if not new:
                continue
            # Sums of squares of large numbers would lose the variance: join the deviations.
            there, apart = x.mean(axes), x.var(axes) * new
            step = there - mean
            total = count + new
            mean = mean + step * (new / total)
            square = square + apart + step * step * (count * new / total)
            count = total
        if not count:
            raise DataError("Normalization.adapt: there is no data")
        self.adapt_mean.value, self.adapt_variance.value = mean, square / count
        self.count.value = count

    def call(self, x: Tensor) -> Tensor:
        """Return ``(x - mean) / sqrt(variance)``, or the inverse."""
        if self.mean is not None:
            mean, variance = (as_tensor(value) for value in self._fixed)
        else:
            mean = ops.reshape(self.adapt_mean, self._across)
            variance = ops.reshape(self.adapt_variance, self._across)
        deviation = ops.maximum(ops.sqrt(variance), 1e-7)
        x = ops.cast(x, np.float32)
        return x * deviation + mean if self.invert else (x - mean) / deviation


def _batches(data: Any) -> Iterable[Array]:
    single = isinstance(data, np.ndarray) or (
        isinstance(data, (list, tuple)) and data and not isinstance(data[0], np.ndarray)
    )
    for batch in [data] if single else data:
        x = batch[0] if isinstance(batch, tuple) else batch
        if isinstance(x, Mapping):
            raise DataError("Normalization.adapt: give the column to adapt to, not a dict of them")
        array = np.asarray(x)
        if array.dtype.kind not in "fiub":
            raise DataError(f"Normalization.adapt: expected numbers, received {array.dtype}")
        wide = array.astype(np.float64)
        yield wide[:, None] if wide.ndim == 1 else wide
