"""What a sensor of several channels measured at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Reading(Mapping[str, float]):
    """Values by channel name, with their units; immutable.

    It is a mapping, its channels are attributes, and NumPy sees a float32 vector of the
    values in channel order: what a model takes.

    Args:
        values: Value by channel name.
        units: Unit by channel name, such as ``"m/s²"``; ``""`` where it has none.

    Example:
        >>> import numpy as np
        >>> reading = Reading({"accel_x": 0.1, "accel_z": 9.8}, {"accel_x": "m/s²"})
        >>> reading.accel_z, reading["accel_x"], reading.units["accel_x"]
        (9.8, 0.1, 'm/s²')
        >>> np.asarray(reading)
        array([0.1, 9.8], dtype=float32)
    """

    __slots__ = ("_units", "_values")
    _units: dict[str, str]
    _values: dict[str, float]

    def __init__(self, values: Mapping[str, float], units: Mapping[str, str]) -> None:
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_units", {name: units.get(name, "") for name in values})

    @property
    def units(self) -> dict[str, str]:
        """Unit by channel name."""
        return dict(self._units)

    def to_dict(self) -> dict[str, float]:
        """Return the values as a plain dict, for JSON."""
        return dict(self._values)

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __getattr__(self, name: str) -> float:
        try:
            if name.startswith("_"):  # a slot that is not set yet, or NumPy's protocols
                raise KeyError(name)
            return self[name]
        except KeyError:
            raise AttributeError(
                f"no channel {name!r}; this reading has: {', '.join(self)}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Reading does not change; cannot set {name!r}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(list(self._values.values()), dtype=dtype or np.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        return Reading, (self._values, self._units)

    def __repr__(self) -> str:
        parts = (f"{k}={v:g}{' ' + u if (u := self._units[k]) else ''}" for k, v in self.items())
        return f"Reading({', '.join(parts)})"
