"""Peers that fight over packages with us run in venvs of their own."""

from __future__ import annotations

import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path


def python_with(folder: Path, packages: Sequence[str]) -> str:
    """Return the Python of a venv that holds packages; it is made when it is missing.

    Args:
        folder: Of the venv, below .cache.
        packages: What pip installs there.
    """
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists() or ready.read_text() != " ".join(packages):
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
        ready.write_text(" ".join(packages))
    return str(python)
