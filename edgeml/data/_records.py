"""A file of elements: written in one go, read in any order.

``magic | data of element 0, 1, … | index | tail``. The index is JSON (the structures that
elements have, and which one each has is an array after it) and is written last, so a file
that was not finished is none. There is no pickle in it.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from array import array
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgeml.data._origin import Origin
from edgeml.data._structure import describe, leaves
from edgeml.errors import DataError

_MAGIC = b"edgemlD1"
_TAIL = struct.Struct("<QQ8s")  # position and length of the index, magic


class RecordWriter:
    """Writes elements into a part file, which becomes the file when it is finished.

    Raises:
        DataError: it cannot be written, or an element cannot be stored.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.size = 0
        self._structures: dict[str, int] = {}
        self._ids = array("i")
        self._offsets = array("q")
        try:
            handle, self._part = tempfile.mkstemp(
                dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".part"
            )
            self._file = os.fdopen(handle, "wb")
            self._put(_MAGIC)
        except OSError as error:
            raise self._failed(error) from error

    def __len__(self) -> int:
        return len(self._ids)

    def write(self, element: Any) -> None:
        """Append an element."""
        structure = json.dumps(_structure(element, len(self)))
        start = self.size
        try:
            for _, leaf in leaves(element):
                self._put(_bytes_of(leaf))
        except OSError as error:
            raise self._failed(error) from error
        self._offsets.append(start)
        self._ids.append(self._structures.setdefault(structure, len(self._structures)))

    def finish(self, origin: Origin | None = None) -> None:
        """Write the index, and give the file its name."""
        origin = origin or Origin()
        sources = origin.sources
        spans = [origin.times, origin.durations]
        index = {
            "n": len(self),
            "structures": [json.loads(text) for text in self._structures],
            "sources": None if sources is None else [str(name) for name in sources],
            "times": origin.times is not None,
            "durations": origin.durations is not None,
        }
        arrays = [np.asarray(self._offsets, "<i8"), np.asarray(self._ids, "<i4")]
        arrays += [values.astype("<i8") for values in spans if values is not None]
        text = json.dumps(index).encode()
        start = self.size
        try:
            self._put(text)
            for values in arrays:
                self._put(values.tobytes())
            self._put(_TAIL.pack(start, len(text), _MAGIC))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self.path)
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Remove the part file; after `finish` nothing happens."""
        with suppress(OSError):  # closing may flush onto a full disk
            self._file.close()
        with suppress(OSError):
            os.unlink(self._part)

    def _put(self, data: Any) -> None:
        self._file.write(data)
        self.size += len(data)

    def _failed(self, error: OSError) -> DataError:
        return DataError(f"{self.path}: cannot be written ({error.strerror})", path=str(self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()


class RecordFile(Sequence[Any]):
    """The elements of a file, read when asked for.

    Raises:
        DataError: the file is not one of these, or was not finished.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - _TAIL.size))
                tail = file.read()
                start, length, magic = _TAIL.unpack(tail)
                file.seek(0)
                if magic != _MAGIC or file.read(len(_MAGIC)) != _MAGIC:
                    raise ValueError("magic")
                file.seek(start)
                rest = file.read(size - _TAIL.size - start)
            self._read_index(rest, length)
        except FileNotFoundError:
            raise DataError(f"{self.path}: there is no such file", path=str(self.path)) from None
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be read ({error.strerror})", path=str(self.path)
            ) from error
        except (struct.error, ValueError, KeyError, TypeError, OverflowError) as error:
            raise self._damaged() from error

    def _read_index(self, rest: bytes, length: int) -> None:
        index = json.loads(rest[:length])
        self._structures = index["structures"]
        position, n = length, index["n"]

        def values(dtype: str) -> NDArray[Any]:
            nonlocal position
            found = np.frombuffer(rest, dtype, n, position)
            position += found.nbytes
            return found

        self._offsets, self._ids = values("<i8"), values("<i4")
        times = values("<i8") if index["times"] else None
        durations = values("<i8") if index["durations"] else None
        names = index["sources"]
        self.origin = Origin(None if names is None else np.array(names), times, durations)

    def _damaged(self) -> DataError:
        return DataError(
            f"{self.path}: not a dataset file, or damaged; if it was a cache, remove it, and it "
            f"is made again",
            path=str(self.path),
        )

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, i: Any) -> Any:
        structure = self._structures[self._ids[i]]
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(int(self._offsets[i]))
                return _read(file, structure)
        except (OSError, ValueError, TypeError) as error:
            raise self._damaged() from error


def _structure(value: Any, number: int) -> Any:
    """Describe an element in JSON: what `_read` needs to read it back."""
    if isinstance(value, tuple):
        return {"tuple": [_structure(part, number) for part in value]}
    if isinstance(value, dict):
        return {"dict": {key: _structure(part, number) for key, part in value.items()}}
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, str):
        return {"str": len(value.encode())}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufcUmM":
        return [value.dtype.str, list(value.shape)]
    raise DataError(
        f"element {number} has {describe(value)} in it, which a file cannot hold; map() it to "
        f"arrays or text first",
        element=number,
    )


def _bytes_of(leaf: Any) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode()
    return leaf if isinstance(leaf, bytes) else np.asarray(leaf).tobytes()


def _read(file: Any, structure: Any) -> Any:
    if isinstance(structure, list):
        dtype, shape = np.dtype(structure[0]), tuple(structure[1])
        if dtype.kind not in "biufcUmM":
            raise ValueError(f"a dtype {dtype} was never written")
        values = np.empty(shape, dtype)
        _fill(file, memoryview(values.reshape(-1).view(np.uint8).data))
        return values if shape else values[()]
    if "tuple" in structure:
        return tuple(_read(file, part) for part in structure["tuple"])
    if "dict" in structure:
        return {key: _read(file, part) for key, part in structure["dict"].items()}
    data = bytearray(structure["bytes"] if "bytes" in structure else structure["str"])
    _fill(file, memoryview(data))
    return bytes(data) if "bytes" in structure else data.decode()


def _fill(file: Any, buffer: memoryview) -> None:
    done = 0
    while done < len(buffer):
        count = file.readinto(buffer[done:])
        if not count:
            raise ValueError("the file ends within an element")
        done += count
