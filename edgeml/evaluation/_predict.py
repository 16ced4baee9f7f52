"""Running whatever is evaluated, a batch at a time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.data import Dataset
from edgeml.errors import ConfigError, DataError, ModelError
from edgeml.evaluation._problem import LISTED, listed_kind
from edgeml.evaluation._stats import LEAST_UNITS

Array = np.ndarray[Any, Any]
Run = Callable[[Any], Any]


@dataclass
class Gathered:
    """Targets, predictions, and what was said of each example."""

    y: Any
    p: Any
    last_x: Any
    slices: dict[str, Any]
    labels: tuple[str, ...]


def gather(
    model: Any, data: Any, y: Any, *, kind: str | None, batch_size: int, output: Any,
    slices: Mapping[str, Any], keep: bool,
) -> Gathered:  # fmt: skip
    """Run a model over data.

    Args:
        model: What is evaluated; see `evaluate`.
        data: Dataset, ``(x, y)``, or x.
        y: Targets, when `data` has none.
        kind: Kind of problem, when it is known.
        batch_size: Examples in a run.
        output: Which output, of several.
        slices: Functions of ``(x, y)`` that are called with each batch.
        keep: Whether all inputs are kept, and returned.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size: expected at least 1, received {batch_size!r}")
    ready = isinstance(model, (np.ndarray, list))
    batches = _batches(data, y, batch_size, without_x=ready)
    first_x, first_y = _first(batches)
    single = kind in LISTED or (kind is None and listed_kind(first_y) is not None)
    targets, made, inputs = [], [], []
    told: dict[str, list[Any]] = {name: [] for name in slices}
    with ExitStack() as opened:
        run, labels = (None, ()) if ready else runner(model, output, single, opened)
        for x, part in itertools.chain([(first_x, first_y)], batches):
            targets.append(part)
            if run is not None:
                made.append(run(x))
                _check_count(made[-1], part)
            if keep:
                inputs.append(x)
            for name, fn in slices.items():
                told[name].append(np.asarray(fn(x, part)))
    p = model if ready else join(made)
    if len(p) != (count := sum(map(len, targets))):
        raise DataError(f"there are {count} targets and {len(p)} predictions: as many are needed")
    joined = {name: np.concatenate(parts) for name, parts in told.items()}
    return Gathered(join(targets), p, join(inputs) if keep else None, joined, labels)


def _check_count(p: Any, y: Any) -> None:
    if not hasattr(p, "__len__") or len(p) != len(y):
        got = len(p) if hasattr(p, "__len__") else type(p).__name__
        raise DataError(f"the model returned {got} predictions for a batch of {len(y)} examples")


def _first(batches: Iterator[tuple[Any, Any]]) -> tuple[Any, Any]:
    for batch in batches:
        return batch
    raise DataError("there are no examples: the data are empty")


def _batches(data: Any, y: Any, size: int, without_x: bool) -> Iterator[tuple[Any, Any]]:
    if isinstance(data, Dataset):
        if y is not None:
            raise DataError("y is given beside a dataset: the dataset yields (x, y) itself")
        return _of_dataset(data, size)
    if y is None:
        if not isinstance(data, tuple) or len(data) != 2:
            raise DataError(
                "expected a dataset, (x, y), or x and y=; received "
                f"{type(data).__name__} without targets"
            )
        data, y = data
    return _of_arrays(None if without_x else data, y, size)


def _of_dataset(data: Dataset, size: int) -> Iterator[tuple[Any, Any]]:
    elements = iter(data.unbatch() if data._is_batched() else data)
    while chunk := list(itertools.islice(elements, size)):
        if not isinstance(chunk[0], tuple) or len(chunk[0]) < 2:
            raise DataError("the dataset has no targets: expected elements (x, y)")
        yield stacked([e[0] for e in chunk]), stacked([e[1] for e in chunk])


def _of_arrays(x: Any, y: Any, size: int) -> Iterator[tuple[Any, Any]]:
    y = y if isinstance(y, list) else np.asarray(y)
    if isinstance(y, np.ndarray) and y.ndim == 0:
        raise DataError(f"targets: expected one for each example, received {y}")
    lengths = {len(leaf) for leaf in _leaves(x)} if x is not None else set()
    if lengths - {len(y)}:
        raise DataError(
            f"there are {len(y)} targets and {', '.join(map(str, sorted(lengths)))} inputs: they "
            "must be as many"
        )
    for at in range(0, len(y), size):
        part = slice(at, at + size)
        yield (None if x is None else _cut(x, part)), y[part]


def stacked(values: list[Any]) -> Any:
    """Return examples as one array, or dict of arrays; as they are where shapes differ."""
    head = values[0]
    if isinstance(head, Mapping) and all(
        isinstance(v, np.ndarray | np.generic) for v in head.values()
    ):
        parts = {key: stacked([value[key] for value in values]) for key in head}
        return parts if all(isinstance(v, np.ndarray) for v in parts.values()) else values
    if isinstance(head, (Mapping, str)) or not hasattr(head, "__array__"):
        return np.asarray(values) if isinstance(head, (int, float)) else values
    if len({np.shape(v) for v in values}) > 1:
        return values
    return np.stack([np.asarray(v) for v in values])


def join(parts: list[Any]) -> Any:
    """Return batches one after another."""
    if isinstance(parts[0], Mapping):
        return {key: join([part[key] for part in parts]) for key in parts[0]}
    if all(isinstance(part, np.ndarray) for part in parts):
        if len({part.shape[1:] for part in parts}) > 1:
            raise DataError(
                "batches differ in shape: "
                + " and ".join(sorted({str(part.shape[1:]) for part in parts}))
            )
        return np.concatenate(parts)
    return [item for part in parts for item in part]


