"""Loading a model from wherever it is."""

from __future__ import annotations

import asyncio
import os
from importlib import resources
from pathlib import Path

from edgeml.errors import DownloadError, ModelFormatError, ModelNotFound
from edgeml.runtime._delegate import choose
from edgeml.runtime._download import _hash, fetch
from edgeml.runtime._session import Session

SHIPPED = "edgeml:"


def load(
    path: str | os.PathLike[str],
    delegate: str = "auto",
    threads: int | None = None,
    *,
    sha256: str | None = None,
) -> Session:
    """Load an ONNX or TFLite model.

    Args:
        path: A file; ``"edgeml:NAME"`` for a model that ships with edgeml; or a URL, which
            is fetched once and kept in the cache.
        delegate: Where to run it: entries separated by commas, the first that can be had;
            only ``"cpu"`` in this version, which ``"auto"`` stands for.
        threads: Threads of one call; None is all cores that the process may use. In a
            pipeline with several calls in flight, 1 is best.
        sha256: Hash that the file must have, in hex.

    Raises:
        ModelNotFound: there is no such file.
        ModelFormatError: the file is truncated, no model, or needs a newer runtime.
        DownloadError: the URL cannot be fetched, or the hash is another.
        DelegateError: no delegate can be had.
        MissingExtra: the runtime for this kind of model is not installed.

    Example:
        >>> import numpy as np, edgeml
        >>> with edgeml.load("edgeml:activity_watch_int8.onnx") as session:
        ...     outputs = session.run(np.zeros((1, 100, 6), np.float32))
        >>> outputs["probabilities"].shape
        (1, 7)
    """
    choose(delegate)
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, or None for all; received {threads}")
    file = resolve(path, sha256)
    head = _head(file)
    if head[4:8] == b"TFL3":
        from edgeml.runtime._litert import LiteRTSession

        return LiteRTSession(str(path), threads, file.read_bytes())
    from edgeml.runtime._onnx import OnnxSession, is_onnx

    if not is_onnx(head):
        raise ModelFormatError(
            f"{path}: neither an ONNX nor a TFLite model (it starts with {head[:8]!r})",
            path=str(path),
        )
    return OnnxSession(str(file), threads)


async def load_async(
    path: str | os.PathLike[str],
    delegate: str = "auto",
    threads: int | None = None,
    *,
    sha256: str | None = None,
) -> Session:
    """Load a model in a worker thread; see `load`."""
    return await asyncio.to_thread(load, path, delegate, threads, sha256=sha256)


def resolve(path: str | os.PathLike[str], sha256: str | None = None) -> Path:
    """Return the local file of a path, a shipped model's name or a URL."""
    text = os.fspath(path)
    if text.startswith(("https://", "http://")):
        return fetch(text, sha256)
    if text.startswith(SHIPPED):
        file = _shipped(text.removeprefix(SHIPPED))
    else:
        file = Path(text).expanduser()
    if not file.exists():
        raise ModelNotFound(f"{text}: there is no such file", path=text)
    if file.is_dir():
        raise ModelFormatError(f"{text}: expected a model file, received a folder", path=text)
    if sha256 is not None and _hash(file) != sha256.lower():
        raise DownloadError(
            f"{text}: expected sha256 {sha256.lower()}, received {_hash(file)}", url=text
        )
    return file


def _shipped(name: str) -> Path:
    folder = Path(str(resources.files("edgeml"))) / "models"
    file = folder / name
    if Path(name).name != name or not file.is_file():
        models = sorted(p.name for p in folder.iterdir() if p.suffix in (".onnx", ".tflite"))
        raise ModelNotFound(
            f"edgeml:{name}: no such model ships with edgeml; there are {', '.join(models)}",
            path=name,
        )
    return file


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            head = opened.read(16)
    except OSError as error:
        raise ModelFormatError(
            f"{file}: cannot be read: {error.strerror}", path=str(file)
        ) from error
    if not head:
        raise ModelFormatError(f"{file}: the file is empty", path=str(file))
    return head
