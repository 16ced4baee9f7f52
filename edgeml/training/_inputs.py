"""What `fit` is given, as batches of arrays."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, DataError, NonFinite, ShapeError

Array = np.ndarray[Any, Any]
Weights = list["Array | None"]
Batch = tuple[dict[str, Array], list[Array], Weights]
"""Inputs by name, targets, and weights of the examples: one for each target, or none at all."""


def as_array(value: Any, what: str) -> Array:
    """Return an array of numbers; float64 becomes float32, bool and strings are refused or cast."""
    array = np.asarray(value)
    if array.dtype == np.float64 or array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"{what}: expected numbers, received {array.dtype}: encode text and categories as "
            "integers first",
            expected="numbers", received=str(array.dtype),
        )  # fmt: skip
    return array


def by_name(
    x: Any, names: Sequence[str], dtypes: Mapping[str, np.dtype[Any]] | None = None
) -> dict[str, Array]:
    """Return inputs by name, from an array, a sequence in the model's order, or a dict."""

    def read(name: str, value: Any) -> Array:
        if dtypes and name in dtypes and dtypes[name].kind == "O":
            return np.asarray(value, object)
        return as_array(value, f"input {name!r}")

    if isinstance(x, Mapping):
        missing = [name for name in names if name not in x]
        if missing:
            raise DataError(
                f"input {missing[0]!r} is missing: expected {', '.join(names)}, received "
                f"{', '.join(map(str, x)) or 'nothing'}"
            )
        return {name: read(name, x[name]) for name in names}
    values = list(x) if isinstance(x, (tuple, list)) and len(names) > 1 else [x]
    if len(values) != len(names):
        raise DataError(
            f"expected {len(names)} inputs ({', '.join(names)}), received {len(values)}"
        )
    return {name: read(name, value) for name, value in zip(names, values, strict=True)}


