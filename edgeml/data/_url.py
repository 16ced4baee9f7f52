"""Lines of text and NumPy's files, from a path or an address."""

from __future__ import annotations

import io
import os
import urllib.parse
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from edgeml.data._dataset import Dataset
from edgeml.data._open import is_remote, local_path, opened, shown
from edgeml.data._origin import Origin
from edgeml.data._rows import of_columns
from edgeml.data._structure import narrow
from edgeml.errors import DataError

Kind = Literal["csv", "text", "npy"]

_BLOCK = 1 << 20  # bytes of an .npy that are read at once


def kind_of(where: str | os.PathLike[str]) -> Kind:
    """Return what a name's ending says: csv, npy, or else text."""
    path = Path(urllib.parse.urlsplit(str(where)).path.lower().removesuffix(".gz"))
    kinds: dict[str, Kind] = {".csv": "csv", ".tsv": "csv", ".npy": "npy"}
    return kinds.get(path.suffix, "text")


class Lines(Dataset):
    """The lines of a text, without their ends."""

    def __init__(
        self, where: str | os.PathLike[str], source: dict[str, Any], *, encoding: str = "utf-8-sig"
    ) -> None:
        super().__init__()
        self._where = where
        self._encoding = encoding
        self._source = source
        _check_there(where)

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        line = 0
        with opened(self._where, **self._source) as file:
            text = io.TextIOWrapper(file, self._encoding)
            try:
                for line, content in enumerate(text, 1):  # noqa: B007 - the error has it
                    yield content.removesuffix("\n")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{shown(self._where)}, after line {line}: not text in {self._encoding} "
                    f"({error})",
                    line=line,
                ) from error
            finally:
                text.detach()  # `opened` closes what is below


class RemoteNpy(Dataset):
    """The rows of an ``.npy`` that comes over a network, as they come."""

    def __init__(self, where: str | os.PathLike[str], **source: Any) -> None:
        super().__init__()
        self._where = where
        self._source = source

    def _iterate(self, epoch: int) -> Generator[Any, None, None]:
        with opened(self._where, **self._source) as file:
            shape, dtype = _header(file, shown(self._where))
            row = max(1, int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize)
            done = 0
            while done < shape[0]:
                count = min(shape[0] - done, max(1, _BLOCK // row))
                data = file.read(count * row)
                if len(data) < count * row:
                    raise DataError(
                        f"{shown(self._where)}: ends within row {done + len(data) // row} of "
                        f"{shape[0]}"
                    )
                block = np.frombuffer(bytearray(data), dtype).reshape(count, *shape[1:])
                yield from map(narrow, block)
                done += count


def npy(where: str | os.PathLike[str], **source: Any) -> Dataset:
    """Make a dataset of an ``.npy``; a file is mapped, so that rows are read when picked."""
    if is_remote(where) or str(where).endswith(".gz"):
        return RemoteNpy(where, **source)
    path = local_path(where)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as .npy ({error})", path=str(path)) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: expected an .npy with one array", path=str(path))
    return of_columns(array, lambda rows: Origin())


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        reader = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = reader(file)
    except ValueError as error:
        raise DataError(f"{where}: cannot be read as .npy ({error})") from error
    if dtype.hasobject or not shape or fortran:
        raise DataError(
            f"{where}: expected rows of numbers in C order; received shape {shape} of {dtype}"
            + (" in Fortran's order" if fortran else "")
        )
    return shape, dtype


def _check_there(where: str | os.PathLike[str]) -> None:
    if not is_remote(where):
        with opened(where):
            pass
