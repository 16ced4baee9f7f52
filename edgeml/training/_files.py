"""Files that are either the old or the new one, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from edgeml.errors import CheckpointError


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file beside `path`, and rename it when it is whole and on the disk.

    Raises:
        CheckpointError: it cannot be written; what was there before is untouched.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise CheckpointError(
            f"{path} cannot be written: {error.strerror or error}; what was there before is kept",
            path=str(path),
        ) from error
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current
