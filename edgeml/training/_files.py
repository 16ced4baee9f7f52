"""Files of training: the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO

from edgeml.errors import CheckpointError
from edgeml.platform import replacing


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Open a file that takes `path`'s place when it is whole; see `edgeml.platform.replacing`.

    Raises:
        CheckpointError: it cannot be written; what was there before is untouched.
    """
    try:
        with replacing(path, mode) as file:
            yield file
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror or error}; what was there before is kept",
            path=str(path),
        ) from error
