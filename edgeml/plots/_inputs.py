"""Pictures and arrays as a model takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import DataError, InputError, ModelError
from edgeml.graph import Graph, Tensor
from edgeml.plots._probe import Array, Probe
from edgeml.tasks._image import ImagePreprocess, Placement, check_frame

Pixels = NDArray[np.uint8]


@dataclass
class Given:
    """One example as the model takes it, and how it looks.

    Attributes:
        x: Array [1, …].
        picture: uint8 [height, width, 3] RGB; None for what is no picture.
        place: Where the picture lies in the input; None: it is the input.
    """

    x: Array
    picture: Pixels | None
    place: Placement | None = None


def only_input(probe: Probe, graph: Graph) -> Tensor:
    """Return the input of a model that has one.

    Raises:
        InputError: it has several.
    """
    if len(graph.inputs) != 1:
        names = ", ".join(str(x.name) for x in graph.inputs)
        raise InputError(
            f"{probe.name} has {len(graph.inputs)} inputs ({names}): this picture is made of "
            "models with one input",
            received=names,
        )
    return graph.inputs[0]


def as_given(x: Any, tensor: Tensor, probe: Probe, preprocess: Any = None) -> Given:
    """Return what the user gave as one example of the model's input.

    Args:
        x: Path of a picture, a frame uint8 [height, width, 3] BGR, or an array as the model takes
            it, with or without the batch of 1.
        tensor: The model's input.
        probe: The model.
        preprocess: An `ImagePreprocess`, or the same as a dict, instead of the metadata's.

    Raises:
        InputError: the array does not fit.
        DataError: the picture cannot be read.
        ModelError: the model does not say how a picture becomes its input.
    """
    if isinstance(x, str | os.PathLike):
        if Path(x).suffix.lower() == ".npy":
            return as_given(read_array(Path(x)), tensor, probe)
        frame = read_picture(Path(x))
    else:
        x = np.asarray(x)
        if not (x.ndim == 3 and x.dtype == np.uint8 and x.shape[2] == 3 and tensor.ndim == 4):
            fitting = fit(x, tensor, one=True)
            return Given(fitting, look(fitting[0], tensor))
        frame = check_frame(x, "plots")
    said = preprocess or probe.metadata.preprocess
    if not said or (isinstance(said, Mapping) and said.get("type", "image") != "image"):
        raise ModelError(
            f"{probe.name} does not say how a picture becomes its input "
            f"{_free(tensor.known_shape)}: pass preprocess=ImagePreprocess(…), on the command "
            "line --range 0,1 (the values of black and white), or give an array that it takes, as "
            ".npy"
        )
    spec = ImagePreprocess.parse(said, model=probe.name)
    grey = channels_axis(tensor.known_shape) is not None and 1 in (
        tensor.known_shape[1],
        tensor.known_shape[-1],
    )
    if grey:
        cv2 = require("cv2", extra="camera", purpose="A grey picture")
        frame = np.repeat(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[:, :, None], 3, axis=2)
    made, place = spec(frame)
    if grey:
        made = made[:, :1] if tensor.known_shape[1] == 1 else made[..., :1]
    made = fit(made, tensor, one=True)
    return Given(made, np.ascontiguousarray(frame[:, :, ::-1]), place)


def batch_of(x: Any, tensor: Tensor, probe: Probe, preprocess: Any = None) -> Array:
    """Return examples as the model takes them: an array, or a list of what `as_given` takes."""
    if isinstance(x, str | os.PathLike) and Path(x).suffix.lower() == ".npy":
        return fit(read_array(Path(x)), tensor)
    if isinstance(x, str | os.PathLike):
        return as_given(x, tensor, probe, preprocess).x
    if isinstance(x, Sequence) and x and isinstance(x[0], str | os.PathLike):
        return np.concatenate([as_given(item, tensor, probe, preprocess).x for item in x])
    x = np.asarray(x)
    is_frame = x.ndim == 3 and x.dtype == np.uint8 and x.shape[2] == 3 and tensor.ndim == 4
    return as_given(x, tensor, probe, preprocess).x if is_frame else fit(x, tensor)


def fit(x: Array, tensor: Tensor, one: bool = False) -> Array:
    """Return an array with the batch in front, in the input's dtype.

    Raises:
        InputError: shape or values do not fit.
    """
    shape = tensor.known_shape
    if x.ndim == len(shape) - 1:
        x = x[None]
    fits = x.ndim == len(shape) and all(
        isinstance(want, str) or want == got
        for want, got in zip(shape[1:], x.shape[1:], strict=True)
    )
    if not fits or not x.size or (one and len(x) != 1):
        what = "one example" if one else "examples"
        raise InputError(
            f"expected {what} of the shape {_free(shape)} for input {tensor.name!r}, received "
            f"{list(x.shape)}",
            name=tensor.name, expected=shape, received=x.shape,
        )  # fmt: skip
    if tensor.dtype.kind in "iu" and x.dtype.kind == "f":
        x = np.clip(np.rint(x), np.iinfo(tensor.dtype).min, np.iinfo(tensor.dtype).max)
    return x.astype(tensor.dtype)


def _free(shape: Sequence[int | str]) -> str:
    return f"[{', '.join('any' if isinstance(dim, str) else str(dim) for dim in shape)}]"


def channels_axis(shape: Sequence[int | str]) -> int | None:
    """Return where a picture's channels are: 1 or -1; None for what is no picture."""
    if len(shape) != 4:
        return None
    return 1 if shape[1] in (1, 3) else -1 if shape[-1] in (1, 3) else None


def look(x: Array, tensor: Tensor) -> Pixels | None:
    """Return how an input without its batch looks, uint8 [height, width, 3]; None for no picture.

    Its values are spread over the range from black to white.
    """
    axis = channels_axis(tensor.known_shape)
    if axis is None:
        return None
    x = x.astype(np.float32)
    x = x.transpose(1, 2, 0) if axis == 1 else x
    low, high = float(x.min()), float(x.max())
    x = (x - low) / (high - low or 1.0)
    return np.repeat(np.rint(255 * x).astype(np.uint8), 3 // x.shape[2], axis=2)


def read_picture(path: Path) -> Pixels:
    """Return a picture upright, uint8 [height, width, 3] BGR.

    Raises:
        DataError: it cannot be read.
    """
    from edgeml.data._image import read

    cv2 = require("cv2", extra="camera", purpose="Reading a picture")
    return np.ascontiguousarray(read(cv2, str(path), gray=False)[:, :, ::-1])


def read_array(path: Path) -> Array:
    """Return the array in an ``.npy`` file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        found: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as an array: {reason}", path=str(path)) from error
    return found