def _leaves(x: Any) -> list[Any]:
    if isinstance(x, Mapping):
        return list(x.values())
    return list(x) if isinstance(x, tuple) else [x]


def _cut(x: Any, part: slice) -> Any:
    if isinstance(x, Mapping):
        return {key: np.asarray(value)[part] for key, value in x.items()}
    if isinstance(x, tuple):
        return [np.asarray(value)[part] for value in x]
    return x[part] if isinstance(x, list) else np.asarray(x)[part]


def runner(model: Any, output: Any, single: bool, opened: ExitStack) -> tuple[Run, tuple[str, ...]]:
    """Return what predicts a batch, and the names of classes if the model tells them.

    Raises:
        ConfigError: the model is nothing that predicts.
    """
    if isinstance(model, (str, os.PathLike)):
        from edgeml.runtime import load

        model = opened.enter_context(load(os.fspath(model)))
    if _is_session(model):
        return (lambda x: _run_session(model, x, output)), tuple(model.metadata.labels)
    if single and callable(model):
        return (lambda x: [model(item) for item in x]), ()
    if _is_ours(model):
        # One batch is one run, as it is for sessions.
        return (lambda x: _pick(model.predict(x, batch_size=2**31 - 1), output)), ()
    fn = model if callable(model) else getattr(model, "predict", None)
    if fn is None:
        raise ConfigError(
            "model: expected a Model, a Session, a path, a function, or an array or list of "
            f"predictions; received {type(model).__name__}"
        )
    return (lambda x: _pick(fn(x), output)), ()


def _is_session(model: Any) -> bool:
    from edgeml.runtime import Session

    return isinstance(model, Session)


def _is_ours(model: Any) -> bool:
    if not hasattr(model, "predict") or not hasattr(model, "fit"):
        return False
    from edgeml.training import Model, Trainer

    return isinstance(model, (Model, Trainer))


def _run_session(session: Any, x: Any, output: Any) -> Any:
    specs = session.inputs
    if not isinstance(x, Mapping):
        values = x if isinstance(x, list) and len(specs) > 1 else [x]
        if len(values) != len(specs):
            raise DataError(f"the model has {len(specs)} inputs, the data {len(values)}")
        x = {spec.name: value for spec, value in zip(specs, values, strict=True)}
    arrays = {s.name: _as_dtype(x[s.name], s.dtype) for s in specs if s.name in x}
    count = len(next(iter(arrays.values()), ()))
    fixed = {s.shape[0] for s in specs if s.shape and isinstance(s.shape[0], int)}
    size = fixed.pop() if len(fixed) == 1 else count
    made = []
    for at in range(0, count, size):
        part = {name: array[at : at + size] for name, array in arrays.items()}
        rows = len(next(iter(part.values())))
        if rows < size:  # the last run of a model whose batch is fixed
            part = {n: np.concatenate([a, np.repeat(a[-1:], size - rows, 0)])
                    for n, a in part.items()}  # fmt: skip
        made.append(_pick(session.run(part), output)[:rows])
    return join(made)


def _as_dtype(array: Any, dtype: Any) -> Array:
    found: Array = np.asarray(array)
    return found.astype(dtype) if dtype.kind == "f" and found.dtype.kind in "biu" else found


def _pick(outputs: Any, output: Any) -> Any:
    """Return the output that is asked for; of several without a choice the one of floats."""
    if isinstance(outputs, (tuple, list)) and outputs and isinstance(outputs[0], np.ndarray):
        outputs = dict(enumerate(outputs))
    if not isinstance(outputs, Mapping):
        if output is not None:
            raise ConfigError(f"output={output!r} was given, and the model has one output")
        return outputs if isinstance(outputs, list) else np.asarray(outputs)
    if output is not None:
        if output not in outputs:
            raise ConfigError(
                f"there is no output {output!r}; there are {', '.join(map(str, outputs))}"
            )
        return outputs[output]
    floats = [v for v in outputs.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    if len(floats) == 1:
        return floats[0]
    raise ModelError(
        f"the model has {len(outputs)} outputs ({', '.join(map(str, outputs))}): say which by "
        "output="
    )


def groups_of(data: Any, n: int) -> tuple[Array | None, tuple[str, ...]]:
    """Return the groups that a dataset knows of its rows, and what to tell of them."""
    if not isinstance(data, Dataset) or not data._is_ordered():
        return None, ()
    origin = data._origin()
    for what in ("groups", "sources"):
        names = getattr(origin, what, None)
        if names is None or len(names) != n:
            continue
        count = len(np.unique(names))
        if LEAST_UNITS <= count < n:
            return names, (f"the dataset's {count} {what} are taken as groups",)
        if count < LEAST_UNITS:
            told = (
                f"the data come from {count} {what}, too few to take them as groups: intervals "
                "hold for examples like these, not for others' data"
            )
            return None, (told,)
    return None, ()


def as_masks(name: str, values: Any, n: int) -> dict[str, Array]:
    """Return the examples of each slice that an array describes, as masks by name.

    Raises:
        DataError: it has another length, or no example is in the slice.
    """
    array = np.asarray(values)
    if array.shape != (n,):
        raise DataError(
            f"slice {name!r}: expected one value for each of the {n} examples, received shape "
            f"{array.shape}"
        )
    if array.dtype == bool:
        masks = {name: array}
    else:
        array = array.astype(str) if array.dtype == object else array
        masks = {f"{name}={value}": array == value for value in np.unique(array)}
    for own, mask in masks.items():
        if not mask.any():
            raise DataError(f"slice {own!r} is empty: none of the {n} examples is in it")
    return masks
