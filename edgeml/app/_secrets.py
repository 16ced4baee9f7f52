"""Secrets: named in the configuration, kept elsewhere."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

_MAX_CHARS = 64 << 10


class SecretError(ValueError):
    """A secret that the configuration names cannot be had; the message never has its value."""


def resolve(value: Any) -> Any:
    """Return `value` with each secret that it names in place of the name.

    A text ``env:NAME`` stands for an environment variable, ``file:PATH`` for the first
    line of a file, ``cred:NAME`` for a systemd credential (``LoadCredential=`` in the
    unit). Lists and tables are searched; everything else is returned as it is.

    Raises:
        SecretError: the secret is not there, or is named by a URL.
    """
    if isinstance(value, dict):
        return {key: resolve(each) for key, each in value.items()}
    if isinstance(value, list):
        return [resolve(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **resolve(vars(value)))
    if not isinstance(value, str):
        return value
    kind, colon, name = value.partition(":")
    if not colon or kind not in ("env", "file", "cred"):
        return value
    if not name:
        raise SecretError(f"{value!r} names no secret; expected {kind}:NAME")
    if kind == "file" and name.startswith("//"):
        raise SecretError(
            f"{value!r} is a URL: a secret's file is named file:PATH, a recording or a model by "
            "its path alone"
        )
    if kind == "env":
        return _from_environment(name)
    return _from_file(Path(name).expanduser() if kind == "file" else _credential(name), value)


def _from_environment(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise SecretError(
            f"the environment variable {name} is not set; export it, or name a file with file:PATH"
        ) from None


def _credential(name: str) -> Path:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise SecretError(
            f"cred:{name} needs a systemd credential, and CREDENTIALS_DIRECTORY is not set: add "
            f"LoadCredential={name}:/path to the unit, or use env: or file:"
        )
    if "/" in name or name in (".", ".."):
        raise SecretError(f"cred:{name} is not the name of a credential: it has a path in it")
    return Path(folder, name)


def _from_file(path: Path, reference: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_CHARS)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise SecretError(f"{reference}: {path} cannot be read: {reason}") from error
    first = text.partition("\n")[0].rstrip("\r")
    if not first:
        raise SecretError(f"{reference}: the first line of {path} is empty")
    return first
