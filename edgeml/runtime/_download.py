"""Models from a URL, kept so that they load without a network afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from edgeml.errors import DownloadError
from edgeml.platform import cache_dir

log = logging.getLogger("edgeml.runtime")

MAX_BYTES = 2 << 30
_TIMEOUT = 30.0  # seconds without a byte


def fetch(url: str, sha256: str | None) -> Path:
    """Return the cached file of a URL, fetching it the first time.

    Args:
        url: ``https://``; or ``http://`` when `sha256` is given.
        sha256: The file's hash in hex; checked at each call.

    Raises:
        DownloadError: it cannot be fetched, is too large, or has another hash.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "http" and sha256 is None:
        raise DownloadError(
            f"{url}: http:// can be changed on the way, so give sha256=, or use https://", url=url
        )
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    path = cache_dir() / "models" / f"{key}-{Path(parts.path).name or 'model'}"
    if path.is_file() and (sha256 is None or _hash(path) == sha256.lower()):
        return path
    log.info("fetching %s", url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(url, path, sha256)
    except urllib.error.URLError as error:
        raise DownloadError(
            f"{url}: cannot be fetched ({error.reason}) and is not in the cache {path.parent}",
            url=url,
        ) from error
    except OSError as error:
        if isinstance(error, DownloadError):
            raise
        raise DownloadError(
            f"{url}: cannot be kept in {path.parent} ({error}); set EDGEML_CACHE_DIR to a folder "
            f"that can be written",
            url=url,
        ) from error
    return path


def _download(url: str, path: Path, sha256: str | None) -> None:
    """Write the file whole or not at all."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with (
            os.fdopen(handle, "wb") as file,
            urllib.request.urlopen(url, timeout=_TIMEOUT) as reply,
        ):
            digest = hashlib.sha256()
            size = 0
            while block := reply.read(1 << 20):
                size += len(block)
                if size > MAX_BYTES:
                    raise DownloadError(f"{url}: larger than {MAX_BYTES >> 20} MiB", url=url)
                digest.update(block)
                file.write(block)
            expected = reply.headers.get("Content-Length")
            if expected is not None and size != int(expected):
                raise DownloadError(f"{url}: {size} of {expected} bytes came", url=url)
            if sha256 is not None and digest.hexdigest() != sha256.lower():
                raise DownloadError(
                    f"{url}: expected sha256 {sha256.lower()}, received {digest.hexdigest()}; the "
                    f"file was changed, or the hash is of another version",
                    url=url,
                )
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
