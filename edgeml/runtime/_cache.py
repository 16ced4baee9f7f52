"""Engines that delegates compiled for a model, kept so that the next load need not compile."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from edgeml.platform import cache_dir, cpu_name, machine, replacing
from edgeml.runtime._backend import Backend, Delegate
from edgeml.runtime._download import file_hash
from edgeml.runtime._errors import reason
from edgeml.runtime._onnx_file import read_onnx
from edgeml.runtime._plugin import runtime

log = logging.getLogger("edgeml.runtime")

BUDGET = 1 << 30  # bytes of all engines
CONTEXT = "engine.onnx"  # a model of which the compiled parts are single nodes (EPContext)
_MANIFEST = "engine.json"
_SCHEMA = 1
_ABANDONED = 24 * 3600  # seconds, after which nobody goes on with what was begun


class Node(NamedTuple):
    """A node of the model, as the runtime tells of it."""

    name: str
    op_type: str


Assigned = list[tuple[str, list[Any]]]


class Create(Protocol):
    """What makes a session."""

    def __call__(self, folder: Path | None, *, ready: bool) -> tuple[Any, Assigned]:
        """Return a session, and by provider the nodes of the model that it runs.

        Args:
            folder: Of the engine; None is to keep none.
            ready: Whether the engine is there, else it is to be put there.
        """


@dataclass(frozen=True)
class Engine:
    """The place of one model's engine for one delegate with its options.

    An engine is a folder that appears whole, by a rename, with a manifest: for which device and
    versions it was compiled, the hash of each file, and where the model's nodes ran, which a
    compiled model no longer tells.
    """

    folder: Path
    name: str  # of the model and delegate, in the log
    here: dict[str, dict[str, str]]  # the device and versions that it must be for

    def open(self, create: Create) -> tuple[Any, Assigned]:
        """Return a session with the engine that is kept, or with one that is kept from now on."""
        if (manifest := self._manifest()) is not None:
            try:
                session, nodes = create(self.folder, ready=True)
            except Exception as error:
                self._discard(f"cannot be loaded ({reason(error)})")
            else:
                log.debug("%s: the engine in %s is used", self.name, self.folder)
                self._used(manifest)
                return session, _assigned(manifest) or nodes
        return self._build(create)

    def _build(self, create: Create) -> tuple[Any, Assigned]:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            _remove_left_overs(self.folder.parent)
            part = Path(tempfile.mkdtemp(prefix=f".part-{os.getpid()}-", dir=self.folder.parent))
        except OSError as error:
            log.warning(
                "%s: its engine cannot be kept in %s (%s), so each load compiles it; set "
                "EDGEML_CACHE_DIR to a folder that can be written",
                self.name, self.folder.parent, error.strerror,
            )  # fmt: skip
            return create(None, ready=False)
        try:
            try:
                session, nodes = create(part, ready=False)
            except Exception as error:
                opened = create(None, ready=False)  # raises itself, when it is not the keeping
                log.warning("%s: its engine cannot be kept: %s", self.name, reason(error))
                return opened
            self._keep(part, nodes)
        finally:
            shutil.rmtree(part, ignore_errors=True)  # moved away, if all went well
        return session, nodes

    def _manifest(self) -> dict[str, Any] | None:
        """Return the manifest of an engine that is whole and of today's versions."""
        if not os.path.exists(self.folder):  # nor when there is no right to see it
            return None
        try:
            manifest = json.loads((self.folder / _MANIFEST).read_text(encoding="utf-8"))
            if (why := self._stale(manifest)) is None:
                return dict(manifest)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"is damaged ({type(error).__name__}: {error})"
        self._discard(why)
        return None

    def _stale(self, manifest: dict[str, Any]) -> str | None:
        """Return why an engine is of no use; None when it is."""
        if manifest["schema"] != _SCHEMA:
            return "was kept by another version of edgeml"
        for key, now in self.here.items():
            if manifest[key] != now:
                return f"was compiled {_change(manifest[key], now)}"
        _assigned(manifest)  # raises, if it is damaged
        for file, digest in manifest["files"].items():
            if file_hash(self.folder / file) != digest:
                return f"is damaged ({file})"
        return None

    def _discard(self, why: str) -> None:
        log.warning("%s: its engine in %s %s: compiled again", self.name, self.folder, why)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep(self, part: Path, nodes: Assigned) -> None:
        """Move what was compiled to its place; another process may have been faster."""
        files = list(_files(part))
        if not files:
            return  # the delegate took no node
        manifest = {
            "schema": _SCHEMA,
            **self.here,
            "files": _hashes(part, files),
            "nodes": [[p, [[n.name, n.op_type] for n in group]] for p, group in nodes],
        }
        try:
            _write(part / _MANIFEST, manifest)
            for file in files:
                _sync(file)
            if (size := sum(file.stat().st_size for file in files)) > BUDGET:
                log.warning(
                    "%s: its engine is not kept: it has %d bytes, and all may have %d",
                    self.name, size, BUDGET,
                )  # fmt: skip
                return
            os.rename(part, self.folder)
        except OSError as error:
            if not os.path.exists(self.folder):
                log.warning("%s: its engine cannot be kept: %s", self.name, error.strerror)
            return
        _evict(self.folder)

    def _used(self, manifest: dict[str, Any]) -> None:
        """Note the use, and what a delegate that keeps its files itself has written meanwhile."""
        path = self.folder / _MANIFEST
        with contextlib.suppress(OSError):
            files = [file for file in _files(self.folder) if file != path]
            written = max((file.stat().st_mtime_ns for file in files), default=0)
            if written > path.stat().st_mtime_ns:
                _write(path, {**manifest, "files": _hashes(self.folder, files)})
            os.utime(path)


