"""What a search has found so far, on disk: a second run goes on where the first one ended."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeml.errors import OptimizeError, StoreError
from edgeml.platform import replacing
from edgeml.quantize._model import Model


class Store:
    """Results by key, in a folder; without a folder it remembers nothing.

    Each entry is written whole or not at all, so that it can be killed at any moment.

    Args:
        folder: Where to; made when it is missing.

    Raises:
        OptimizeError: it cannot be made.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OptimizeError(
                    f"nothing can be kept in {folder}: {error.strerror}; pass another folder"
                ) from error

    def get(self, key: str) -> Any:
        """Return what was kept, or None; a damaged entry is as good as none."""
        path = self._path(key)
        if path is None:
            return None
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError):
            return None

    def put(self, key: str, value: Any) -> None:
        """Keep a value that JSON can hold."""
        path = self._path(key)
        if path is not None:
            _write(path, json.dumps(value).encode())

    def keep_best(self, model: Model, what: dict[str, Any]) -> None:
        """Keep the best model so far as ``best.onnx``, and what it is as ``best.json``."""
        if self.folder is not None:
            (self.folder / "best.json").unlink(missing_ok=True)  # never beside another's model
            _write(self.folder / "best.onnx", model.SerializeToString())
            _write(self.folder / "best.json", json.dumps(what, indent=1).encode())

    def best(self) -> Path | None:
        """Return where the best model so far is, if there is one."""
        path = None if self.folder is None else self.folder / "best.onnx"
        return path if path is not None and path.exists() else None

    def forget_best(self, *, unless: tuple[float, int | None] | None = None) -> None:
        """Remove the best model, unless it loses no more points and has no more bytes than these.

        An earlier run may have been asked for less.
        """
        path = self.best()
        if path is None:
            return
        what = path.with_suffix(".json")
        fits = False
        if unless is not None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                known = json.loads(what.read_text())
                fits = known["drop_points"] <= unless[0]
                fits = fits and (unless[1] is None or known["bytes"] <= unless[1])
        if not fits:
            path.unlink()
            what.unlink(missing_ok=True)

    def keep_forms(self, original: Model, forms: Sequence[Model]) -> None:
        """Keep the original and what may become of it, to be measured on another machine."""
        if self.folder is not None:
            folder = self.folder / "forms"
            _write(folder / "original.onnx", original.SerializeToString())
            for number, model in enumerate(forms, 1):
                _write(folder / f"{number}.onnx", model.SerializeToString())

    def _path(self, key: str) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _write(path: Path, content: bytes) -> None:
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise StoreError(
            f"nothing can be kept in {path.parent}: {error.strerror}; make room, or pass another "
            "folder"
        ) from error
