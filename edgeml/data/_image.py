"""Pictures in folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.data._folder import Folder, OnError, find_classes
from edgeml.data._origin import Origin
from edgeml.data._rows import of_columns
from edgeml.errors import DataError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def image_folder(
    path: str | os.PathLike[str],
    size: tuple[int, int],
    classes: Sequence[str] | None,
    crop: bool,
    gray: bool,
    workers: int,
    on_error: OnError,
) -> Folder:
    """Make the dataset of a folder of pictures."""
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size must be (height, width) in pixels; received {size}")
    cv2 = require("cv2", extra="camera", purpose="Dataset.from_image_folder")
    names, files, labels = find_classes(path, _SUFFIXES, classes)

    def decode(file: str, label: Any) -> tuple[NDArray[np.float32], Any]:
        picture = read(cv2, str(file), gray)
        if crop:
            picture = center(picture, width / height)
        smaller = picture.shape[0] * picture.shape[1] > height * width
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        resized = cv2.resize(picture, (width, height), interpolation=how)
        return resized.reshape(height, width, -1).astype(np.float32), label

    columns = (np.array([str(file) for file in files]), np.array(labels, np.int64))
    rows = of_columns(columns, lambda n: Origin())
    return Folder(rows, decode, names, workers, on_error)


def read(cv2: Any, file: str, gray: bool) -> NDArray[np.uint8]:
    """Return a picture upright, uint8 RGB or gray.

    Raises:
        DataError: it cannot be read.
    """
    try:
        data = np.fromfile(file, np.uint8)
        flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
        picture = cv2.imdecode(data, flag) if data.size else None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})", path=file) from error
    except cv2.error as error:
        raise DataError(f"{file}: cannot be decoded ({error.err})", path=file) from error
    if picture is None:
        reason = "the file is empty" if not data.size else "not a picture, or damaged"
        raise DataError(f"{file}: cannot be decoded: {reason}", path=file)
    upright: NDArray[np.uint8] = picture if gray else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return upright


def center(picture: NDArray[np.uint8], ratio: float) -> NDArray[np.uint8]:
    """Return the largest part around the centre with this width to height."""
    height, width = picture.shape[:2]
    new_width = min(width, max(1, round(height * ratio)))
    new_height = min(height, max(1, round(width / ratio)))
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return picture[top : top + new_height, left : left + new_width]
