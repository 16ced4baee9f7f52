"""Examples and heads on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from edgeml.errors import DataError, ShapeError, StoreError
from edgeml.personalize._tables import JOURNAL, Database, check_budget

Array = np.ndarray[Any, Any]
_log = logging.getLogger("edgeml.personalize")
_LONGEST = 200  # characters of a label


@dataclass(frozen=True)
class Example:
    """An example that is kept.

    Attributes:
        id: Its number; never given twice.
        label: Its class.
        subject: Whom it is of, or "".
        added: When it was added, seconds since 1970.
        features: float32 (size,).

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import Example
        >>> Example(1, "mug", "", 0.0, np.ones(4)).label
        'mug'
    """

    id: int
    label: str
    subject: str
    added: float
    features: Array = field(repr=False, compare=False)


@dataclass(frozen=True)
class Version:
    """A step in the history of a store.

    Attributes:
        action: "accept", "rollback" or "forget".
        id: The version that was used from then on: SHA-256 of the head's file, in hex; None for
            none.
        at: When, seconds since 1970.
        info: What was said of it when it was accepted; empty when it is no longer kept.

    Example:
        >>> from edgeml.personalize import Version
        >>> Version("accept", "5d41", 0.0, {"accuracy": 0.9}).action
        'accept'
    """

    action: str
    id: str | None
    at: float
    info: Mapping[str, Any] = field(repr=False, compare=False)


class Store:
    """Keeps examples and versions of heads in a folder, within a budget of bytes.

    When the budget is used up, an example of the largest class makes room, chosen so that each
    class stays a fair sample of all that was ever added to it (Chrysakis and Moens, 2020:
    class-balanced reservoir). Nothing is ever sent. Each change is whole or did not happen,
    whenever the process is killed. Only the user may read the files.

    Args:
        folder: Where; made when it is missing.
        budget: Bytes that the store may take.
        versions: How many versions of heads are kept.
        seed: Of the choice of what makes room.

    Raises:
        StoreError: it cannot be made or read, or is damaged.
        ConfigError: the budget is too small.

    Example:
        >>> import tempfile, numpy as np
        >>> from edgeml.personalize import Store
        >>> with Store(tempfile.mkdtemp()) as store:
        ...     _ = store.add("mug", np.ones(4)), store.add("plate", np.zeros(4))
        ...     store.counts()
        {'mug': 1, 'plate': 1}
    """

    def __init__(
        self, folder: Any, *, budget: int = 64 << 20, versions: int = 8, seed: int = 0
    ) -> None:
        self.folder = Path(folder)
        self.budget = check_budget(budget)
        self.versions = versions
        self._random = random.Random(seed)
        self._db = Database(self.folder / "store.sqlite")

    def bind(self, backbone: str, size: int, name: str = "") -> None:
        """Say which backbone the features are of; the first time it is kept.

        Args:
            backbone: What tells it from all others, such as a hash.
            size: Features of an example.
            name: What to call it in errors.

        Raises:
            StoreError: the examples are of another backbone.
        """
        said = self._facts()
        if not said:
            with self._db.change():
                self._state("backbone", backbone)
                self._state("size", str(size))
                self._state("name", name)
        elif said["backbone"] != backbone:
            raws = self._db.one("SELECT count(raw), count(*) FROM examples")
            offer = "" if not raws[1] else (
                f" {raws[0]} of its {raws[1]} examples were kept raw and can be embedded anew: "
                "Learner(…, reembed=True); the others are lost by that."
            )  # fmt: skip
            raise StoreError(
                f"{self.folder}: the examples are of another backbone ({said.get('name')}, "
                f"{said['size']} features), and this one is {name or backbone}, {size} features."
                f"{offer} Else pass another store"
            )

    def _facts(self) -> dict[str, str]:
        return dict(self._db.all("SELECT name, value FROM facts"))

    def _state(self, name: str, value: str) -> None:
        self._db.run("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def add(
        self, label: str, features: Any, *, raw: bytes | None = None, subject: str = ""
    ) -> int | None:
        """Keep an example; return its number, or None when the balance kept others instead.

        Args:
            label: Its class.
            features: float (size,).
            raw: What the features can be made of again.
            subject: Whom it is of.

        Raises:
            DataError: the label is empty or too long, or features hold NaN.
            ShapeError: the features have another size than those before.
            StoreError: the disk is full; nothing was changed.
        """
        label = check_label(label)
        row = np.ascontiguousarray(features, np.float32).reshape(-1)
        if not row.size or not np.isfinite(row).all():
            raise DataError("the features are empty, or hold NaN or infinity")
        size = self._facts().get("size") or self._size()
        if size and int(size) != row.size:
            raise ShapeError(f"the examples have {size} features, and this one has {row.size}",
                             expected=int(size), received=row.size)  # fmt: skip
        with self._db.change():
            self._db.run(
                "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", label
            )
            added = self._db.run(
                "INSERT INTO examples (label, subject, added, features, raw) "
                "VALUES (?, ?, ?, ?, ?)", label, subject, time.time(), row.tobytes(), raw,
            ).lastrowid  # fmt: skip
            assert added is not None
            kept = self._make_room(added, label)
        return added if kept else None

    def _size(self) -> int:
        found = self._db.one("SELECT length(features) FROM examples LIMIT 1")
        return found[0] // 4 if found else 0

    def _make_room(self, added: int = 0, label: str = "") -> bool:
        """Take out what is least needed until the budget holds; return whether `added` stayed."""
        kept = True
        while self._db.used() > self.budget - JOURNAL:
            if self._drop_version():
                continue
            counts = self.counts()
            most = max(counts.values(), default=0)
            if most <= 1:
                raise StoreError(
                    f"{self.folder}: the budget of {self.budget} bytes is too small for more; "
                    "nothing was changed"
                )
            largest = label
            if counts.get(label, 0) < most:
                largest = self._random.choice([n for n, count in counts.items() if count == most])
            elif kept and counts[label] > 1:
                (seen,) = self._db.one("SELECT count FROM seen WHERE label = ?", label)
                if self._random.random() >= (counts[label] - 1) / seen:
                    kept = False
                    self._db.run("DELETE FROM examples WHERE id = ?", added)
                    continue
            rows = self._db.all(
                "SELECT id FROM examples WHERE label = ? AND id != ?", largest, added
            )
            gone = self._random.choice(rows)[0]
            self._db.run("DELETE FROM examples WHERE id = ?", gone)
            _log.debug("example %d of %d bytes budget made room", gone, self.budget)
        return kept

    def _drop_version(self) -> bool:
        """Delete the oldest head, where heads take a quarter; two are always kept."""
        (taken,) = self._db.one("SELECT total(length(head) + length(info)) FROM versions")
        versions = list(dict.fromkeys(reversed(self._stack())))
        here = {i for (i,) in self._db.all("SELECT id FROM versions")}
        old = [i for i in versions[2:] if i in here]
        if not old or taken < self.budget / 4:
            return False
        self._db.run("DELETE FROM versions WHERE id = ?", old[-1])
        return True

    def examples(self, label: str | None = None) -> list[Example]:
        """Return the examples, of one class or of all, oldest first."""
        where, values = ("WHERE label = ?", (label,)) if label is not None else ("", ())
        rows = self._db.all(
            f"SELECT id, label, subject, added, features FROM examples {where} ORDER BY id", *values
        )
        return [Example(i, name, who, at, np.frombuffer(values, np.float32))
                for i, name, who, at, values in rows]  # fmt: skip

    def raw(self, example: int) -> bytes | None:
        """Return what an example's features were made of, if it was kept."""
        found = self._db.one("SELECT raw FROM examples WHERE id = ?", example)
        return None if found is None else found[0]

    def label_of(self, example: int) -> str | None:
        """Return an example's label; None when it is not there."""
        found = self._db.one("SELECT label FROM examples WHERE id = ?", example)
        return None if found is None else str(found[0])

    def counts(self) -> dict[str, int]:
        """Return the number of examples of each class, the oldest class first."""
        return dict(
            self._db.all("SELECT label, count(*) FROM examples GROUP BY label ORDER BY min(id)")
        )

    def remove(self, example: int) -> None:
        """Delete one example; heads that have learned from it are kept.

        Raises:
            DataError: there is no such example.
        """
        with self._db.change():
            if not self._db.run("DELETE FROM examples WHERE id = ?", example).rowcount:
                raise DataError(f"there is no example {example}")

    def forget(
        self, label: str | None = None, head: tuple[bytes, Mapping[str, Any]] | None = None
    ) -> int:
        """Delete all examples of a class, or everything, and all heads made from them.

        Args:
            label: The class; None for everything.
            head: The file of a head that does not know them, to use from now on, and what to say
                of it.

        Returns:
            How many examples were deleted.
        """
        with self._db.change():
            if label is None:
                gone = self._db.run("DELETE FROM examples").rowcount
                for table in ("seen", "facts"):
                    self._db.run(f"DELETE FROM {table}")
            else:
                gone = self._db.run("DELETE FROM examples WHERE label = ?", label).rowcount
                self._db.run("DELETE FROM seen WHERE label = ?", label)
            self._db.run("DELETE FROM versions")
            self._db.run("DELETE FROM history")
            self._step("forget", self._keep(*head) if head is not None else None)
        try:
            self._db.shrink()
        except StoreError as error:  # what was forgotten is overwritten all the same
            _log.warning("%s keeps its size: %s", self.folder, error)
        return gone

    def reembed(self, backbone: str, size: int, name: str, embedded: Mapping[int, Any]) -> None:
        """Replace all features by those of another backbone; examples without are deleted."""
        with self._db.change():
            rows = [(np.ascontiguousarray(row, np.float32).tobytes(), example)
                    for example, row in embedded.items()]  # fmt: skip
            for (example,) in self._db.all("SELECT id FROM examples"):
                if example not in embedded:
                    self._db.run("DELETE FROM examples WHERE id = ?", example)
            for row in rows:
                self._db.run("UPDATE examples SET features = ? WHERE id = ?", *row)
            for table in ("versions", "history"):
                self._db.run(f"DELETE FROM {table}")
            for key, value in (("backbone", backbone), ("size", str(size)), ("name", name)):
                self._state(key, value)

    def accept(self, head: bytes, info: Mapping[str, Any]) -> str:
        """Keep a head and use it from now on; return its version, the hash of its file.

        Raises:
            StoreError: the disk is full; nothing was changed.
        """
        with self._db.change():
            version = self._keep(head, info)
            self._step("accept", version)
            kept = dict.fromkeys(reversed(self._stack()))
            for (old,) in self._db.all("SELECT id FROM versions"):
                if old not in list(kept)[: self.versions]:
                    self._db.run("DELETE FROM versions WHERE id = ?", old)
            self._make_room()
        return version

    def _keep(self, head: bytes, info: Mapping[str, Any]) -> str:
        version = hashlib.sha256(head).hexdigest()
        self._db.run(
            "INSERT OR REPLACE INTO versions VALUES (?, ?, ?)", version, head, json.dumps(info)
        )
        return version

    def _step(self, action: str, version: str | None) -> None:
        self._db.run("INSERT INTO history (action, version, at) VALUES (?, ?, ?)",
                     action, version, time.time())  # fmt: skip

    def _stack(self) -> list[str]:
        """Return the accepted versions that were not taken back, the current one last."""
        found: list[str] = []
        for action, version in self._db.all("SELECT action, version FROM history ORDER BY id"):
            if action == "rollback":
                found.pop()
            elif version is not None:
                found.append(version)
        return found

    def current(self) -> tuple[str, bytes, dict[str, Any]] | None:
        """Return version, file and description of the head in use; None before the first.

        Raises:
            StoreError: the file is not what its version says.
        """
        stack = self._stack()
        if not stack:
            return None
        head, info = self._db.one("SELECT head, info FROM versions WHERE id = ?", stack[-1])
        if hashlib.sha256(head).hexdigest() != stack[-1]:
            raise StoreError(f"{self.folder}: head {stack[-1][:12]} is damaged; train again")
        return stack[-1], head, json.loads(info)

    def rollback(self) -> str:
        """Use the version before the current one again; return it.

        Raises:
            StoreError: there is none, or it is no longer kept.
        """
        with self._db.change():
            stack = self._stack()
            before = stack[-2] if len(stack) > 1 else None
            if before is None or not self._db.one("SELECT 1 FROM versions WHERE id = ?", before):
                raise StoreError(f"{self.folder}: there is no earlier version to go back to")
            self._step("rollback", before)
        return before

    def history(self) -> list[Version]:
        """Return what was accepted, taken back and forgotten, oldest first."""
        rows = self._db.all(
            "SELECT h.action, h.version, h.at, v.info FROM history h "
            "LEFT JOIN versions v ON v.id = h.version ORDER BY h.id"
        )
        return [Version(action, version, at, json.loads(info) if info else {})
                for action, version, at, info in rows]  # fmt: skip

    def check(self) -> None:
        """Check the whole file.

        Raises:
            StoreError: it is damaged.
        """
        (said,) = self._db.one("PRAGMA integrity_check")
        if said != "ok":
            raise StoreError(f"{self.folder}: the store is damaged: {said}")
        self.current()

    @property
    def nbytes(self) -> int:
        """Bytes that the store takes, with a full journal."""
        return self._db.used() + JOURNAL

    def close(self) -> None:
        """Close the files; idempotent."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def matrix(examples: Sequence[Example]) -> Array:
    """Return the features of examples, (examples, size)."""
    return np.stack([example.features for example in examples])


def check_label(label: Any) -> str:
    """Return a label in Unicode's composed form, without space around it.

    Raises:
        DataError: it is no text, empty, too long, or holds control characters.
    """
    if not isinstance(label, str):
        raise DataError(f"label: expected a text, received {type(label).__name__}")
    text = unicodedata.normalize("NFC", label).strip()
    if not text or len(text) > _LONGEST or any(unicodedata.category(c)[0] == "C" for c in text):
        raise DataError(
            f"label: expected 1 to {_LONGEST} characters without control characters; received "
            f"{len(text)}, {text[:40]!r}"
        )
    return text
