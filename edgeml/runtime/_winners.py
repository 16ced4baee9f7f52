"""Which delegate won on this device, kept in the cache until something changes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from edgeml._version import __version__
from edgeml.platform import cache_dir, cores, cpu_name, machine, replacing
from edgeml.runtime import _delegates
from edgeml.runtime._backend import Delegate
from edgeml.runtime._cache import identity

log = logging.getLogger("edgeml.runtime")

SCHEMA = 1


def remember(file: Path, threads: int, winner: Delegate, table: list[dict[str, Any]]) -> bool:
    """Keep a winner; return whether the cache could be written."""
    path = _path(file, threads)
    document = {"schema": SCHEMA, **_here(), "winner": winner.to_dict(), "rows": table}
    try:
        with replacing(path, 0o600) as opened:
            opened.write(json.dumps(document).encode())
    except OSError as error:
        log.warning("the fastest delegate cannot be remembered: %s: %s", path, error.strerror)
        return False
    return True


def recall(file: Path, threads: int, name: str) -> Delegate | None:
    """Return the winner for a model on this device; None when it is to be measured.

    Args:
        file: The model.
        threads: Threads of one call.
        name: What the log calls the model.
    """
    if not os.path.isdir(_folder()):
        return None  # nothing was ever measured by us: no need to hash the file
    try:
        document = json.loads(_path(file, threads).read_text(encoding="utf-8"))
        winner = Delegate(**document["winner"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: what was measured cannot be read (%s); measure again", name, error)
        return None
    for key, now in _here().items():
        if document.get(key) != now:
            log.info("%s: measured with other %s than now; measure again", name, key)
            return None
    return winner


def _here() -> dict[str, dict[str, str]]:
    """Return what decides which delegate is fastest: the device, and all versions."""
    versions = {"edgeml": __version__}
    for name in _delegates.names():
        if (backend := _delegates.find(name)) is not None:
            versions |= backend.versions()
    device = {"machine": machine(), "cpu": cpu_name(), "cores": str(cores())}
    return {"device": device, "versions": versions}


def _folder() -> Path:
    return cache_dir() / "delegates"


def _path(file: Path, threads: int) -> Path:
    digest = hashlib.sha256("\n".join(identity(file)).encode()).hexdigest()
    return _folder() / f"{digest[:32]}-{threads}.json"
