"""Folders for what edgeml keeps, by the XDG base directory rules."""

from __future__ import annotations

import os
from pathlib import Path

from edgeml.errors import ConfigError


def cache_dir() -> Path:
    """Return the folder for what can be fetched again: ``$EDGEML_CACHE_DIR``, else XDG's.

    The folder need not exist.

    Raises:
        ConfigError: ``$EDGEML_CACHE_DIR`` begins with ``~``, and there is no home folder.
    """
    return _folder("EDGEML_CACHE_DIR", "XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Return the folder for what must survive: ``$EDGEML_STATE_DIR``, else XDG's.

    The folder need not exist.

    Raises:
        ConfigError: ``$EDGEML_STATE_DIR`` begins with ``~``, and there is no home folder.
    """
    return _folder("EDGEML_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def _folder(own: str, xdg: str, fallback: str) -> Path:
    if set_by_user := os.environ.get(own):
        try:
            return Path(set_by_user).expanduser().absolute()
        except RuntimeError as error:
            raise ConfigError(
                f"{own}={set_by_user}: the home folder is not known; give a path that begins with /"
            ) from error
    base = Path(os.environ.get(xdg, ""))
    # The XDG rules say to ignore a path that is not absolute.
    return (base if base.is_absolute() else _home() / fallback) / "edgeml"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a service whose user has no entry and no $HOME
        return Path("/nonexistent")
