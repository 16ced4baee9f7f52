"""Start values of weights, by Keras's names and formulas."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeml._names import snake
from edgeml.errors import ConfigError

Array = np.ndarray[Any, Any]
Rng = np.random.Generator


class Initializer:
    """Makes the start value of a weight: ``initializer(shape, rng)``, float32.

    A subclass is a dataclass of its arguments.
    """

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return an array of `shape`, in Keras's order (kernels end in inputs, outputs)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal initializer."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclasses.dataclass
class Constant(Initializer):
    """All values are `value`."""

    value: float = 0.0

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        return np.full(shape, self.value, np.float32)


@dataclasses.dataclass
class RandomUniform(Initializer):
    """Uniform in [minval, maxval)."""

    minval: float = -0.05
    maxval: float = 0.05

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        return rng.uniform(self.minval, self.maxval, shape).astype(np.float32)


@dataclasses.dataclass
class RandomNormal(Initializer):
    """Normal with `mean` and `stddev`."""

    mean: float = 0.0
    stddev: float = 0.05

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        return rng.normal(self.mean, self.stddev, shape).astype(np.float32)


@dataclasses.dataclass
class TruncatedNormal(Initializer):
    """Normal, with values beyond two standard deviations drawn again."""

    mean: float = 0.0
    stddev: float = 0.05

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        values = rng.standard_normal(shape)
        while (outside := np.abs(values) > 2.0).any():
            values[outside] = rng.standard_normal(int(outside.sum()))
        return (values * self.stddev + self.mean).astype(np.float32)


@dataclasses.dataclass
class VarianceScaling(Initializer):
    """Scaled so that signals keep their variance from layer to layer.

    Args:
        scale: Factor of the variance.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal", "untruncated_normal" or "uniform".
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = np.sqrt(3.0 * variance)
            return rng.uniform(-limit, limit, shape).astype(np.float32)
        if self.distribution == "untruncated_normal":
            return rng.normal(0.0, np.sqrt(variance), shape).astype(np.float32)
        # Cutting the tails off makes a unit normal this much narrower.
        return TruncatedNormal(0.0, float(np.sqrt(variance)) / 0.87962566103423978)(shape, rng)


@dataclasses.dataclass
class Orthogonal(Initializer):
    """Orthogonal columns (or rows), by the QR decomposition of a normal matrix."""

    gain: float = 1.0

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        if len(shape) < 2:
            raise ConfigError(f"orthogonal needs at least two axes, received the shape {shape}")
        rows = int(np.prod(shape[:-1]))
        columns = int(shape[-1])
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diag(r))
        return (self.gain * (q.T if rows < columns else q)).reshape(shape).astype(np.float32)


@dataclasses.dataclass
class Identity(Initializer):
    """The identity matrix times `gain`."""

    gain: float = 1.0

    def __call__(self, shape: Sequence[int], rng: Rng) -> Array:
        """Return the array."""
        if len(shape) != 2:
            raise ConfigError(f"identity needs two axes, received the shape {tuple(shape)}")
        return self.gain * np.eye(*shape, dtype=np.float32)


def fans(shape: Sequence[int]) -> tuple[float, float]:
    """Return how many values a unit takes and gives, for a kernel of this shape."""
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    field = float(np.prod(shape[:-2]))
    return shape[-2] * field, shape[-1] * field


_BY_NAME: dict[str, Initializer] = {
    "zeros": Constant(0.0),
    "ones": Constant(1.0),
    "constant": Constant(),
    "random_uniform": RandomUniform(),
    "uniform": RandomUniform(),
    "random_normal": RandomNormal(),
    "normal": RandomNormal(),
    "truncated_normal": TruncatedNormal(),
    "variance_scaling": VarianceScaling(),
    "glorot_uniform": VarianceScaling(1.0, "fan_avg", "uniform"),
    "glorot_normal": VarianceScaling(1.0, "fan_avg"),
    "he_uniform": VarianceScaling(2.0, "fan_in", "uniform"),
    "he_normal": VarianceScaling(2.0, "fan_in"),
    "lecun_uniform": VarianceScaling(1.0, "fan_in", "uniform"),
    "lecun_normal": VarianceScaling(1.0, "fan_in"),
    "orthogonal": Orthogonal(),
    "identity": Identity(),
}


def get(initializer: Any) -> Any:
    """Return an initializer by name (Keras's or TensorFlow.js's spelling), or the one given.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.

    Example:
        >>> import numpy as np
        >>> from edgeml import initializers
        >>> initializers.get("glorotUniform")((3, 3), np.random.default_rng(0)).dtype
        dtype('float32')
    """
    if callable(initializer):
        return initializer
    name = snake(str(initializer)).replace("le_cun", "lecun")
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, 3) or sorted(_BY_NAME)
        raise ConfigError(
            f"there is no initializer {initializer!r}; did you mean {', '.join(near)}?"
        )
    return _BY_NAME[name]
