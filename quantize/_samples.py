"""What a model is calibrated and judged with: examples, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import DataError, InputError, ModelFormatError
from edgeml.quantize._metadata import get_metadata
from edgeml.quantize._model import Model

Array = NDArray[Any]
Feed = Mapping[str, Array]
Indices = Sequence[int] | Array
_PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
_LABELS = ("labels", "label", "y")


@dataclass
class Samples:
    """Examples for a model, read when they are needed.

    Args:
        count: How many there are.
        feed: ``feed(i)`` returns {input name: array} of example i, batch axis included.
        labels: The truth of each, where it is known.
        groups: What each belongs to, such as a person: never divided between parts.
        origin: Where they come from, for the report.
    """

    count: int
    feed: Callable[[int], Feed]
    labels: Sequence[Any] | None = None
    groups: Sequence[Any] | None = None
    origin: str = "arrays"
    _digests: dict[int, str] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.count

    def feeds(self, indices: Indices) -> Iterator[Feed]:
        """Yield the inputs of some examples.

        Raises:
            InputError: one holds NaN or infinity.
        """
        for i in map(int, indices):
            feed = self.feed(i)
            for name, array in feed.items():
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise InputError(f"example {i}: {name!r} holds NaN or infinity", name=name)
            yield feed

    def label(self, i: int) -> Any:
        """Return the truth of example i, or None."""
        return None if self.labels is None else self.labels[i]

    def groups_of(self, indices: Indices) -> list[Any] | None:
        """Return what some examples belong to."""
        return None if self.groups is None else [self.groups[int(i)] for i in indices]

    def digest(self, indices: Indices) -> str:
        """Return a hash of what some examples hold."""
        found = hashlib.sha256()
        for i in indices:
            for name, array in sorted(self.feed(int(i)).items()):
                texts = array.dtype.kind == "O"
                found.update(name.encode())
                found.update(repr(array.tolist()).encode() if texts else array.tobytes())
        return found.hexdigest()

    def split(self, shares: Sequence[float], seed: int = 0) -> list[Array]:
        """Return indices for parts of these shares, at random; groups stay together."""
        rng = np.random.default_rng(seed)
        of = np.arange(self.count)
        if self.groups is not None:
            of = np.unique([str(group) for group in self.groups], return_inverse=True)[1]
        order = rng.permutation(int(of.max()) + 1)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        ends = np.round(np.cumsum(shares) * len(order)).astype(int)
        part = np.searchsorted(ends, place[of], side="right")
        found = [np.flatnonzero(part == k) for k in range(len(shares))]
        return [rng.permutation(indices) for indices in found]


MOST_OF_A_STREAM = 1000
"""Examples that are taken of an iterator, which may never end."""


def samples_of(data: Any, model: Model, *, labels: Any = None, groups: Any = None) -> Samples:
    """Return examples from what a user has.

    1. An array, or {input name: array}: the first axis counts the examples. A pair is inputs
       and labels.
    2. A list of {input name: array}: each is an example with its batch axis, as the model
       takes it.
    3. An `edgeml.data.Dataset` of arrays or of pairs, not yet batched; or an iterator, a live
       source or pipeline of arrays, feeds or samples, of which the first 1000 are taken.
    4. A folder of pictures (in subfolders, when these name the classes), for models whose
       metadata say how a picture becomes the input; or a ``.npz`` file of arrays by input name
       (or ``x``, for the only one), with ``labels`` beside them.

    Raises:
        DataError: it is none of these, is empty, or the labels are not as many.
    """
    found = _found(data, model)
    if labels is not None:
        found.labels = list(labels)
    if groups is not None:
        found.groups = list(groups)
    if not found.count:
        raise DataError("the data are empty: pass at least one example")
    for what, given in (("labels", found.labels), ("groups", found.groups)):
        if given is not None and len(given) != found.count:
            raise DataError(f"{len(given)} {what} for {found.count} examples: expected one each")
    return found


def _found(data: Any, model: Model) -> Samples:
    if isinstance(data, Samples):
        return data
    if isinstance(data, (str, os.PathLike)):
        return _of_path(Path(data), model)
    if isinstance(data, tuple) and len(data) == 2:
        found = _found(data[0], model)
        found.labels = list(data[1])
        return found
    if isinstance(data, Mapping):
        return _of_arrays({name: np.asarray(array) for name, array in data.items()}, model)
    if isinstance(data, np.ndarray):
        return _of_arrays({_only_input(model): data}, model)
    if isinstance(data, list):
        if not all(isinstance(one, Mapping) for one in data):
            raise DataError(
                f"expected a list of {{input name: array}}, received one of "
                f"{type(data[0]).__name__ if data else 'nothing'}"
            )
        feeds = [_checked_feed(one, model, number) for number, one in enumerate(data)]
        return Samples(len(feeds), feeds.__getitem__, origin="a list")
    if hasattr(data, "take") and hasattr(data, "batch"):
        return _of_dataset(data, model)
    if isinstance(data, AsyncIterable):
        data = iter(_gathered(data))
    if isinstance(data, Iterator):
        return _found(_few(data, model), model)
    raise DataError(
        "expected arrays, (inputs, labels), a list of {input name: array}, a Dataset, a folder of "
        f"pictures or an .npz file; received {type(data).__name__}"
    )


def _gathered(stream: AsyncIterable[Any]) -> list[Any]:
    """Return what a live source gives, up to so many; in a thread, as a loop may be running."""

    async def take() -> list[Any]:
        taken = []
        async with contextlib.AsyncExitStack() as closing:
            items = aiter(stream)
            if isinstance(items, AsyncGenerator):
                closing.push_async_callback(items.aclose)
            async for item in items:
                taken.append(item)
                if len(taken) == MOST_OF_A_STREAM:
                    break
        return taken

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, take()).result()


def _few(data: Iterator[Any], model: Model) -> Any:
    """Return what a stream gives, up to so many: arrays, feeds, or samples that hold them."""
    taken = [getattr(one, "data", one) if not isinstance(one, np.ndarray) else one
             for one in itertools.islice(data, MOST_OF_A_STREAM)]  # fmt: skip
    if all(isinstance(one, np.ndarray) for one in taken):
        return np.stack(taken) if taken else []
    return taken


def _inputs(model: Model) -> dict[str, Any]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return {i.name: i.type.tensor_type for i in model.graph.input if i.name not in weights}


def input_names(model: Model) -> list[str]:
    """Return the names of a model's inputs, without its weights."""
    return list(_inputs(model))


