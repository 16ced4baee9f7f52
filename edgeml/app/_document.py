"""A TOML file that knows on which line each of its keys stands."""

from __future__ import annotations

import difflib
import functools
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeml.errors import ConfigError

Key = tuple[str, ...]

_MAX_BYTES = 1 << 20


class Document:
    """The data of a TOML file, and where in the file it came from.

    Args:
        text: What the file holds.
        path: The file's name, for messages; relative names in it are looked up beside it.

    Raises:
        ConfigError: the text is not TOML.
    """

    def __init__(self, text: str, path: str | os.PathLike[str]) -> None:
        self.text = text.replace("\r\n", "\n")
        self.path = Path(path)
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self._syntax_error(str(error)) from None
        except RecursionError:
            raise self.error((), "lists and tables are nested too deeply") from None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Document:
        """Read a file.

        Raises:
            ConfigError: it cannot be read, is too large, or is not UTF-8 or TOML.
        """
        try:
            with open(path, "rb") as file:
                raw = file.read(_MAX_BYTES + 1)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"{path}: cannot be read: {reason}", file=str(path)) from error
        if len(raw) > _MAX_BYTES:
            raise ConfigError(
                f"{path}: larger than {_MAX_BYTES >> 20} MiB, which no configuration is",
                file=str(path),
            )
        try:
            return cls(raw.decode("utf-8-sig"), path)  # some editors begin a file with a mark
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise ConfigError(
                f"{path}:{line}: not UTF-8 text; save the file as UTF-8", file=str(path), line=line
            ) from None

    def error(self, key: Key, message: str) -> ConfigError:
        """Return an error about a key; it names the file, the line and the key."""
        line = self.line_of(key)
        where = f"{self.path}:{line}" if line else f"{self.path}"
        named = ".".join(key)
        text = f"{where}: {named}: {message}" if key else f"{where}: {message}"
        return ConfigError(text, file=str(self.path), line=line, key=named)

    def line_of(self, key: Key) -> int | None:
        """Return the line of a key, counted from 1; of the nearest table if it is not there."""
        while key:
            if key in self._lines:
                return self._lines[key]
            key = key[:-1]
        return None

    @functools.cached_property
    def _lines(self) -> dict[Key, int]:
        """The line of each key: tomllib does not tell, so the statements are parsed one by one."""
        lines = self.text.split("\n")
        found: dict[Key, int] = {}
        table: Key = ()
        start = 0
        while start < len(lines):
            statement, end = _next_statement(lines, start)
            keys = list(_keys(statement))
            if lines[start].lstrip().startswith("["):
                table = max(keys, key=len)
                keys = [table[:n] for n in range(1, len(table) + 1)]
            else:
                keys = [table + key for key in keys]
            for key in keys:
                found.setdefault(key, start + 1)
            start = end
        return found

    def _syntax_error(self, message: str) -> ConfigError:
        match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)", message)
        line = self.text.count("\n") + 1
        column = None
        if match is not None:
            message = message.replace(match[0], "")
            if match[1]:
                line, column = int(match[1]), int(match[2])
        where = f"{self.path}:{line}" + (f":{column}" if column else "")
        return ConfigError(f"{where}: not TOML: {message}", file=str(self.path), line=line)


def _next_statement(lines: list[str], start: int) -> tuple[dict[str, Any], int]:
    """Parse the statement that begins on a line; return it and the line after it.

    The whole text is valid, so the first run of lines that can be parsed is the statement.
    """
    for end in range(start + 1, len(lines) + 1):
        if lines[end - 1].endswith(",") and end < len(lines):
            continue  # amid a list; or in a text of several lines, which does not end here, either
        try:
            return tomllib.loads("\n".join(lines[start:end])), end
        except tomllib.TOMLDecodeError:
            continue
    return {}, len(lines)


def _keys(data: Any) -> Iterable[Key]:
    """Yield the path of each key in nested tables."""
    if isinstance(data, list):  # a `[[table]]` header
        data = data[-1] if data and isinstance(data[-1], dict) else {}
    if isinstance(data, dict):
        for name, value in data.items():
            yield (name,)
            yield from ((name, *rest) for rest in _keys(value))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean x?"``, or the choices when none is near."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; expected one of {', '.join(choices)}" if choices else ""
