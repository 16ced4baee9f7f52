"""Folders for what edgeml keeps, by the XDG base directory rules."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder for what can be fetched again: ``$EDGEML_CACHE_DIR``, else XDG's.

    The folder need not exist.
    """
    return _folder("EDGEML_CACHE_DIR", "XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Return the folder for what must survive: ``$EDGEML_STATE_DIR``, else XDG's."""
    return _folder("EDGEML_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def _folder(own: str, xdg: str, fallback: str) -> Path:
    if set_by_user := os.environ.get(own):
        return Path(set_by_user)
    base = os.environ.get(xdg)
    return (Path(base) if base else Path.home() / fallback) / "edgeml"
