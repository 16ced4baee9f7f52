"""Pictures as examples for a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.errors import ConfigError, DataError

if TYPE_CHECKING:
    from edgeml.tasks import ImagePreprocess


def examples(path: str) -> tuple[list[str], list[str]]:
    """Return files, and the class of each: the name of its folder; no classes in a flat folder.

    Raises:
        DataError: there is no such file, or no picture in the folder.
    """
    from edgeml.data._image import _SUFFIXES

    root = Path(path)
    if not root.exists():
        raise DataError(f"{path}: there is no such file or folder", path=path)
    if root.is_file():
        return [str(root)], []
    within = sorted(p for p in root.rglob("*") if p.suffix.lower() in _SUFFIXES)
    found = [p for p in within if not any(x.startswith(".") for x in p.relative_to(root).parts)]
    if not found:
        raise DataError(
            f"{path}: there is no picture in this folder; expected {', '.join(_SUFFIXES)}",
            path=path,
        )
    inner = [p.relative_to(root).parts for p in found]
    labels = [parts[0] for parts in inner] if all(len(parts) > 1 for parts in inner) else []
    return [str(p) for p in found], labels


def preprocess_of(model: str, values: tuple[float, float] | None) -> ImagePreprocess | None:
    """Return how a picture becomes the model's input, when black and white are given.

    Raises:
        ConfigError: the model takes no pictures of a fixed size.
    """
    if values is None:
        return None
    from edgeml.runtime import inspect
    from edgeml.tasks import ImagePreprocess

    spec = inspect(model).inputs[0]
    shape = tuple(spec.shape)
    last = len(shape) == 4 and shape[-1] in (1, 3)
    size = shape[1:3] if last else shape[2:4]
    fixed = [n for n in size if isinstance(n, int)]
    if len(shape) != 4 or len(fixed) != 2:
        dims = ", ".join("any" if n is None else str(n) for n in shape)
        raise ConfigError(
            f"--range is for models that take pictures of a fixed size, and {model} takes "
            f"[{dims}]: write edgeml.preprocess into its metadata"
        )
    low, high = values
    std = 255.0 / (high - low)
    raw = spec.dtype.kind in "iu"
    return ImagePreprocess(
        height=fixed[0], width=fixed[1], layout="NHWC" if last else "NCHW", color="RGB",
        dtype="uint8" if raw else "float32",
        mean=(0.0,) * 3 if raw else (-low * std,) * 3, std=(1.0,) * 3 if raw else (std,) * 3,
    )  # fmt: skip
