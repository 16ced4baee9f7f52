"""Initializers by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from edgeml._names import snake
from edgeml.errors import ConfigError
from edgeml.initializers import _initializers, _scaling, _stft
from edgeml.initializers._initializers import Array, Initializer

_CLASSES: tuple[type[Initializer], ...] = (
    _initializers.Constant, _initializers.Identity, _initializers.Ones, _initializers.Orthogonal,
    _initializers.RandomNormal, _initializers.RandomUniform, _initializers.TruncatedNormal,
    _initializers.Zeros, _scaling.GlorotNormal, _scaling.GlorotUniform, _scaling.HeNormal,
    _scaling.HeUniform, _scaling.LecunNormal, _scaling.LecunUniform, _scaling.VarianceScaling,
    _stft.STFT,
)  # fmt: skip
_BY_NAME = {snake(cls.__name__): cls for cls in _CLASSES} | {
    "normal": _initializers.RandomNormal, "uniform": _initializers.RandomUniform,
    "identity_initializer": _initializers.Identity, "stft_initializer": _stft.STFT,
    "orthogonal_initializer": _initializers.Orthogonal,
}  # fmt: skip


def get(initializer: Any) -> Callable[..., Array]:
    """Return an initializer by name (Keras's or TensorFlow.js's spelling), or the one given.

    Args:
        initializer: A name; a class; a function ``fn(shape, rng)``; or a dict
            ``{"class_name": …, "config": {…}}`` as Keras writes it.

    Raises:
        ConfigError: there is none of that name; the message has the nearest.

    Example:
        >>> import numpy as np
        >>> from edgeml import initializers
        >>> initializers.get("glorotUniform")((3, 3), np.random.default_rng(0)).dtype
        dtype('float32')
    """
    if inspect.isclass(initializer) and issubclass(initializer, Initializer):
        return initializer()
    if callable(initializer):
        found: Callable[..., Array] = initializer
        return found
    options: dict[str, Any] = {}
    name = initializer
    if isinstance(initializer, Mapping):
        name, options = initializer.get("class_name", ""), dict(initializer.get("config") or {})
    # TensorFlow.js writes leCunNormal.
    known = snake(str(name)).replace("le_cun", "lecun")
    if known not in _BY_NAME:
        near = difflib.get_close_matches(known, _BY_NAME, 3) or sorted(_BY_NAME)
        raise ConfigError(f"there is no initializer {name!r}; did you mean {', '.join(near)}?")
    return _BY_NAME[known](**{snake(key): value for key, value in options.items()})
