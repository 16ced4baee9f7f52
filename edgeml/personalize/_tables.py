"""The database that a store keeps: its tables, its file, and its errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeml.errors import ConfigError, StoreError

SCHEMA = 2
JOURNAL = 1 << 17  # bytes of the journal beside the file
_LEAST = 1 << 18
# Slots are without holes: where one example is deleted, the last one moves to. Pages of the file
# become free only when they are nearly empty, and random holes would leave all of them half full.
_EXAMPLES = """
CREATE TABLE examples (
    slot INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, label TEXT NOT NULL,
    subject TEXT NOT NULL, added REAL NOT NULL, features BLOB NOT NULL, raw BLOB);
CREATE INDEX by_label ON examples (label, id);
CREATE TABLE numbers (last INTEGER NOT NULL);
"""
_TABLES = (
    _EXAMPLES
    + """
INSERT INTO numbers VALUES (0);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE seen (label TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE versions (id TEXT PRIMARY KEY, head BLOB NOT NULL, info TEXT NOT NULL);
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, version TEXT, at REAL NOT NULL);
"""
)
_FROM_1 = f"""
DROP INDEX by_label;
ALTER TABLE examples RENAME TO older;
{_EXAMPLES}
INSERT INTO examples (id, label, subject, added, features, raw)
    SELECT id, label, subject, added, features, raw FROM older ORDER BY id;
INSERT INTO numbers SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'older';
DROP TABLE older;
"""


class Database:
    """One SQLite file that is whole whatever happens: each change is on the disk, or is not.

    Args:
        file: The file; made with mode 0600, its folder with 0700.

    Raises:
        StoreError: it cannot be made or read, is damaged, or is of a newer edgeml.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.RLock()
        with self.translated():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
            self._sql = sqlite3.connect(file, check_same_thread=False, isolation_level=None,
                                        timeout=30)  # fmt: skip
            try:
                self._open()
            except BaseException:
                self._sql.close()
                raise

    def _open(self) -> None:
        self._sql.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.execute("PRAGMA synchronous = FULL")
        self._sql.execute("PRAGMA wal_autocheckpoint = 16")  # pages
        self._sql.execute(f"PRAGMA journal_size_limit = {JOURNAL}")
        (version,) = self.one("PRAGMA user_version")
        if version > SCHEMA:
            raise StoreError(
                f"{self.file} has schema {version}, and this edgeml reads up to {SCHEMA}; install "
                "a newer edgeml-runtime"
            )
        if version < SCHEMA:
            with self.change():
                (version,) = self.one("PRAGMA user_version")  # another process may have been first
                for statement in {0: _TABLES, 1: _FROM_1}.get(version, "").split(";")[:-1]:
                    self._sql.execute(statement)
                self._sql.execute(f"PRAGMA user_version = {SCHEMA}")

    def one(self, query: str, *values: Any) -> Any:
        """Return the first row, or None."""
        with self.translated():
            return self._sql.execute(query, values).fetchone()

    def all(self, query: str, *values: Any) -> list[Any]:
        """Return all rows."""
        with self.translated():
            return self._sql.execute(query, values).fetchall()

    def version(self) -> int:
        """Return a number that is another one when another process has changed the file."""
        return int(self.one("PRAGMA data_version")[0])

    def version_now(self) -> int | None:
        """Return the same without waiting; None while another thread works on the file."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self.version()
        finally:
            self._lock.release()

    def run(self, query: str, *values: Any) -> sqlite3.Cursor:
        """Do a statement."""
        with self.translated():
            return self._sql.execute(query, values)

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """Do what is within as one change, which happens as a whole or not at all."""
        with self.translated():
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._sql.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._sql.execute("ROLLBACK")
                raise

    def used(self) -> int:
        """Return how many bytes of the file are in use."""
        (pages,), (free,) = self.one("PRAGMA page_count"), self.one("PRAGMA freelist_count")
        (size,) = self.one("PRAGMA page_size")
        return int((pages - free) * size)

    def shrink(self) -> None:
        """Give what is not used back to the disk."""
        with self.translated():
            self._sql.execute("VACUUM")
            self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # nothing stays in the journal

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Hold the lock, and say what a foreign error means."""
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                raise StoreError(f"{self.file}: {_meaning(error)}") from error
            except StoreError:
                raise
            except OSError as error:
                raise StoreError(
                    f"{self.file} cannot be {'written' if self._is_there() else 'made'}: "
                    f"{error.strerror or error}; pass another folder"
                ) from error

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError):
            return self.file.is_file()
        return False

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._sql.close()


def _meaning(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return "the disk is full; nothing was changed. Free some space: even forgetting needs some"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"the file is damaged ({error}); restore it, or delete it and collect anew"
    if code == sqlite3.SQLITE_READONLY:
        return "the file or its folder is read-only; nothing was changed"
    if code == sqlite3.SQLITE_BUSY:
        return "another process holds the store; close it there"
    if "closed" in str(error):
        return "the store is closed; open it again"
    return str(error)


def check_budget(budget: int) -> int:
    """Return the byte budget.

    Raises:
        ConfigError: it is too small for anything.
    """
    if not isinstance(budget, int) or budget < _LEAST:
        raise ConfigError(
            f"budget: expected a number of bytes, at least {_LEAST}; received {budget!r}"
        )
    return budget
