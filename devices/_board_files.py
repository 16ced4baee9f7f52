"""Reading a board's small files, each of which may be missing."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str:
    """Return a file's text without the newline; empty when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def number(path: Path, base: int = 10) -> int | None:
    """Return the whole number in a file; None when there is none."""
    try:
        return int(text(path), base)
    except ValueError:
        return None
