"""Reading a board's small files, each of which may be missing."""

from __future__ import annotations

from pathlib import Path

_MOST = 1 << 18  # characters


def text(path: Path) -> str:
    """Return a file's text without the newline; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MOST).strip("\0\n ")
    except OSError:
        return ""


def paths(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern, sorted; none where there is no right to look."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def number(path: Path, base: int = 10) -> int | None:
    """Return the whole number in a file; None when there is none that a kernel would show."""
    try:
        value = int(text(path), base)
    except ValueError:
        return None
    return value if abs(value) < 1 << 63 else None
