"""Files of a service: what would change, and writing them whole or not at all."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeml.errors import ConfigError
from edgeml.platform import replacing

Change = Literal["new", "changed", "same"]


@dataclass(frozen=True)
class File:
    """A file that belongs on the board.

    Attributes:
        target: Its absolute path there.
        content: Its text.
    """

    target: str
    content: str


@dataclass(frozen=True)
class Planned:
    """A file, and what is there now.

    Attributes:
        file: What belongs there.
        path: Where it goes on this machine.
        change: What writing it would be.
        diff: Unified; empty when it is the same.
    """

    file: File
    path: Path
    change: Change
    diff: str


def plan(files: list[File], root: Path) -> list[Planned]:
    """Compare files with what is there.

    Raises:
        ConfigError: what is there cannot be read.
    """
    return [_compare(file, below(root, file.target)) for file in files]


def below(root: Path, target: str) -> Path:
    """Return where an absolute path of the board is when the board's root is at `root`.

    Raises:
        ConfigError: a link of the board leads out of `root`, to a folder of this machine.
    """
    path = root / target.lstrip("/")
    if not (leads := path.parent.resolve()).is_relative_to(root.resolve()):
        raise ConfigError(
            f"{path}: a link leads to {leads}, which is not below {root}; make it relative",
            file=str(path),
        )
    return path


def is_there(root: Path, target: str) -> bool:
    """Whether a file of the board is there; one that we have no right to see counts as there."""
    try:
        below(root, target).stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _compare(file: File, path: Path) -> Planned:
    try:
        now = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        now = None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{path}: cannot be compared: {reason}", file=str(path)) from error
    if now == file.content:
        return Planned(file, path, "same", "")
    lines = difflib.unified_diff(
        (now or "").splitlines(),
        file.content.splitlines(),
        "/dev/null" if now is None else str(path),
        str(path),
        lineterm="",
    )
    return Planned(file, path, "new" if now is None else "changed", "\n".join(lines))


def write(planned: list[Planned], again: str) -> None:
    """Write what is not the same, each file atomically.

    Args:
        planned: What `plan` has returned.
        again: The command that does it with the right to.

    Raises:
        ConfigError: a file cannot be written; when it is a lack of rights, none was.
    """
    wanted = [each for each in planned if each.change != "same"]
    for each in wanted:
        check_right(each.path, again)
    for each in wanted:
        _write(each.path, each.file.content)


def check_right(path: Path, again: str) -> None:
    """Refuse when there is no right to write a file.

    Raises:
        ConfigError: there is none.
    """
    there = path.parent
    while not os.path.exists(there) and there != there.parent:
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{path}: no right to write in {there}; nothing was changed. As root: {again}",
            file=str(path),
        )


def _write(path: Path, content: str) -> None:
    try:
        with replacing(path) as file:
            file.write(content.encode())
            # systemd, udev and mosquitto read it, none of them as us
            os.chmod(file.fileno(), 0o644)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written: {error.strerror or error}; what was there is kept",
            file=str(path),
        ) from error
