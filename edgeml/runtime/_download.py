"""Models from a URL, kept so that they load without a network afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import os
import re
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from edgeml.errors import DownloadError
from edgeml.platform import cache_dir

log = logging.getLogger("edgeml.runtime")

MAX_BYTES = 2 << 30  # no ONNX file is larger
_TIMEOUT = 30.0  # seconds without a byte
_ABANDONED = 24 * 3600  # seconds since the last byte, after which nobody goes on with a part


def fetch(url: str, sha256: str | None) -> Path:
    """Return the cached file of a URL, fetching it the first time.

    The file's name holds the hash of its content, so a cached file that was damaged is
    noticed and fetched again. Without `sha256` the cached file is used as long as it is
    there: what the server has today is not asked.

    Args:
        url: ``https://``; or ``http://`` when `sha256` is given.
        sha256: The file's hash in hex; checked at each call.

    Raises:
        DownloadError: it cannot be fetched, is too large, or has another hash.
    """
    _check_url(url, sha256)
    folder = cache_dir() / "models"
    if (cached := _cached(folder, url, sha256)) is not None:
        return cached
    log.info("fetching %s", shown(url))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_left_overs(folder)
        handle, part = tempfile.mkstemp(dir=folder, prefix=".part-")
    except OSError as error:
        raise DownloadError(
            f"{shown(url)}: cannot be kept in {folder} ({error.strerror}); set EDGEML_CACHE_DIR "
            f"to a folder that can be written",
            url=shown(url),
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _download(url, sha256, file, folder)
            file.flush()
            os.fsync(file.fileno())
        path = folder / _name(url, digest)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    log.info("fetched %s, sha256 %s", shown(url), digest)
    return path


def shown(url: str) -> str:
    """Return a URL without what may be secret in it: user, password and query."""
    parts = _split(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.split("@")[-1], parts.path, "", ""))


def file_hash(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(sha256: str | None) -> str | None:
    """Return the hash in lower case.

    Raises:
        DownloadError: it is not 64 hexadecimal digits.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise DownloadError(f"sha256: expected 64 hexadecimal digits, received {sha256!r}")
    return sha256 and sha256.lower()


def _split(url: str) -> urllib.parse.SplitResult:
    """Split a URL; one that is none has no host."""
    try:
        return urllib.parse.urlsplit(url)
    except ValueError:  # such as a bracket without its pair
        return urllib.parse.SplitResult(url.split(":")[0], "", "", "", "")


def _check_url(url: str, sha256: str | None) -> None:
    parts = _split(url)
    if not parts.hostname or "@" in parts.netloc:
        raise DownloadError(
            f"{shown(url)}: expected https://HOST/PATH, without a user or password in it",
            url=shown(url),
        )
    if parts.scheme == "http" and sha256 is None:
        raise DownloadError(
            f"{shown(url)}: http:// can be changed on the way, so give sha256=, or use https://",
            url=shown(url),
        )


def _name(url: str, digest: str) -> str:
    suffix = Path(urllib.parse.urlsplit(url).path).suffix
    kept = suffix if suffix in (".onnx", ".tflite") else ""
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{digest}{kept}"


def _cached(folder: Path, url: str, sha256: str | None) -> Path | None:
    """Return the newest whole file of this URL, and this hash when one is given."""
    pattern = _name(url, sha256 or "*")
    try:
        files = sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files:
            if file_hash(file) == file.name[17 : 17 + 64]:
                return file
            log.warning("%s was damaged: it is fetched again", file)
    except OSError as error:
        log.warning("the cache %s cannot be read: %s", folder, error)
    return None


def _download(url: str, sha256: str | None, file: IO[bytes], folder: Path) -> str:
    """Write the reply into the file; return its hash."""
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as reply:
            # A redirect may have led from https to http.
            if sha256 is None and urllib.parse.urlsplit(reply.url).scheme != "https":
                raise DownloadError(
                    f"{shown(url)}: it redirects to {shown(reply.url)}, which can be changed on "
                    f"the way; give sha256=",
                    url=shown(url),
                )
            size = 0
            while block := reply.read(1 << 20):
                size += len(block)
                if size > MAX_BYTES:
                    raise DownloadError(
                        f"{shown(url)}: larger than {MAX_BYTES:,} bytes; it was not kept",
                        url=shown(url),
                    )
                digest.update(block)
                file.write(block)
            expected = reply.headers.get("Content-Length")
            if expected is not None and size != int(expected):
                raise DownloadError(
                    f"{shown(url)}: {size:,} of {int(expected):,} bytes came, then the "
                    f"connection broke; try again",
                    url=shown(url),
                )
    except DownloadError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is a reply, too, with a connection
        raise DownloadError(
            f"{shown(url)}: cannot be fetched ({error}), and is not in the cache {folder}",
            url=shown(url),
        ) from error
    received = digest.hexdigest()
    if sha256 is not None and received != sha256:
        raise DownloadError(
            f"{shown(url)}: expected sha256 {sha256}, received {received}; the file was changed, "
            f"or the hash is of another version. It was not kept",
            url=shown(url),
            expected=sha256,
            received=received,
        )
    return received


def _remove_left_overs(folder: Path) -> None:
    """Remove parts of downloads that were killed; one that still runs is younger."""
    for part in folder.glob(".part-*"):
        with contextlib.suppress(OSError):  # another process may be doing the same
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()
