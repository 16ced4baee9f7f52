"""Loading a model from wherever it is."""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import stat
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from edgeml.errors import DelegateError, DownloadError, ModelFormatError, ModelNotFound
from edgeml.platform import cores
from edgeml.runtime._backend import Delegate
from edgeml.runtime._delegate import AUTO, MEASURE, DelegateLike, parse
from edgeml.runtime._download import check_sha256, fetch, file_hash, shown
from edgeml.runtime._session import Session
from edgeml.runtime._winners import recall

if TYPE_CHECKING:
    from edgeml.runtime._worker_host import Isolation
    from edgeml.runtime._worker_session import IsolatedSession

log = logging.getLogger("edgeml.runtime")

PathLike = str | os.PathLike[str]

SHIPPED = "edgeml:"
CPU = Delegate("cpu")
_MOST_THREADS = 1024


@overload
def load(
    path: PathLike,
    delegate: DelegateLike = ...,
    threads: int | None = ...,
    *,
    sha256: str | None = ...,
    isolated: Literal[True] | Isolation,
) -> IsolatedSession: ...
@overload
def load(
    path: PathLike,
    delegate: DelegateLike = ...,
    threads: int | None = ...,
    *,
    sha256: str | None = ...,
    isolated: bool | Isolation = ...,
) -> Session: ...


