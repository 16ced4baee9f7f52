"""Files and addresses as streams of bytes, with a cap on what a server sends."""

from __future__ import annotations

import gzip
import http.client
import io
import os
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from edgeml.errors import DataError, DownloadError

MAX_BYTES = 1 << 30
_TIMEOUT = 30.0  # seconds without a byte


def is_remote(where: str | os.PathLike[str]) -> bool:
    """Whether this is read over a network."""
    return str(where).lower().startswith(("http://", "https://"))


def local_path(where: str | os.PathLike[str]) -> Path:
    """Return the path of a file, or of a ``file://`` address.

    Raises:
        DataError: it is an address of another kind.
    """
    text = os.fspath(where)
    parts = urllib.parse.urlsplit(text)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(urllib.request.url2pathname(parts.path))
    if "://" in text:
        raise DataError(
            f"{shown(where)}: expected a path, file:///PATH, http:// or https://", path=shown(where)
        )
    return Path(text)


def shown(where: str | os.PathLike[str]) -> str:
    """Return a path, or an address without what may be secret in it."""
    if "://" not in str(where):
        return str(where)
    from edgeml.runtime._download import shown as shown_url

    return shown_url(str(where))


@contextmanager
def opened(
    where: str | os.PathLike[str], *, sha256: str | None = None, max_bytes: int = MAX_BYTES
) -> Iterator[IO[bytes]]:
    """Open a path or an address; ``.gz`` is unpacked on the way.

    Raises:
        DataError: the file cannot be opened or unpacked.
        DownloadError: the address cannot be read, or sends more than `max_bytes`.
    """
    suffix = Path(urllib.parse.urlsplit(str(where)).path).suffix.lower()
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_open(where, sha256, max_bytes))
            if suffix == ".gz":
                file = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=file)))
                if is_remote(where):
                    capped = _Capped(file, max_bytes, shown(where))
                    file = stack.enter_context(io.BufferedReader(capped))
            yield file
        except DownloadError:
            raise
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it is a reply, too, with a connection
            kind = DownloadError if is_remote(where) else DataError
            reason = getattr(error, "strerror", None) or error
            raise kind(f"{shown(where)}: cannot be read ({reason})", path=shown(where)) from error


def _open(where: str | os.PathLike[str], sha256: str | None, max_bytes: int) -> IO[bytes]:
    if not is_remote(where):
        return local_path(where).open("rb")
    if sha256 is not None:
        from edgeml.runtime._download import check_sha256, fetch

        path = fetch(str(where), check_sha256(sha256))
        if path.stat().st_size > max_bytes:
            raise _too_large(shown(where), max_bytes)
        return path.open("rb")
    reply = urllib.request.urlopen(str(where), timeout=_TIMEOUT)
    promised = reply.headers.get("Content-Length")
    capped = _Capped(reply, max_bytes, shown(where), int(promised) if promised else None)
    return io.BufferedReader(capped, 1 << 16)


class _Capped(io.RawIOBase):
    """What another stream has, up to a limit; and all of what was promised."""

    def __init__(self, inner: Any, limit: int, where: str, promised: int | None = None) -> None:
        super().__init__()
        self._inner = inner
        self._limit = limit
        self._where = where
        self._promised = promised
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        self._size += len(data)
        if self._size > self._limit:
            raise _too_large(self._where, self._limit)
        if not data and self._promised is not None and self._size < self._promised:
            raise DownloadError(
                f"{self._where}: {self._size:,} of {self._promised:,} bytes came, then the "
                f"connection broke; try again",
                url=self._where,
            )
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()


def _too_large(where: str, limit: int) -> DownloadError:
    return DownloadError(
        f"{where}: sends more than max_bytes={limit:,}; raise it if that is expected", url=where
    )
