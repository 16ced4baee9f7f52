"""Categories and bins as numbers that networks take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, DataError
from edgeml.graph import Tensor, as_tensor, emit
from edgeml.layers._layer import Layer
from edgeml.layers._parameter import Array

MODES = ("int", "one_hot", "multi_hot", "count")


def check_mode(layer: Any, modes: Sequence[str] = MODES) -> None:
    """Refuse an output mode that there is not.

    Raises:
        ConfigError: there is no such mode, or `sparse` is asked for.
    """
    name = type(layer).__name__
    if layer.output_mode not in modes:
        raise ConfigError(
            f"{name}: output_mode: expected one of {', '.join(modes)}, received "
            f"{layer.output_mode!r}"
        )
    if layer.sparse:
        raise ConfigError(f"{name}: sparse: ONNX has no sparse tensors between operators: False")


def encode(x: Tensor, mode: str, depth: int, weights: Any = None) -> Tensor:
    """Return integers as vectors of size `depth`; those out of range count nowhere.

    Args:
        x: Integers (batch, ...).
        mode: "int" (as they are), "one_hot", "multi_hot" or "count"; the last two join axis 1,
            or all values of a tensor with one axis.
        depth: Size of the vectors.
        weights: Of "count": what each value counts, of the shape of `x`.
    """
    x = ops.cast(x, np.int64)
    if mode == "int":
        return x
    if mode == "one_hot":
        if x.ndim > 1 and x.known_shape[-1] == 1:
            x = ops.squeeze(x, -1)
        inside = ops.logical_and(ops.greater_equal(x, 0), ops.less(x, depth))
        # ONNX counts negative numbers from the end.
        return ops.one_hot(ops.where(inside, x, np.int64(depth)), depth + 1)[..., :depth]
    flat = x.ndim == 1
    if flat:
        x = ops.expand_dims(x, 0)
        weights = None if weights is None else ops.expand_dims(weights, 0)
    if x.ndim > 2:
        hot = encode(x, "one_hot", depth)
        total = ops.sum(hot if weights is None else hot * ops.expand_dims(weights, -1), axis=1)
    else:
        total = _counted(x, depth, weights)
    total = ops.minimum(total, 1.0) if mode == "multi_hot" else total
    return ops.squeeze(total, 0) if flat else total


def _counted(x: Tensor, depth: int, weights: Any) -> Tensor:
    """Return how often each number stands in a row of (batch, values)."""
    inside = ops.logical_and(ops.greater_equal(x, 0), ops.less(x, depth))
    index = ops.where(inside, x, np.int64(depth))
    rows = x.known_shape[0]
    zeros = emit("Expand", np.float32(0), emit(
        "Concat", emit("Shape", x, start=0, end=1), np.array([depth + 1], np.int64), axis=0
    ), types=[(np.float32, (rows, depth + 1))])  # fmt: skip
    one = np.float32(1) if weights is None else ops.cast(weights, np.float32)
    values = emit("Expand", one, emit("Shape", x), types=[(np.float32, x.known_shape)])
    made = emit("ScatterElements", zeros, index, values, axis=1, reduction="add")
    return ops.slice_(made, [0], [depth], [1])


def batches_of(who: str, data: Any, steps: int | None = None) -> Iterable[Array]:
    """Yield arrays of what `adapt` was given: one array, or batches of inputs (and targets)."""
    whole = isinstance(data, np.ndarray) or (
        isinstance(data, (list, tuple)) and data and not isinstance(data[0], (np.ndarray, tuple))
    )
    for number, batch in enumerate([data] if whole else data):
        if steps is not None and number >= steps:
            return
        x = batch[0] if isinstance(batch, tuple) else batch
        if isinstance(x, Mapping):
            raise DataError(f"{who}.adapt: give the column to adapt to, not a dict of them")
        array = np.asarray(x)
        yield array.astype(object) if array.dtype.kind in "US" else array


class CategoryEncoding(Layer):
    """Numbers of categories as vectors.

    Args:
        num_tokens: Number of categories; others count nowhere.
        output_mode: "multi_hot" (1 for each category in a row), "one_hot" (a vector for each
            number) or "count".
        sparse: False.

    Input shape: (batch, values), integers; `count_weights` has the same. Output shape: (batch,
    num_tokens), with "one_hot" (batch, values, num_tokens), or without the 1 of (batch, 1).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import CategoryEncoding
        >>> CategoryEncoding(4, "count")(np.array([[0, 1, 1]])).tolist()
        [[1.0, 2.0, 0.0, 0.0]]
    """

    num_tokens: int
    output_mode: str = "multi_hot"
    sparse: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mode(self, MODES[1:])
        if self.num_tokens < 1:
            raise ConfigError(
                f"CategoryEncoding: num_tokens: expected at least 1, received {self.num_tokens}"
            )

    def call(self, x: Tensor, count_weights: Any = None) -> Tensor:
        """Return the vectors.

        Args:
            x: Integers.
            count_weights: What each value counts, with "count".
        """
        if count_weights is not None and self.output_mode != "count":
            raise ConfigError("CategoryEncoding: count_weights are for output_mode='count'")
        weights = None if count_weights is None else as_tensor(count_weights)
        return encode(x, self.output_mode, self.num_tokens, weights)


class Discretization(Layer):
    """Numbers as the number of the bin that they lie in.

    Args:
        bin_boundaries: Where one bin ends and the next starts, ascending; a boundary belongs to
            the bin above.
        num_bins: Instead of boundaries: how many bins of equal content `adapt` makes.
        epsilon: As in Keras, and without effect: quantiles are exact.
        output_mode: "int", "one_hot", "multi_hot" or "count"; see `CategoryEncoding`.
        sparse: False.

    Input shape: any, real numbers. Output shape: with "int" the same, int64.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Discretization
        >>> Discretization([0.0, 1.0, 2.0])(np.array([[-1.5, 1.0, 3.4, 0.5]])).tolist()
        [[0, 2, 3, 1]]
    """

    bin_boundaries: Any = None
    num_bins: int | None = None
    epsilon: float = 0.01
    output_mode: str = "int"
    sparse: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mode(self)
        if self.bin_boundaries is None and self.num_bins is None:
            raise ConfigError("Discretization: give bin_boundaries, or num_bins and call adapt()")
        if self.bin_boundaries is not None:
            self.bin_boundaries = [float(b) for b in self.bin_boundaries]
            if sorted(self.bin_boundaries) != self.bin_boundaries:
                raise ConfigError("Discretization: bin_boundaries must ascend")
        elif self.num_bins is not None and self.num_bins < 1:
            raise ConfigError(f"Discretization: num_bins: at least 1, received {self.num_bins}")

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Make bins of equal content.

        Args:
            data: An array, or batches.
            steps: Batches after which it ends.

        Raises:
            ConfigError: boundaries were given instead of `num_bins`.
            DataError: there is no data.
        """
        if self.num_bins is None:
            raise ConfigError("Discretization: bin_boundaries were given; give num_bins to adapt")
        parts = [np.ravel(x) for x in batches_of("Discretization", data, steps)]
        values = np.concatenate(parts) if parts else np.zeros(0)
        if not values.size:
            raise DataError("Discretization.adapt: there is no data")
        shares = np.arange(1, self.num_bins) / self.num_bins
        found = np.quantile(values.astype(np.float64), shares)
        self.bin_boundaries = np.unique(found.astype(np.float32)).astype(float).tolist()

    def call(self, x: Tensor) -> Tensor:
        """Return the bins."""
        if self.bin_boundaries is None:
            raise ConfigError("Discretization: there are no bins yet: call adapt(data)")
        bounds = np.array(self.bin_boundaries, np.float32)
        above = ops.greater_equal(ops.expand_dims(ops.cast(x, np.float32), -1), bounds)
        found = ops.sum(ops.cast(above, np.int64), axis=-1)
        return encode(found, self.output_mode, len(bounds) + 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal layer, adapted."""
        given = None if self.bin_boundaries is not None else self.num_bins
        return {**super().get_config(), "num_bins": given}
