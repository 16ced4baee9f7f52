"""Files that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Open a file beside `path`, which takes its place when the block ends and it is on the disk.

    Whenever the process or the power goes, `path` holds what was there before or all that is new.

    Args:
        path: The file; folders above it are made when they are missing.
        mode: Permissions, less the process's umask.

    Yields:
        The new file, open for bytes.

    Raises:
        OSError: it cannot be written; what was there before is untouched.

    Example:
        >>> from pathlib import Path
        >>> with replacing("/tmp/edgeml-example.txt") as file:
        ...     _ = file.write(b"whole")
        >>> Path("/tmp/edgeml-example.txt").read_text()
        'whole'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:50]}.{secrets.token_hex(8)}")

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, mode)

    with contextlib.ExitStack() as on_error:
        file = open(temporary, "xb", opener=opener)  # noqa: SIM115  # closed before it is renamed
        on_error.callback(_remove, temporary)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        on_error.pop_all()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
