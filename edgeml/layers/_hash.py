"""Strings and integers hashed to bins; for pipelines of data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, GraphError, ShapeError
from edgeml.graph import Tensor, function
from edgeml.graph._tree import leaves
from edgeml.layers._category import check_mode, encode
from edgeml.layers._fingerprint import fingerprint64, joined, siphash24
from edgeml.layers._layer import Layer
from edgeml.layers._parameter import Array

_KEY = 0xDECAFCAFFE


class BaseHash(Layer):
    """What hashing layers share; see `Hashing`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        own: Any = self
        check_mode(own)
        if own.num_bins < 1:
            raise ConfigError(
                f"{type(self).__name__}: num_bins: expected at least 1, received {own.num_bins}"
            )
        self._encode = function(lambda x: encode(x, own.output_mode, own.num_bins))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the bins of arrays, or lists, of strings or integers."""
        if any(isinstance(x, Tensor) for x in leaves(args)):
            raise GraphError(
                f"{type(self).__name__}: ONNX has no operator that hashes strings: call the layer "
                "on arrays, in the pipeline of data; inside a model use StringLookup or "
                "IntegerLookup"
            )
        found = self.bins(*args)
        own: Any = self
        return found if own.output_mode == "int" else self._encode(found)

    def bins(self, x: Any) -> Array:
        """Return the number of each value's bin."""
        raise NotImplementedError


def _hashed(values: Any, fn: Callable[[Any], int]) -> Array:
    """Return a number for each value; equal values are hashed once."""
    array = np.asarray(values)
    flat = array.ravel().tolist()
    known = {value: fn(value) for value in set(flat)}
    return np.array([known[value] for value in flat], np.int64).reshape(array.shape)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


class Hashing(BaseHash):
    """Strings or integers as one of so many bins, without a vocabulary.

    It works on arrays, in the pipeline of data, and not inside a model: ONNX has no operator for
    it. The bins are Keras's: FarmHash's fingerprint, or SipHash with a salt, of the text.

    Args:
        num_bins: Number of bins.
        mask_value: A value that has bin 0 for itself, or None.
        salt: One or two integers, the key of SipHash; None: no key.
        output_mode: "int", "one_hot", "multi_hot" or "count"; see `CategoryEncoding`.
        sparse: False.

    Input shape: any. Output shape: with "int" the same, int64.

    Example:
        >>> from edgeml.layers import Hashing
        >>> Hashing(3)([["A"], ["B"], ["C"], ["D"], ["E"]]).ravel().tolist()
        [1, 0, 1, 1, 2]
    """

    num_bins: int
    mask_value: Any = None
    salt: Any = None
    output_mode: str = "int"
    sparse: bool = False

    def bins(self, x: Any) -> Array:
        """Return the number of each value's bin."""
        masked = self.mask_value is not None
        count = self.num_bins - int(masked)
        if count < 1:
            raise ConfigError("Hashing: a mask_value needs at least 2 bins")
        if self.salt is None:
            fn: Callable[[bytes], int] = fingerprint64
        else:
            salt = self.salt if isinstance(self.salt, Sequence) else (self.salt, self.salt)
            fn = functools.partial(siphash24, key=(int(salt[0]), int(salt[1])))

        def bin_of(value: Any) -> int:
            if masked and value == self.mask_value:
                return 0
            return fn(_bytes(value)) % count + int(masked)

        return _hashed(x, bin_of)


class HashedCrossing(BaseHash):
    """Combinations of features as one of so many bins.

    It works on arrays, in the pipeline of data; see `Hashing`. The bins are Keras's.

    Args:
        num_bins: Number of bins.
        output_mode: "int", "one_hot", "multi_hot" or "count"; see `CategoryEncoding`.
        sparse: False.

    Input shape: two or more arrays of one shape, (batch,) or (batch, 1), of strings or integers.
    Output shape: with "int" the same, int64.

    Example:
        >>> from edgeml.layers import HashedCrossing
        >>> HashedCrossing(5)((["A", "B", "A", "B", "A"], [101, 101, 101, 102, 102])).tolist()
        [1, 4, 1, 1, 3]
    """

    num_bins: int
    output_mode: str = "int"
    sparse: bool = False

    def bins(self, x: Any) -> Array:
        """Return the number of each combination's bin."""
        columns = [np.asarray(column) for column in x]
        shapes = {column.shape for column in columns}
        if len(columns) < 2 or len(shapes) != 1:
            raise ShapeError(
                "HashedCrossing takes two or more arrays of one shape, received "
                f"{', '.join(str(column.shape) for column in columns)}"
            )
        rows = zip(*(column.ravel().tolist() for column in columns), strict=True)
        found = [self._cross(row) % self.num_bins for row in rows]
        return np.array(found, np.int64).reshape(columns[0].shape)

    def _cross(self, row: tuple[Any, ...]) -> int:
        total = _KEY
        for value in row:
            own = value % 2**64 if isinstance(value, int) else fingerprint64(_bytes(value))
            total = joined(total, own)
        return total
