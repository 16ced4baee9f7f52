"""A layer's parameter: an array that outlives the graphs it is used in."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np

from edgeml.errors import ShapeError

Array = np.ndarray[Any, Any]


class Home(Protocol):
    """Keeps the arrays of parameters while they are trained."""

    version: int

    def view(self, key: Hashable) -> Array:
        """Return a parameter's array."""

    def set(self, key: Hashable, value: Array) -> None:
        """Change it."""


class Parameter:
    """Weights or state of a layer; used in `call` like a tensor.

    Attributes:
        path: Name with the layers around it, such as ``"encoder/dense/kernel"``.
        trainable: Whether training may change it by its gradient; running statistics are not.
        value: The array; assigning checks the shape. While a model trains, it is a view of what
            the last step wrote.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import Parameter
        >>> Parameter("scale", np.ones(3, np.float32)).shape
        (3,)
    """

    __array_ufunc__ = None

    def __init__(self, path: str, value: Array, *, trainable: bool = True) -> None:
        self.path = path
        self.trainable = trainable
        self._value = value
        self._changes = 0
        self.home: Home | None = None
        """Where the array is kept while a model trains it."""
        self.constraint: Any = None
        """``fn(weight) -> weight``, applied after each update; None for none."""

    @property
    def value(self) -> Array:
        """The array."""
        return self._value if self.home is None else self.home.view(self)

    @value.setter
    def value(self, new: Any) -> None:
        array = np.asarray(new, self.value.dtype)
        if array.shape != self.shape:
            raise ShapeError(
                f"{self.path}: expected an array of shape {self.shape}, received {array.shape}",
                where=self.path, expected=self.shape, received=array.shape,
            )  # fmt: skip
        self._changes += 1
        if self.home is None:
            self._value = array.copy()
        else:
            self.home.set(self, array)

    @property
    def version(self) -> tuple[int, int, int]:
        """Another value each time that the array may have changed."""
        return self._changes, id(self.home), 0 if self.home is None else self.home.version

    def move(self, home: Home | None) -> None:
        """Keep the array elsewhere; None takes a copy back."""
        if home is None:
            self._value = self.value.copy()
        self.home = home

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return np.dtype(self.value.dtype)

    def __repr__(self) -> str:
        return f"<Parameter {self.path} {self.dtype}{list(self.shape)}>"

    def __add__(self, other: Any) -> Any:
        return other + self if _is_tensor(other) else NotImplemented

    def __mul__(self, other: Any) -> Any:
        return other * self if _is_tensor(other) else NotImplemented


def _is_tensor(value: Any) -> bool:
    from edgeml.graph import Tensor

    return isinstance(value, Tensor)
