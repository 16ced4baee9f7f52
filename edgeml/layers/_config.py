"""Layers and their arguments as JSON, and back."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from edgeml.errors import ModelFormatError

_registered: dict[str, Any] = {}


def register(cls: Any) -> Any:
    """Make a class or function of one's own loadable from saved models; a decorator.

    Example:
        >>> from edgeml.layers import Layer, register
        >>> @register
        ... class Twice(Layer):
        ...     def call(self, x):
        ...         return x * 2.0
    """
    _registered[cls.__name__] = cls
    return cls


def serialize(value: Any) -> Any:
    """Return JSON values for an argument: a number, a layer, an initializer or a function.

    Example:
        >>> from edgeml.layers import Dense, serialize
        >>> serialize(Dense(8))["class"]
        'Dense'
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, (list, tuple)):
        return [serialize(item) for item in value]
    if isinstance(value, dict):
        return {key: serialize(item) for key, item in value.items()}
    if hasattr(value, "get_config"):
        kind = type(value)
        return {
            "class": kind.__name__,
            "module": kind.__module__,
            "config": serialize(value.get_config()),
        }
    if callable(value) and hasattr(value, "__name__"):
        return {"function": value.__name__, "module": value.__module__}
    raise ModelFormatError(f"{value!r} cannot be saved: give it get_config(), or a name")


def deserialize(value: Any) -> Any:
    """Return what `serialize` described.

    Raises:
        ModelFormatError: it is of a class that is neither edgeml's nor registered.

    Example:
        >>> from edgeml.layers import Dense, deserialize, serialize
        >>> deserialize(serialize(Dense(8))).units
        8
    """
    if isinstance(value, list):
        return [deserialize(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value and "dtype" in value:
        return np.array(value["array"], value["dtype"])
    if "class" in value:
        kind = _find(value["class"], value["module"])
        config = {key: deserialize(item) for key, item in value["config"].items()}
        return kind.from_config(config) if hasattr(kind, "from_config") else kind(**config)
    if "function" in value:
        return _find(value["function"], value["module"])
    return {key: deserialize(item) for key, item in value.items()}


def _find(name: str, module: str) -> Any:
    if name in _registered:
        return _registered[name]
    # A file decides no more than which of our own classes is made: nothing else is imported.
    if module.partition(".")[0] == "edgeml":
        found = getattr(importlib.import_module(module), name, None)
        if found is not None and getattr(found, "__module__", "").startswith("edgeml."):
            return found
    raise ModelFormatError(
        f"the model holds {module}.{name}, which is not known here: import the module that "
        "defines it, and decorate it with edgeml.layers.register"
    )
