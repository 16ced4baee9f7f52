"""Folders of files, one folder a class."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from edgeml.data._core import UNKNOWN
from edgeml.data._dataset import Dataset
from edgeml.data._map import Map, in_order
from edgeml.data._origin import Origin
from edgeml.data._rows import PickedRows
from edgeml.errors import DataError

log = logging.getLogger("edgeml.data")

OnError = Literal["raise", "skip"]


class Folder(Map):
    """Files decoded when a pass comes to them.

    Attributes:
        class_names: The names of the classes; a label is a number in this list.
        files: Path of each row's file.
        skipped: Files that could not be decoded in the latest pass.

    Example:
        >>> from importlib.resources import files
        >>> from edgeml.data import Dataset
        >>> data = Dataset.from_image_folder(files("edgeml"), (32, 48), classes=["media"])
        >>> data.class_names, data.peek()[0].shape
        (['media'], (32, 48, 3))
    """

    def __init__(
        self,
        rows: PickedRows,
        decode: Callable[..., Any],
        class_names: list[str],
        workers: int,
        on_error: OnError,
    ) -> None:
        super().__init__(rows, decode, workers)
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error must be "raise" or "skip"; received {on_error!r}')
        self._on_error = on_error
        self.class_names = class_names
        self.skipped: list[str] = []

    @property
    def files(self) -> list[str]:
        """Path of each row's file."""
        rows = self._parents[0]
        assert isinstance(rows, PickedRows)
        return [str(row[0]) for row in rows]

    def shuffle(self, buffer: int = 1024, seed: int | None = None) -> Dataset:
        """Return the files in a new order in each epoch; always of all files."""
        return ShuffledFolder(self, seed)

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        return self.read(self._parents[0], epoch)

    def read(self, source: Dataset, epoch: int) -> Generator[Any, None, None]:
        """Yield the decoded files of `source`, the folder's rows in some order."""
        self.skipped = skipped = []
        with closing(source._iterate(epoch)) as rows:
            decoded = (
                in_order(self._try, rows, self._workers)
                if self._workers
                else (self._try(i, row) for i, row in enumerate(rows))
            )
            with closing(decoded):
                for item in decoded:
                    if isinstance(item, _Skipped):
                        skipped.append(item.path)
                        log.warning("skipped: %s", item.reason)
                    else:
                        yield item

    def _try(self, i: int, row: Any) -> Any:
        try:
            return self._fn(*row)
        except DataError as error:
            if self._on_error == "raise":
                raise
            return _Skipped(str(row[0]), str(error))

    def cardinality(self) -> int:
        """Return the number of files; not known when some may be skipped."""
        return UNKNOWN if self._on_error == "skip" else super().cardinality()


class ShuffledFolder(Dataset):
    """A folder whose files come in a new order in each epoch; nothing decoded is held for it."""

    def __init__(self, folder: Folder, seed: int | None) -> None:
        super().__init__(folder)
        self._folder = folder
        self._rows = folder._parents[0].shuffle(seed=seed)

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        return self._folder.read(self._rows, epoch)

    def _is_ordered(self) -> bool:
        return False

    def cardinality(self) -> int:
        """Return the number of files; not known when some may be skipped."""
        return self._folder.cardinality()

    def _origin(self) -> Origin | None:
        return self._folder._origin()


class _Skipped:
    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason


def find_classes(
    path: str | os.PathLike[str], suffixes: tuple[str, ...], classes: Sequence[str] | None
) -> tuple[list[str], list[Path], list[int]]:
    """Return the classes' names, and each file with its class's number.

    Raises:
        DataError: there is no folder, no class or no file.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder", path=str(root))
    found = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found:
        raise DataError(
            f"{root}: there is no folder in it; expected one folder a class, as in "
            f"{root.name}/CLASS/FILE{suffixes[0]}",
            path=str(root),
        )
    names = list(classes) if classes is not None else found
    for name in names:
        if name not in found:
            near = difflib.get_close_matches(name, found, 3, 0.5) or found[:10]
            raise DataError(
                f"{root}: there is no folder of class {name!r}; there are {', '.join(near)}",
                path=str(root),
            )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        own = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in suffixes)
        if not own:
            log.warning("%s: class %r has no file with %s", root, name, ", ".join(suffixes))
        files += own
        labels += [label] * len(own)
    if not files:
        raise DataError(
            f"{root}: no file in the folders of {', '.join(names[:10])}; expected "
            f"{', '.join(suffixes)}",
            path=str(root),
        )
    return names, files, labels
