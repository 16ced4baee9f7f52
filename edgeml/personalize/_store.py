"""Examples and heads on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from edgeml.errors import DataError, ShapeError, StoreError
from edgeml.personalize._labels import check_label, check_subject
from edgeml.personalize._members import Members
from edgeml.personalize._tables import JOURNAL, Database, check_budget

Array = np.ndarray[Any, Any]
_log = logging.getLogger("edgeml.personalize")


@dataclass(frozen=True, slots=True)
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
        self._members = Members(self._db)
        self._known = self._db.version()

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
            raws, there = self._db.one("SELECT count(raw), count(*) FROM examples")
            offer = "" if raws or not there else (
                f" None of its {there} examples was kept raw (keep_raw), to be embedded anew."
            )  # fmt: skip
            if raws:
                offer = (
                    f" {raws} of its {there} examples were kept raw and can be embedded anew: "
                    "Learner(…, reembed=True), in app.toml reembed = true; the others are lost by "
                    "that."
                )
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
            DataError: the label is empty, it or the subject is too long or holds control
                characters, or features hold NaN.
            ShapeError: the features have another size than those before.
            StoreError: the disk is full; nothing was changed.
        """
        label, subject = check_label(label), check_subject(subject)
        row = np.ascontiguousarray(features, np.float32).reshape(-1)
        if not row.size or not np.isfinite(row).all():
            raise DataError("the features are empty, or hold NaN or infinity")
        size = self._facts().get("size") or self._size()
        if size and int(size) != row.size:
            raise ShapeError(f"the examples have {size} features, and this one has {row.size}",
                             expected=int(size), received=row.size)  # fmt: skip
        with self._changed(), self._db.change():
            added, kept = self._insert(label, row.tobytes(), raw, subject)
        return added if kept else None

    @contextlib.contextmanager
    def _changed(self) -> Iterator[None]:
        """Around a change: what is known of the examples goes when it fails."""
        try:
            yield
        except BaseException:
            self._members.forget()
            raise

    def _insert(self, label: str, row: bytes, raw: bytes | None, subject: str) -> tuple[int, bool]:
        self._db.run(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", label
        )
        self._db.run("UPDATE numbers SET last = last + 1")
        (added,) = self._db.one("SELECT last FROM numbers")
        self._db.run(
            "INSERT INTO examples (id, label, subject, added, features, raw) "
            "VALUES (?, ?, ?, ?, ?, ?)", added, label, subject, time.time(), row, raw,
        )  # fmt: skip
        self._members.add(label, added)
        return added, self._make_room(added, label)

    def _size(self) -> int:
        found = self._db.one("SELECT length(features) FROM examples LIMIT 1")
        return found[0] // 4 if found else 0

    def _make_room(self, added: int = 0, label: str = "") -> bool:
        """Take out what is least needed until the budget holds; return whether `added` stayed."""
        kept, decided = True, not added
        while self._db.used() > self.budget - JOURNAL:
            if self._drop_version():
                continue
            own = self._members.read()
            most = max(map(len, own.values()), default=0)
            if most <= 1:
                raise StoreError(
                    f"{self.folder}: the budget of {self.budget} bytes is too small for more; "
                    "nothing was changed"
                )
            largest = label
            if len(own.get(label, ())) < most:
                largest = self._random.choice([n for n, of in own.items() if len(of) == most])
            elif not decided:  # once, or a change that needs much room would be unfair to it
                decided = True
                (seen,) = self._db.one("SELECT count FROM seen WHERE label = ?", label)
                if self._random.random() >= (len(own[label]) - 1) / seen:
                    kept = False
                    self._db.run("DELETE FROM examples WHERE id = ?", added)
                    self._members.drop_last(label)
                    continue
            gone = self._members.take(largest, self._random, added)
            self._take_out(gone)
            _log.debug("example %d of %d bytes budget made room", gone, self.budget)
        return kept

    def _take_out(self, example: int) -> bool:
        """Delete an example, and put the last row of the file in its place: no hole stays."""
        found = self._db.one("SELECT slot FROM examples WHERE id = ?", example)
        if found is None:
            return False
        self._db.run("DELETE FROM examples WHERE slot = ?", *found)
        self._db.run("UPDATE examples SET slot = ? WHERE slot > ? AND slot = "
                     "(SELECT max(slot) FROM examples)", *found, *found)  # fmt: skip
        return True

    def _drop_version(self) -> bool:
        """Delete the oldest head, where heads take a quarter; two are always kept."""
        (taken,) = self._db.one("SELECT total(length(head) + length(info)) FROM versions")
        if taken < self.budget / 4:
            return False
        versions = list(dict.fromkeys(reversed(self._stack())))
        here = {i for (i,) in self._db.all("SELECT id FROM versions")}
        old = [i for i in versions[2:] if i in here]
        if not old:
            return False
        self._db.run("DELETE FROM versions WHERE id = ?", old[-1])
        return True

    def examples(self, label: str | None = None, *, most: int | None = None) -> list[Example]:
        """Return examples, of one class or of all, oldest first.

        Args:
            label: The class.
            most: How many at most: as evenly over the classes as they allow, and over the time in
                which they came, but one of each class at least. More examples later change little
                of which are chosen.
        """
        if most is None:
            where, values = ("WHERE label = ?", (label,)) if label is not None else ("", ())
            return list(self._rows(f"{where} ORDER BY id", *values))
        chosen: list[int] = []
        counts = self.counts()
        wanted = counts if label is None else {label: counts.get(label, 0)}
        for name, share in _shares(wanted, most):
            # The fractional parts of multiples of the golden ratio are even over any stretch.
            chosen += [i for (i,) in self._db.all(
                "SELECT id FROM examples WHERE label = ? ORDER BY (id * 2654435769) & 4294967295 "
                "LIMIT ?", name, share)]  # fmt: skip
        return list(self._rows("WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
                               json.dumps(chosen)))  # fmt: skip

    def numbers(self) -> list[int]:
        """Return the numbers of all examples, oldest first."""
        return [i for (i,) in self._db.all("SELECT id FROM examples ORDER BY id")]

    def described(self, numbers: Iterable[int]) -> list[tuple[int, str, str]]:
        """Return number, label and subject of those examples that are there, oldest first."""
        return self._db.all(
            "SELECT id, label, subject FROM examples WHERE id IN (SELECT value FROM json_each(?)) "
            "ORDER BY id", json.dumps(list(numbers)),
        )  # fmt: skip

    def newest(self, count: int) -> tuple[list[int], Array]:
        """Return numbers and features (examples, size) of the newest examples, oldest first."""
        (there,) = self._db.one("SELECT count(*) FROM examples")
        rows = np.empty((min(count, there), int(self._facts().get("size") or self._size())),
                        np.float32)  # fmt: skip
        numbers = []
        for at, (i, row) in enumerate(self._db.all(
            "SELECT id, features FROM (SELECT id, features FROM examples ORDER BY id DESC LIMIT ?) "
            "ORDER BY id", len(rows),
        )):  # fmt: skip
            numbers.append(i)
            rows[at] = np.frombuffer(row, np.float32)
        return numbers, rows[: len(numbers)]

    def _rows(self, which: str, *values: Any) -> Iterator[Example]:
        for i, name, who, at, row in self._db.all(
            f"SELECT id, label, subject, added, features FROM examples {which}", *values
        ):
            yield Example(i, name, who, at, np.frombuffer(row, np.float32))

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
            self._members.forget()
            if not self._take_out(example):
                raise DataError(f"there is no example {example}")

    def check_class(self, label: str | None) -> None:
        """Check that there was an example of a class, or whatever for None.

        Raises:
            DataError: there never was one.
        """
        if label is not None and not self._db.one("SELECT 1 FROM seen WHERE label = ?", label):
            known = ", ".join(self.counts()) or "none"
            raise DataError(f"there is no class {label!r}; there are: {known}")

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

        Raises:
            DataError: there never was such a class; nothing was changed.
        """
        with self._db.change():
            self.check_class(label)
            self._members.forget()
            if label is None:
                gone = self._db.run("DELETE FROM examples").rowcount
                for table in ("seen", "facts"):
                    self._db.run(f"DELETE FROM {table}")
            else:
                gone = self._db.run("DELETE FROM examples WHERE label = ?", label).rowcount
                self._db.run("DELETE FROM seen WHERE label = ?", label)
            self._db.run("DELETE FROM versions")
            self._db.run("DELETE FROM history")
            self._db.run("DELETE FROM facts WHERE name = 'proposed'")
            self._step("forget", self._keep(*head) if head is not None else None)
        try:
            self._db.shrink()
        except StoreError as error:  # what was forgotten is overwritten all the same
            _log.warning("%s keeps its size: %s", self.folder, error)
        return gone

    def reembed(self, backbone: str, size: int, name: str, embedded: Mapping[int, Any]) -> None:
        """Replace all features by those of another backbone; examples without are deleted."""
        with self._db.change():
            self._members.forget()
            rows = [(np.ascontiguousarray(row, np.float32).tobytes(), example)
                    for example, row in embedded.items()]  # fmt: skip
            for (example,) in self._db.all("SELECT id FROM examples"):
                if example not in embedded:
                    self._db.run("DELETE FROM examples WHERE id = ?", example)
            for row in rows:
                self._db.run("UPDATE examples SET features = ? WHERE id = ?", *row)
            for table in ("versions", "history"):
                self._db.run(f"DELETE FROM {table}")
            self._db.run("DELETE FROM facts WHERE name = 'proposed'")
            for key, value in (("backbone", backbone), ("size", str(size)), ("name", name)):
                self._state(key, value)

    def accept(self, head: bytes, info: Mapping[str, Any]) -> str:
        """Keep a head and use it from now on; return its version, the hash of its file.

        Raises:
            StoreError: the disk is full, or the head takes more than a quarter of the budget;
                nothing was changed.
        """
        self._check_head(head)
        with self._changed(), self._db.change():
            self._drop_proposed()
            version = self._keep(head, info)
            self._step("accept", version)
            kept = dict.fromkeys(reversed(self._stack()))
            for (old,) in self._db.all("SELECT id FROM versions"):
                if old not in list(kept)[: self.versions]:
                    self._db.run("DELETE FROM versions WHERE id = ?", old)
            self._make_room()
        return version

    def _check_head(self, head: bytes) -> None:
        if len(head) > self.budget / 4:
            raise StoreError(
                f"{self.folder}: the head has {len(head)} bytes, more than a quarter of the budget "
                f"of {self.budget}; use a smaller method, or a larger budget. Nothing was changed"
            )

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

    def version(self) -> str | None:
        """Return the version of the head in use; None before the first."""
        stack = self._stack()
        return stack[-1] if stack else None

    def current(self) -> tuple[str, bytes, dict[str, Any]] | None:
        """Return version, file and description of the head in use; None before the first.

        Raises:
            StoreError: the file is not what its version says.
        """
        version = self.version()
        return None if version is None else self._read_head(version)

    def _read_head(self, version: str) -> tuple[str, bytes, dict[str, Any]]:
        head, info = self._db.one("SELECT head, info FROM versions WHERE id = ?", version)
        if hashlib.sha256(head).hexdigest() != version:
            raise StoreError(f"{self.folder}: head {version[:12]} is damaged; train again")
        return version, head, json.loads(info)

    def propose(self, head: bytes, info: Mapping[str, Any]) -> str:
        """Keep a candidate, in place of the one before, until one is accepted.

        Raises:
            StoreError: the disk is full, or it is too large; nothing was changed.
        """
        self._check_head(head)
        with self._changed(), self._db.change():
            self._drop_proposed()
            version = self._keep(head, info)
            self._state("proposed", version)
            self._make_room()
        return version

    def proposed(self) -> tuple[str, bytes, dict[str, Any]] | None:
        """Return version, file and description of the candidate that was kept, or None."""
        version = self._facts().get("proposed")
        return None if version is None else self._read_head(version)

    def _drop_proposed(self) -> None:
        """Give up the candidate; its file stays when it is a head that was in use."""
        version = self._facts().get("proposed")
        self._db.run("DELETE FROM facts WHERE name = 'proposed'")
        if version is not None and version not in self._stack():
            self._db.run("DELETE FROM versions WHERE id = ?", version)

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

    def changed(self) -> bool:
        """Return whether another process has changed the store since this was asked last.

        It never waits: while another thread works on the store, the answer is no.
        """
        version = self._db.version_now()
        if version is None or version == self._known:
            return False
        self._known = version
        return True

    def check(self) -> None:
        """Check the whole file.

        Raises:
            StoreError: it is damaged.
        """
        (said,) = self._db.one("PRAGMA integrity_check")
        if said != "ok":
            raise StoreError(f"{self.folder}: the store is damaged: {said}")
        self.current()
        self.proposed()

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


def _shares(counts: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    """Return how many of each class make up at most `most`, as evenly as they allow."""
    found, left = [], most
    for place, (label, count) in enumerate(sorted(counts.items(), key=lambda item: item[1])):
        share = min(count, max(1, left // (len(counts) - place)))
        found.append((label, share))
        left -= share
    return found


def matrix(examples: Sequence[Example]) -> Array:
    """Return the features of examples, (examples, size)."""
    return np.stack([example.features for example in examples])