def _only_input(model: Model) -> str:
    names = input_names(model)
    if len(names) != 1:
        raise DataError(f"the model has inputs {names}: pass {{name: array}}, not one array")
    return names[0]


def _checked_feed(given: Mapping[str, Any], model: Model, number: int) -> Feed:
    inputs = _inputs(model)
    if set(given) != set(inputs):
        raise DataError(
            f"example {number}: expected inputs {sorted(inputs)}, received {sorted(given)}"
        )
    found = {name: _as(np.asarray(value), inputs[name]) for name, value in given.items()}
    for name, array in found.items():
        _check_shape(f"example {number}: {name!r}", array.shape, inputs[name], 0)
    return found


def _of_arrays(arrays: Mapping[str, Array], model: Model) -> Samples:
    inputs = _inputs(model)
    if set(arrays) != set(inputs):
        raise DataError(
            f"expected arrays for the model's inputs {sorted(inputs)}, received {sorted(arrays)}: "
            "name them alike"
        )
    many = {
        name for name, kind in inputs.items() if not kind.HasField("shape") or kind.shape.dim
    }  # the others are single numbers, the same for all examples
    counts = {len(arrays[name]) if arrays[name].ndim else 1 for name in many}
    if len(counts) != 1:
        raise DataError(f"inputs of different lengths: {sorted(counts)}")
    for name in many:
        _check_shape(repr(name), (1, *arrays[name].shape[1:]), inputs[name], 1)
        _check_batch(name, inputs[name])
    typed = {name: array if name in many else _as(array, inputs[name])
             for name, array in arrays.items()}  # fmt: skip

    def feed(i: int) -> Feed:
        return {name: _as(array[i : i + 1], inputs[name]) if name in many else array
                for name, array in typed.items()}  # fmt: skip

    return Samples(counts.pop(), feed)


def _as(array: Array, kind: Any) -> Array:
    """Return an array as an input takes it; integers and floats become one another.

    Raises:
        InputError: it holds no numbers, and the input takes them.
    """
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    wanted = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    if wanted.kind in "biuf" and array.dtype.kind not in "biuf":
        raise InputError(
            f"expected numbers that become {wanted}, received {array.dtype}",
            expected=str(wanted), received=str(array.dtype),
        )  # fmt: skip
    return array if array.dtype == wanted else array.astype(wanted)


