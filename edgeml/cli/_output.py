"""What commands print: JSON for programs, tables for people."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def printable(text: str) -> str:
    """Return a text in which nothing steers the terminal: it may hold what came from outside."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


class LogFormatter(logging.Formatter):
    """How messages look; what they quote may come from outside."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """Return the line of a record."""
        return printable(super().formatMessage(record))


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, at once: a reader waits for each line."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns as wide as they need; numbers are aligned to the right."""
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    numeric = [all(_is_number(row[i]) for row in table[1:]) for i in range(len(header))]
    for row in table:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace(",", "").lstrip("-").isdigit()


def human_bytes(n: float) -> str:
    """Return a size with its unit, such as ``"4.8 MiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            break
        n /= 1024
    return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