def load(
    path: PathLike,
    delegate: DelegateLike = "auto",
    threads: int | None = None,
    *,
    sha256: str | None = None,
    isolated: bool | Isolation = False,
) -> Session:
    """Load an ONNX or TFLite model.

    Args:
        path: A file; ``"edgeml:NAME"`` for a model that ships with edgeml; or a URL, which
            is fetched once and kept in the cache.
        delegate: Where to run it: entries separated by commas, the first that can be had:
            a delegate with or without its device (``"openvino"``, ``"openvino:gpu"``), a kind
            (``"npu"``, ``"gpu"``, ``"cpu"``), or `Delegate` objects, which have options.
            ``"auto"`` is the fastest that `edgeml.runtime.measure` found for this model on this
            device, else the CPU; ``"measure"`` measures first. Nodes that a delegate does not
            take run on the CPU, which is logged, unless the entry ends in ``!``.
        threads: Threads of one call; None is all cores that the process may use. In a
            pipeline with several calls in flight, 1 is best.
        sha256: Hash that the file must have, in hex.
        isolated: Whether the model is opened and run in a worker process, one for each
            delegate, so that a driver that hangs or crashes, or a file that crashes the
            runtime, does not take this process with it; `Isolation` sets deadlines. The
            session is an `IsolatedSession`, which tells what happens.

    Raises:
        ModelNotFound: there is no such file.
        ModelFormatError: the file is truncated, no model, or needs a newer runtime.
        WorkerLost: isolated, and the worker did not survive the file.
        DownloadError: the URL cannot be fetched, or the hash is another.
        DelegateError: no delegate can be had.
        ValueError: `threads` is not from 1 to 1024.
        MissingExtra: the runtime for this kind of model is not installed.

    Example:
        >>> import numpy as np, edgeml
        >>> with edgeml.load("edgeml:activity_watch_int8.onnx") as session:
        ...     outputs = session.run(np.zeros((1, 100, 6), np.float32))
        >>> outputs["probabilities"].shape
        (1, 7)
    """
    entries = parse(delegate)
    check_threads(threads)
    file = resolve(path, sha256)
    name = said(path)
    if not isolated:
        return open_file(file, name, _settled(entries, file, threads, name), threads)
    from edgeml.runtime._worker_host import Isolation
    from edgeml.runtime._worker_seat import Source
    from edgeml.runtime._worker_session import load_isolated

    if any(entry.name == MEASURE for entry in entries):
        raise DelegateError(
            'delegate "measure" opens all delegates in this process, which isolated= is to avoid: '
            'measure before, with edgeml bench MODEL --delegates, and take "auto"'
        )
    guard = Isolation() if isolated is True else isolated
    if not isinstance(guard, Isolation):
        raise TypeError(f"isolated must be True, False or an Isolation; received {isolated!r}")
    return load_isolated(
        Source.of(file, name, threads), _settled(entries, file, threads, name), guard
    )


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that no device has, which would take minutes to start.

    Raises:
        ValueError: it is one.
    """
    if threads is None or (isinstance(threads, int) and 1 <= threads <= _MOST_THREADS):
        return
    raise ValueError(
        f"threads must be from 1 to {_MOST_THREADS}, or None for all; received {threads!r}"
    )


def open_file(file: Path, name: str, delegate: Sequence[Delegate], threads: int | None) -> Session:
    """Open a file on the first of some delegates that can be had; see `load`."""
    head = _head(file, name)
    if head[4:8] == b"TFL3":
        from edgeml.runtime._litert import LiteRTSession

        return LiteRTSession(name, threads, file.read_bytes(), delegate)
    # Field 1 of an ONNX file, a number: the version of its format.
    if not head.startswith(b"\x08"):
        raise ModelFormatError(
            f"{name}: neither an ONNX nor a TFLite model; it begins with {head[:8]!r}",
            path=name,
        )
    from edgeml.runtime._onnx import OnnxSession

    return OnnxSession(name, threads, file, delegate)


def _settled(
    entries: Sequence[Delegate], file: Path, threads: int | None, name: str
) -> list[Delegate]:
    """Replace "auto" by the winner that was measured before, "measure" by one that is now."""
    settled = []
    for entry in entries:
        if entry.name == MEASURE:
            from edgeml.runtime._measure import measure

            winner: Delegate | None = measure(file, threads=threads, seconds=1.0).winner
        elif entry.name == AUTO:
            winner = recall(file, threads or cores(), name)
        else:
            settled.append(entry)
            continue
        log.info(
            "%s: delegate %s: %s",
            name, entry, winner or "the CPU, as none was measured: edgeml bench MODEL --delegates",
        )  # fmt: skip
        settled += [winner, CPU] if winner and winner != CPU else [winner or CPU]
    return settled


@overload
async def load_async(
    path: PathLike,
    delegate: DelegateLike = ...,
    threads: int | None = ...,
    *,
    sha256: str | None = ...,
    isolated: Literal[True] | Isolation,
) -> IsolatedSession: ...
@overload
async def load_async(
    path: PathLike,
    delegate: DelegateLike = ...,
    threads: int | None = ...,
    *,
    sha256: str | None = ...,
    isolated: bool | Isolation = ...,
) -> Session: ...


async def load_async(
    path: PathLike,
    delegate: DelegateLike = "auto",
    threads: int | None = None,
    *,
    sha256: str | None = None,
    isolated: bool | Isolation = False,
) -> Session:
    """Load a model in a worker thread; see `load`."""
    return await asyncio.to_thread(load, path, delegate, threads, sha256=sha256, isolated=isolated)


def resolve(path: str | os.PathLike[str], sha256: str | None = None) -> Path:
    """Return the local file of a path, a shipped model's name or a URL.

    Raises:
        ModelNotFound: there is no such file.
        ModelFormatError: it is a folder, or no regular file.
        DownloadError: the URL cannot be fetched, or the hash is another.
    """
    text = os.fspath(path)
    sha256 = check_sha256(sha256)
    if _is_url(text):
        return fetch(text, sha256)
    file = _shipped(text.removeprefix(SHIPPED)) if text.startswith(SHIPPED) else _local(text)
    if sha256 is not None and (received := file_hash(file)) != sha256:
        raise DownloadError(
            f"{text}: expected sha256 {sha256}, received {received}",
            path=text,
            expected=sha256,
            received=received,
        )
    return file


def said(path: PathLike) -> str:
    """Return what messages call a model: its path, or its URL without what may be secret."""
    text = os.fspath(path)
    return shown(text) if _is_url(text) else text


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _local(text: str) -> Path:
    file = Path(os.path.expanduser(text))
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ModelNotFound(f"{text}: there is no such file", path=text) from None
    except OSError as error:
        raise ModelFormatError(f"{text}: cannot be read: {error.strerror}", path=text) from error
    if not stat.S_ISREG(mode):
        what = "folder" if stat.S_ISDIR(mode) else "device"
        raise ModelFormatError(f"{text}: expected a model file, received a {what}", path=text)
    return file


def _shipped(name: str) -> Path:
    folder = Path(str(resources.files("edgeml"))) / "models"
    models = sorted(p.name for p in folder.iterdir() if p.suffix in (".onnx", ".tflite"))
    if name not in models:
        nearest = difflib.get_close_matches(name, models, n=1)
        hint = f". Did you mean edgeml:{nearest[0]}?" if nearest else "."
        raise ModelNotFound(
            f"{SHIPPED}{name}: no such model ships with edgeml{hint} There are {', '.join(models)}",
            path=f"{SHIPPED}{name}",
        )
    return folder / name


def _head(file: Path, name: str) -> bytes:
    try:
        with file.open("rb") as opened:
            head = opened.read(16)
    except OSError as error:
        raise ModelFormatError(f"{name}: cannot be read: {error.strerror}", path=name) from error
    if not head:
        raise ModelFormatError(f"{name}: the file is empty", path=name)
    return head