@dataclass
class Data:
    """Batches, either cut from arrays or taken from an iterable of batches.

    Args:
        x: Array, sequence or dict of arrays; or an iterable of ``(x, y[, sample_weight])`` batches
            such as an `edgeml.data.Dataset`.
        y: Targets; None when `x` has them. Of several, those that are None are left out.
        sample_weight: One weight for each example; or a list or dict of them, by output.
        names: Names of the model's inputs.
        outputs: Number of targets.
        batch_size: Examples in a batch, for arrays.
        dtypes: What the model's inputs take, by name, where it is known.
        output_names: Names of the model's outputs, for targets that are a dict.
    """

    x: Any
    y: Any
    sample_weight: Any
    names: Sequence[str]
    outputs: int
    batch_size: int
    dtypes: Mapping[str, np.dtype[Any]] = field(default_factory=dict)
    output_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1, received {self.batch_size!r}")
        self.streamed = _is_stream(self.x)
        self._once = self.streamed and iter(self.x) is self.x
        self._head: Batch | None = None
        self._seen: list[Any] = []
        """What `head` took of an iterator, which does not give it again."""
        if self.streamed:
            if self.y is not None:
                raise DataError("y is given beside a dataset: the dataset yields (x, y) itself")
            return
        self._arrays = by_name(self.x, self.names, self.dtypes)
        self._targets = self._as_targets(self.y)
        self._weights = self._as_weights(self.sample_weight)
        self.size = _common_length(self._arrays, self._targets, self._weights)

    def __len__(self) -> int:
        """Return the number of batches of an epoch.

        Raises:
            TypeError: a stream does not know.
        """
        if self.streamed:
            return len(self.x)
        return -(-self.size // self.batch_size)

    def steps(self) -> int | None:
        """Return the number of batches, or None when it is not known before the end."""
        try:
            return len(self)
        except TypeError:
            return None

    @property
    def targets(self) -> list[Array] | None:
        """The targets of all examples, for arrays."""
        return None if self.streamed else self._targets

    def head(self) -> Batch:
        """Return the first batch, to learn the shapes from; it is read once, and is no pass."""
        if self._head is None:
            self._head = self._first()
        return self._head

    def _first(self) -> Batch:
        if self.streamed and hasattr(self.x, "peek"):  # a dataset: no random state moves on
            return self._from_stream(self.x.peek())
        if self._once:
            self._seen = list(itertools.islice(self.x, 1))
            if self._seen:
                return self._from_stream(self._seen[0])
            raise self.empty()
        for batch in self.batches(None):
            return batch
        raise self.empty()

    def empty(self) -> DataError:
        """Return what to raise when an epoch has no batch."""
        hint = (
            ": an iterator gives its batches once; for more epochs use "
            "edgeml.data.Dataset.from_generator, or steps_per_epoch"
        )
        return DataError(
            "the dataset is empty: expected at least one batch" + (hint if self._once else "")
        )

    def set_epoch(self, epoch: int) -> None:
        """Tell a dataset which epoch comes next: its order is the same when training resumes."""
        if hasattr(self.x, "set_epoch"):
            self.x.set_epoch(epoch)

    def batches(self, rng: np.random.Generator | None, start: int = 0) -> Iterator[Batch]:
        """Yield an epoch's batches from number `start`, shuffled by `rng` when it is given."""
        if self.streamed:
            seen, self._seen = self._seen, []
            for element in itertools.islice(itertools.chain(seen, self.x), start, None):
                yield self._from_stream(element)
            return
        order = rng.permutation(self.size) if rng is not None else None
        for at in range(start * self.batch_size, self.size, self.batch_size):
            chosen: Any = slice(at, at + self.batch_size) if order is None else (
                order[at : at + self.batch_size])  # fmt: skip
            yield (
                self._cast({name: array[chosen] for name, array in self._arrays.items()}),
                [array[chosen] for array in self._targets],
                [None if weight is None else weight[chosen] for weight in self._weights],
            )

    def _from_stream(self, element: Any) -> Batch:
        parts = element if isinstance(element, tuple) else (element,)
        if not 1 <= len(parts) <= 3:
            raise DataError(
                f"a dataset yields (x, y) or (x, y, sample_weight), received {len(parts)} parts"
            )
        y = parts[1] if len(parts) > 1 else None
        weight = parts[2] if len(parts) > 2 else None
        arrays = by_name(parts[0], self.names, self.dtypes)
        targets = self._as_targets(y)
        weights = self._as_weights(weight)
        _common_length(arrays, targets, weights)
        return self._cast(arrays), targets, weights

    def _cast(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return a batch's inputs as the model takes them: pictures of bytes become float32."""
        return {name: _as_dtype(a, self.dtypes.get(name), name) for name, a in arrays.items()}

    def _as_targets(self, y: Any) -> list[Array]:
        if y is None:
            return []
        if isinstance(y, Mapping):
            values = self._by_output(y)
        elif isinstance(y, (tuple, list)) and (self.outputs > 1 or _has_gaps(y)):
            values = [value for value in y if value is not None]
        else:
            values = [y]
        if len(values) != self.outputs:
            raise DataError(f"expected {self.outputs} targets, received {len(values)}")
        return [as_array(value, "y") for value in values]

    def _as_weights(self, weight: Any) -> Weights:
        if weight is None:
            return []
        if isinstance(weight, Mapping):
            unknown = [name for name in weight if name not in self.output_names]
            if unknown:
                raise DataError(
                    f"sample_weight: there is no output {unknown[0]!r}; there are "
                    f"{', '.join(self.output_names)}"
                )
            values = [weight.get(name) for name in self.output_names]
        elif self.outputs > 1 and isinstance(weight, (tuple, list)):
            values = list(weight)
        else:
            values = [weight] * max(self.outputs, 1)
        if len(values) != max(self.outputs, 1):
            raise DataError(f"sample_weight: expected {self.outputs}, received {len(values)}")
        return [
            None if value is None else as_array(value, "sample_weight").astype(np.float32)
            for value in values
        ]

    def part(self, rows: slice) -> Data:
        """Return some of the examples, of arrays."""
        targets = [array[rows] for array in self._targets]
        weights = [None if weight is None else weight[rows] for weight in self._weights]
        return dataclasses.replace(
            self, x={name: array[rows] for name, array in self._arrays.items()},
            y=_one_or_all(targets), sample_weight=_one_or_all(weights),
        )  # fmt: skip

    def _by_output(self, y: Mapping[str, Any]) -> list[Any]:
        if len(y) == 1 or not self.output_names:
            return list(y.values())
        if sorted(y) != sorted(self.output_names):
            raise DataError(
                f"expected targets for {', '.join(self.output_names)}, received {', '.join(y)}"
            )
        return [y[name] for name in self.output_names]


def _has_gaps(y: Sequence[Any]) -> bool:
    return any(value is None for value in y)


def _one_or_all(values: Sequence[Any]) -> Any:
    return values if len(values) > 1 else values[0] if values else None


def _as_dtype(array: Array, dtype: np.dtype[Any] | None, name: str) -> Array:
    if dtype is None or array.dtype == dtype or (array.dtype.kind == "f" and dtype.kind != "f"):
        return array
    found = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(found, array):
        raise DataError(
            f"input {name!r} takes {dtype}, and some of its values do not fit: they go from "
            f"{array.min()} to {array.max()}",
            expected=str(dtype), received=str(array.dtype),
        )  # fmt: skip
    return found


def _is_stream(x: Any) -> bool:
    if isinstance(x, (np.ndarray, Mapping, list, tuple, int, float)):
        return False
    return hasattr(x, "__iter__") and not hasattr(x, "__array__")


def _named(
    arrays: Mapping[str, Array], targets: Sequence[Array], weights: Weights
) -> list[tuple[str, Array]]:
    """Return all arrays of a batch, with what errors call them."""
    named = [(f"input {name!r}", array) for name, array in arrays.items()]
    named += [("y", array) for array in targets]
    return named + [("sample_weight", array) for array in weights if array is not None]


def _common_length(arrays: Mapping[str, Array], targets: Sequence[Array], weights: Weights) -> int:
    named = _named(arrays, targets, weights)
    for label, array in named:
        if array.ndim == 0:
            raise ShapeError(f"{label}: expected a batch of examples, received a single number")
    first, size = named[0][0], len(named[0][1])
    for label, array in named[1:]:
        if len(array) != size:
            raise ShapeError(
                f"{label} has {len(array)} examples, and {first} has {size}: they must be as many",
                expected=size, received=len(array),
            )  # fmt: skip
    if not size:
        raise DataError(f"{first} is empty: expected at least one example")
    return size


def check_finite(batch: Batch, number: int, what: str = "batch") -> None:
    """Raise NonFinite when a batch holds NaN or infinity; the message names batch and example."""
    for label, array in _named(*batch):
        if _is_finite(array):
            continue
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            place = tuple(int(i) for i in bad[0])
            raise NonFinite(
                f"{what} {number}: {label} holds {array[place]} at {place}, {len(bad)} such values "
                "in all: clean the data, for instance with numpy.nan_to_num",
                batch=number, where=label, index=place,
            )  # fmt: skip


def _is_finite(array: Array) -> bool:
    """Return whether all is finite; large finite values may not look so."""
    if array.dtype.kind != "f":
        return True
    # One pass, without a temporary: the sum of squares is finite only if all terms are.
    flat = array.reshape(-1)
    return math.isfinite(np.dot(flat, flat))
