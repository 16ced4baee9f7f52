"""Start values of weights, by Keras's names and formulas."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from edgeml.errors import ConfigError

Array = np.ndarray[Any, Any]
Rng = np.random.Generator
I = TypeVar("I", bound="Initializer")  # noqa: E741


class Initializer:
    """Makes the start value of a weight: ``initializer(shape, rng)``, float32.

    A subclass is a dataclass of its arguments. A plain function ``fn(shape, rng)`` does as well.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import HeNormal
        >>> HeNormal()((64, 32), np.random.default_rng(0)).shape
        (64, 32)
    """

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return an array.

        Args:
            shape: Its shape, in Keras's order: kernels end in (inputs, outputs).
            rng: Where random numbers come from.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        own: Any = self
        if not dataclasses.is_dataclass(own):
            return {}
        return {f.name: getattr(own, f.name) for f in dataclasses.fields(own) if f.init}

    @classmethod
    def from_config(cls: type[I], config: Mapping[str, Any]) -> I:
        """Return the initializer that `get_config` described."""
        return cls(**config)


@dataclasses.dataclass(frozen=True)
class Zeros(Initializer):
    """All values are 0.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import Zeros
        >>> Zeros()((2, 2), np.random.default_rng(0)).tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        return np.zeros(shape, np.float32)


@dataclasses.dataclass(frozen=True)
class Ones(Initializer):
    """All values are 1.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import Ones
        >>> Ones()((2, 2), np.random.default_rng(0)).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        return np.ones(shape, np.float32)


@dataclasses.dataclass(frozen=True)
class Constant(Initializer):
    """All values are `value`, or those of an array that fits the shape.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import Constant
        >>> Constant(0.5)((2, 2), np.random.default_rng(0)).tolist()
        [[0.5, 0.5], [0.5, 0.5]]
    """

    value: Any = 0.0

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        return np.full(shape, self.value, np.float32)


@dataclasses.dataclass(frozen=True)
class Identity(Initializer):
    """The identity matrix times `gain`.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import Identity
        >>> Identity()((2, 2), np.random.default_rng(0)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    gain: float = 1.0

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        if len(shape) != 2:
            raise ConfigError(f"identity needs two axes, received the shape {tuple(shape)}")
        return np.float32(self.gain) * np.eye(*shape, dtype=np.float32)


@dataclasses.dataclass(frozen=True)
class Random(Initializer):
    """The base of random initializers.

    Args:
        seed: Draws the same values at each call; None: goes on with the model's random numbers.
    """

    _: dataclasses.KW_ONLY
    seed: int | None = None

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        own = rng if self.seed is None else np.random.default_rng(self.seed)
        return self.draw(tuple(shape), own).astype(np.float32)

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Array:
        """Return random values of a shape."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class RandomUniform(Random):
    """Uniform in [minval, maxval).

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import RandomUniform
        >>> RandomUniform(-0.1, 0.1)((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    minval: float = -0.05
    maxval: float = 0.05

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Array:
        """Return random values of a shape."""
        return rng.uniform(self.minval, self.maxval, shape)


@dataclasses.dataclass(frozen=True)
class RandomNormal(Random):
    """Normal with `mean` and `stddev`.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import RandomNormal
        >>> RandomNormal(stddev=0.1)((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    mean: float = 0.0
    stddev: float = 0.05

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Array:
        """Return random values of a shape."""
        return rng.normal(self.mean, self.stddev, shape)


@dataclasses.dataclass(frozen=True)
class TruncatedNormal(Random):
    """Normal, with values beyond two standard deviations drawn again.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import TruncatedNormal
        >>> TruncatedNormal(stddev=0.1)((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    mean: float = 0.0
    stddev: float = 0.05

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Array:
        """Return random values of a shape."""
        return self.mean + self.stddev * cut_normal(shape, rng)


def cut_normal(shape: tuple[int, ...], rng: Rng) -> Array:
    """Return values of a unit normal that are within two standard deviations."""
    values = np.asarray(rng.standard_normal(shape))
    while (outside := np.abs(values) > 2.0).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values


@dataclasses.dataclass(frozen=True)
class Orthogonal(Random):
    """Orthogonal columns (or rows, when there are fewer), by the QR decomposition of a normal one.

    All axes but the last count as rows.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import Orthogonal
        >>> Orthogonal()((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    gain: float = 1.0

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Array:
        """Return random values of a shape."""
        if len(shape) < 2:
            raise ConfigError(f"orthogonal needs at least two axes, received the shape {shape}")
        rows, columns = int(np.prod(shape[:-1])), shape[-1]
        normal = rng.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # else not all are equally likely
        return np.asarray(self.gain * (q.T if rows < columns else q)).reshape(shape)