def engine_for(
    model: str | bytes, entry: Delegate, backend: Backend, threads: int, name: str
) -> Engine | None:
    """Return the place of a model's engine; None where none is kept.

    Args:
        model: Its file; of graphs that were made in memory none is kept.
        entry: The delegate, of which ``cache=False`` switches it off.
        backend: Of the delegate.
        threads: Of one call.
        name: What the log calls the model.
    """
    if not isinstance(model, str) or not backend.keeps(entry):
        return None
    options = {key: value for key, value in entry.options.items() if key != "cache"}
    parts = [*identity(Path(model)), str(entry), str(entry.required), str(threads)]
    parts.append(json.dumps(options, sort_keys=True, default=str))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    here = {
        "device": {"machine": machine(), "cpu": cpu_name()},
        "versions": {
            "onnxruntime": runtime().__version__,
            **backend.versions(),
            "kernel": platform.release(),  # which brings most drivers
        },
    }
    return Engine(cache_dir() / "engines" / digest, f"{name} on {entry}", here)


def identity(file: Path) -> list[str]:
    """Return what tells a model from any other."""
    parts = [file_hash(file)]
    if file.suffix != ".tflite":
        with contextlib.suppress(ValueError):
            # Weights beside the model may be gigabytes: their time stamp says enough.
            for name in sorted(read_onnx(file, file.name).external):
                stat = (file.parent / name).stat()
                parts.append(f"{name} {stat.st_size} {stat.st_mtime_ns}")
    return parts


def _change(then: dict[str, str], now: dict[str, str]) -> str:
    """Return in words what is another than it was."""
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key):
            return f"with {key} {then.get(key, 'missing')}, and now there is {now.get(key, 'none')}"
    return "elsewhere"


def _assigned(manifest: dict[str, Any]) -> Assigned:
    return [(part, [Node(*node) for node in nodes]) for part, nodes in manifest["nodes"]]


def _hashes(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    return {str(file.relative_to(folder)): file_hash(file) for file in files}


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def _write(path: Path, document: dict[str, Any]) -> None:
    with replacing(path, 0o600) as file:
        file.write(json.dumps(document).encode())


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _evict(newest: Path) -> None:
    """Remove the engines that were not used for the longest time, down to the budget."""
    found = []
    for folder in newest.parent.iterdir():
        with contextlib.suppress(OSError):  # another process may be doing the same
            used = (folder / _MANIFEST).stat().st_mtime_ns
            size = sum(file.stat().st_size for file in _files(folder))
            found.append((folder == newest, used, size, folder))
    total = sum(size for _, _, size, _ in found)
    for _, _, size, folder in sorted(found):
        if total <= BUDGET:
            break
        log.info("the engine in %s is removed: all have %d bytes of %d", folder, total, BUDGET)
        shutil.rmtree(folder, ignore_errors=True)
        total -= size


def _remove_left_overs(folder: Path) -> None:
    """Remove what was begun by processes that are gone."""
    for part in folder.glob(".part-*"):
        with contextlib.suppress(OSError):
            age = time.time() - part.stat().st_mtime
            if age > _ABANDONED or not _is_alive(part.name.split("-")[1]):
                shutil.rmtree(part, ignore_errors=True)


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    return True