def _dims(kind: Any) -> list[int | None]:
    return [d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim]  # -1 is any, too


def _check_batch(name: str, kind: Any) -> None:
    dims = _dims(kind) if kind.HasField("shape") else []
    if dims and dims[0] not in (None, 1):
        raise InputError(
            f"{name!r} takes {dims[0]} along its first axis, not one example at a time: pass a "
            "list of {input name: array}, each as the model takes it",
            name=name, expected=dims,
        )  # fmt: skip


def _check_shape(what: str, shape: tuple[int, ...], kind: Any, first: int) -> None:
    """Compare a shape with the model's from an axis on."""
    if not kind.HasField("shape"):
        return
    dims, given = _dims(kind)[first:], shape[first:]
    fits = len(dims) == len(given) and all(
        d is None or d == n for d, n in zip(dims, given, strict=True)
    )
    if not fits:
        shown = [n if n is not None else "any" for n in dims]
        raise InputError(
            f"{what}: expected {'examples of ' if first else ''}shape {shown}, received "
            f"{list(given)}",
            expected=shown, received=list(given),
        )  # fmt: skip


def _of_dataset(data: Any, model: Model) -> Samples:
    xs: list[Any] = []
    ys: list[Any] = []
    for item in data:
        pair = isinstance(item, tuple) and len(item) == 2
        xs.append(item[0] if pair else item)
        if pair:
            ys.append(item[1])
    if not xs:
        raise DataError("the dataset is empty")
    if isinstance(xs[0], Mapping):
        arrays = {name: np.stack([np.asarray(x[name]) for x in xs]) for name in xs[0]}
    else:
        arrays = {_only_input(model): np.stack([np.asarray(x) for x in xs])}
    found = _of_arrays(arrays, model)
    found.labels = ys or None
    found.origin = "a Dataset"
    return found


def _of_path(path: Path, model: Model) -> Samples:
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, TypeError, BadZipFile) as error:
            raise DataError(f"{path} cannot be read as .npz: {error}") from error
        inputs = _inputs(model)
        label = next((n for n in _LABELS if n in arrays and n not in inputs), None)
        labels = None if label is None else arrays.pop(label)
        groups = arrays.pop("groups", None) if "groups" not in inputs else None
        if list(arrays) == ["x"] and len(inputs) == 1:  # as `edgeml evaluate` has it
            arrays = dict.fromkeys(inputs, arrays["x"])
        found = _of_arrays(arrays, model)
        found.labels = None if labels is None else list(labels)
        found.groups = None if groups is None else list(groups)
        found.origin = path.name
        return found
    if path.is_dir():
        return _of_pictures(path, model)
    raise DataError(f"{path}: expected a folder of pictures or an .npz file")


def _of_pictures(folder: Path, model: Model) -> Samples:
    from edgeml.tasks import ImagePreprocess

    cv2 = require("cv2", extra="camera", purpose="reading pictures")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _PICTURES)
    if not files:
        raise DataError(f"{folder} holds no pictures ({', '.join(sorted(_PICTURES))})")
    metadata = get_metadata(model)
    if "preprocess" not in metadata:
        raise ModelFormatError(
            f"{folder}: the model's metadata do not say how a picture becomes its input (edgeml."
            "preprocess): write them with edgeml.quantize.set_metadata, or pass arrays"
        )
    prepare = ImagePreprocess.parse(metadata.get("preprocess"), model="the model")
    name = _only_input(model)

    def feed(i: int) -> Feed:
        frame = cv2.imread(str(files[i]))
        if frame is None:
            raise DataError(f"{files[i]} cannot be read as a picture")
        return {name: prepare(frame)[0]}

    known = [str(label) for label in metadata.get("labels", [])]
    classes = [file.parent.name if file.parent != folder else "" for file in files]
    strange = sorted(set(classes) - set(known))
    if strange and not set(classes).isdisjoint(known):  # some are labels: all are meant to be
        raise DataError(
            f"{folder / strange[0]} holds pictures and is no label of the model, as other "
            f"subfolders are; it has {', '.join(known[:10])}{' …' if len(known) > 10 else ''}"
        )
    labels = None if strange else [known.index(label) for label in classes]
    return Samples(len(files), feed, labels, origin=str(folder.name))
