"""Start values that keep the variance of signals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import field

import numpy as np

from edgeml._names import snake
from edgeml.errors import ConfigError
from edgeml.initializers._initializers import Array, Random, Rng, cut_normal

# Cutting a normal's tails off at two standard deviations makes it this much narrower.
_CUT_STDDEV = 0.87962566103423978


@dataclasses.dataclass(frozen=True)
class VarianceScaling(Random):
    """Scaled so that signals keep their variance from layer to layer.

    Args:
        scale: Factor of the variance, above 0.
        mode: "fan_in" (values that a unit takes), "fan_out" (gives), or "fan_avg" (their mean).
        distribution: "truncated_normal" or "normal", "untruncated_normal", or "uniform".
        seed: Draws the same values at each call.

    Raises:
        ConfigError: an argument is none of these.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import VarianceScaling
        >>> kernel = VarianceScaling(2.0, "fan_in")((3, 3, 16, 32), np.random.default_rng(0))
        >>> kernel.dtype
        dtype('float32')
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigError(f"scale: expected a number above 0, received {self.scale}")
        if snake(self.mode) not in ("fan_in", "fan_out", "fan_avg"):
            raise ConfigError(
                f"mode: expected 'fan_in', 'fan_out' or 'fan_avg', received {self.mode!r}"
            )
        known = ("truncated_normal", "normal", "untruncated_normal", "uniform")
        if snake(self.distribution) not in known:
            raise ConfigError(
                f"distribution: expected one of {', '.join(known)}, received {self.distribution!r}"
            )

    def draw(self, shape: tuple[int, ...], rng: Rng) -> Array:
        """Return random values of a shape."""
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        stddev = float(np.sqrt(self.scale / max(1.0, fan[snake(self.mode)])))
        kind = snake(self.distribution)
        if kind == "uniform":
            limit = np.sqrt(3.0) * stddev
            return rng.uniform(-limit, limit, shape)
        if kind == "untruncated_normal":
            return rng.normal(0.0, stddev, shape)
        return stddev / _CUT_STDDEV * cut_normal(shape, rng)


def fans(shape: Sequence[int]) -> tuple[float, float]:
    """Return how many values a unit takes and gives, for a kernel of this shape (HWIO)."""
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    field = float(np.prod(shape[:-2]))
    return shape[-2] * field, shape[-1] * field


@dataclasses.dataclass(frozen=True)
class GlorotUniform(VarianceScaling):
    """Uniform, by the mean of both fans; also called Xavier's.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import GlorotUniform
        >>> GlorotUniform()((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    scale: float = field(default=1.0, init=False)
    mode: str = field(default="fan_avg", init=False)
    distribution: str = field(default="uniform", init=False)


@dataclasses.dataclass(frozen=True)
class GlorotNormal(VarianceScaling):
    """Truncated normal, by the mean of both fans; also called Xavier's.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import GlorotNormal
        >>> GlorotNormal()((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    scale: float = field(default=1.0, init=False)
    mode: str = field(default="fan_avg", init=False)
    distribution: str = field(default="truncated_normal", init=False)


@dataclasses.dataclass(frozen=True)
class HeUniform(VarianceScaling):
    """Uniform, by twice the inputs' fan: for layers before a ReLU.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import HeUniform
        >>> HeUniform()((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    scale: float = field(default=2.0, init=False)
    mode: str = field(default="fan_in", init=False)
    distribution: str = field(default="uniform", init=False)


@dataclasses.dataclass(frozen=True)
class HeNormal(VarianceScaling):
    """Truncated normal, by twice the inputs' fan: for layers before a ReLU.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import HeNormal
        >>> HeNormal()((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    scale: float = field(default=2.0, init=False)
    mode: str = field(default="fan_in", init=False)
    distribution: str = field(default="truncated_normal", init=False)


@dataclasses.dataclass(frozen=True)
class LecunUniform(VarianceScaling):
    """Uniform, by the inputs' fan.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import LecunUniform
        >>> LecunUniform()((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    scale: float = field(default=1.0, init=False)
    mode: str = field(default="fan_in", init=False)
    distribution: str = field(default="uniform", init=False)


@dataclasses.dataclass(frozen=True)
class LecunNormal(VarianceScaling):
    """Truncated normal, by the inputs' fan: for layers before a SELU.

    Example:
        >>> import numpy as np
        >>> from edgeml.initializers import LecunNormal
        >>> LecunNormal()((2, 2), np.random.default_rng(0)).shape
        (2, 2)
    """

    scale: float = field(default=1.0, init=False)
    mode: str = field(default="fan_in", init=False)
    distribution: str = field(default="truncated_normal", init=False)
