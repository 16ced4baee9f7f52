"""Layers that make one tensor of several."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

from edgeml import ops
from edgeml.errors import ShapeError
from edgeml.graph import Tensor
from edgeml.layers._layer import Layer, mask_of
from edgeml.layers._layout import channels_first, channels_last, pending, under_layout


class Merge(Layer):
    """What the layers that take a list of tensors share."""

    fewest = 2
    most: ClassVar[int | None] = None

    def build(self, input_shape: Any) -> None:
        """Check the number of inputs."""
        count = len(input_shape) if isinstance(input_shape, (list, tuple)) else 0
        if isinstance(input_shape, tuple) and not isinstance(input_shape[0], tuple):
            count = 0  # the shape of a single tensor
        if count < self.fewest or count > (self.most or count):
            number = self.fewest if self.most == self.fewest else f"at least {self.fewest}"
            raise ShapeError(
                f"{type(self).__name__} takes a list of {number} tensors, received {input_shape}",
                received=input_shape,
            )


class Elementwise(Merge):
    """What the layers that work value by value share; see `Add`."""

    def call(self, xs: Any) -> Tensor:
        """Return the merged tensor; a tensor of fewer axes gets more after the batch."""
        most = max(x.ndim for x in xs)
        even = [
            ops.expand_dims(x, list(range(1, most - x.ndim + 1))) if x.ndim < most else x
            for x in xs
        ]
        masks = [mask_of(x) for x in xs]
        if any(m is not None for m in masks):
            return self.merge_masked(even, [
                None if m is None else ops.expand_dims(m, list(range(m.ndim, most))) for m in masks
            ])  # fmt: skip
        return under_layout(lambda *values: self.merge(values), *even)

    def merge_masked(self, xs: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
        """Return what becomes of tensors of which not all steps count."""
        return self.merge(xs)

    def merge(self, xs: Sequence[Tensor]) -> Tensor:
        """Return what becomes of the tensors."""
        raise NotImplementedError

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor | None:
        """A step counts where it counts in one of the inputs; without a mask they all do."""
        masks = [mask_of(y) for y in x]
        if any(m is None for m in masks):
            return None
        return functools.reduce(ops.logical_or, masks)


class Add(Elementwise):
    """The sum of several tensors.

    Input shape: a list of shapes that broadcast. Output shape: theirs.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Add
        >>> Add()([np.ones((1, 2)), np.ones((1, 2))]).tolist()
        [[2.0, 2.0]]
    """

    def merge(self, xs: Sequence[Tensor]) -> Tensor:
        """Return the sum."""
        return functools.reduce(ops.add, xs)


class Subtract(Elementwise):
    """The first of two tensors minus the second.

    Input shape: a list of two shapes that broadcast. Output shape: theirs.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Subtract
        >>> Subtract()([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[2.0, 2.0]]
    """

    most = 2

    def merge(self, xs: Sequence[Tensor]) -> Tensor:
        """Return the difference."""
        return xs[0] - xs[1]


class Multiply(Elementwise):
    """The product of several tensors.

    Input shape: a list of shapes that broadcast. Output shape: theirs.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Multiply
        >>> Multiply()([np.full((1, 2), 3.0), np.full((1, 2), 2.0)]).tolist()
        [[6.0, 6.0]]
    """

    def merge(self, xs: Sequence[Tensor]) -> Tensor:
        """Return the product."""
        return functools.reduce(ops.multiply, xs)

    def merge_masked(self, xs: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
        """Return the product of those that count; 0 where none does."""
        pairs = zip(xs, masks, strict=True)
        y = self.merge([x if m is None else ops.where(m, x, 1.0) for x, m in pairs])
        known = [m for m in masks if m is not None]
        return y if len(known) < len(masks) else ops.where(
            functools.reduce(ops.logical_or, known), y, 0.0
        )  # fmt: skip


class Average(Elementwise):
    """The mean of several tensors.

    Input shape: a list of shapes that broadcast. Output shape: theirs.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Average
        >>> Average()([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[2.0, 2.0]]
    """

    def merge(self, xs: Sequence[Tensor]) -> Tensor:
        """Return the mean."""
        return functools.reduce(ops.add, xs) * (1.0 / len(xs))


class _Extreme(Elementwise):
    """Maximum and Minimum: what does not count gives way to what does."""

    def merge_masked(self, xs: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
        """Return the extreme of those that count."""
        y, seen = xs[0], masks[0]
        for x, mask in zip(xs[1:], masks[1:], strict=True):
            other = x if mask is None else ops.where(mask, x, y)
            own = y if seen is None else ops.where(seen, y, other)
            seen = None if mask is None or seen is None else ops.logical_or(mask, seen)
            y = self.merge([own, other])
        return y


class Maximum(_Extreme):
    """The largest of several tensors, value by value.

    Input shape: a list of shapes that broadcast. Output shape: theirs.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Maximum
        >>> Maximum()([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[3.0, 3.0]]
    """

    def merge(self, xs: Sequence[Tensor]) -> Tensor:
        """Return the maximum."""
        return functools.reduce(ops.maximum, xs)


class Minimum(_Extreme):
    """The smallest of several tensors, value by value.

    Input shape: a list of shapes that broadcast. Output shape: theirs.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Minimum
        >>> Minimum()([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[1.0, 1.0]]
    """

    def merge(self, xs: Sequence[Tensor]) -> Tensor:
        """Return the minimum."""
        return functools.reduce(ops.minimum, xs)


class Concatenate(Merge):
    """Several tensors along an axis.

    Args:
        axis: The axis; the last.

    Input shape: a list of shapes that are the same but for `axis`. Output shape: theirs, with the
    sum along it.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Concatenate
        >>> Concatenate()([np.ones((1, 2)), np.zeros((1, 3))]).shape
        (1, 5)
    """

    fewest = 1

    axis: int = -1

    def call(self, xs: Any) -> Tensor:
        """Return the joined tensors."""
        rank = xs[0].ndim
        axis = self.axis % rank
        if len({x.ndim for x in xs}) == 1 and pending(*xs):
            below = 0 if axis == 0 else 1 if axis == rank - 1 else axis + 1
            return channels_last(ops.concatenate([channels_first(x) for x in xs], below))
        return ops.concatenate(xs, axis)

    def compute_mask(self, x: Any, mask: Tensor | None) -> Tensor | None:
        """Steps count where they do in one of the inputs; joined in time, so are their masks."""
        masks = [mask_of(y) for y in x]
        if all(m is None for m in masks):
            return None
        axis = self.axis % x[0].ndim
        whole = [
            ops.any(ops.equal(y, y), list(range(2, y.ndim))) if m is None else m
            for y, m in zip(x, masks, strict=True)
        ]
        return ops.concatenate(whole, 1) if axis == 1 else functools.reduce(ops.logical_or, whole)


class Dot(Merge):
    """Products of two tensors along axes.

    Args:
        axes: The axis of both, or one of each.
        normalize: Whether to divide by the lengths: cosines.

    Input shape: a list of two shapes, of the same size along `axes`. Output shape: (batch, the
    first's other axes, the second's other axes), at least (batch, 1).

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Dot
        >>> Dot(axes=1)([np.ones((1, 3)), np.ones((1, 3))]).tolist()
        [[3.0]]
    """

    most = 2

    axes: Any
    normalize: bool = False

    def call(self, xs: Any) -> Tensor:
        """Return the products."""
        a, b = xs
        axes = (self.axes, self.axes) if isinstance(self.axes, int) else tuple(self.axes)
        i, j = axes[0] % a.ndim, axes[1] % b.ndim
        if 0 in (i, j) or a.known_shape[i] != b.known_shape[j]:
            raise ShapeError(
                f"Dot: axes {self.axes} of {a.known_shape} and {b.known_shape} have different "
                "sizes, or are the batch",
                expected=a.known_shape[i], received=b.known_shape[j],
            )  # fmt: skip
        if self.normalize:
            a = a / ops.sqrt(ops.maximum(ops.sum(a * a, i, True), 1e-12))
            b = b / ops.sqrt(ops.maximum(ops.sum(b * b, j, True), 1e-12))
        first = [chr(97 + k) for k in range(a.ndim)]
        second = ["a" if k == 0 else first[i] if k == j else chr(110 + k) for k in range(b.ndim)]
        rest = [c for k, c in enumerate(first) if k != i]
        rest += [c for k, c in enumerate(second) if k not in (0, j)]
        y = ops.einsum(f"{''.join(first)},{''.join(second)}->{''.join(rest)}", a, b)
        return ops.expand_dims(y, -1) if y.ndim == 1 else y

    def compute_mask(self, x: Any, mask: Tensor | None) -> None:
        """Steps are no longer those of the inputs."""
        return


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Return the sum of tensors; see `Add`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import add
        >>> add([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[4.0, 4.0]]
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Return the first of two tensors minus the second; see `Subtract`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import subtract
        >>> subtract([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[2.0, 2.0]]
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Return the product of tensors; see `Multiply`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import multiply
        >>> multiply([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[3.0, 3.0]]
    """
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Return the mean of tensors; see `Average`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import average
        >>> average([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[2.0, 2.0]]
    """
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Return the largest of tensors; see `Maximum`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import maximum
        >>> maximum([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[3.0, 3.0]]
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Return the smallest of tensors; see `Minimum`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import minimum
        >>> minimum([np.full((1, 2), 3.0), np.ones((1, 2))]).tolist()
        [[1.0, 1.0]]
    """
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """Return tensors joined along an axis; see `Concatenate`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import concatenate
        >>> concatenate([np.ones((1, 2)), np.zeros((1, 1))]).tolist()
        [[1.0, 1.0, 0.0]]
    """
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: Any = -1, **kwargs: Any) -> Any:
    """Return products of two tensors along axes; see `Dot`.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import dot
        >>> dot([np.ones((1, 3)), np.ones((1, 3))]).tolist()
        [[3.0]]
    """
    return Dot(axes=axes, **kwargs)(inputs)
